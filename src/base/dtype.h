// base/dtype.h — element types: every one of ONNX and StableHLO, their bits, names, and exact conversion to and from double or int64.
#pragma once
#include <complex>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bascule {

enum class DType : uint8_t {
  i1, i2, i4, i8, i16, i32, i64, u2, u4, u8, u16, u32, u64,
  f4e2m1fn, f6e2m3fn, f6e3m2fn, f8e3m4, f8e4m3, f8e4m3fn, f8e4m3fnuz, f8e4m3b11fnuz, f8e5m2, f8e5m2fnuz, f8e8m0fnu,
  bf16, f16, f32, f64, c64, c128, string,
};
inline constexpr int kDTypeCount = static_cast<int>(DType::string) + 1;

struct DTypeInfo {
  std::string_view name;       // ours: "f32", "i1", "f8e4m3fn", "u8"
  std::string_view mlir_name;  // StableHLO text: "f32", "i1", "f8E4M3FN", "ui8", "complex<f32>"
  int bits;                    // significant bits of one element (i1: 1, f6: 6)
  int storage_bits;            // bits in memory: 2- and 4-bit types are packed, low bits first; i1 and f6 take a byte. 0 for string
};
const DTypeInfo& info(DType t);
std::optional<DType> dtype_from_name(std::string_view ours);
std::optional<DType> dtype_from_mlir(std::string_view name);

constexpr bool is_signed_int(DType t) { return t >= DType::i2 && t <= DType::i64; }
constexpr bool is_unsigned_int(DType t) { return t >= DType::u2 && t <= DType::u64; }
constexpr bool is_int(DType t) { return t >= DType::i2 && t <= DType::u64; }  // i1 is not one
constexpr bool is_bool(DType t) { return t == DType::i1; }
constexpr bool is_float(DType t) { return t >= DType::f4e2m1fn && t <= DType::f64; }
constexpr bool is_complex(DType t) { return t == DType::c64 || t == DType::c128; }
constexpr bool is_string(DType t) { return t == DType::string; }
constexpr DType real_of(DType t) { return t == DType::c64 ? DType::f32 : t == DType::c128 ? DType::f64 : t; }

// Bytes that `elements` elements take, packed types rounded up to a byte. -1 if that overflows int64 or elements < 0. 0 for string.
int64_t storage_bytes(DType t, int64_t elements);

// Element i of an array, exactly. load_double: any int, bool or float type (i64/u64 beyond 2^53 round to nearest even).
// load_int: bool and int types (u64 keeps its bits), floats truncate. A string type is an InternalError.
double load_double(DType t, const std::byte* p, int64_t i);
int64_t load_int(DType t, const std::byte* p, int64_t i);
std::complex<double> load_complex(DType t, const std::byte* p, int64_t i);

// What a cast does with a finite value beyond the largest of a float type of 8 bits or fewer.
enum class Overflow { saturate, no_saturate };
// store_double rounds to nearest even. Floats of 16 bits or more overflow to infinity. Narrow floats: no_saturate gives inf, or NaN
// where the type has no inf (f6, f4: the largest value); saturate gives +-largest. Integers: truncates toward zero, then wraps
// modulo 2^bits (NaN, out of int64: the x86 conversion's INT64_MIN, wrapped). i1: x != 0.
void store_double(DType t, std::byte* p, int64_t i, double x, Overflow overflow = Overflow::no_saturate);
void store_int(DType t, std::byte* p, int64_t i, int64_t x);  // wraps modulo 2^bits; i1: x != 0; floats: rounds
void store_complex(DType t, std::byte* p, int64_t i, std::complex<double> x);

// x as the element type would hold it: round_to(f32, x) == double(float(x)).
double round_to(DType t, double x, Overflow overflow = Overflow::no_saturate);

// Properties of a float type, for tolerances and clamps: largest finite value, 2^-(mantissa bits), whether inf and NaN exist.
struct FloatInfo {
  double largest;
  double epsilon;  // distance from 1 to the next value
  double smallest_normal;
  bool has_inf, has_nan;
};
FloatInfo float_info(DType t);
// Smallest and largest value of bool and int types up to 64 bits (u64's largest as int64 bits -1).
int64_t int_min(DType t);
int64_t int_max(DType t);

}  // namespace bascule
