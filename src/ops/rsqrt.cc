// ops/rsqrt.cc — reciprocal square root, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef rsqrt{
    .name = "rsqrt",
    .doc = "y = 1 / sqrt(x)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return 1.0 / std::sqrt(x); }, .complexes = [](std::complex<double> x) { return 1.0 / std::sqrt(x); }}),
    .work = per_element({.divides = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, 0.1, 5),
};
BASCULE_OP(rsqrt);

}  // namespace bascule::ops
