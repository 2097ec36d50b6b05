// ops/log.cc — natural logarithm, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef log{
    .name = "log",
    .doc = "y = ln(x) (NaN below 0, -inf at 0)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::log(x); }, .complexes = [](std::complex<double> x) { return std::log(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, 0.01, 5),
};
BASCULE_OP(log);

}  // namespace bascule::ops
