// ops/cosine.cc — cosine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef cosine{
    .name = "cosine",
    .doc = "y = cos(x), x in radians",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::cos(x); }, .complexes = [](std::complex<double> x) { return std::cos(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -7, 7),
};
BASCULE_OP(cosine);

}  // namespace bascule::ops
