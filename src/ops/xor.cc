// ops/xor.cc — bitwise exclusive or; logical for i1.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef xor_def{
    .name = "xor",
    .doc = "y = a ^ b (bits)",
    .inputs = {{"lhs", DTypes::bools | DTypes::ints}, {"rhs", DTypes::bools | DTypes::ints}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.ints = [](int64_t a, int64_t b, DType) { return a ^ b; }}),
    .work = per_element({.compares = 1}),
    .cases = binary_cases(DTypes::bools | DTypes::ints, 0, 100),
};
BASCULE_OP(xor_def);

}  // namespace bascule::ops
