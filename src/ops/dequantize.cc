// ops/dequantize.cc — composite: integers or small floats back to numbers by scale and zero point.
#include "ops/scales.h"

namespace bascule::ops {
namespace {

std::vector<Type> type(const OpView& op) {
  require_scales(op, 1);
  require_scales(op, 2);
  if (op.has(2) && op.in(2).dtype != op.in(0).dtype) op.fail("zero_point of x's element type", op.in(2).text() + " for " + op.in(0).text());
  const DType t = op.attrs.has("dtype") ? op.attrs.dtype("dtype") : op.in(1).dtype;
  op.require(is_float(t), "a float type as dtype", std::string(info(t).name));
  return {Type::tensor(t, op.in(0).dims)};
}

HostValues reference(const Call& call) {
  const Tensor &x = call.in(0), &scale = call.in(1);
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  int64_t i = 0;
  for_each_index(x.dims(), [&](std::span<const int64_t> index) {
    const int64_t s = scale_index(call.op.attrs, scale, index);
    const double v = x.number(i) - (call.op.has(2) ? call.in(2).number(s) : 0);
    store_double(y.dtype(), out, i++, v * scale.number(s));
  });
  return one(std::move(y));
}

Values decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const DType from = op.in(0).dtype, to = op.attrs.has("dtype") ? op.attrs.dtype("dtype") : op.in(1).dtype, wide = wide_type(op.in(1).dtype);
  const Dims& dims = op.in(0).dims;
  const DType difference = !is_int(from) ? wide : info(from).bits < 32 ? DType::i32 : DType::i64;
  Value y = in[0];
  if (op.has(2)) y = b.subtract(b.convert(y, difference), b.convert(spread_scales(b, op.attrs, in[2], dims), difference));
  return {b.convert(b.multiply(b.convert(y, wide), b.convert(spread_scales(b, op.attrs, in[1], dims), wide)), to)};
}

}  // namespace

const OpDef dequantize{
    .name = "dequantize",
    .dialect = "bascule",
    .doc = "y = (x - zero_point) * scale, of type `dtype` (scale's). scale and zero_point: one element, one per index of `axis`, or one per `block_size` elements along it",
    .inputs = {{"x", DTypes::reals}, {"scale", DTypes::floats}, {"zero_point", DTypes::reals, kOptional}},
    .attrs = {{.name = "axis", .kind = AttrKind::integer, .required = false, .fallback = int64_t{0}},
              {.name = "block_size", .kind = AttrKind::integer, .required = false, .fallback = int64_t{0}},
              {.name = "dtype", .kind = AttrKind::dtype, .required = false, .no_default = true}},
    .type = type,
    .reference = reference,
    .decompose = decompose,
    .work = per_element({.adds = 2}),
    .cases = {{"per_tensor", {{7, 129}, {}, {}}, {}, {DType::u8, DType::f32, DType::u8}, 0.5, 200},
              {"symmetric", {{7, 129}, {1}}, {}, {DType::i8, DType::f32}, -100, 100},
              {"per_axis", {{3, 5, 4}, {5}, {5}}, {{"axis", int64_t{1}}}, {DType::i8, DType::f32, DType::i8}, -9, 9},
              {"blocked", {{4, 7}, {4, 3}, {4, 3}}, {{"axis", int64_t{1}}, {"block_size", int64_t{3}}}, {DType::u4, DType::f16, DType::u4}, 0, 9},
              {"float8", {{33}, {}}, {}, {DType::f8e5m2, DType::f32}},
              {"products", {{3, 5}, {5}}, {{"axis", int64_t{1}}}, {DType::i32, DType::f32}, -1000, 1000},
              {"empty", {{0, 3}, {}}, {}, {DType::u8, DType::f32}}},
};
BASCULE_OP(dequantize);

}  // namespace bascule::ops
