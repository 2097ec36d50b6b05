// loops/op.h — the scalar operators of loop bodies. Includes nothing but integers, so that files compiled for one instruction set may read it.
#pragma once
#include <cstdint>

namespace bascule::loops {

// Scalar operators. Arithmetic is in the instruction's element type; names are StableHLO's where it has them.
#define BASCULE_SCALAR_OPS(X)                                                                                                             \
  X(load) X(constant) X(iota) X(accumulator) X(convert)                                                                                   \
  X(add) X(subtract) X(multiply) X(divide) X(maximum) X(minimum) X(remainder) X(power) X(atan2) X(bit_and) X(bit_or) X(bit_xor)           \
  X(negate) X(abs) X(sign) X(exponential) X(exponential_minus_one) X(log) X(log_plus_one) X(sqrt) X(rsqrt) X(cbrt) X(tanh) X(logistic)     \
  X(erf) X(sine) X(cosine) X(tan) X(floor) X(ceil) X(round_nearest_even) X(round_nearest_afz) X(bit_not) X(is_finite)                      \
  X(gelu) X(gelu_tanh) X(silu) /* whole, for chips that have them as one function */                                                      \
  X(equal) X(not_equal) X(less) X(less_equal) X(greater) X(greater_equal) X(select)
enum class Op : uint8_t {
#define X(name) name,
  BASCULE_SCALAR_OPS(X)
#undef X
};

}  // namespace bascule::loops
