// ops/or.cc — bitwise or; logical for i1.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef or_def{
    .name = "or",
    .doc = "y = a | b",
    .inputs = {{"lhs", DTypes::bools | DTypes::ints}, {"rhs", DTypes::bools | DTypes::ints}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.ints = [](int64_t a, int64_t b, DType) { return a | b; }}),
    .symbolic = symbolic_binary([](const Dim& a, const Dim& b) -> std::optional<Dim> { return a.is_constant() && b.is_constant() ? std::optional(Dim(a.value() | b.value())) : std::nullopt; }),
    .work = per_element({.compares = 1}),
    .cases = binary_cases(DTypes::bools | DTypes::ints, 0, 100),
};
BASCULE_OP(or_def);

}  // namespace bascule::ops
