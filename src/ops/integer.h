// ops/integer.h — integer arithmetic where C++ leaves it undefined: division by zero, the smallest value, shifts over the width.
// i64 arguments hold a value of type t as load_int gives it; results are wrapped to t when stored.
#pragma once
#include <cstdint>
#include <optional>

#include "base/dtype.h"
#include "graph/dim.h"

namespace bascule::ops {

int64_t divide_ints(int64_t a, int64_t b, DType t);     // toward zero; a/0 = all ones; smallest/-1 wraps
int64_t remainder_ints(int64_t a, int64_t b, DType t);  // sign of a; a mod 0 = a
int64_t power_ints(int64_t a, int64_t b, DType t);      // wraps; b < 0: 1/a^-b toward zero, 0^b = 0
bool less_ints(int64_t a, int64_t b, DType t);          // u64 by its bits as unsigned
// The value's bits without sign extension.
uint64_t bits_of(int64_t a, DType t);

// Quotient toward zero of sizes. nullopt where b's sign is not known.
std::optional<Dim> truncated_quotient(const Dim& a, const Dim& b);

}  // namespace bascule::ops
