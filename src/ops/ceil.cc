// ops/ceil.cc — smallest integer not below, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef ceil{
    .name = "ceil",
    .doc = "y = ceil(x)",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::ceil(x); }}),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::floats, -3, 3),
};
BASCULE_OP(ceil);

}  // namespace bascule::ops
