// device/chip/values_kernels.h — arithmetic of modelled chips on dense f32 arrays: conversions with rounding, products, scalar functions. Knows no
// program and no memory.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "loops/op.h"

namespace bascule::device::chip {

// n elements of type t, `stride` elements apart, from element `first` of p. Integers beyond 2^24 and f64 round to f32.
void load_f32(DType t, const std::byte* p, int64_t first, int64_t stride, int64_t n, float* out);
// Rounds to nearest even; floats beyond the range give inf, or NaN where the type has no inf. Integers truncate, beyond their range to its end (NaN: 0).
void store_f32(DType t, std::byte* p, int64_t first, int64_t stride, int64_t n, const float* in);

// out[m, n] = sum_k a[k, m] * b[k, n]: products and sums in f32, k in order from zero. out is dense.
void product_f32(const float* a, const float* b, int64_t M, int64_t K, int64_t N, float* out);

// out[i] = op(a[i], b[i], c[i]) in f32; comparisons give 1 or 0, select takes b where a != 0. false: not an operator of floats.
bool apply_f32(loops::Op op, int64_t n, const float* a, const float* b, const float* c, float* out);

// x[i] rounded to the float type t and back.
void round_f32(DType t, int64_t n, float* x);
// What an activation table of this relative error answers: mantissas rounded to the fewest bits that keep within it, so always the same error
// of its size: p bits, 2^-(p+1) <= error < 2^-p.
void coarsen_f32(double relative_error, int64_t n, float* x);

}  // namespace bascule::device::chip
