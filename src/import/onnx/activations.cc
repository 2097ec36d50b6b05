// import/onnx/activations.cc — ONNX activation functions, softmax and its kin; the experimental ones of the first operator sets too.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "import/onnx/broadcast.h"

namespace bascule::onnx {
namespace {

// log(1 + e^x) without overflow: max(x, 0) + log1p(e^-|x|)
Value softplus(Builder& b, Value x) { return b.add(b.maximum(x, 0), b.unary("log_plus_one", b.exp(b.negate(b.abs(x))))); }

Value swish(Builder& b, Value x, double alpha) {
  if (alpha == 1) return b.op("silu", {x});
  return b.multiply(x, b.logistic(b.multiply(x, alpha)));
}

// alpha * (e^(x / c) - 1), where x > 0 replaced by 0 so that the branch not taken stays finite
Value exp_minus_one_below_zero(Builder& b, Value x, double alpha, double c) {
  const Value low = b.minimum(x, 0);
  const Value e = b.unary("exponential_minus_one", c == 1 ? low : b.divide(low, c));
  return alpha == 1 ? e : b.multiply(e, alpha);
}

Value elu(Builder& b, Value x, double alpha) { return b.select(b.compare(x, 0, "LT"), exp_minus_one_below_zero(b, x, alpha, 1), x); }

// One of softmax, log_softmax, hardmax along the last axis of a view.
enum class Kind { softmax, log_softmax, hardmax };

Value along_axis(Builder& b, Value x, int64_t axis, Kind kind) {
  switch (kind) {
    case Kind::softmax: return b.op("softmax", {x}, {{"axis", axis}});
    case Kind::log_softmax: return b.op("log_softmax", {x}, {{"axis", axis}});
    case Kind::hardmax: {
      const Value best = b.op("arg_max", {x}, {{"axis", axis}, {"select_last", false}, {"dtype", DType::i64}});  // axis kept with extent 1
      return b.convert(b.compare(b.iota(DType::i64, b.dims(x), axis), best, "EQ"), b.dtype(x));
    }
  }
  return x;
}

// Before operator set 13: the input is seen as a matrix, rows = the axes before `axis`.
Value flattened(NodeContext& n, Builder& b, Kind kind) {
  const Value x = n.in(0);
  const int64_t rank = b.rank(x), axis = n.axis(n.integer("axis", 1), rank + (n.has_attr("axis") ? 0 : 1));
  if (rank > 0 && axis == rank - 1) return along_axis(b, x, axis, kind);
  const Dims d = b.dims(x);
  const Dims matrix{product(Dims(d.begin(), d.begin() + axis)), product(Dims(d.begin() + axis, d.end()))};
  return b.reshape(along_axis(b, b.reshape(x, matrix), 1, kind), d);
}

Value modern(NodeContext& n, Builder& b, Kind kind) {
  const Value x = n.in(0);
  return along_axis(b, x, n.axis(n.integer("axis", -1), b.rank(x)), kind);
}

// A rank-1 slope over the channels (axis 1) of x.
Value per_channel(Builder& b, Value slope, Value x) {
  if (b.rank(slope) != 1 || b.rank(x) <= 2 || b.dim(slope, 0).is(1)) return slope;
  Dims d(static_cast<size_t>(b.rank(x) - 1), Dim(1));
  d[0] = b.dim(slope, 0);
  return b.reshape(slope, d);
}

}  // namespace

// max(x, 0)
ONNX_OP(Relu, 1) {
  n.ignore("consumed_inputs");
  return b.maximum(n.in(0), 0);
}
ONNX_OP(LeakyRelu, 1) {
  n.ignore("consumed_inputs");
  const Value x = n.in(0);
  return b.select(b.compare(x, 0, "LT"), b.multiply(x, n.number("alpha", 0.01)), x);
}
ONNX_OP(PRelu, 1) {
  n.ignore("consumed_inputs");
  const Value x = n.in(0);
  return b.select(b.compare(x, 0, "LT"), b.multiply(x, per_channel(b, n.in(1), x)), x);
}
ONNX_OP(PRelu, 7) {
  const Value x = n.in(0);
  return b.select(b.compare(x, 0, "LT"), b.multiply(x, b.broadcast_to(n.in(1), b.dims(x))), x);
}
ONNX_OP(Elu, 1) {
  n.ignore("consumed_inputs");
  return elu(b, n.in(0), n.number("alpha", 1.0));
}
// max(x, 0) + min(0, alpha * (e^(x / alpha) - 1))
ONNX_OP(Celu, 12) {
  const Value x = n.in(0);
  const double alpha = n.number("alpha", 1.0);
  return b.add(b.maximum(x, 0), b.minimum(exp_minus_one_below_zero(b, x, alpha, alpha), 0));
}
// gamma * (x > 0 ? x : alpha * (e^x - 1))
ONNX_OP(Selu, 1) {
  n.ignore("consumed_inputs");
  return b.multiply(elu(b, n.in(0), n.number("alpha", 1.6732)), n.number("gamma", 1.0507));
}
ONNX_OP(Selu, 6) { return b.multiply(elu(b, n.in(0), n.number("alpha", 1.67326319217681884765625)), n.number("gamma", 1.05070102214813232421875)); }
ONNX_OP(Gelu, 20) {
  const std::string approximate = n.text("approximate", "none");
  if (approximate != "none" && approximate != "tanh") n.fail("approximate none or tanh", "'" + escaped(approximate) + "'");
  return b.op("gelu", {n.in(0)}, {{"approximate", approximate}});
}
ONNX_OP(Sigmoid, 1) {
  n.ignore("consumed_inputs");
  return b.logistic(n.in(0));
}
// clip(alpha * x + beta, 0, 1)
ONNX_OP(HardSigmoid, 1) {
  n.ignore("consumed_inputs");
  return b.clamp(0, b.add(b.multiply(n.in(0), n.number("alpha", 0.2)), n.number("beta", 0.5)), 1);
}
// x * clip(x / 6 + 1/2, 0, 1)
ONNX_OP(HardSwish, 14) { return b.op("hard_swish", {n.in(0)}); }
// x * sigmoid(alpha * x)
ONNX_OP(Swish, 24) { return swish(b, n.in(0), n.number("alpha", 1.0)); }
// swish(a) * b, equal shapes
ONNX_OP(SwiGLU, 28) {
  const Value a = n.in(0), v = n.in(1);
  if (b.rank(a) != b.rank(v)) n.fail("operands of one shape", b.type(a).text() + " and " + b.type(v).text());
  return b.multiply(swish(b, a, n.number("alpha", 1.0)), v);
}
// x * tanh(softplus(x))
ONNX_OP(Mish, 18) {
  const Value x = n.in(0);
  return b.multiply(x, b.tanh(softplus(b, x)));
}
ONNX_OP(Softplus, 1) { return softplus(b, n.in(0)); }
// x / (1 + |x|)
ONNX_OP(Softsign, 1) {
  const Value x = n.in(0);
  return b.divide(x, b.add(b.abs(x), 1));
}
ONNX_OP(ThresholdedRelu, 1) {
  const Value x = n.in(0);
  return b.select(b.compare(x, n.number("alpha", 1.0), "GT"), x, 0);
}
// x < -lambd: x + bias; x > lambd: x - bias; else 0
ONNX_OP(Shrink, 9) {
  const double lambd = n.number("lambd", 0.5), bias = n.number("bias", 0.0);
  const DType t = n.dtype(0);
  const Value x = b.convert(n.in(0), is_int(t) ? DType::f64 : t);
  const Value y = b.select(b.compare(x, -lambd, "LT"), b.add(x, bias), b.select(b.compare(x, lambd, "GT"), b.subtract(x, bias), 0));
  return b.convert(y, t);
}

ONNX_OP(Softmax, 1) { return flattened(n, b, Kind::softmax); }
ONNX_OP(Softmax, 13) { return modern(n, b, Kind::softmax); }
ONNX_OP(LogSoftmax, 1) { return flattened(n, b, Kind::log_softmax); }
ONNX_OP(LogSoftmax, 13) { return modern(n, b, Kind::log_softmax); }
ONNX_OP(Hardmax, 1) { return flattened(n, b, Kind::hardmax); }
ONNX_OP(Hardmax, 13) { return modern(n, b, Kind::hardmax); }

// ---------------------------------------------------------------------------------------------------- experimental, operator sets 1 to 9
// alpha * x + beta
ONNX_OP(Affine, 1) { return b.add(b.multiply(n.in(0), n.number("alpha", 1.0)), n.number("beta", 0.0)); }
// scale * x
ONNX_OP(Scale, 1) { return b.multiply(n.in(0), n.number("scale", 1.0)); }
// alpha * tanh(beta * x)
ONNX_OP(ScaledTanh, 1) { return b.multiply(b.tanh(b.multiply(n.in(0), n.number("beta"))), n.number("alpha")); }
// alpha * log(e^(beta * x) + 1)
ONNX_OP(ParametricSoftplus, 1) { return b.multiply(softplus(b, b.multiply(n.in(0), n.number("beta"))), n.number("alpha")); }
// scale * x + bias[channel], x of N C H W
ONNX_OP(ImageScaler, 1) {
  const Value x = n.in(0);
  const Numbers bias = n.numbers("bias", Numbers{});
  const Value y = b.multiply(x, n.number("scale", 1.0));
  if (bias.empty()) return y;
  const Value offset = b.constant(Tensor::from_doubles(b.dtype(x), {static_cast<int64_t>(bias.size()), 1, 1}, bias));
  return b.add(y, offset);
}
// Cuts `border` (left, top, right, bottom) off the last two axes, or takes `scale` (height, width) from (left, top) on.
ONNX_OP(Crop, 1) {
  const Value x = n.in(0);
  const Ints border = n.ints("border", Ints{0, 0, 0, 0}), scale = n.ints("scale", Ints{});
  if (border.size() != 4 || (!scale.empty() && scale.size() != 2))
    n.fail("border of 4 and scale of 2 integers", std::to_string(border.size()) + " and " + std::to_string(scale.size()));
  if (b.rank(x) < 2) n.fail("an operand of rank 2 or more", b.type(x).text());
  const Dim h = b.dim(x, -2), w = b.dim(x, -1);
  const Dim bottom = scale.empty() ? h - Dim(border[3]) : Dim(border[1]) + Dim(scale[0]),
            right = scale.empty() ? w - Dim(border[2]) : Dim(border[0]) + Dim(scale[1]);
  return b.slice_axis(b.slice_axis(x, -2, border[1], bottom), -1, border[0], right);
}

}  // namespace bascule::onnx
