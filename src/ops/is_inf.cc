// ops/is_inf.cc — whether a float is infinite, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef is_inf{
    .name = "is_inf",
    .dialect = "chlo",
    .doc = "y = x is infinite",
    .inputs = {{"operand", DTypes::floats}},
    .type = predicate_type(),
    .reference = elementwise(Unary{.floats = [](double x) { return std::isinf(x) ? 1.0 : 0.0; }}),
    .work = per_element({.compares = 1}),
    .cases = unary_cases(DTypes::floats),
};
BASCULE_OP(is_inf);

}  // namespace bascule::ops
