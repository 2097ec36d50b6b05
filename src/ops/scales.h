// ops/scales.h — how scales and zero points lie over a quantised tensor: one for all, one per index of an axis, or one per block of an axis.
#pragma once
#include "ops/lines.h"

namespace bascule::ops {

// Attributes: axis, block_size (0: none). Operand 0 is the tensor, operand i holds scales or zero points:
// one element; [extent of axis]; or, with block_size, operand 0's dims with ceil(extent / block_size) along axis.
void require_scales(const OpView& op, size_t i);
// Element of the scales for an index of operand 0.
int64_t scale_index(const Attrs& attrs, const Tensor& scales, std::span<const int64_t> index);
// Scales stretched to the tensor's dims.
Value spread_scales(Builder& b, const Attrs& attrs, Value scales, const Dims& dims);

}  // namespace bascule::ops
