// ops/shift_right_logical.cc — bits moved down, zeros entering, elementwise.
#include "ops/integer.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef shift_right_logical{
    .name = "shift_right_logical",
    .doc = "y = a >> b, zeros entering (0 when b, read as unsigned, is the width or more)",
    .inputs = {{"lhs", DTypes::ints}, {"rhs", DTypes::ints}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.ints = [](int64_t a, int64_t b, DType t) {
      const uint64_t n = bits_of(b, t);
      return n >= static_cast<uint64_t>(info(t).bits) ? int64_t{0} : static_cast<int64_t>(bits_of(a, t) >> n);
    }}),
    .work = per_element({.adds = 1}),
    .cases = binary_cases(DTypes::ints, -2, 9),
};
BASCULE_OP(shift_right_logical);

}  // namespace bascule::ops
