// import/onnx/ms.h — what the importers of com.microsoft share: activations by name, normalisation, softmax, linear quantisation.
#pragma once
#include "import/onnx/op.h"

namespace bascule::onnx {

// The type that small floats are computed in.
inline DType wide_type(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }

Value gelu(Builder& b, Value x);       // x/2 (1 + erf(x / sqrt 2))
Value gelu_tanh(Builder& b, Value x);  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
Value silu(Builder& b, Value x);       // x / (1 + e^-x)
// The activation that fused operators name: Relu, Tanh, Sigmoid, LeakyRelu(alpha), Clip(min, max), HardSigmoid(alpha, beta). "": none.
Value activation(const NodeContext& n, Value x, const std::string& name, const Numbers& params);

Value softmax_last(Builder& b, Value x);

// Refuses an operand of another rank: what asks for its extents comes after.
void require_rank(const NodeContext& n, Value v, std::initializer_list<int64_t> ranks, const char* what);

// x standardised over the axes from `axis` on, times scale plus bias (kNoValue: none). centred: false leaves the mean in (root mean square).
// With `statistics`, the mean (0 if not centred) and inverse deviation in f32 at least, with extents of 1.
struct Normed {
  Value y, mean, inverse;
};
Normed layer_normed(Builder& b, Value x, int64_t axis, Value scale, Value bias, double epsilon, bool centred, bool statistics);

// (q - zero) * scale in f32; scale and zero broadcast to q's shape. zero may be kNoValue.
Value dequantized(Builder& b, Value q, Value scale, Value zero);
// round(x / scale) + zero, half to even, saturated to t.
Value quantized(Builder& b, Value x, Value scale, Value zero, DType t);
// Rank-1 v of one element as a scalar; of several along `axis` of a value of this rank; other ranks as they are.
Value along(Builder& b, Value v, int64_t axis, int64_t rank);
// Bytes that hold 8 / bits values each, low bits first, as values: [..., n] -> [..., n * 8 / bits] of type u8.
Value unpacked(Builder& b, Value bytes, int64_t bits);

}  // namespace bascule::onnx
