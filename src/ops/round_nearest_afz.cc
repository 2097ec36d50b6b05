// ops/round_nearest_afz.cc — nearest integer, elementwise; halves away from zero.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef round_nearest_afz{
    .name = "round_nearest_afz",
    .doc = "y = nearest integer to x, halves away from zero",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::round(x); }}),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::floats, -3, 3),
};
BASCULE_OP(round_nearest_afz);

}  // namespace bascule::ops
