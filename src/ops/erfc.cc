// ops/erfc.cc — complement of the Gauss error function, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef erfc{
    .name = "erfc",
    .dialect = "chlo",
    .doc = "y = 1 - erf(x), accurate where erf is near 1",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::erfc(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats, -4, 4),
};
BASCULE_OP(erfc);

}  // namespace bascule::ops
