// import/onnx/quantize.cc — ONNX quantisation: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear and products of quantised tensors.
#include "import/onnx/quantize.h"

#include <algorithm>

#include "import/onnx/window.h"

namespace bascule::onnx {

Value to_quantized(Builder& b, Value x, Value zero_point, DType t, bool saturate) {
  if (is_float(t)) {
    if (zero_point && info(t).bits < 8) x = b.add(x, b.convert(zero_point, b.dtype(x)));
    return b.op("convert", {x}, {{"dtype", t}, {"saturate", saturate}});
  }
  const DType wide = b.dtype(x) == DType::f64 ? DType::f64 : DType::f32;  // holds every zero point of 16 bits exactly
  x = b.unary("round_nearest_even", b.convert(x, wide));
  if (zero_point) x = b.add(x, b.convert(zero_point, wide));
  return b.convert(b.clamp(static_cast<double>(int_min(t)), x, static_cast<double>(int_max(t))), t);
}

namespace {

// The axis that scales run along; any where they are one number.
int64_t scale_axis(NodeContext& n, Builder& b, Value x, Value scale, int64_t axis) {
  if (b.rank(scale) == 0 || b.rank(x) <= 1 || (b.rank(scale) == 1 && b.dim(scale, 0).is(1))) return 0;
  return n.axis(axis, b.rank(x));
}

Value quantize(NodeContext& n, Builder& b, int64_t axis, int64_t block, bool saturate, std::optional<DType> precision, std::optional<DType> output) {
  const Value x = n.in(0), zero = n.in_or_none(2);
  Value scale = n.in(1);
  const DType t = zero ? b.dtype(zero) : output.value_or(DType::u8);
  if (zero && output && *output != t)
    n.fail("output_dtype equal to the zero point's type " + std::string(info(t).name), std::string(info(*output).name));
  DType wide = precision.value_or(b.dtype(scale));
  if (!is_float(wide) || info(wide).bits < 16) wide = is_float(b.dtype(x)) ? b.dtype(x) : DType::f32;
  Value offset = zero;
  if (zero && is_float(t) && info(t).bits == 8) offset = kNoValue;  // defined to be 0
  return b.op("quantize", {x, scale, offset},
              {{"dtype", t}, {"axis", scale_axis(n, b, x, scale, axis)}, {"block_size", block}, {"saturate", saturate}, {"precision", wide}});
}

Value dequantize(NodeContext& n, Builder& b, int64_t axis, int64_t block, std::optional<DType> output) {
  const Value x = n.in(0), scale = n.in(1), zero = n.in_or_none(2);
  return b.op("dequantize", {x, scale, zero},
              {{"axis", scale_axis(n, b, x, scale, axis)}, {"block_size", block}, {"dtype", output.value_or(b.dtype(scale))}});
}

std::optional<DType> dtype_or_none(NodeContext& n, std::string_view name) {
  if (!n.has_attr(name) || n.integer(name) == 0) return std::nullopt;
  return n.dtype_attr(name);
}

int64_t block_of(NodeContext& n) {
  const int64_t block = n.integer("block_size", 0);
  if (block < 0) n.fail("block_size >= 0", std::to_string(block));
  return block;
}

// x - zero_point as i32 (small floats: f32). rows: a vector of zero points runs along the second to last axis, else along the last.
Value centered(NodeContext& n, Builder& b, Value x, size_t zero, bool rows) {
  const DType t = is_float(b.dtype(x)) ? DType::f32 : DType::i32;
  const Value v = b.convert(x, t);
  if (!n.has(zero)) return v;
  Value z = b.convert(n.in(zero), t);
  if (b.rank(z) == 1 && rows && !b.dim(z, 0).is(1)) z = b.unsqueeze(z, {1});
  return b.subtract(v, z);
}

// A scale of rows (of the product's left side or result) as a column.
Value row_scale(Builder& b, Value s, bool rows) { return rows && b.rank(s) == 1 && !b.dim(s, 0).is(1) ? b.unsqueeze(s, {1}) : s; }

// One number for each output channel (axis 1 of y), or one for all.
Value per_channel(Builder& b, Value v, Value y) {
  if (b.rank(v) == 0) return v;
  if (b.dim(v, 0).is(1)) return b.reshape(v, {});
  return b.broadcast_in_dim(v, b.dims(y), {1});
}

// w - zero_point, the zero point one number or one for each output channel (axis 0).
Value centered_kernel(NodeContext& n, Builder& b, Value w, size_t zero) {
  const Value v = b.convert(w, DType::i32);
  if (!n.has(zero)) return v;
  const Value z = b.convert(n.in(zero), DType::i32);
  if (b.rank(z) == 0 || b.dim(z, 0).is(1)) return b.subtract(v, b.reshape(z, {}));
  return b.subtract(v, b.broadcast_in_dim(z, b.dims(v), {0}));
}

}  // namespace

ONNX_OP(QuantizeLinear, 10) { return quantize(n, b, 1, 0, true, std::nullopt, std::nullopt); }
ONNX_OP(QuantizeLinear, 13) { return quantize(n, b, n.integer("axis", 1), 0, true, std::nullopt, std::nullopt); }
ONNX_OP(QuantizeLinear, 19) { return quantize(n, b, n.integer("axis", 1), 0, n.flag("saturate", true), std::nullopt, std::nullopt); }
ONNX_OP(QuantizeLinear, 21) {
  return quantize(n, b, n.integer("axis", 1), block_of(n), n.flag("saturate", true), std::nullopt, dtype_or_none(n, "output_dtype"));
}
ONNX_OP(QuantizeLinear, 23) {
  return quantize(n, b, n.integer("axis", 1), block_of(n), n.flag("saturate", true), dtype_or_none(n, "precision"), dtype_or_none(n, "output_dtype"));
}

ONNX_OP(DequantizeLinear, 10) { return dequantize(n, b, 1, 0, std::nullopt); }
ONNX_OP(DequantizeLinear, 13) { return dequantize(n, b, n.integer("axis", 1), 0, std::nullopt); }
ONNX_OP(DequantizeLinear, 21) { return dequantize(n, b, n.integer("axis", 1), block_of(n), std::nullopt); }
ONNX_OP(DequantizeLinear, 23) { return dequantize(n, b, n.integer("axis", 1), block_of(n), dtype_or_none(n, "output_dtype")); }

// scale = (max(x, 0) - min(x, 0)) / 255, zero_point = round(clip(-min / scale)), y = saturate(round(x / scale) + zero_point)
ONNX_OP(DynamicQuantizeLinear, 11) {
  const Value x = n.in(0);
  Ints axes;
  for (int64_t i = 0; i < b.rank(x); ++i) axes.push_back(i);
  const Value high = b.maximum(b.reduce("maximum", x, axes, false), 0), low = b.minimum(b.reduce("minimum", x, axes, false), 0);
  const Value range = b.subtract(high, low);
  const Value scale = b.divide(b.select(b.compare(range, 0, "EQ"), 1, range), 255);
  const Value zero = b.unary("round_nearest_even", b.clamp(0, b.divide(b.negate(low), scale), 255));
  const Value y = b.add(b.unary("round_nearest_even", b.divide(x, scale)), zero);
  return {b.convert(b.clamp(0, y, 255), DType::u8), scale, b.convert(zero, DType::u8)};
}

ONNX_OP(MatMulInteger, 10) {
  const Value l = centered(n, b, n.in(0), 2, true), r = centered(n, b, n.in(1), 3, false);
  return b.matmul(l, r);
}

ONNX_OP(ConvInteger, 10) {
  const Value x = centered(n, b, n.in(0), 2, false), w = centered_kernel(n, b, n.in(1), 3);
  return convolve(n, b, x, w, DType::i32);
}

// y = saturate(round((a - a_zero) (b - b_zero) * (a_scale * b_scale / y_scale)) + y_zero)
ONNX_OP(QLinearMatMul, 10) {
  const Value l = centered(n, b, n.in(0), 2, true), r = centered(n, b, n.in(3), 5, false);
  const Value product = b.matmul(l, r);
  const Value factor = b.divide(b.multiply(row_scale(b, n.in(1), true), n.in(4)), row_scale(b, n.in(6), true));
  const Value y = b.multiply(b.convert(product, DType::f32), b.convert(factor, DType::f32));
  const Value zero = n.in_or_none(7);
  return to_quantized(b, b.reshape(y, b.dims(product)), zero ? row_scale(b, zero, true) : kNoValue, zero ? b.dtype(zero) : n.dtype(0));
}

// As QLinearMatMul for a convolution; w_scale may be one number for each output channel; the bias is i32 in units of x_scale * w_scale.
ONNX_OP(QLinearConv, 10) {
  const Value x = centered(n, b, n.in(0), 2, false), w = centered_kernel(n, b, n.in(3), 5);
  Value y = convolve(n, b, x, w, DType::i32);
  if (n.has(8)) y = b.add(y, b.broadcast_in_dim(n.in(8), b.dims(y), {1}));
  const Value factor = b.divide(b.multiply(n.in(1), n.in(4)), n.in(6));
  const Value real = b.multiply(b.convert(y, DType::f32), per_channel(b, b.convert(factor, DType::f32), y));
  const Value zero = n.in_or_none(7);
  return to_quantized(b, real, zero ? per_channel(b, zero, y) : kNoValue, zero ? b.dtype(zero) : n.dtype(0));
}

}  // namespace bascule::onnx
