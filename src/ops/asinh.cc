// ops/asinh.cc — inverse hyperbolic sine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef asinh{
    .name = "asinh",
    .dialect = "chlo",
    .doc = "y with sinh(y) = x",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::asinh(x); }, .complexes = [](std::complex<double> x) { return std::asinh(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -5, 5),
};
BASCULE_OP(asinh);

}  // namespace bascule::ops
