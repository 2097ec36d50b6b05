// ops/bessel_i1e.cc — scaled modified Bessel function of order 1, elementwise.
#include "ops/rules.h"
#include "ops/special.h"

namespace bascule::ops {

const OpDef bessel_i1e{
    .name = "bessel_i1e",
    .dialect = "chlo",
    .doc = "y = e^-|x| I1(x)",
    .inputs = {{"operand", DTypes::floats}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = bessel_i1e_value}),
    .work = per_element({.transcendentals = 4}),
    .cases = unary_cases(DTypes::floats, -5, 5),
};
BASCULE_OP(bessel_i1e);

}  // namespace bascule::ops
