// ops/asin.cc — arc sine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef asin{
    .name = "asin",
    .dialect = "chlo",
    .doc = "y in [-pi/2, pi/2] with sin(y) = x",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::asin(x); }, .complexes = [](std::complex<double> x) { return std::asin(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -1, 1),
};
BASCULE_OP(asin);

}  // namespace bascule::ops
