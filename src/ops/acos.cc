// ops/acos.cc — arc cosine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef acos{
    .name = "acos",
    .dialect = "chlo",
    .doc = "y in [0, pi] with cos(y) = x",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::acos(x); }, .complexes = [](std::complex<double> x) { return std::acos(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -1, 1),
};
BASCULE_OP(acos);

}  // namespace bascule::ops
