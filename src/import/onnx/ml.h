// import/onnx/ml.h — what the importers of ai.onnx.ml share: rows of features, class labels, transforms of scores.
#pragma once
#include "import/onnx/op.h"

namespace bascule::onnx {

// x as [rows, features]: a vector is one row, trailing axes of more than two are flattened.
Value feature_rows(const NodeContext& n, Value x);

// What ONNX calls post_transform: NONE, LOGISTIC, SOFTMAX, SOFTMAX_ZERO, PROBIT over the last axis of scores[rows, k]. A single column knows
// only PROBIT: other transforms leave it as it is (ONNX Runtime's reading, which converters rely on: they apply the logistic themselves).
Value post_transform(const NodeContext& n, Value scores, const std::string& transform, bool single_column_too = false);
std::string post_transform_name(const NodeContext& n);  // attribute post_transform, checked

// The first index of the largest of each row, i64[rows]. valid: i1[rows, k], only these count; 0 where none does.
Value row_arg_max(Builder& b, Value scores, Value valid = kNoValue);

// The attributes that name classes, one of them present.
struct ClassLabels {
  Ints ints;
  Texts texts;
  size_t size() const { return texts.empty() ? ints.size() : texts.size(); }
  // Label of each index i64[rows]; `texts` and `ints` as constants in a table.
  Value of(Builder& b, Value index) const;
};
ClassLabels class_labels(const NodeContext& n, std::string_view ints_name, std::string_view texts_name);

// table[i] = values for keys; see ops/lookup.cc.
Value lookup(Builder& b, Value x, Tensor keys, Tensor values, const Tensor* otherwise);
Tensor text_tensor(Texts t);

}  // namespace bascule::onnx
