// ops/erf.cc — Gauss error function, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef erf{
    .name = "erf",
    .dialect = "chlo",
    .doc = "y = 2 / sqrt(pi) * integral of e^(-t^2) from 0 to x",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::erf(x); }}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats, -4, 4),
};
BASCULE_OP(erf);

}  // namespace bascule::ops
