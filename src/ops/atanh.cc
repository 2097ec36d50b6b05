// ops/atanh.cc — inverse hyperbolic tangent, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef atanh{
    .name = "atanh",
    .dialect = "chlo",
    .doc = "y with tanh(y) = x",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::atanh(x); }, .complexes = [](std::complex<double> x) { return std::atanh(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -0.9, 0.9),
};
BASCULE_OP(atanh);

}  // namespace bascule::ops
