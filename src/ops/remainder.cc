// ops/remainder.cc — remainder of the division toward zero, elementwise: the dividend's sign.
#include <cmath>

#include "ops/integer.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef remainder{
    .name = "remainder",
    .doc = "y = a - b * trunc(a / b) (integers: x mod 0 = x)",
    .inputs = {{"lhs", DTypes::reals}, {"rhs", DTypes::reals}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.floats = [](double a, double b) { return std::fmod(a, b); }, .ints = remainder_ints}),
    .symbolic = symbolic_binary([](const Dim& a, const Dim& b) -> std::optional<Dim> {
      const auto q = truncated_quotient(a, b);
      return q ? std::optional(a - b * *q) : std::nullopt;
    }),
    .work = per_element({.divides = 1}),
    .cases = binary_cases(DTypes::reals, -5, 5, {{.name = "by_zero", .shapes = {{32}, {32}}, .dtypes = {DType::i8, DType::i8}, .low = -1, .high = 1}}),
};
BASCULE_OP(remainder);

}  // namespace bascule::ops
