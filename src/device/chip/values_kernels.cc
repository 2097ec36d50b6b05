// device/chip/values_kernels.cc — see values_kernels.h. Bits never depend on the machine: no fused multiply-add, one order of summation.
#include "device/chip/values_kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

namespace bascule::device::chip {
namespace {

using loops::Op;

float from_bf16(uint16_t h) { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }
uint16_t to_bf16(float x) {
  const auto u = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded);
}

float from_f16(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, rest = static_cast<uint32_t>(h & 0x7fffu) << 13;
  const uint32_t exponent = rest & 0x0f800000u;
  if (exponent == 0x0f800000u) return std::bit_cast<float>(sign | (rest + (uint32_t{224} << 23)));  // inf, NaN: exponent 31 -> 255
  if (exponent == 0) {
    const float small = std::bit_cast<float>(rest + (uint32_t{113} << 23)) - std::bit_cast<float>(uint32_t{113} << 23);
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(small));
  }
  return std::bit_cast<float>(sign | (rest + (uint32_t{112} << 23)));
}
uint16_t to_f16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  uint32_t u = bits & 0x7fffffffu;
  if (u > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (u >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to 65536 or more
  if (u < 0x38800000u) {                                               // below 2^-14: the adder rounds at 2^-24
    const float shifted = std::bit_cast<float>(u) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f)));
  }
  u += 0xfffu + ((u >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((u - (uint32_t{112} << 23)) >> 13));
}

// All 256 values of an 8-bit (or unpacked 6-bit) type.
const std::array<float, 256>& byte_table(DType t) {
  static std::array<std::unique_ptr<std::array<float, 256>>, kDTypeCount> tables;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  auto& table = tables[static_cast<size_t>(t)];
  if (!table) {
    table = std::make_unique<std::array<float, 256>>();
    for (size_t i = 0; i < 256; ++i) {
      const auto byte = static_cast<std::byte>(i);
      (*table)[i] = static_cast<float>(load_double(t, &byte, 0));
    }
  }
  return *table;
}

template <class T, class F>
void load_each(const std::byte* p, int64_t first, int64_t stride, int64_t n, float* out, F f) {
  const T* x = reinterpret_cast<const T*>(p) + first;
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) out[i] = f(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = f(x[i * stride]);
  }
}
template <class T, class F>
void store_each(std::byte* p, int64_t first, int64_t stride, int64_t n, const float* in, F f) {
  T* x = reinterpret_cast<T*>(p) + first;
  if (stride == 1) {
    for (int64_t i = 0; i < n; ++i) x[i] = f(in[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) x[i * stride] = f(in[i]);
  }
}

#ifdef __x86_64__
#define BASCULE_CLONES [[gnu::target_clones("avx2", "default")]]
#else
#define BASCULE_CLONES
#endif

using Vec = float __attribute__((vector_size(32), aligned(4)));

// Rows m of the result, 8 columns wide.
template <int kRows>
[[gnu::always_inline]] inline void product_tile(const float* a, const float* b, int64_t M, int64_t K, int64_t pitch, float* out, int64_t out_pitch, int64_t columns) {
  Vec sum[kRows] = {};
  for (int64_t k = 0; k < K; ++k) {
    Vec row;
    std::memcpy(&row, b + k * pitch, sizeof row);
    const float* x = a + k * M;
    for (int m = 0; m < kRows; ++m) sum[m] += row * x[m];
  }
  for (int m = 0; m < kRows; ++m) std::memcpy(out + m * out_pitch, &sum[m], static_cast<size_t>(columns) * sizeof(float));
}

// b has 8-column panels that may be read whole: pitch is a multiple of 8.
BASCULE_CLONES void product_panels(const float* a, const float* b, int64_t M, int64_t K, int64_t N, int64_t pitch, float* out) {
  for (int64_t n = 0; n < N; n += 8) {
    const int64_t columns = std::min<int64_t>(8, N - n);
    int64_t m = 0;
    for (; m + 6 <= M; m += 6) product_tile<6>(a + m, b + n, M, K, pitch, out + m * N + n, N, columns);
    for (; m + 2 <= M; m += 2) product_tile<2>(a + m, b + n, M, K, pitch, out + m * N + n, N, columns);
    for (; m < M; ++m) product_tile<1>(a + m, b + n, M, K, pitch, out + m * N + n, N, columns);
  }
}

template <class F>
void each(int64_t n, const float* a, float* out, F f) {
  for (int64_t i = 0; i < n; ++i) out[i] = f(a[i]);
}
template <class F>
void each(int64_t n, const float* a, const float* b, float* out, F f) {
  for (int64_t i = 0; i < n; ++i) out[i] = f(a[i], b[i]);
}

float sign_of(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }

bool unary(Op op, int64_t n, const float* a, float* out) {
  switch (op) {
    case Op::load:
    case Op::convert: std::copy(a, a + n, out); return true;
    case Op::negate: each(n, a, out, [](float x) { return -x; }); return true;
    case Op::abs: each(n, a, out, [](float x) { return std::fabs(x); }); return true;
    case Op::sign: each(n, a, out, sign_of); return true;
    case Op::exponential: each(n, a, out, [](float x) { return std::exp(x); }); return true;
    case Op::exponential_minus_one: each(n, a, out, [](float x) { return std::expm1(x); }); return true;
    case Op::log: each(n, a, out, [](float x) { return std::log(x); }); return true;
    case Op::log_plus_one: each(n, a, out, [](float x) { return std::log1p(x); }); return true;
    case Op::sqrt: each(n, a, out, [](float x) { return std::sqrt(x); }); return true;
    case Op::rsqrt: each(n, a, out, [](float x) { return 1 / std::sqrt(x); }); return true;
    case Op::cbrt: each(n, a, out, [](float x) { return std::cbrt(x); }); return true;
    case Op::tanh: each(n, a, out, [](float x) { return std::tanh(x); }); return true;
    case Op::logistic: each(n, a, out, [](float x) { return 1 / (1 + std::exp(-x)); }); return true;
    case Op::erf: each(n, a, out, [](float x) { return std::erf(x); }); return true;
    case Op::gelu: each(n, a, out, [](float x) { return 0.5f * x * std::erfc(x * -0.70710678f); }); return true;
    case Op::gelu_tanh: each(n, a, out, [](float x) { return 0.5f * x * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x))); }); return true;
    case Op::silu: each(n, a, out, [](float x) { return x / (1 + std::exp(-x)); }); return true;
    case Op::sine: each(n, a, out, [](float x) { return std::sin(x); }); return true;
    case Op::cosine: each(n, a, out, [](float x) { return std::cos(x); }); return true;
    case Op::tan: each(n, a, out, [](float x) { return std::tan(x); }); return true;
    case Op::floor: each(n, a, out, [](float x) { return std::floor(x); }); return true;
    case Op::ceil: each(n, a, out, [](float x) { return std::ceil(x); }); return true;
    case Op::round_nearest_even: each(n, a, out, [](float x) { return std::nearbyint(x); }); return true;
    case Op::round_nearest_afz: each(n, a, out, [](float x) { return std::round(x); }); return true;
    case Op::is_finite: each(n, a, out, [](float x) { return std::isfinite(x) ? 1.0f : 0.0f; }); return true;
    case Op::bit_not: each(n, a, out, [](float x) { return x != 0 ? 0.0f : 1.0f; }); return true;
    default: return false;
  }
}

