// ops/is_finite.cc — whether a float is neither infinite nor NaN, elementwise.
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef is_finite{
    .name = "is_finite",
    .doc = "y = x is neither infinite nor NaN",
    .inputs = {{"x", DTypes::floats}},
    .type = predicate_type(),
    .reference = elementwise(Unary{.floats = [](double x) { return std::isfinite(x) ? 1.0 : 0.0; }}),
    .work = per_element({.compares = 1}),
    .cases = unary_cases(DTypes::floats),
};
BASCULE_OP(is_finite);

}  // namespace bascule::ops
