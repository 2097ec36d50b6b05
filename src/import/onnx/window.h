// import/onnx/window.h — strides, dilations, pads and auto_pad of convolutions and pools, on symbolic extents.
#pragma once
#include "import/onnx/op.h"

namespace bascule::onnx {

// One entry for each spatial axis (axes 2 and up).
struct Window {
  Dims kernel;
  Ints strides, dilations;
  Dims low, high;        // SAME_* and VALID already turned into numbers
  std::string auto_pad;  // NOTSET, SAME_UPPER, SAME_LOWER, VALID
  size_t axes() const { return kernel.size(); }
  Dim span(size_t i) const { return (kernel[i] - Dim(1)) * Dim(dilations[i]) + Dim(1); }  // extent that one window covers
};

// Reads strides, dilations, pads, auto_pad. `x`: N x C x spatial.
Window read_window(NodeContext& n, Builder& b, Value x, Dims kernel);
// kernel_shape: one positive number for each spatial axis.
Dims kernel_attribute(NodeContext& n, Builder& b, Value x);
// A list attribute with one entry of at least `least` for each of `count` axes.
Ints spatial_list(NodeContext& n, std::string_view name, size_t count, int64_t fallback, int64_t least);

// x * w over windows, grouped; no bias. Element type of the result: t.
Value convolve(NodeContext& n, Builder& b, Value x, Value w, DType t);

}  // namespace bascule::onnx
