// ops/exponential.cc — e^x, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef exponential{
    .name = "exponential",
    .doc = "y = e^x",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::exp(x); }, .complexes = [](std::complex<double> x) { return std::exp(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = {{"small", {{2, 3}}}, {"scalar", {{}}}, {"empty", {{0, 3}}}, {"ragged", {{7, 129}}}},
};
BASCULE_OP(exponential);

}  // namespace bascule::ops
