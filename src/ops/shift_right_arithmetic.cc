// ops/shift_right_arithmetic.cc — bits moved down, copies of the sign entering, elementwise.
#include "ops/integer.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef shift_right_arithmetic{
    .name = "shift_right_arithmetic",
    .doc = "y = a >> b, copies of the highest bit entering (all of them when b, read as unsigned, is the width or more)",
    .inputs = {{"lhs", DTypes::ints}, {"rhs", DTypes::ints}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.ints = [](int64_t a, int64_t b, DType t) {
      const int width = info(t).bits;
      const auto sign_extended = static_cast<int64_t>(bits_of(a, t) << (64 - width)) >> (64 - width);
      const uint64_t n = bits_of(b, t);
      return sign_extended >> (n >= static_cast<uint64_t>(width) ? static_cast<uint64_t>(width) - 1 : n);
    }}),
    .work = per_element({.adds = 1}),
    .cases = binary_cases(DTypes::ints, -2, 9),
};
BASCULE_OP(shift_right_arithmetic);

}  // namespace bascule::ops
