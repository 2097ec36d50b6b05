// ops/erf_inv.cc — inverse of the Gauss error function, elementwise.
#include "ops/rules.h"
#include "ops/special.h"

namespace bascule::ops {

const OpDef erf_inv{
    .name = "erf_inv",
    .dialect = "chlo",
    .doc = "y with erf(y) = x",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = erf_inv_value}),
    .work = per_element({.transcendentals = 2}),
    .cases = unary_cases(DTypes::floats, -0.99, 0.99),
};
BASCULE_OP(erf_inv);

}  // namespace bascule::ops
