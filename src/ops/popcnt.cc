// ops/popcnt.cc — number of set bits, elementwise.
#include <bit>

#include "ops/integer.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef popcnt{
    .name = "popcnt",
    .doc = "y = number of bits of x that are 1",
    .inputs = {{"operand", DTypes::ints}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.ints = [](int64_t x, DType t) -> int64_t { return std::popcount(bits_of(x, t)); }}),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::ints, -100, 100),
};
BASCULE_OP(popcnt);

}  // namespace bascule::ops
