// ops/is_pos_inf.cc — whether a float is +infinity, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef is_pos_inf{
    .name = "is_pos_inf",
    .dialect = "chlo",
    .doc = "y = x is +infinity",
    .inputs = {{"operand", DTypes::floats}},
    .type = predicate_type(),
    .reference = elementwise(Unary{.floats = [](double x) { return std::isinf(x) && x > 0 ? 1.0 : 0.0; }}),
    .work = per_element({.compares = 1}),
    .cases = unary_cases(DTypes::floats),
};
BASCULE_OP(is_pos_inf);

}  // namespace bascule::ops
