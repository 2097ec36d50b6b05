// ops/batch_norm.h — what the three batch_norm operators share: checks, and sums over all axes but the feature axis.
#pragma once
#include "ops/rules.h"

namespace bascule::ops {

// feature_index, checked; operands [1, 1 + vectors) are [features] of the operand's element type.
size_t require_features(const OpView& op, const std::vector<size_t>& vectors, std::string_view label);

// Calls f(element, feature) in row-major order.
template <class F>
void each_feature(const std::vector<int64_t>& dims, size_t axis, F f) {
  int64_t inner = 1, total = 1;
  for (size_t a = 0; a < dims.size(); ++a) {
    total *= dims[a];
    if (a > axis) inner *= dims[a];
  }
  for (int64_t i = 0; i < total; ++i) f(i, static_cast<size_t>(i / inner % dims[axis]));
}

// One number for each feature, as result i.
Tensor feature_result(const Call& call, size_t i, const std::vector<double>& values);
// All axes of x but this one.
Ints all_but(const Builder& b, Value x, int64_t axis);

}  // namespace bascule::ops
