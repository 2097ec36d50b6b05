// import/onnx/random.cc — ONNX random tensors and draws.
#include <cmath>

#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

void read_seed(NodeContext& n, Attrs& attrs) {
  if (!n.has_attr("seed")) return;
  const double seed = n.number("seed");
  if (std::isfinite(seed) && std::abs(seed) < 9e18) attrs.set("seed", static_cast<int64_t>(seed));
}

Value normal(NodeContext& n, Builder& b, const Dims& dims, DType t) {
  Attrs attrs{{"dims", dims}, {"dtype", t}, {"mean", n.number("mean", 0.0)}, {"scale", n.number("scale", 1.0)}};
  read_seed(n, attrs);
  return b.op("random_normal", {}, attrs);
}
Value uniform(NodeContext& n, Builder& b, const Dims& dims, DType t, double low, double high) {
  Attrs attrs{{"dims", dims}, {"dtype", t}, {"low", low}, {"high", high}};
  read_seed(n, attrs);
  return b.op("random_uniform", {}, attrs);
}

Dims shape_attribute(NodeContext& n) {
  const Ints shape = n.ints("shape");
  for (const int64_t d : shape)
    if (d < 0) n.fail("shape with entries >= 0", std::to_string(d));
  return to_dims(shape);
}

}  // namespace

ONNX_OP(RandomNormal, 1) { return normal(n, b, shape_attribute(n), n.dtype_attr("dtype", DType::f32)); }
ONNX_OP(RandomNormalLike, 1) { return normal(n, b, b.dims(n.in(0)), n.dtype_attr("dtype", n.dtype(0))); }
ONNX_OP(RandomUniform, 1) {
  return uniform(n, b, shape_attribute(n), n.dtype_attr("dtype", DType::f32), n.number("low", 0.0), n.number("high", 1.0));
}
ONNX_OP(RandomUniformLike, 1) {
  return uniform(n, b, b.dims(n.in(0)), n.dtype_attr("dtype", n.dtype(0)), n.number("low", 0.0), n.number("high", 1.0));
}

// 1 with probability x
ONNX_OP(Bernoulli, 15) {
  const Value x = n.in(0);
  return b.convert(b.compare(uniform(n, b, b.dims(x), DType::f64, 0, 1), b.convert(x, DType::f64), "LT"), n.dtype_attr("dtype", b.dtype(x)));
}

// sample_size draws from each row of log probabilities (any constant may be added to a row): the class whose part of [0, total) holds u * total.
ONNX_OP(Multinomial, 7) {
  const Value x = n.in(0);
  if (b.rank(x) != 2) n.fail("input [batch, classes]", b.type(x).text());
  const int64_t samples = n.integer("sample_size", 1);
  if (samples < 1) n.fail("sample_size >= 1", std::to_string(samples));
  const DType t = n.dtype_attr("dtype", DType::i32);
  const Dim batch = b.dim(x, 0), classes = b.dim(x, 1);
  const Value wide = b.convert(x, DType::f64);
  const Value share = b.exp(b.subtract(wide, b.reduce("maximum", wide, {1}, true)));
  const Value ends = cumulative(b, "add", share, 1, false, false);
  const Value u = b.multiply(uniform(n, b, {batch, Dim(samples)}, DType::f64, 0, 1), b.sum(share, {1}, true));
  const Value passed = b.compare(b.unsqueeze(ends, {1}), b.unsqueeze(u, {2}), "LE");  // batch x samples x classes
  return b.convert(b.minimum(b.sum(b.convert(passed, DType::i64), {2}, false), b.size(classes - Dim(1))), t);
}

// Boxes kept for each image and class; see ops/non_max_suppression.cc.
ONNX_OP(NonMaxSuppression, 10) {
  return b.op("non_max_suppression", {n.in(0), n.in(1), n.in_or_none(2), n.in_or_none(3), n.in_or_none(4)},
              {{"center_point_box", n.flag("center_point_box", false)}});
}

}  // namespace bascule::onnx
