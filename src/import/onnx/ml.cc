// import/onnx/ml.cc — what the importers of ai.onnx.ml share.
#include "import/onnx/ml.h"

#include <numbers>

namespace bascule::onnx {

Value feature_rows(const NodeContext& n, Value x) {
  Builder& b = n.b;
  const Dims d = b.dims(x);
  if (d.empty()) n.fail("an input of rank 1 or more", b.type(x).text());
  if (d.size() == 1) return b.reshape(x, {Dim(1), d[0]});
  if (d.size() == 2) return x;
  return b.reshape(x, {d[0], product(Dims(d.begin() + 1, d.end()))});
}

std::string post_transform_name(const NodeContext& n) {
  const std::string t = n.text("post_transform", "NONE");
  if (t != "NONE" && t != "LOGISTIC" && t != "SOFTMAX" && t != "SOFTMAX_ZERO" && t != "PROBIT") n.fail("post_transform NONE, LOGISTIC, SOFTMAX, SOFTMAX_ZERO or PROBIT", "'" + t + "'");
  return t;
}

namespace {

// sqrt(2) erf^-1(2 p - 1) by Winitzki's approximation with a = 0.147: both ONNX's reference and ONNX Runtime compute this, not the exact quantile.
Value probit(Builder& b, Value p) {
  constexpr double kA = 0.147;
  const Value x = b.subtract(b.multiply(p, 2), 1);
  const Value log = b.log(b.multiply(b.subtract(1, x), b.add(1, x)));
  const Value v = b.add(b.multiply(log, 0.5), 2 / (std::numbers::pi * kA));
  const Value root = b.sqrt(b.subtract(b.sqrt(b.subtract(b.multiply(v, v), b.multiply(log, 1 / kA))), v));
  return b.multiply(b.multiply(b.select(b.compare(x, 0, "LT"), -1, b.full(b.dims(x), b.dtype(x), 1)), root), std::numbers::sqrt2);
}

}  // namespace

Value post_transform(const NodeContext& n, Value scores, const std::string& transform, bool single_column_too) {
  Builder& b = n.b;
  if (transform == "NONE" || b.dim(scores, 1).is(0)) return scores;
  if (transform == "PROBIT") return probit(b, scores);
  if (b.dim(scores, 1).is(1) && !single_column_too) return scores;
  if (transform == "LOGISTIC") return b.logistic(scores);
  const Value top = b.reduce("maximum", scores, {1}, true);
  Value e = b.exp(b.subtract(scores, top));
  if (transform == "SOFTMAX_ZERO")  // scores of zero stay (nearly) zero
    e = b.select(b.compare(b.abs(scores), 1e-7, "GT"), e, b.multiply(scores, b.exp(b.negate(top))));
  return b.divide(e, b.sum(e, {1}, true));
}

Value row_arg_max(Builder& b, Value scores, Value valid) {
  const Dims d = b.dims(scores);
  if (!is_float(b.dtype(scores))) b.fail("scores of a float type", b.type(scores).text());
  if (valid) scores = b.select(valid, scores, -float_info(b.dtype(scores)).largest);
  Value best = b.compare(scores, b.reduce("maximum", scores, {1}, true), "EQ");
  if (valid) best = b.logical_and(best, valid);
  const Value place = b.iota(DType::i64, d, 1);
  const Value beyond = b.broadcast_to(b.size(d[1]), d);
  const Value first = b.reduce("minimum", b.select(best, place, beyond), {1}, false);
  return b.select(b.compare(first, b.broadcast_to(b.size(d[1]), b.dims(first)), "GE"), 0, first);
}

Tensor text_tensor(Texts t) {
  const auto count = static_cast<int64_t>(t.size());
  return Tensor::from_strings({count}, std::move(t));
}

Value lookup(Builder& b, Value x, Tensor keys, Tensor values, const Tensor* otherwise) {
  Attrs a{{"keys", std::move(keys)}, {"values", std::move(values)}};
  if (otherwise) a.set("otherwise", *otherwise);
  return b.op("lookup", {x}, std::move(a));
}

Value ClassLabels::of(Builder& b, Value index) const {
  Ints places(size());
  bool identity = texts.empty();
  for (size_t i = 0; i < places.size(); ++i) {
    places[i] = static_cast<int64_t>(i);
    identity = identity && ints[i] == places[i];
  }
  if (identity) return index;
  return lookup(b, index, Tensor::vector_int(places), texts.empty() ? Tensor::vector_int(ints) : text_tensor(texts), nullptr);
}

ClassLabels class_labels(const NodeContext& n, std::string_view ints_name, std::string_view texts_name) {
  ClassLabels l{n.ints(ints_name, Ints{}), n.texts(texts_name, Texts{})};
  if (l.size() == 0) n.fail("class labels in attribute '" + std::string(ints_name) + "' or '" + std::string(texts_name) + "'", "none");
  return l;
}

}  // namespace bascule::onnx
