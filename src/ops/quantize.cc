// ops/quantize.cc — composite: numbers to integers or small floats by scale and zero point.
#include <algorithm>

#include "ops/scales.h"

namespace bascule::ops {
namespace {

DType division_type(const OpView& op) { return op.attrs.has("precision") ? op.attrs.dtype("precision") : op.in(1).dtype; }

std::vector<Type> type(const OpView& op) {
  const DType t = op.attrs.dtype("dtype");
  op.require(is_int(t) || (is_float(t) && info(t).bits <= 8), "an integer or a float of 8 bits or fewer as dtype", std::string(info(t).name));
  require_scales(op, 1);
  require_scales(op, 2);
  if (op.has(2) && op.in(2).dtype != t) op.fail("zero_point of type " + std::string(info(t).name), op.in(2).text());
  op.require(is_float(division_type(op)), "a float type as precision", std::string(info(division_type(op)).name));
  return {Type::tensor(t, op.in(0).dims)};
}

HostValues reference(const Call& call) {
  const Tensor &x = call.in(0), &scale = call.in(1);
  const DType t = call.results[0].dtype, division = division_type(call.op);
  const Overflow overflow = call.op.attrs.flag("saturate") ? Overflow::saturate : Overflow::no_saturate;
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  int64_t i = 0;
  for_each_index(x.dims(), [&](std::span<const int64_t> index) {
    const int64_t s = scale_index(call.op.attrs, scale, index);
    const double q = round_to(division, round_to(division, x.number(i)) / round_to(division, scale.number(s)));
    if (is_int(t)) {
      const double v = std::nearbyint(q) + (call.op.has(2) ? call.in(2).number(s) : 0);
      const double top = t == DType::u64 ? 0x1p64 : static_cast<double>(int_max(t));
      store_double(t, out, i++, std::isnan(v) ? 0 : std::clamp(v, static_cast<double>(int_min(t)), top));
    } else {
      store_double(t, out, i++, q + (call.op.has(2) ? call.in(2).number(s) : 0), overflow);
    }
  });
  return one(std::move(y));
}

Values decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const DType t = op.attrs.dtype("dtype"), division = division_type(op);
  const Dims& dims = op.in(0).dims;
  Value y = b.divide(b.convert(in[0], division), b.convert(spread_scales(b, op.attrs, in[1], dims), division));
  if (is_int(t)) y = b.convert(b.unary("round_nearest_even", y), info(t).bits > 16 ? DType::f64 : wide_type(division));
  if (op.has(2)) y = b.add(y, b.convert(spread_scales(b, op.attrs, in[2], dims), b.dtype(y)));
  return {b.op("convert", {y}, {{"dtype", t}, {"saturate", op.attrs.flag("saturate")}})};
}

}  // namespace

const OpDef quantize{
    .name = "quantize",
    .dialect = "bascule",
    .doc = "y = saturate(round_half_even(x / scale) + zero_point) for integers, cast(x / scale) for small floats (beyond the largest: the largest if `saturate`); the quotient "
           "is of type `precision` (scale's). scale and zero_point: one element, one per index of `axis`, or one per `block_size` elements along it",
    .inputs = {{"x", DTypes::reals}, {"scale", DTypes::floats}, {"zero_point", DTypes::reals, kOptional}},
    .attrs = {{"dtype", AttrKind::dtype},
              {.name = "axis", .kind = AttrKind::integer, .required = false, .fallback = int64_t{0}},
              {.name = "block_size", .kind = AttrKind::integer, .required = false, .fallback = int64_t{0}},
              {.name = "saturate", .kind = AttrKind::flag, .required = false, .fallback = true},
              {.name = "precision", .kind = AttrKind::dtype, .required = false, .no_default = true}},
    .type = type,
    .reference = reference,
    .decompose = decompose,
    .work = per_element({.adds = 2, .divides = 1, .compares = 2}),
    .cases = {{"per_tensor", {{7, 129}, {}, {}}, {{"dtype", DType::u8}}, {DType::f32, DType::f32, DType::u8}, 0.5, 3},
              {"symmetric", {{7, 129}, {1}}, {{"dtype", DType::i8}}, {}, -40, 0.3},
              {"per_axis", {{3, 5, 4}, {5}, {5}}, {{"dtype", DType::i8}, {"axis", int64_t{1}}}, {DType::f32, DType::f32, DType::i8}, 0.01, 2},
              {"blocked", {{4, 7}, {4, 3}}, {{"dtype", DType::i4}, {"axis", int64_t{1}}, {"block_size", int64_t{3}}}, {}, 0.2, 2},
              {"float8", {{33}, {}}, {{"dtype", DType::f8e4m3fn}}, {}, 0.1, 2},
              {"half", {{33}, {}}, {{"dtype", DType::u16}}, {DType::f16, DType::f16}, 0.001, 9},
              {"empty", {{0, 3}, {}}, {{"dtype", DType::u8}}}},
};
BASCULE_OP(quantize);

}  // namespace bascule::ops
