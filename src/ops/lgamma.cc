// ops/lgamma.cc — logarithm of the gamma function, elementwise.
#include "ops/rules.h"
#include "ops/special.h"

namespace bascule::ops {

const OpDef lgamma{
    .name = "lgamma",
    .dialect = "chlo",
    .doc = "y = ln |gamma(x)|",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = lgamma_value}),
    .work = per_element({.transcendentals = 4}),
    .cases = unary_cases(DTypes::floats, 0.1, 5),
};
BASCULE_OP(lgamma);

}  // namespace bascule::ops
