// kernels/table.h — innermost loops, compiled once for each instruction set and chosen when the process starts. They see pointers, sizes and
// strides; they check nothing. Counts are elements. Pointers of one call do not overlap unless said.
#pragma once
#include <cstdint>

#include "loops/op.h"

namespace bascule::kernels {

// What a block's elements are held as between operators: f32 (also f16, bf16), f64, i32 (also i1, i8, i16, u8, u16), i64 (also u32).
enum class Hold : uint8_t { f32, f64, i32, i64 };
inline constexpr int kHolds = 4;
inline constexpr int64_t hold_bytes(Hold h) { return h == Hold::f32 || h == Hold::i32 ? 4 : 8; }

// How elements lie in memory.
enum class Cell : uint8_t { f32, f64, i32, i64, u32, i8, u8, i16, u16, i1, bf16, f16 };
inline constexpr int kCells = 12;

// out[i] = op(a[i], b[i], c[i]); out may be a, b or c.
using BlockOp = void (*)(void* out, const void* a, const void* b, const void* c, int64_t n);
// to[i] = from[i * stride], widened to the cell's hold. stride 0 repeats.
using LoadOp = void (*)(void* to, const void* from, int64_t stride, int64_t n);
// to[i * stride] = from[i], narrowed (floats round to nearest even).
using StoreOp = void (*)(void* to, int64_t stride, const void* from, int64_t n);
// accumulator = fold of it and x[0..n), in an order that depends on n alone. Float accumulators are double, others int64.
using FoldOp = void (*)(const void* x, int64_t n, void* accumulator);

// C[m,n] (+)= A[m,k] · B[k,n].  A(i,k) = a[i * a_row + k * a_col]; rows of C are ldc apart. Sums run over k in order, in T.
template <class T>
struct Gemm {
  int64_t mr, nr;  // tile: rows and columns held in registers
  // B in panels of nr columns, zero padded: panel p at b + p * k * nr, row kk of it at + kk * nr.
  void (*panels)(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b, T* c, int64_t ldc, bool accumulate);
  // B(k,j) = b[k * ldb + j], read in place. For few rows.
  void (*direct)(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t ldb, T* c, int64_t ldc, bool accumulate);
  // B(k,j) = b[j * ldb + k]: dot products. For few rows; A's columns lie side by side (a_col 1).
  void (*transposed)(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, const T* b, int64_t ldb, T* c, int64_t ldc);
  // Panels from B(k,j) = b[k * b_row + j * b_col].
  void (*pack)(int64_t k, int64_t n, const T* b, int64_t b_row, int64_t b_col, T* panels);
};

struct Table {
  const char* isa;
  Gemm<float> gemm_f32;
  Gemm<double> gemm_f64;
  Gemm<int32_t> gemm_i32;  // wraps

  BlockOp (*op)(loops::Op op, Hold operand);    // nullptr: none. Comparisons and is_finite give i32 0 or 1; select: a is i32, b and c `operand`
  BlockOp (*convert)(Hold from, Hold to);       // floats to ints: truncated, saturated, NaN gives 0
  BlockOp (*wrap)(Cell cell);                   // values of the hold as the cell would hold them; nullptr where nothing changes
  LoadOp (*load)(Cell cell);
  StoreOp (*store)(Cell cell);
  FoldOp (*fold)(loops::Op op, Hold operand);

  // out[i] += w * x[i * stride];  out[i] = max(out[i], x[i * stride])
  void (*axpy)(float* out, const float* x, int64_t stride, float w, int64_t n);
  void (*max_into)(float* out, const float* x, int64_t stride, int64_t n);
  // y[i] = exp(x[i] - m) / sum_k exp(x[k] - m),  m = max_k x[k]. y may be x.
  void (*softmax)(const float* x, float* y, int64_t n);
  // y[i] = (x[i] - mean) / sqrt(variance + epsilon) * gamma[i] + beta[i]; gamma, beta may be null. rms: mean is taken as 0.
  void (*norm)(const float* x, const float* gamma, const float* beta, float epsilon, bool rms, float* y, int64_t n);
  // y[j * ldy + i] = x[i * ldx + j], 4-byte elements
  void (*transpose4)(const uint32_t* x, int64_t ldx, uint32_t* y, int64_t ldy, int64_t rows, int64_t columns);
  float (*dot)(const float* a, const float* b, int64_t n);
};

// The best of this machine; BASCULE_ISA=baseline|avx2|avx512 asks for a lesser one.
const Table& table();
// Every one that this machine can run, for tests.
const Table* const* tables(int* count);

extern const Table kBaseline;
#if defined(__x86_64__)
extern const Table kAvx2, kAvx512;
#endif

}  // namespace bascule::kernels
