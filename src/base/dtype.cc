// base/dtype.cc — element types. One table row per type; every float of 16 bits or fewer goes through one codec.
#include "base/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"

namespace bascule {
namespace {

constexpr std::array<DTypeInfo, kDTypeCount> kInfo{{
    {"i1", "i1", 1, 8},
    {"i2", "i2", 2, 2},
    {"i4", "i4", 4, 4},
    {"i8", "i8", 8, 8},
    {"i16", "i16", 16, 16},
    {"i32", "i32", 32, 32},
    {"i64", "i64", 64, 64},
    {"u2", "ui2", 2, 2},
    {"u4", "ui4", 4, 4},
    {"u8", "ui8", 8, 8},
    {"u16", "ui16", 16, 16},
    {"u32", "ui32", 32, 32},
    {"u64", "ui64", 64, 64},
    {"f4e2m1fn", "f4E2M1FN", 4, 4},
    {"f6e2m3fn", "f6E2M3FN", 6, 8},
    {"f6e3m2fn", "f6E3M2FN", 6, 8},
    {"f8e3m4", "f8E3M4", 8, 8},
    {"f8e4m3", "f8E4M3", 8, 8},
    {"f8e4m3fn", "f8E4M3FN", 8, 8},
    {"f8e4m3fnuz", "f8E4M3FNUZ", 8, 8},
    {"f8e4m3b11fnuz", "f8E4M3B11FNUZ", 8, 8},
    {"f8e5m2", "f8E5M2", 8, 8},
    {"f8e5m2fnuz", "f8E5M2FNUZ", 8, 8},
    {"f8e8m0fnu", "f8E8M0FNU", 8, 8},
    {"bf16", "bf16", 16, 16},
    {"f16", "f16", 16, 16},
    {"f32", "f32", 32, 32},
    {"f64", "f64", 64, 64},
    {"c64", "complex<f32>", 64, 64},
    {"c128", "complex<f64>", 128, 128},
    {"string", "!bascule.string", 0, 0},
}};

// How a small float spends its codes. ieee: top exponent is inf and NaN. fn: only all-ones magnitude is NaN, no inf.
// fnuz: the negative zero is NaN, no inf, no -0. finite: neither inf nor NaN.
enum class Codes { ieee, fn, fnuz, finite };
struct Small {
  int exponent_bits, mantissa_bits, bias;
  Codes codes;
};

constexpr Small small(DType t) {
  switch (t) {
    case DType::f4e2m1fn: return {2, 1, 1, Codes::finite};
    case DType::f6e2m3fn: return {2, 3, 1, Codes::finite};
    case DType::f6e3m2fn: return {3, 2, 3, Codes::finite};
    case DType::f8e3m4: return {3, 4, 3, Codes::ieee};
    case DType::f8e4m3: return {4, 3, 7, Codes::ieee};
    case DType::f8e4m3fn: return {4, 3, 7, Codes::fn};
    case DType::f8e4m3fnuz: return {4, 3, 8, Codes::fnuz};
    case DType::f8e4m3b11fnuz: return {4, 3, 11, Codes::fnuz};
    case DType::f8e5m2: return {5, 2, 15, Codes::ieee};
    case DType::f8e5m2fnuz: return {5, 2, 16, Codes::fnuz};
    case DType::bf16: return {8, 7, 127, Codes::ieee};
    default: return {5, 10, 15, Codes::ieee};  // f16
  }
}

constexpr uint32_t largest_code(const Small& s) {  // magnitude bits of the largest finite value
  const uint32_t all = (1u << (s.exponent_bits + s.mantissa_bits)) - 1;
  if (s.codes == Codes::ieee) return all - (1u << s.mantissa_bits);
  return s.codes == Codes::fn ? all - 1 : all;
}

double decode_magnitude(const Small& s, uint32_t magnitude) {
  const uint32_t exponent = magnitude >> s.mantissa_bits;
  const uint32_t mantissa = magnitude & ((1u << s.mantissa_bits) - 1);
  if (exponent == 0) return std::ldexp(mantissa, 1 - s.bias - s.mantissa_bits);
  return std::ldexp(mantissa + (1u << s.mantissa_bits), static_cast<int>(exponent) - s.bias - s.mantissa_bits);
}

double decode(const Small& s, uint32_t code) {
  const int magnitude_bits = s.exponent_bits + s.mantissa_bits;
  const bool negative = ((code >> magnitude_bits) & 1u) != 0;
  const uint32_t magnitude = code & ((1u << magnitude_bits) - 1);
  double x;
  if (s.codes == Codes::fnuz && negative && magnitude == 0) return std::numeric_limits<double>::quiet_NaN();
  if (s.codes == Codes::ieee && magnitude > largest_code(s)) {
    const bool is_inf = (magnitude & ((1u << s.mantissa_bits) - 1)) == 0;
    x = is_inf ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (s.codes == Codes::fn && magnitude > largest_code(s)) {
    x = std::numeric_limits<double>::quiet_NaN();
  } else {
    x = decode_magnitude(s, magnitude);
  }
  return negative ? -x : x;
}

uint32_t encode(const Small& s, double x, Overflow overflow) {
  const int magnitude_bits = s.exponent_bits + s.mantissa_bits;
  const uint32_t sign = std::signbit(x) ? 1u << magnitude_bits : 0u;
  const uint32_t top = largest_code(s);
  if (std::isnan(x)) {
    switch (s.codes) {
      case Codes::ieee: return sign | (top + 1) | (1u << (s.mantissa_bits - 1));
      case Codes::fn: return sign | (top + 1);
      case Codes::fnuz: return 1u << magnitude_bits;
      case Codes::finite: return sign | top;  // no NaN to give; callers that can refuse do
    }
  }
  const double a = std::fabs(x);
  uint32_t code;
  if (a == 0) {
    code = 0;
  } else if (std::isinf(a)) {
    code = top + 1;
  } else {
    int exponent;
    std::frexp(a, &exponent);  // a = f * 2^exponent, f in [0.5, 1)
    const int unit = std::max(exponent - 1, 1 - s.bias) - s.mantissa_bits;  // exponent of the last place
    const double scaled = std::ldexp(a, -unit);                            // in [0, 2^(mantissa_bits+1)): exact
    const double rounded = std::nearbyint(scaled);
    const auto places = static_cast<uint64_t>(rounded);
    const int64_t biased = static_cast<int64_t>(unit) + s.mantissa_bits + s.bias - 1;  // 0 for the subnormal binade
    const uint64_t wide = (static_cast<uint64_t>(biased) << s.mantissa_bits) + places;
    code = wide > top ? top + 1 : static_cast<uint32_t>(wide);
  }
  if (code > top) {
    const bool keep_inf = std::isinf(a) && s.codes == Codes::ieee && overflow == Overflow::no_saturate;
    if (s.codes == Codes::finite || (overflow == Overflow::saturate && !keep_inf)) code = top;
    else if (s.codes == Codes::fnuz) return 1u << magnitude_bits;
    else code = top + 1;  // ieee: inf; fn: NaN
  }
  if (code == 0 && s.codes == Codes::fnuz) return 0;  // no negative zero
  return sign | code;
}

// e8m0: 2^(code - 127), 255 is NaN; no zero, no sign.
double decode_e8m0(uint8_t code) { return code == 255 ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, code - 127); }
uint8_t encode_e8m0(double x, Overflow overflow) {
  if (std::isnan(x) || x < 0) return 255;
  if (x == 0) return 0;
  if (std::isinf(x)) return overflow == Overflow::saturate ? 254 : 255;
  int exponent;
  const double f = std::frexp(x, &exponent);  // x = f * 2^exponent
  int power = exponent - 1;
  // nearest power of two, ties (f = 0.75) to the even code
  if (f > 0.75 || (f == 0.75 && ((power + 127) & 1) != 0)) ++power;
  const int code = power + 127;
  if (code < 0) return 0;
  if (code > 254) return overflow == Overflow::saturate ? 254 : 255;
  return static_cast<uint8_t>(code);
}

template <class T>
T get(const std::byte* p, int64_t i) {
  T x;
  std::memcpy(&x, p + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return x;
}
template <class T>
void put(std::byte* p, int64_t i, T x) {
  std::memcpy(p + i * static_cast<int64_t>(sizeof(T)), &x, sizeof(T));
}

uint8_t get_packed(int bits, const std::byte* p, int64_t i) {
  const int64_t per = 8 / bits;
  return static_cast<uint8_t>((static_cast<uint8_t>(p[i / per]) >> ((i % per) * bits)) & ((1 << bits) - 1));
}
void put_packed(int bits, std::byte* p, int64_t i, uint8_t code) {
  const int64_t per = 8 / bits;
  const int shift = static_cast<int>(i % per) * bits;
  const int mask = ((1 << bits) - 1) << shift;
  p[i / per] = static_cast<std::byte>((static_cast<int>(p[i / per]) & ~mask) | ((code << shift) & mask));
}

[[noreturn]] void wrong_type(const char* function, DType t) { fail_internal(function, "another element type", std::string(info(t).name)); }

}  // namespace

const DTypeInfo& info(DType t) { return kInfo[static_cast<size_t>(t)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int t = 0; t < kDTypeCount; ++t)
    if (kInfo[static_cast<size_t>(t)].name == name) return static_cast<DType>(t);
  return std::nullopt;
}

std::optional<DType> dtype_from_mlir(std::string_view name) {
  for (int t = 0; t < kDTypeCount; ++t)
    if (kInfo[static_cast<size_t>(t)].mlir_name == name) return static_cast<DType>(t);
  return std::nullopt;
}

int64_t storage_bytes(DType t, int64_t elements) {
  if (elements < 0) return -1;
  int64_t bits;
  if (__builtin_mul_overflow(elements, static_cast<int64_t>(info(t).storage_bits), &bits)) {
    const int64_t bytes_each = info(t).storage_bits / 8;  // a size in bytes may fit though its bits do not
    int64_t bytes;
    return bytes_each == 0 || __builtin_mul_overflow(elements, bytes_each, &bytes) ? -1 : bytes;
  }
  return bits / 8 + (bits % 8 != 0);
}

int64_t load_int(DType t, const std::byte* p, int64_t i) {
  switch (t) {
    case DType::i1: return p[i] != std::byte{0};
    case DType::i2: return static_cast<int8_t>(get_packed(2, p, i) << 6) >> 6;
    case DType::i4: return static_cast<int8_t>(get_packed(4, p, i) << 4) >> 4;
    case DType::u2: return get_packed(2, p, i);
    case DType::u4: return get_packed(4, p, i);
    case DType::i8: return get<int8_t>(p, i);
    case DType::i16: return get<int16_t>(p, i);
    case DType::i32: return get<int32_t>(p, i);
    case DType::i64: return get<int64_t>(p, i);
    case DType::u8: return get<uint8_t>(p, i);
    case DType::u16: return get<uint16_t>(p, i);
    case DType::u32: return get<uint32_t>(p, i);
    case DType::u64: return get<int64_t>(p, i);
    case DType::c64:
    case DType::c128:
    case DType::string: wrong_type("load_int", t);
    default: {
      const double x = load_double(t, p, i);
      return x >= -0x1p63 && x < 0x1p63 ? static_cast<int64_t>(x) : std::numeric_limits<int64_t>::min();
    }
  }
}

double load_double(DType t, const std::byte* p, int64_t i) {
  switch (t) {
    case DType::f64: return get<double>(p, i);
    case DType::f32: return get<float>(p, i);
    case DType::bf16: return std::bit_cast<float>(static_cast<uint32_t>(get<uint16_t>(p, i)) << 16);
    case DType::f16: return decode(small(t), get<uint16_t>(p, i));
    case DType::f4e2m1fn: return decode(small(t), get_packed(4, p, i));
    case DType::f8e8m0fnu: return decode_e8m0(get<uint8_t>(p, i));
    case DType::u64: return static_cast<double>(get<uint64_t>(p, i));
    default:
      if (is_float(t)) return decode(small(t), get<uint8_t>(p, i));
      return static_cast<double>(load_int(t, p, i));
  }
}

std::complex<double> load_complex(DType t, const std::byte* p, int64_t i) {
  if (t == DType::c64) return {get<float>(p, 2 * i), get<float>(p, 2 * i + 1)};
  if (t == DType::c128) return {get<double>(p, 2 * i), get<double>(p, 2 * i + 1)};
  return load_double(t, p, i);
}

void store_int(DType t, std::byte* p, int64_t i, int64_t x) {
  switch (t) {
    case DType::i1: p[i] = static_cast<std::byte>(x != 0); return;
    case DType::i2:
    case DType::u2: put_packed(2, p, i, static_cast<uint8_t>(x & 3)); return;
    case DType::i4:
    case DType::u4: put_packed(4, p, i, static_cast<uint8_t>(x & 15)); return;
    case DType::i8:
    case DType::u8: put(p, i, static_cast<uint8_t>(x)); return;
    case DType::i16:
    case DType::u16: put(p, i, static_cast<uint16_t>(x)); return;
    case DType::i32:
    case DType::u32: put(p, i, static_cast<uint32_t>(x)); return;
    case DType::i64:
    case DType::u64: put(p, i, x); return;
    case DType::f32: put(p, i, static_cast<float>(x)); return;  // one rounding, not two
    case DType::c64:
    case DType::c128: store_complex(t, p, i, static_cast<double>(x)); return;
    case DType::string: wrong_type("store_int", t);
    default: store_double(t, p, i, static_cast<double>(x)); return;
  }
}

void store_double(DType t, std::byte* p, int64_t i, double x, Overflow overflow) {
  switch (t) {
    case DType::f64: put(p, i, x); return;
    case DType::f32: put(p, i, static_cast<float>(x)); return;
    case DType::bf16:
    case DType::f16: put(p, i, static_cast<uint16_t>(encode(small(t), x, Overflow::no_saturate))); return;
    case DType::f4e2m1fn: put_packed(4, p, i, static_cast<uint8_t>(encode(small(t), x, overflow))); return;
    case DType::f8e8m0fnu: put(p, i, encode_e8m0(x, overflow)); return;
    case DType::i1: p[i] = static_cast<std::byte>(x != 0); return;
    case DType::c64:
    case DType::c128: store_complex(t, p, i, x); return;
    case DType::string: wrong_type("store_double", t);
    default: break;
  }
  if (is_float(t)) {
    put(p, i, static_cast<uint8_t>(encode(small(t), x, overflow)));
    return;
  }
  const bool upper_u64 = t == DType::u64 && x >= 0x1p63 && x < 0x1p64;
  if (upper_u64) put(p, i, static_cast<uint64_t>(x));
  else store_int(t, p, i, x > -0x1p63 && x < 0x1p63 ? static_cast<int64_t>(x) : std::numeric_limits<int64_t>::min());
}

void store_complex(DType t, std::byte* p, int64_t i, std::complex<double> x) {
  if (t == DType::c64) {
    put(p, 2 * i, static_cast<float>(x.real()));
    put(p, 2 * i + 1, static_cast<float>(x.imag()));
  } else if (t == DType::c128) {
    put(p, 2 * i, x.real());
    put(p, 2 * i + 1, x.imag());
  } else {
    store_double(t, p, i, x.real());
  }
}

double round_to(DType t, double x, Overflow overflow) {
  if (t == DType::f64) return x;
  if (t == DType::f32) return static_cast<float>(x);
  std::byte code[16] = {};
  store_double(t, code, 0, x, overflow);
  return load_double(t, code, 0);
}

FloatInfo float_info(DType t) {
  if (t == DType::f64) return {std::numeric_limits<double>::max(), 0x1p-52, std::numeric_limits<double>::min(), true, true};
  if (t == DType::f32) return {std::numeric_limits<float>::max(), 0x1p-23, std::numeric_limits<float>::min(), true, true};
  if (t == DType::f8e8m0fnu) return {0x1p127, 1.0, 0x1p-127, false, true};
  if (!is_float(t)) wrong_type("float_info", t);
  const Small s = small(t);
  return {decode_magnitude(s, largest_code(s)), std::ldexp(1.0, -s.mantissa_bits), std::ldexp(1.0, 1 - s.bias), s.codes == Codes::ieee, s.codes != Codes::finite};
}

int64_t int_min(DType t) {
  return is_signed_int(t) ? static_cast<int64_t>(~uint64_t{0} << (info(t).bits - 1)) : 0;
}
int64_t int_max(DType t) {
  if (t == DType::u64) return -1;
  const int bits = is_signed_int(t) ? info(t).bits - 1 : info(t).bits;
  return static_cast<int64_t>((uint64_t{1} << bits) - 1);
}

}  // namespace bascule
