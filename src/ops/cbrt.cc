// ops/cbrt.cc — cube root, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef cbrt{
    .name = "cbrt",
    .doc = "y = x^(1/3), with the sign of x (complex: the principal root)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::cbrt(x); }, .complexes = [](std::complex<double> x) { return std::pow(x, 1.0 / 3.0); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -5, 5),
};
BASCULE_OP(cbrt);

}  // namespace bascule::ops
