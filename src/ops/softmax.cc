// ops/softmax.cc — composite: exponentials of a line along one axis, divided by their sum.
#include "ops/lines.h"

namespace bascule::ops {

const OpDef softmax{
    .name = "softmax",
    .dialect = "bascule",
    .doc = "y[i] = exp(x[i] - m) / sum_k exp(x[k] - m), m = max_k x[k], along `axis`; a line of -inf gives NaN",
    .inputs = {{"x", DTypes::floats}},
    .attrs = {{"axis", AttrKind::integer}},
    .type = line_type,
    .reference = on_lines([](std::span<double> x) {
      const double m = largest(x);
      double sum = 0;
      for (double& v : x) sum += v = std::exp(v - m);
      for (double& v : x) v /= sum;
    }),
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const int64_t axis = op.attrs.integer("axis");
          const Value x = b.convert(in[0], wide_type(op.in(0).dtype));
          const Value e = b.exp(b.subtract(x, b.reduce("maximum", x, {axis}, true)));
          return Values{b.convert(b.divide(e, b.sum(e, {axis}, true)), op.in(0).dtype)};
        },
    .work = per_element({.adds = 2, .divides = 1, .transcendentals = 1, .compares = 1}),
    .cases = line_cases(),
};
BASCULE_OP(softmax);

}  // namespace bascule::ops
