// ops/window.h — the sliding window of convolution, reduce_window and select_and_scatter: attributes, checks, result extents, index arithmetic.
#pragma once
#include "ops/rules.h"

namespace bascule::ops {

// One spatial axis. An absent (empty) attribute means 1 for strides and dilations, 0 for padding.
struct WindowAxis {
  Dim size = 1, low = 0, high = 0;
  int64_t stride = 1, base_dilation = 1, dilation = 1;
  bool reversed = false;
};

Ints spatial_attr(const OpView& op, std::string_view name, size_t axes, int64_t fallback, int64_t at_least, std::string_view label);
Dims spatial_dims(const OpView& op, std::string_view name, size_t axes, std::string_view label);

// dilated(n, d) = n = 0 ? 0 : (n - 1) * d + 1; windows = floor((low + dilated(x, base) + high - dilated(size, dilation)) / stride) + 1, or 0 if none fits.
Dim window_count(const Dim& x, const WindowAxis& w);

// The operand index under window `at`, tap `k` of one axis; -1 if it falls in padding or between dilated elements.
inline int64_t tap_index(int64_t at, int64_t k, int64_t extent, int64_t size, const WindowAxis& w, int64_t low) {
  const int64_t tap = w.reversed ? size - 1 - k : k;
  const int64_t i = at * w.stride + tap * w.dilation - low;
  if (i < 0 || i % w.base_dilation != 0) return -1;
  return i / w.base_dilation < extent ? i / w.base_dilation : -1;
}

}  // namespace bascule::ops
