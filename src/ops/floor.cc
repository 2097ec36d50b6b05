// ops/floor.cc — largest integer not above, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef floor{
    .name = "floor",
    .doc = "y = floor(x)",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::floor(x); }}),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::floats, -3, 3),
};
BASCULE_OP(floor);

}  // namespace bascule::ops
