// ops/cosh.cc — hyperbolic cosine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef cosh{
    .name = "cosh",
    .dialect = "chlo",
    .doc = "y = (e^x + e^-x) / 2",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::cosh(x); }, .complexes = [](std::complex<double> x) { return std::cosh(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -3, 3),
};
BASCULE_OP(cosh);

}  // namespace bascule::ops
