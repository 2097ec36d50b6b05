// ops/sqrt.cc — square root, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef sqrt{
    .name = "sqrt",
    .doc = "y = sqrt(x) (NaN below 0; complex: the principal root)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::sqrt(x); }, .complexes = [](std::complex<double> x) { return std::sqrt(x); }}),
    .work = per_element({.divides = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, 0, 5),
};
BASCULE_OP(sqrt);

}  // namespace bascule::ops
