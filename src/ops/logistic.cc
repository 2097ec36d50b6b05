// ops/logistic.cc — logistic function, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef logistic{
    .name = "logistic",
    .doc = "y = 1 / (1 + e^-x)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return 1.0 / (1.0 + std::exp(-x)); }, .complexes = [](std::complex<double> x) { return 1.0 / (1.0 + std::exp(-x)); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -6, 6),
};
BASCULE_OP(logistic);

}  // namespace bascule::ops
