// ops/hardmax.cc — composite: 1 at the first largest element of a line along one axis, else 0.
#include "ops/lines.h"

namespace bascule::ops {

const OpDef hardmax{
    .name = "hardmax",
    .dialect = "bascule",
    .doc = "y[i] = 1 if i is the first index of the largest x along `axis`, else 0; NaN counts as largest",
    .inputs = {{"x", DTypes::floats}},
    .attrs = {{"axis", AttrKind::integer}},
    .type = line_type,
    .reference = on_lines([](std::span<double> x) {
      const double m = largest(x);
      bool found = false;
      for (double& v : x) {
        const bool here = !found && (v == m || (std::isnan(v) && std::isnan(m)));
        v = here ? 1 : 0;
        found |= here;
      }
    }),
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const int64_t axis = op.attrs.integer("axis");
          const Value x = in[0], m = b.reduce("maximum", x, {axis}, true);
          const Value is_top = b.logical_or(b.compare(x, m, "EQ"), b.compare(x, x, "NE"));
          const Value at = b.iota(DType::i64, b.dims(x), axis);
          const Value first = b.reduce("minimum", b.select(is_top, at, b.size(b.dim(x, axis))), {axis}, true);
          return Values{b.convert(b.compare(at, first, "EQ"), op.in(0).dtype)};
        },
    .work = per_element({.compares = 4}),
    .cases = line_cases(),
};
BASCULE_OP(hardmax);

}  // namespace bascule::ops
