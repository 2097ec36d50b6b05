// ops/silu.cc — composite: x times its logistic function, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef silu{
    .name = "silu",
    .dialect = "bascule",
    .doc = "y = x / (1 + e^-x)",
    .inputs = {{"x", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return x / (1 + std::exp(-x)); }}),
    .decompose = [](Builder& b, const OpView&, std::span<const Value> in) { return Values{b.multiply(in[0], b.logistic(in[0]))}; },
    .work = per_element({.adds = 1, .divides = 1, .transcendentals = 1}),
    .cases = unary_cases(DTypes::floats, -6, 6),
};
BASCULE_OP(silu);

}  // namespace bascule::ops
