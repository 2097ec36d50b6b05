// ops/hard_swish.cc — composite: x times a clipped line, elementwise.
#include <algorithm>

#include "ops/lines.h"

namespace bascule::ops {

const OpDef hard_swish{
    .name = "hard_swish",
    .dialect = "bascule",
    .doc = "y = x * clip(x / 6 + 1/2, 0, 1)",
    .inputs = {{"x", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::isnan(x) ? x : x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }}),
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const Value x = b.convert(in[0], wide_type(op.in(0).dtype));
          return Values{b.convert(b.multiply(x, b.clamp(0, b.add(b.multiply(x, 1.0 / 6), 0.5), 1)), op.in(0).dtype)};
        },
    .work = per_element({.multiply_adds = 1, .adds = 1, .compares = 2}),
    .cases = unary_cases(DTypes::floats, -6, 6),
};
BASCULE_OP(hard_swish);

}  // namespace bascule::ops
