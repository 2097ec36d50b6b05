// ops/log_softmax.cc — composite: logarithm of the softmax of a line along one axis.
#include "ops/lines.h"

namespace bascule::ops {

const OpDef log_softmax{
    .name = "log_softmax",
    .dialect = "bascule",
    .doc = "y[i] = x[i] - m - ln sum_k exp(x[k] - m), m = max_k x[k], along `axis`",
    .inputs = {{"x", DTypes::floats}},
    .attrs = {{"axis", AttrKind::integer}},
    .type = line_type,
    .reference = on_lines([](std::span<double> x) {
      const double m = largest(x);
      double sum = 0;
      for (const double v : x) sum += std::exp(v - m);
      const double l = std::log(sum);
      for (double& v : x) v = v - m - l;
    }),
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const int64_t axis = op.attrs.integer("axis");
          const Value x = b.convert(in[0], wide_type(op.in(0).dtype));
          const Value z = b.subtract(x, b.reduce("maximum", x, {axis}, true));
          return Values{b.convert(b.subtract(z, b.log(b.sum(b.exp(z), {axis}, true))), op.in(0).dtype)};
        },
    .work = per_element({.adds = 3, .transcendentals = 1, .compares = 1}),
    .cases = line_cases(),
};
BASCULE_OP(log_softmax);

}  // namespace bascule::ops
