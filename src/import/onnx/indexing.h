// import/onnx/indexing.h — gathers and scatters as ONNX means them: negative indices count from the end, others out of range are errors.
#pragma once
#include "graph/builder.h"
#include "import/onnx/op.h"

namespace bascule::onnx {

// i -> i < 0 ? i + extent : i, elementwise.
Value from_end(Builder& b, Value indices, const Dim& extent);
// y[..., i..., ...] = x[..., indices[i...], ...]: the axes of `indices` stand in place of `axis`. Indices are not negative.
Value take(Builder& b, Value x, Value indices, int64_t axis);
// y[i] = x[i with i[axis] = indices[i]], x and indices of equal rank; indices may be smaller than x on other axes. Not negative.
Value take_along(Builder& b, Value x, Value indices, int64_t axis);
// The whole index of each element of `indices` along `axis`: [indices dims..., rank].
Value full_indices(Builder& b, Value indices, int64_t axis);
// Element (scalar) i of a rank-1 value.
Value element(Builder& b, Value x, int64_t i);
// One value as a scalar, whatever its rank.
Value scalar(Builder& b, Value x);
// Operand i by value: real numbers (floats, integers or bools), or exactly one of them. Other element types and counts are errors of the file.
Numbers numbers_of(const NodeContext& n, size_t i);
double number_of(const NodeContext& n, size_t i);
// Running fold along an axis; see ops/cumulative.cc.
Value cumulative(Builder& b, std::string_view body, Value x, int64_t axis, bool exclusive, bool reverse);

}  // namespace bascule::onnx
