// ops/polygamma.cc — derivatives of the digamma function, elementwise.
#include "ops/rules.h"
#include "ops/special.h"

namespace bascule::ops {

const OpDef polygamma{
    .name = "polygamma",
    .dialect = "chlo",
    .doc = "y = n-th derivative of digamma at x = (-1)^(n+1) n! zeta(n+1, x) (n = 0: digamma)",
    .inputs = {{"n", DTypes::floats}, {"x", DTypes::floats}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.floats = polygamma_value}),
    .work = per_element({.transcendentals = 30}),
    .cases = binary_cases(DTypes::floats, 0.5, 4),
};
BASCULE_OP(polygamma);

}  // namespace bascule::ops
