// ops/sine.cc — sine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef sine{
    .name = "sine",
    .doc = "y = sin(x), x in radians",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::sin(x); }, .complexes = [](std::complex<double> x) { return std::sin(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -7, 7),
};
BASCULE_OP(sine);

}  // namespace bascule::ops
