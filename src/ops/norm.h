// ops/norm.h — what the normalising composites share: moments of a block of elements, scale and bias that broadcast.
#pragma once
#include <cmath>

#include "ops/lines.h"

namespace bascule::ops {

// scale or bias (operand i), if present, has x's element type or a wider float and broadcasts to x without stretching it.
void require_affine(const OpView& op, size_t i);
// Index into `v` (aligned to x's trailing axes, extents of 1 stretched) for an index of x.
int64_t broadcast_index(const Tensor& v, std::span<const int64_t> x_index);
// y = (x - mean) / sqrt(mean((x - mean)^2) + epsilon) over the axes from `axis`, of wide_type; centred = false leaves the mean out.
Value normalized(Builder& b, Value x, const Ints& axes, double epsilon, bool centred);
// y * scale + bias, where given
Value affine(Builder& b, Value y, Value scale, Value bias);
// The reference of layer_norm and rms_norm: blocks are the axes from `axis`.
HostValues trailing_norm(const Call& call, bool centred);
std::vector<Type> trailing_norm_type(const OpView& op);
WorkRule norm_work();

}  // namespace bascule::ops
