// ops/zeta.cc — Hurwitz zeta function, elementwise.
#include "ops/rules.h"
#include "ops/special.h"

namespace bascule::ops {

const OpDef zeta{
    .name = "zeta",
    .dialect = "chlo",
    .doc = "y = sum over k >= 0 of (k + q)^-x",
    .inputs = {{"x", DTypes::floats}, {"q", DTypes::floats}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.floats = zeta_value}),
    .work = per_element({.transcendentals = 25}),
    .cases = binary_cases(DTypes::floats, 1.5, 5),
};
BASCULE_OP(zeta);

}  // namespace bascule::ops
