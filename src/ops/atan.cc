// ops/atan.cc — arc tangent, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef atan{
    .name = "atan",
    .dialect = "chlo",
    .doc = "y in [-pi/2, pi/2] with tan(y) = x",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::atan(x); }, .complexes = [](std::complex<double> x) { return std::atan(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -5, 5),
};
BASCULE_OP(atan);

}  // namespace bascule::ops
