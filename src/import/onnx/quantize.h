// import/onnx/quantize.h — scales and zero points spread over a tensor, and the rounding that turns real numbers into quantised ones.
#pragma once
#include "import/onnx/op.h"

namespace bascule::onnx {

// saturate(round half to even(x) + zero_point) as t; x of a float type. Small floats: the nearest value, saturated or not.
Value to_quantized(Builder& b, Value x, Value zero_point, DType t, bool saturate = true);

}  // namespace bascule::onnx
