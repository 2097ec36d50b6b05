// ops/tan.cc — tangent, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef tan{
    .name = "tan",
    .doc = "y = sin(x) / cos(x), x in radians",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::tan(x); }, .complexes = [](std::complex<double> x) { return std::tan(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -1.2, 1.2),
};
BASCULE_OP(tan);

}  // namespace bascule::ops
