// import/onnx/ms.cc — what the importers of com.microsoft share.
#include "import/onnx/ms.h"

namespace bascule::onnx {

Value gelu(Builder& b, Value x) { return b.op("gelu", {x}); }
Value gelu_tanh(Builder& b, Value x) { return b.op("gelu", {x}, {{"approximate", std::string("tanh")}}); }
Value silu(Builder& b, Value x) { return b.op("silu", {x}); }

Value activation(const NodeContext& n, Value x, const std::string& name, const Numbers& params) {
  Builder& b = n.b;
  const auto param = [&](size_t i, double fallback) { return i < params.size() ? params[i] : fallback; };
  if (name.empty()) return x;
  if (name == "Relu") return b.maximum(x, 0);
  if (name == "Tanh") return b.tanh(x);
  if (name == "Sigmoid") return b.logistic(x);
  if (name == "LeakyRelu") return b.select(b.compare(x, 0, "LT"), b.multiply(x, param(0, 0.01)), x);
  if (name == "Clip" && !is_float(b.dtype(x))) b.fail("floats", b.type(x).text());
  if (name == "Clip") return b.minimum(b.maximum(x, param(0, -float_info(b.dtype(x)).largest)), param(1, float_info(b.dtype(x)).largest));
  if (name == "HardSigmoid") return b.minimum(b.maximum(b.add(b.multiply(x, param(0, 0.2)), param(1, 0.5)), 0), 1);
  n.unsupported("activation Relu, Tanh, Sigmoid, LeakyRelu, Clip or HardSigmoid", "'" + name + "'", "Export the activation as a node of its own");
}

Value softmax_last(Builder& b, Value x) { return b.op("softmax", {x}, {{"axis", b.rank(x) - 1}}); }

Normed layer_normed(Builder& b, Value x, int64_t axis, Value scale, Value bias, double epsilon, bool centred, bool statistics) {
  Normed out;
  const Attrs attrs{{"axis", axis}, {"epsilon", epsilon}};
  out.y = centred ? b.op("layer_norm", {x, scale, bias}, attrs) : b.op("rms_norm", {x, scale}, attrs);
  if (!statistics) return out;
  Ints axes;
  for (int64_t i = axis; i < b.rank(x); ++i) axes.push_back(i);
  Value v = b.convert(x, wide_type(b.dtype(x)));
  out.mean = b.mean(v, axes, true);
  if (centred) v = b.subtract(v, out.mean);
  else out.mean = b.full(b.dims(out.mean), b.dtype(out.mean), 0);
  out.inverse = b.rsqrt(b.add(b.mean(b.multiply(v, v), axes, true), epsilon));
  return out;
}

void require_rank(const NodeContext& n, Value v, std::initializer_list<int64_t> ranks, const char* what) {
  std::string wanted;
  for (const int64_t r : ranks) {
    if (v && n.b.rank(v) == r) return;
    wanted += (wanted.empty() ? "" : " or ") + std::to_string(r);
  }
  n.fail(std::string(what) + " of rank " + wanted, v ? n.b.type(v).text() : "none");
}

Value dequantized(Builder& b, Value q, Value scale, Value zero) {
  Value x = b.convert(q, DType::f32);
  if (zero) x = b.subtract(x, b.convert(zero, DType::f32));
  return b.multiply(x, b.convert(scale, DType::f32));
}

Value quantized(Builder& b, Value x, Value scale, Value zero, DType t) {
  Value y = b.unary("round_nearest_even", b.divide(b.convert(x, DType::f32), b.convert(scale, DType::f32)));
  if (zero) y = b.add(y, b.convert(zero, DType::f32));
  y = b.minimum(b.maximum(y, static_cast<double>(int_min(t))), static_cast<double>(int_max(t)));
  return b.convert(y, t);
}

Value along(Builder& b, Value v, int64_t axis, int64_t rank) {
  if (b.rank(v) != 1) return v;
  if (b.dim(v, 0).is(1)) return b.reshape(v, {});
  if (axis >= rank) b.fail("a scale and zero point of one element", b.type(v).text());
  Dims d(static_cast<size_t>(rank), Dim(1));
  d[static_cast<size_t>(axis)] = b.dim(v, 0);
  return b.reshape(v, d);
}

Value unpacked(Builder& b, Value bytes, int64_t bits) {
  if (bits == 8) return bytes;
  if (b.rank(bytes) == 0) b.fail("packed values of rank 1 or more", b.type(bytes).text());
  Values parts;
  for (int64_t shift = 0; shift < 8; shift += bits) {
    Value v = bytes;
    if (shift > 0) v = b.divide(v, static_cast<double>(int64_t{1} << shift));
    if (shift + bits < 8) v = b.remainder(v, static_cast<double>(int64_t{1} << bits));
    parts.push_back(b.unsqueeze(v, {b.rank(v)}));
  }
  Dims d = b.dims(bytes);
  d.back() = d.back() * Dim(8 / bits);
  return b.reshape(b.concatenate(parts, b.rank(bytes)), d);
}

}  // namespace bascule::onnx
