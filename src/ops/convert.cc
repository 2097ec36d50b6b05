// ops/convert.cc — element type conversion. Strings are host operators; see design.md 3.
#include <cmath>
#include <limits>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// x truncated toward zero into [int_min(t), int_max(t)]; NaN gives 0.
int64_t saturated(double x, DType t) {
  if (std::isnan(x)) return 0;
  x = std::trunc(x);
  if (t == DType::u64) return x <= 0 ? 0 : x >= 0x1p64 ? -1 : static_cast<int64_t>(static_cast<uint64_t>(x));
  if (x <= static_cast<double>(int_min(t))) return int_min(t);
  const int64_t top = int_max(t);
  return x >= static_cast<double>(top) ? top : static_cast<int64_t>(x);
}

// Toward +infinity or -infinity among powers of two; range and NaN as store_double.
double power_of_two(double x, bool up) {
  if (!(x > 0) || std::isinf(x)) return x;
  int exponent;
  const double f = std::frexp(x, &exponent);  // x = f * 2^exponent, f in [0.5, 1)
  return std::ldexp(1.0, f == 0.5 || !up ? exponent - 1 : exponent);
}

HostValues reference(const Call& call) {
  const Tensor& x = call.in(0);
  const Attrs& attrs = call.op.attrs;
  const DType from = x.dtype(), to = attrs.dtype("dtype");
  const bool wrap = attrs.text("overflow") == "wrap";
  const std::string& rounding = attrs.text("round_mode");
  const Overflow overflow = attrs.flag("saturate") || attrs.text("overflow") == "saturate" ? Overflow::saturate : Overflow::no_saturate;
  if (from == to) return one(x);
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  for (int64_t i = 0; i < x.elements(); ++i) {
    check_budget();
    if (is_complex(to)) {
      if (is_int(from) || is_bool(from)) store_complex(to, out, i, from == DType::u64 ? x.number(i) : static_cast<double>(x.integer(i)));
      else store_complex(to, out, i, x.complex(i));
    } else if ((is_int(from) || is_bool(from)) && !is_float(to)) {
      store_int(to, out, i, x.integer(i));
    } else if ((is_int(from) || is_bool(from)) && from != DType::u64 && to != DType::f8e8m0fnu) {
      if (to == DType::f32 || to == DType::f64) store_int(to, out, i, x.integer(i));
      else store_double(to, out, i, x.number(i), overflow);
    } else if (from == DType::u64 && to == DType::f32) {
      const auto u = static_cast<float>(static_cast<uint64_t>(x.integer(i)));  // one rounding, not two
      store_double(to, out, i, u);
    } else {
      double v = is_complex(from) ? x.complex(i).real() : x.number(i);
      if (is_bool(to)) store_int(to, out, i, v != 0);
      else if (is_int(to) && !wrap) store_int(to, out, i, saturated(v, to));
      else if (to == DType::f8e8m0fnu && rounding != "nearest") store_double(to, out, i, power_of_two(v, rounding == "up"), overflow);
      else store_double(to, out, i, v, overflow);
    }
  }
  return one(std::move(y));
}

}  // namespace

const OpDef convert{
    .name = "convert",
    .doc = "y = x as `dtype`. Floats round to nearest even (f8e8m0fnu: round_mode nearest, up or down); floats to integers truncate, and saturate with NaN to 0 unless "
           "overflow is 'wrap'; integers wrap; beyond the largest narrow float: infinity or NaN, or the largest if overflow is 'saturate' or `saturate` is set; i1: x != 0; "
           "complex to real drops the imaginary part",
    .inputs = {{"operand", DTypes::tensors}},
    .attrs = {{"dtype", AttrKind::dtype},
              {.name = "overflow", .kind = AttrKind::text, .required = false, .fallback = std::string()},
              {.name = "saturate", .kind = AttrKind::flag, .required = false, .fallback = false},
              {.name = "round_mode", .kind = AttrKind::text, .required = false, .fallback = std::string("nearest")}},
    .type =
        [](const OpView& op) {
          Type t = op.in(0);
          t.dtype = op.attrs.dtype("dtype");
          op.require(!is_string(t.dtype), "a numeric or boolean result type", "string");
          const std::string &o = op.attrs.text("overflow"), &r = op.attrs.text("round_mode");
          op.require(o.empty() || o == "wrap" || o == "saturate", "overflow 'wrap', 'saturate' or none", "'" + escaped(o) + "'");
          op.require(r == "nearest" || r == "up" || r == "down", "round_mode 'nearest', 'up' or 'down'", "'" + escaped(r) + "'");
          return std::vector<Type>{t};
        },
    .reference = reference,
    .symbolic = [](const OpView& op, std::span<const Dims* const> in, const Type& result) -> std::optional<Dims> {
      if (!in[0]) return std::nullopt;
      if (!is_bool(result.dtype) || is_bool(op.in(0).dtype)) return *in[0];  // i1 is 0 or 1
      Dims out;
      for (const Dim& d : *in[0]) {
        if (!d.is_constant()) return std::nullopt;
        out.push_back(d.is(0) ? 0 : 1);
      }
      return out;
    },
    .work = per_element({.adds = 1}),
    .cases = {{"f32_to_i32", {{2, 3}}, {{"dtype", DType::i32}}, {}, -9, 9},
              {"scalar", {{}}, {{"dtype", DType::f64}}},
              {"empty", {{0, 3}}, {{"dtype", DType::bf16}}},
              {"f32_to_bf16", {{7, 129}}, {{"dtype", DType::bf16}}},
              {"f32_to_f16", {{7, 129}}, {{"dtype", DType::f16}}, {}, -7e4, 7e4},
              {"f32_to_i8_saturates", {{7, 129}}, {{"dtype", DType::i8}}, {}, -300, 300},
              {"f32_to_u8_wraps", {{7, 129}}, {{"dtype", DType::u8}, {"overflow", "wrap"}}, {}, -300, 300},
              {"f32_to_f8e4m3fn", {{7, 129}}, {{"dtype", DType::f8e4m3fn}}, {}, -600, 600},
              {"f32_to_f8e4m3fn_saturates", {{7, 129}}, {{"dtype", DType::f8e4m3fn}, {"saturate", true}}, {}, -600, 600},
              {"f32_to_f4", {{33}}, {{"dtype", DType::f4e2m1fn}}, {}, -8, 8},
              {"i32_to_i8_wraps", {{33}}, {{"dtype", DType::i8}}, {DType::i32}, -1000, 1000},
              {"i64_to_i4", {{33}}, {{"dtype", DType::i4}}, {DType::i64}, -20, 20},
              {"u8_to_f32", {{33}}, {{"dtype", DType::f32}}, {DType::u8}, 0, 255},
              {"i1_to_i32", {{33}}, {{"dtype", DType::i32}}, {DType::i1}},
              {"f32_to_i1", {{33}}, {{"dtype", DType::i1}}, {}, -1, 1},
              {"f32_to_c64", {{33}}, {{"dtype", DType::c64}}},
              {"c64_to_f32", {{33}}, {{"dtype", DType::f32}}, {DType::c64}}},
};
BASCULE_OP(convert);

}  // namespace bascule::ops