// Masks held as floats are 0 or 1: bit operators are logical on them.
bool binary(Op op, int64_t n, const float* a, const float* b, float* out) {
  switch (op) {
    case Op::add: each(n, a, b, out, [](float x, float y) { return x + y; }); return true;
    case Op::subtract: each(n, a, b, out, [](float x, float y) { return x - y; }); return true;
    case Op::multiply: each(n, a, b, out, [](float x, float y) { return x * y; }); return true;
    case Op::divide: each(n, a, b, out, [](float x, float y) { return x / y; }); return true;
    case Op::maximum: each(n, a, b, out, [](float x, float y) { return x != x ? x : y != y ? y : x > y ? x : y; }); return true;
    case Op::minimum: each(n, a, b, out, [](float x, float y) { return x != x ? x : y != y ? y : x < y ? x : y; }); return true;
    case Op::remainder: each(n, a, b, out, [](float x, float y) { return std::fmod(x, y); }); return true;
    case Op::power: each(n, a, b, out, [](float x, float y) { return std::pow(x, y); }); return true;
    case Op::atan2: each(n, a, b, out, [](float x, float y) { return std::atan2(x, y); }); return true;
    case Op::equal: each(n, a, b, out, [](float x, float y) { return x == y ? 1.0f : 0.0f; }); return true;
    case Op::not_equal: each(n, a, b, out, [](float x, float y) { return x != y ? 1.0f : 0.0f; }); return true;
    case Op::less: each(n, a, b, out, [](float x, float y) { return x < y ? 1.0f : 0.0f; }); return true;
    case Op::less_equal: each(n, a, b, out, [](float x, float y) { return x <= y ? 1.0f : 0.0f; }); return true;
    case Op::greater: each(n, a, b, out, [](float x, float y) { return x > y ? 1.0f : 0.0f; }); return true;
    case Op::greater_equal: each(n, a, b, out, [](float x, float y) { return x >= y ? 1.0f : 0.0f; }); return true;
    case Op::bit_and: each(n, a, b, out, [](float x, float y) { return x != 0 && y != 0 ? 1.0f : 0.0f; }); return true;
    case Op::bit_or: each(n, a, b, out, [](float x, float y) { return x != 0 || y != 0 ? 1.0f : 0.0f; }); return true;
    case Op::bit_xor: each(n, a, b, out, [](float x, float y) { return (x != 0) != (y != 0) ? 1.0f : 0.0f; }); return true;
    default: return false;
  }
}

