// import/onnx/loss.cc — ONNX losses, and the optimizer steps of ai.onnx.preview.training.
#include <numeric>

#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

// loss[n, d...] = -w[target] * log_prob[n, target, d...]; reduced to a mean (weighted), a sum, or not.
Value negative_log_likelihood(NodeContext& n, Builder& b, Value log_prob, Value target, Value weight) {
  const std::string reduction = n.text("reduction", "mean");
  if (reduction != "none" && reduction != "mean" && reduction != "sum") n.fail("reduction none, mean or sum", "'" + escaped(reduction) + "'");
  if (b.rank(log_prob) < 2 || b.rank(target) != b.rank(log_prob) - 1)
    n.fail("scores [N, C, d...] and labels [N, d...]", b.type(log_prob).text() + " and " + b.type(target).text());
  if (weight && b.rank(weight) != 1) n.fail("weights [C]", b.type(weight).text());
  const DType t = b.dtype(log_prob);
  const Dim classes = b.dim(log_prob, 1);
  const bool ignores = n.has_attr("ignore_index");
  Value keep, index = b.convert(target, DType::i64);
  if (ignores) {
    keep = b.compare(index, b.constant(Tensor::scalar_int(DType::i64, n.integer("ignore_index"))), "NE");
    index = b.select(keep, index, 0);
  }
  index = from_end(b, index, classes);
  Value loss = b.negate(b.squeeze(take_along(b, log_prob, b.unsqueeze(index, {1}), 1), {1}));
  Value w = weight ? take(b, b.convert(weight, t), index, 0) : kNoValue;
  if (keep) {
    w = w ? b.select(keep, w, 0) : b.convert(keep, t);
    loss = b.select(keep, loss, 0);
  }
  if (w) loss = b.multiply(loss, w);
  Ints all(static_cast<size_t>(b.rank(loss)));
  std::iota(all.begin(), all.end(), 0);
  if (reduction == "none") return loss;
  if (reduction == "sum") return b.sum(loss, all, false);
  return w ? b.divide(b.sum(loss, all, false), b.sum(w, all, false)) : b.mean(loss, all, false);
}

}  // namespace

ONNX_OP(NegativeLogLikelihoodLoss, 12) { return negative_log_likelihood(n, b, n.in(0), n.in(1), n.in_or_none(2)); }

ONNX_OP(SoftmaxCrossEntropyLoss, 12) {
  const Value x = n.in(0);
  if (b.rank(x) < 2) n.fail("scores [N, C, d...]", b.type(x).text());
  const Value shifted = b.subtract(x, b.reduce("maximum", x, {1}, true));
  const Value log_prob = b.subtract(shifted, b.log(b.sum(b.exp(shifted), {1}, true)));
  const Value loss = negative_log_likelihood(n, b, log_prob, n.in(1), n.in_or_none(2));
  if (!n.wants(1)) return loss;
  return {loss, log_prob};
}

// ---------------------------------------------------------------------------------------------------- optimizers
namespace {

// Operands: rate, step count, then groups of `kinds` lists (tensors, gradients, states ...); results: the first list, then each state list.
struct Optimizer {
  Value rate, count;  // scalars
  size_t tensors;
  Value operand(NodeContext& n, size_t list, size_t i) const { return n.in(2 + list * tensors + i); }
};
Optimizer read_optimizer(NodeContext& n, Builder& b, size_t lists) {
  if (n.inputs() < 2 + lists || (n.inputs() - 2) % lists != 0)
    n.fail("2 operands and lists of " + std::to_string(lists), std::to_string(n.inputs()) + " operands");
  return {scalar(b, n.in(0)), scalar(b, n.in(1)), (n.inputs() - 2) / lists};
}

// g + norm_coefficient * x
Value regularized(Builder& b, Value g, Value x, double coefficient) { return coefficient == 0 ? g : b.add(b.multiply(x, coefficient), g); }

}  // namespace

