// ops/acosh.cc — inverse hyperbolic cosine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef acosh{
    .name = "acosh",
    .dialect = "chlo",
    .doc = "y >= 0 with cosh(y) = x",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::acosh(x); }, .complexes = [](std::complex<double> x) { return std::acosh(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, 1, 5),
};
BASCULE_OP(acosh);

}  // namespace bascule::ops
