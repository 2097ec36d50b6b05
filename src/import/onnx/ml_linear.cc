// import/onnx/ml_linear.cc — ai.onnx.ml: linear models and support vector machines, as matrix products.
#include <algorithm>

#include "base/budget.h"
#include "import/onnx/ml.h"

namespace bascule::onnx {
namespace {

Value matrix(Builder& b, const Numbers& v, int64_t rows, int64_t columns) { return b.constant(Tensor::from_doubles(DType::f32, {rows, columns}, v)); }
Value vector(Builder& b, const Numbers& v) { return b.constant(Tensor::from_doubles(DType::f32, {static_cast<int64_t>(v.size())}, v)); }

// x[rows, F] W'[F, k] + c, k = the rows of W
Value linear(const NodeContext& n, Value x, const Numbers& coefficients, const Numbers& intercepts, int64_t k) {
  const auto count = static_cast<int64_t>(coefficients.size());
  if (k <= 0 || count % k != 0) n.fail("coefficients in " + std::to_string(k) + " equal rows", std::to_string(count));
  const Dim features = n.b.dim(x, 1);
  if (features.is_constant() && features.value() != count / k) n.fail("coefficients for " + features.text() + " features", std::to_string(count / k));
  const Value y = n.b.dot_general(x, matrix(n.b, coefficients, k, count / k), {}, {}, {1}, {1});
  return intercepts.empty() ? y : n.b.add(y, vector(n.b, intercepts));
}

// s[rows, 1] -> [rows, 2]
Value two_columns(Builder& b, Value first, Value second) { return b.concatenate({first, second}, 1); }

// Kernel of each row with each support vector, K[rows, vectors]; kernel_params: gamma, coef0, degree.
struct Kernel {
  std::string type;
  double gamma = 0, offset = 0, degree = 0;
  explicit Kernel(const NodeContext& n) : type(n.text("kernel_type", "LINEAR")) {
    if (type != "LINEAR" && type != "POLY" && type != "RBF" && type != "SIGMOID") n.fail("kernel_type LINEAR, POLY, RBF or SIGMOID", "'" + type + "'");
    const Numbers p = n.numbers("kernel_params", Numbers{});
    if (!p.empty() && p.size() != 3) n.fail("kernel_params of 3 values", std::to_string(p.size()));
    if (p.size() == 3) gamma = p[0], offset = p[1], degree = p[2];
  }
  Value of(const NodeContext& n, Value x, const Numbers& vectors, int64_t count) const {
    Builder& b = n.b;
    const auto size = static_cast<int64_t>(vectors.size());
    if (count <= 0 || size % count != 0) n.fail("support_vectors in " + std::to_string(count) + " equal rows", std::to_string(size));
    const int64_t features = size / count;
    if (b.dim(x, 1).is_constant() && b.dim(x, 1).value() != features) n.fail("support vectors of " + b.dim(x, 1).text() + " features", std::to_string(features));
    if (type == "RBF") return b.exp(b.multiply(b.op("squared_distance", {x, matrix(b, vectors, count, features)}), -gamma));
    Value k = b.dot_general(x, matrix(b, vectors, count, features), {}, {}, {1}, {1});
    if (type == "LINEAR") return k;
    k = b.add(b.multiply(k, gamma), offset);
    return type == "SIGMOID" ? b.tanh(k) : b.power(k, degree);
  }
};

}  // namespace

ONNX_ML_OP(LinearRegressor, 1) {
  const Value x = b.convert(feature_rows(n, n.in(0)), DType::f32);
  const int64_t targets = n.integer("targets", 1);
  const Numbers intercepts = n.numbers("intercepts", Numbers{});
  if (!intercepts.empty() && static_cast<int64_t>(intercepts.size()) != targets) n.fail(std::to_string(targets) + " intercepts", std::to_string(intercepts.size()));
  return post_transform(n, linear(n, x, n.numbers("coefficients"), intercepts, targets), post_transform_name(n));
}

// One row of coefficients and two labels: the sign of the score decides, and the scores are {1 - s, s} after LOGISTIC or no transform.
ONNX_ML_OP(LinearClassifier, 1) {
  const Value x = b.convert(feature_rows(n, n.in(0)), DType::f32);
  const std::string transform = post_transform_name(n);
  const ClassLabels labels = class_labels(n, "classlabels_ints", "classlabels_strings");
  n.integer("multi_class", 0);  // has no effect on the scores
  const Numbers coefficients = n.numbers("coefficients"), intercepts = n.numbers("intercepts", Numbers{});
  const auto k = static_cast<int64_t>(intercepts.empty() ? labels.size() : intercepts.size());
  const Value scores = linear(n, x, coefficients, intercepts, k);
  if (k == 1) {
    const Value s = b.reshape(scores, {b.dim(scores, 0)});
    const Value positive = b.convert(b.compare(s, 0, "GT"), DType::i64);
    const Value label = labels.size() == 2 ? labels.of(b, positive) : labels.texts.empty() ? positive : b.op("string_from_number", {positive});
    if (labels.size() != 2) return {label, post_transform(n, scores, transform)};
    const Value p = transform == "LOGISTIC" ? b.logistic(scores) : transform == "PROBIT" ? post_transform(n, scores, transform) : scores;
    return {label, two_columns(b, b.subtract(1, p), p)};
  }
  if (k != static_cast<int64_t>(labels.size())) n.fail(std::to_string(k) + " class labels", std::to_string(labels.size()));
  return {labels.of(b, row_arg_max(b, scores)), post_transform(n, scores, transform)};
}

// y = K(x, support vectors) a + rho; one_class: its sign. Without support vectors the coefficients are the model.
ONNX_ML_OP(SVMRegressor, 1) {
  const Value x = b.convert(feature_rows(n, n.in(0)), DType::f32);
  const Numbers vectors = n.numbers("support_vectors", Numbers{}), rho = n.numbers("rho", Numbers{}), coefficients = n.numbers("coefficients");
  const int64_t supports = n.integer("n_supports", 0);
  const Kernel kernel(n);
  const bool one_class = n.flag("one_class", false);
  const std::string transform = post_transform_name(n);
  if (rho.empty()) n.fail("attribute 'rho'", "none");
  n.ignore("n_targets");
  Value y;
  if (supports > 0) {
    if (static_cast<int64_t>(coefficients.size()) != supports) n.fail(std::to_string(supports) + " coefficients", std::to_string(coefficients.size()));
    y = b.dot_general(kernel.of(n, x, vectors, supports), matrix(b, coefficients, 1, supports), {}, {}, {1}, {1});
  } else {
    y = linear(n, x, coefficients, {}, 1);
  }
  y = b.add(y, rho[0]);
  if (one_class) return b.select(b.compare(y, 0, "GT"), 1, b.full(b.dims(y), DType::f32, -1));
  return post_transform(n, y, transform);
}

// With support vectors: one decision value for each pair of classes i < j, sum over the vectors of i and j of coefficient * kernel + rho; a vote for i if positive,
// else for j. prob_a, prob_b turn decisions into pair probabilities and these into class probabilities. Without vectors: one linear score a class.
ONNX_ML_OP(SVMClassifier, 1) {
  const Value x = b.convert(feature_rows(n, n.in(0)), DType::f32);
  const ClassLabels labels = class_labels(n, "classlabels_ints", "classlabels_strings");
  const Numbers a = n.numbers("prob_a", Numbers{}), c = n.numbers("prob_b", Numbers{}), rho = n.numbers("rho"), coefficients = n.numbers("coefficients"),
                vectors = n.numbers("support_vectors", Numbers{});
  const Ints per_class = n.ints("vectors_per_class", Ints{});
  const Kernel kernel(n);
  const std::string transform = post_transform_name(n);
  const auto k = static_cast<int64_t>(labels.size());
  if (k >= 4096) n.unsupported("fewer than 4,096 classes", std::to_string(k), "Split the classifier");
  const int64_t pairs = k * (k - 1) / 2;
  Ints begin{0};
  for (const int64_t v : per_class) {
    if (v < 0 || v > INT32_MAX) n.fail("vectors_per_class of 0 or more", std::to_string(v));
    begin.push_back(begin.back() + v);
  }
  const int64_t count = begin.back();

  Value scores, index;
  if (count == 0) {
    if (rho.empty()) n.fail("attribute 'rho' with a value", "none");
    scores = b.add(linear(n, x, coefficients, {}, k), rho[0]);
    index = row_arg_max(b, scores);
    if (k == 2) {  // ONNX Runtime's rule for two classes: a positive best score means the second class
      const Value best = b.reduce("maximum", scores, {1}, false);
      const bool all_positive = std::all_of(coefficients.begin(), coefficients.end(), [](double v) { return v >= 0; });
      index = b.select(b.compare(best, all_positive ? 0.5 : 0.0, all_positive ? "GE" : "GT"), 1, index);
    }
    return {labels.of(b, index), post_transform(n, scores, transform)};
  }

  if (static_cast<int64_t>(per_class.size()) != k) n.fail("vectors_per_class for " + std::to_string(k) + " classes", std::to_string(per_class.size()));
  if (k < 2) n.fail("two or more classes", std::to_string(k));
  if (static_cast<int64_t>(coefficients.size()) < (k - 1) * count) n.fail(std::to_string((k - 1) * count) + " coefficients", std::to_string(coefficients.size()));
  if (static_cast<int64_t>(rho.size()) < pairs) n.fail(std::to_string(pairs) + " values of rho", std::to_string(rho.size()));
  if (a.size() != c.size() || (!a.empty() && static_cast<int64_t>(a.size()) < pairs)) n.fail(std::to_string(pairs) + " values of prob_a and prob_b", std::to_string(a.size()) + " and " + std::to_string(c.size()));
  // weight[pair, vector]: row j - 1 of the coefficients over the vectors of class i, row i over those of class j. win[pair, class] sums votes.
  check_room(pairs * (count + 2 * k) * 8, "the pairs of an SVM");
  Numbers weight(static_cast<size_t>(pairs * count)), win(static_cast<size_t>(pairs * k)), lose(static_cast<size_t>(pairs * k));
  int64_t p = 0;
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = i + 1; j < k; ++j, ++p) {
      for (int64_t v = begin[static_cast<size_t>(i)]; v < begin[static_cast<size_t>(i) + 1]; ++v) weight[static_cast<size_t>(p * count + v)] = coefficients[static_cast<size_t>((j - 1) * count + v)];
      for (int64_t v = begin[static_cast<size_t>(j)]; v < begin[static_cast<size_t>(j) + 1]; ++v) weight[static_cast<size_t>(p * count + v)] = coefficients[static_cast<size_t>(i * count + v)];
      win[static_cast<size_t>(p * k + i)] = 1;
      lose[static_cast<size_t>(p * k + j)] = 1;
    }
  const Numbers offsets(rho.begin(), rho.begin() + pairs);
  const Value decision = b.add(b.dot_general(kernel.of(n, x, vectors, count), matrix(b, weight, pairs, count), {}, {}, {1}, {1}), vector(b, offsets));
  const Value won = b.compare(decision, 0, "GT");
  const Value votes = b.add(b.dot_general(b.convert(won, DType::f32), matrix(b, win, pairs, k), {}, {}, {1}, {0}),
                            b.dot_general(b.convert(b.logical_not(won), DType::f32), matrix(b, lose, pairs, k), {}, {}, {1}, {0}));
  index = row_arg_max(b, votes);
  if (!a.empty()) {
    const Value slope = vector(b, Numbers(a.begin(), a.begin() + pairs)), shift = vector(b, Numbers(c.begin(), c.begin() + pairs));
    const Value pair = b.logistic(b.negate(b.add(b.multiply(decision, slope), shift)));
    const Value inside = b.minimum(b.maximum(pair, 1e-7), 1 - 1e-7);
    return {labels.of(b, index), post_transform(n, b.op("pairwise_coupling", {inside}, {{"classes", k}}), transform)};
  }
  if (k > 2) return {labels.of(b, index), post_transform(n, decision, transform)};
  // Two classes without probabilities: {-s, s}, or a transform's {1 - s, s}.
  if (transform == "NONE") return {labels.of(b, index), two_columns(b, b.negate(decision), decision)};
  const Value s = transform == "LOGISTIC" ? b.logistic(decision) : transform == "PROBIT" ? post_transform(n, decision, transform) : decision;
  return {labels.of(b, index), two_columns(b, b.subtract(1, s), s)};
}

}  // namespace bascule::onnx
