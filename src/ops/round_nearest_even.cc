// ops/round_nearest_even.cc — nearest integer, elementwise; halves to even.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef round_nearest_even{
    .name = "round_nearest_even",
    .doc = "y = nearest integer to x, halves to the even one",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::nearbyint(x); }}),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::floats, -3, 3),
};
BASCULE_OP(round_nearest_even);

}  // namespace bascule::ops
