// ops/tanh.cc — hyperbolic tangent, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef tanh{
    .name = "tanh",
    .doc = "y = tanh(x)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::tanh(x); }, .complexes = [](std::complex<double> x) { return std::tanh(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -3, 3),
};
BASCULE_OP(tanh);

}  // namespace bascule::ops