// u's mantissa rounded to nearest even, dropping `bits` of its 23.
float round_mantissa(float x, int bits) {
  const auto u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7f800000u) == 0x7f800000u || (u & 0x7fffffffu) == 0) return x;
  const uint32_t half = (1u << (bits - 1)) - 1u;
  return std::bit_cast<float>((u + half + ((u >> bits) & 1u)) & ~((1u << bits) - 1u));
}

}  // namespace

void load_f32(DType t, const std::byte* p, int64_t first, int64_t stride, int64_t n, float* out) {
  switch (t) {
    case DType::f32: load_each<float>(p, first, stride, n, out, [](float x) { return x; }); return;
    case DType::bf16: load_each<uint16_t>(p, first, stride, n, out, from_bf16); return;
    case DType::f16: load_each<uint16_t>(p, first, stride, n, out, from_f16); return;
    case DType::i32: load_each<int32_t>(p, first, stride, n, out, [](int32_t x) { return static_cast<float>(x); }); return;
    case DType::i8: load_each<int8_t>(p, first, stride, n, out, [](int8_t x) { return static_cast<float>(x); }); return;
    case DType::i1:
    case DType::u8: load_each<uint8_t>(p, first, stride, n, out, [](uint8_t x) { return static_cast<float>(x); }); return;
    default: break;
  }
  if (is_float(t) && info(t).storage_bits == 8) {
    const auto& table = byte_table(t);
    load_each<uint8_t>(p, first, stride, n, out, [&](uint8_t x) { return table[x]; });
    return;
  }
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(load_double(t, p, first + i * stride));
}

void store_f32(DType t, std::byte* p, int64_t first, int64_t stride, int64_t n, const float* in) {
  switch (t) {
    case DType::f32: store_each<float>(p, first, stride, n, in, [](float x) { return x; }); return;
    case DType::bf16: store_each<uint16_t>(p, first, stride, n, in, to_bf16); return;
    case DType::f16: store_each<uint16_t>(p, first, stride, n, in, to_f16); return;
    case DType::i1: store_each<uint8_t>(p, first, stride, n, in, [](float x) { return static_cast<uint8_t>(x != 0); }); return;
    default: break;
  }
  if (is_int(t) && info(t).bits <= 32) {  // as loops convert: toward zero, to the nearest end of the range beyond it
    const auto low = static_cast<double>(int_min(t)), high = static_cast<double>(int_max(t));
    for (int64_t i = 0; i < n; ++i) store_int(t, p, first + i * stride, in[i] != in[i] ? 0 : static_cast<int64_t>(std::clamp(static_cast<double>(in[i]), low, high)));
    return;
  }
  for (int64_t i = 0; i < n; ++i) store_double(t, p, first + i * stride, static_cast<double>(in[i]));
}

void product_f32(const float* a, const float* b, int64_t M, int64_t K, int64_t N, float* out) {
  if (K == 0) {  // operands without elements may have no address to step from
    std::fill_n(out, M * N, 0.0f);
    return;
  }
  const int64_t pitch = (N + 7) / 8 * 8;
  if (pitch == N) {
    product_panels(a, b, M, K, N, pitch, out);
    return;
  }
  std::vector<float> padded(static_cast<size_t>(K * pitch));
  for (int64_t k = 0; k < K; ++k) std::copy(b + k * N, b + (k + 1) * N, padded.begin() + k * pitch);
  product_panels(a, padded.data(), M, K, N, pitch, out);
}

bool apply_f32(Op op, int64_t n, const float* a, const float* b, const float* c, float* out) {
  if (op == Op::select) {
    for (int64_t i = 0; i < n; ++i) out[i] = a[i] != 0 ? b[i] : c[i];
    return true;
  }
  return unary(op, n, a, out) || binary(op, n, a, b, out);
}

void round_f32(DType t, int64_t n, float* x) {
  if (t == DType::f32 || t == DType::f64) return;
  if (t == DType::bf16) each(n, x, x, [](float v) { return from_bf16(to_bf16(v)); });
  else if (t == DType::f16) each(n, x, x, [](float v) { return from_f16(to_f16(v)); });
  else each(n, x, x, [t](float v) { return static_cast<float>(round_to(t, static_cast<double>(v))); });
}

void coarsen_f32(double relative_error, int64_t n, float* x) {
  if (!(relative_error > 0)) return;
  const int bits = std::clamp(static_cast<int>(std::ceil(-std::log2(relative_error))) - 1, 1, 23);
  if (bits == 23) return;
  each(n, x, x, [drop = 23 - bits](float v) { return round_mantissa(v, drop); });
}

}  // namespace bascule::device::chip
