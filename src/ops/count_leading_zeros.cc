// ops/count_leading_zeros.cc — number of zero bits above the highest one, elementwise.
#include <bit>

#include "ops/integer.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef count_leading_zeros{
    .name = "count_leading_zeros",
    .doc = "y = number of 0 bits of x above its highest 1 (the width for 0)",
    .inputs = {{"operand", DTypes::ints}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.ints = [](int64_t x, DType t) -> int64_t { return std::countl_zero(bits_of(x, t)) - (64 - info(t).bits); }}),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::ints, -100, 100),
};
BASCULE_OP(count_leading_zeros);

}  // namespace bascule::ops
