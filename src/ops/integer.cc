// ops/integer.cc — integer arithmetic of the operator references.
#include "ops/integer.h"

namespace bascule::ops {

int64_t divide_ints(int64_t a, int64_t b, DType t) {
  if (b == 0) return -1;
  if (t == DType::u64) return static_cast<int64_t>(static_cast<uint64_t>(a) / static_cast<uint64_t>(b));
  if (b == -1) return static_cast<int64_t>(0 - static_cast<uint64_t>(a));
  return a / b;
}
int64_t remainder_ints(int64_t a, int64_t b, DType t) {
  if (b == 0) return a;
  if (t == DType::u64) return static_cast<int64_t>(static_cast<uint64_t>(a) % static_cast<uint64_t>(b));
  return b == -1 ? 0 : a % b;
}
int64_t power_ints(int64_t a, int64_t b, DType t) {
  if (is_signed_int(t) && b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
  uint64_t y = 1, base = static_cast<uint64_t>(a);
  for (uint64_t n = static_cast<uint64_t>(b); n > 0; n >>= 1) {
    if (n & 1) y *= base;
    base *= base;
  }
  return static_cast<int64_t>(y);
}
bool less_ints(int64_t a, int64_t b, DType t) { return t == DType::u64 ? static_cast<uint64_t>(a) < static_cast<uint64_t>(b) : a < b; }
uint64_t bits_of(int64_t a, DType t) {
  const int bits = info(t).bits;
  return bits >= 64 ? static_cast<uint64_t>(a) : static_cast<uint64_t>(a) & ((uint64_t{1} << bits) - 1);
}

std::optional<Dim> truncated_quotient(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) return b.is(0) ? std::nullopt : std::optional(Dim(divide_ints(a.value(), b.value(), DType::i64)));
  if (b.is_constant() ? b.value() <= 0 : !b.as_symbol()) return std::nullopt;
  const Dim q = Dim::floor_div(a, b);
  // Toward zero and downward agree for exact quotients and for sums of sizes without a negative term.
  if (q * b == a || a.text().find('-') == std::string::npos) return q;
  return Dim::max(q, 0) + Dim::min(Dim::ceil_div(a, b), 0);
}

}  // namespace bascule::ops
