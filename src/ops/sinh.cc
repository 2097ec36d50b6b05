// ops/sinh.cc — hyperbolic sine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef sinh{
    .name = "sinh",
    .dialect = "chlo",
    .doc = "y = (e^x - e^-x) / 2",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::sinh(x); }, .complexes = [](std::complex<double> x) { return std::sinh(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -3, 3),
};
BASCULE_OP(sinh);

}  // namespace bascule::ops