ONNX_TRAINING_OP(Adagrad, 1) {
  const Optimizer o = read_optimizer(n, b, 3);
  const double decay = n.number("decay_factor", 0.0), epsilon = n.number("epsilon", 0.0), norm = n.number("norm_coefficient", 0.0);
  Values xs, hs;
  for (size_t i = 0; i < o.tensors; ++i) {
    const Value x = o.operand(n, 0, i), h = o.operand(n, 2, i);
    const DType t = b.dtype(x);
    const Value g = regularized(b, o.operand(n, 1, i), x, norm);
    const Value rate = b.divide(b.convert(o.rate, t), b.add(b.multiply(b.convert(o.count, t), decay), 1));
    const Value sum = b.add(h, b.multiply(g, g));
    xs.push_back(b.subtract(x, b.divide(b.multiply(rate, g), b.add(b.sqrt(sum), epsilon))));
    hs.push_back(sum);
  }
  xs.insert(xs.end(), hs.begin(), hs.end());
  return xs;
}

ONNX_TRAINING_OP(Adam, 1) {
  const Optimizer o = read_optimizer(n, b, 4);
  const double alpha = n.number("alpha", 0.9), beta = n.number("beta", 0.999), epsilon = n.number("epsilon", 1e-6),
               norm = n.number("norm_coefficient", 0.0), norm_after = n.number("norm_coefficient_post", 0.0);
  Values xs, vs, hs;
  for (size_t i = 0; i < o.tensors; ++i) {
    const Value x = o.operand(n, 0, i), v = o.operand(n, 2, i), h = o.operand(n, 3, i);
    const DType t = b.dtype(x);
    const Value g = regularized(b, o.operand(n, 1, i), x, norm);
    const Value v1 = b.add(b.multiply(v, alpha), b.multiply(g, 1 - alpha)), h1 = b.add(b.multiply(h, beta), b.multiply(b.multiply(g, g), 1 - beta));
    // The moments start at 0: after the first step the rate makes up for it.
    const Value count = b.convert(o.count, DType::f64);
    const Value power_a = b.power(b.constant_like(alpha, DType::f64), count), power_b = b.power(b.constant_like(beta, DType::f64), count);
    const Value corrected = b.divide(b.multiply(b.convert(o.rate, DType::f64), b.sqrt(b.subtract(1, power_b))), b.subtract(1, power_a));
    const Value rate = b.convert(b.select(b.compare(count, 0, "GT"), corrected, b.convert(o.rate, DType::f64)), t);
    const Value x1 = b.subtract(x, b.multiply(rate, b.divide(v1, b.add(b.sqrt(h1), epsilon))));
    xs.push_back(norm_after == 0 ? x1 : b.multiply(x1, 1 - norm_after));
    vs.push_back(v1);
    hs.push_back(h1);
  }
  xs.insert(xs.end(), vs.begin(), vs.end());
  xs.insert(xs.end(), hs.begin(), hs.end());
  return xs;
}

ONNX_TRAINING_OP(Momentum, 1) {
  const Optimizer o = read_optimizer(n, b, 3);
  const double alpha = n.number("alpha"), beta = n.number("beta"), norm = n.number("norm_coefficient");
  const std::string mode = n.text("mode");
  if (mode != "standard" && mode != "nesterov") n.fail("mode standard or nesterov", "'" + escaped(mode) + "'");
  Values xs, vs;
  for (size_t i = 0; i < o.tensors; ++i) {
    const Value x = o.operand(n, 0, i), v = o.operand(n, 2, i);
    const DType t = b.dtype(x);
    const Value g = regularized(b, o.operand(n, 1, i), x, norm);
    const Value share = b.select(b.compare(o.count, 0, "GT"), b.constant_like(beta, t), b.constant_like(1, t));
    const Value v1 = b.add(b.multiply(v, alpha), b.multiply(share, g));
    const Value step = mode == "standard" ? v1 : b.add(g, b.multiply(v1, alpha));
    xs.push_back(b.subtract(x, b.multiply(b.convert(o.rate, t), step)));
    vs.push_back(v1);
  }
  xs.insert(xs.end(), vs.begin(), vs.end());
  return xs;
}

}  // namespace bascule::onnx
