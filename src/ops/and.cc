// ops/and.cc — bitwise and; logical for i1.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef and_def{
    .name = "and",
    .doc = "y = a & b",
    .inputs = {{"lhs", DTypes::bools | DTypes::ints}, {"rhs", DTypes::bools | DTypes::ints}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.ints = [](int64_t a, int64_t b, DType) { return a & b; }}),
    .symbolic = symbolic_binary([](const Dim& a, const Dim& b) -> std::optional<Dim> {
      if (a.is_constant() && b.is_constant()) return Dim(a.value() & b.value());
      return a.is(0) || b.is(0) ? std::optional(Dim(0)) : std::nullopt;
    }),
    .work = per_element({.compares = 1}),
    .cases = binary_cases(DTypes::bools | DTypes::ints, 0, 100),
};
BASCULE_OP(and_def);

}  // namespace bascule::ops
