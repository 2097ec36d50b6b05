// The raise pass on norms: TensorFlow's and JAX's spellings become one layer_norm, and what only looks like one stays.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/text/text.h"
#include "tests/support/passes.h"

namespace bascule {
namespace {
using namespace bascule::test;

// tf.nn.moments and tf.nn.batch_normalization as tf2onnx writes them: the root by Sqrt and Reciprocal, the shift beta - mean * factor.
TEST(RaiseNorm, moments_and_batch_normalization_of_tensorflow) {
  const Graph g = optimised(parse_graph(R"(
func.func @main(%x: tensor<2x4x8xf32>, %gamma: tensor<8xf32>, %beta: tensor<8xf32>) -> tensor<2x4x8xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %one = stablehlo.constant dense<1.0> : tensor<2x4x1xf32>
  %count = stablehlo.constant dense<8.0> : tensor<2x4x1xf32>
  %epsilon = stablehlo.constant dense<1.0e-3> : tensor<2x4x1xf32>
  %sum = stablehlo.reduce(%x init: %zero) applies stablehlo.add across dimensions = [2] : (tensor<2x4x8xf32>, tensor<f32>) -> tensor<2x4xf32>
  %column = stablehlo.reshape %sum : (tensor<2x4xf32>) -> tensor<2x4x1xf32>
  %mean = stablehlo.divide %column, %count : tensor<2x4x1xf32>
  %means = stablehlo.broadcast_in_dim %mean, dims = [0, 1, 2] : (tensor<2x4x1xf32>) -> tensor<2x4x8xf32>
  %difference = stablehlo.subtract %x, %means : tensor<2x4x8xf32>
  %squares = stablehlo.multiply %difference, %difference : tensor<2x4x8xf32>
  %squares_sum = stablehlo.reduce(%squares init: %zero) applies stablehlo.add across dimensions = [2] : (tensor<2x4x8xf32>, tensor<f32>) -> tensor<2x4xf32>
  %squares_column = stablehlo.reshape %squares_sum : (tensor<2x4xf32>) -> tensor<2x4x1xf32>
  %variance = stablehlo.divide %squares_column, %count : tensor<2x4x1xf32>
  %above = stablehlo.add %variance, %epsilon : tensor<2x4x1xf32>
  %root = stablehlo.sqrt %above : tensor<2x4x1xf32>
  %inverse = stablehlo.divide %one, %root : tensor<2x4x1xf32>
  %inverses = stablehlo.broadcast_in_dim %inverse, dims = [0, 1, 2] : (tensor<2x4x1xf32>) -> tensor<2x4x8xf32>
  %gammas = stablehlo.broadcast_in_dim %gamma, dims = [2] : (tensor<8xf32>) -> tensor<2x4x8xf32>
  %factor = stablehlo.multiply %inverses, %gammas : tensor<2x4x8xf32>
  %mean_part = stablehlo.multiply %means, %factor : tensor<2x4x8xf32>
  %betas = stablehlo.broadcast_in_dim %beta, dims = [2] : (tensor<8xf32>) -> tensor<2x4x8xf32>
  %shift = stablehlo.subtract %betas, %mean_part : tensor<2x4x8xf32>
  %scaled = stablehlo.multiply %x, %factor : tensor<2x4x8xf32>
  %y = stablehlo.add %scaled, %shift : tensor<2x4x8xf32>
  return %y : tensor<2x4x8xf32>
}
)"),
                            {wave({2, 4, 8}), wave({8}, 1), wave({8}, 2)});
  EXPECT_NE(print(g, {.generic = false, .locations = false}).find(R"(  func.func public @main(%arg0: tensor<2x4x8xf32> {bascule.name = "x"}, %arg1: tensor<8xf32> {bascule.name = "gamma"}, %arg2: tensor<8xf32> {bascule.name = "beta"}) -> tensor<2x4x8xf32> {
    %y = stablehlo.composite "bascule.layer_norm" %arg0, %arg1, %arg2 {composite_attributes = {axis = 2 : i64, epsilon = 0.0010000000474974513 : f64}, decomposition)"),
            std::string::npos)
      << print(g);
}

// One spelling of a layer norm: which variance, which shift, with or without scale and bias.
struct Spelling {
  bool squares = false;  // mean(x^2) - mean(x)^2
  bool clipped = false;  // ... not below 0
  bool inside = false;   // epsilon - mean(x)^2 first, as Grappler reassociates
  int shift = 0;         // 0: x f + (bias - m f); 1: x f + (-m f + bias); 2: (x - m) f + bias; 3: (x f - m f) + bias
  bool scale = true, bias = true;
  bool dropped = false;  // statistics without the reduced axes until they are broadcast
};

Value spelled(Builder& b, Value x, const Ints& axes, const Spelling& s, Value gamma, Value beta) {
  Ints kept;
  for (int64_t a = 0; a < b.rank(x); ++a)
    if (std::ranges::find(axes, a) == axes.end()) kept.push_back(a);
  const auto wide = [&](Value v) { return s.dropped ? b.broadcast_in_dim(v, b.dims(x), kept) : v; };
  const Value m = wide(b.mean(x, axes, !s.dropped)), d = b.subtract(x, m);
  Value above;
  if (!s.squares) {
    above = b.add(b.mean(b.multiply(d, d), axes, !s.dropped), 1e-3);
  } else if (const Value second = b.mean(b.multiply(x, x), axes, true); s.inside) {
    above = b.add(second, b.subtract(1e-3, b.multiply(m, m)));
  } else {
    const Value difference = b.subtract(second, b.multiply(m, m));
    above = b.add(s.clipped ? b.maximum(0, difference) : difference, 1e-3);
  }
  Value f = wide(b.rsqrt(above));
  if (s.scale) f = b.multiply(f, gamma);
  const auto biased = [&](Value y) { return s.bias ? b.add(y, beta) : y; };
  if (s.shift == 2) return biased(b.multiply(d, f));
  if (s.shift == 3) return biased(b.subtract(b.multiply(x, f), b.multiply(m, f)));
  if (s.shift == 0 && s.bias) return b.add(b.multiply(x, f), b.subtract(beta, b.multiply(m, f)));
  return b.add(biased(b.multiply(b.negate(m), f)), b.multiply(x, f));
}

TEST(RaiseNorm, every_variance_shift_scale_and_bias) {
  for (const Spelling& variance : {Spelling{}, Spelling{.squares = true}, Spelling{.squares = true, .clipped = true}, Spelling{.squares = true, .inside = true}})
    for (const int shift : {0, 1, 2, 3})
      for (const bool scale : {true, false})
        for (const bool bias : {true, false}) {
          Spelling s = variance;
          s.shift = shift;
          s.scale = scale;
          s.bias = bias;
          Builder b;
          const Value x = b.input(Type::tensor(DType::f32, {kBatch, 4, 8}), "x");
          const Graph g = optimised(b.finish({spelled(b, x, {2}, s, b.constant(wave({8}, 1)), b.constant(wave({8}, 2)))}), {wave({2, 4, 8})});
          EXPECT_EQ(count(g, "layer_norm"), 1) << print(g);
          EXPECT_EQ(count(g, "reduce") + count(g, "add") + count(g, "multiply"), 0) << print(g);
        }
}

TEST(RaiseNorm, channels_first_stand_between_transposes) {
  for (const int shift : {0, 1, 2, 3})
    for (const bool dropped : {false, true}) {
      Builder b;
      const Value x = b.input(Type::tensor(DType::f32, {kBatch, 8, 3, 5}), "x");
      const Value gamma = b.constant(wave({1, 8, 1, 1}, 1)), beta = b.constant(wave({1, 8, 1, 1}, 2));
      const Graph g = optimised(b.finish({spelled(b, x, {1}, {.shift = shift, .dropped = dropped}, gamma, beta)}), {wave({2, 8, 3, 5})});
      EXPECT_EQ(count(g, "layer_norm"), 1) << print(g);
      EXPECT_EQ(count(g, "transpose"), 2);
      EXPECT_EQ(count(g, "reduce") + count(g, "add") + count(g, "multiply"), 0) << print(g);
    }
}

// Keras' fused layer norm: rows are the features of a batch norm with one example.
TEST(RaiseNorm, rows_as_features_of_a_batch_norm) {
  for (const int form : {0, 1, 2}) {
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {kBatch, 4, 8}), "x");
    const Dim rows = kBatch * 4;
    const Value wide = b.reshape(x, {1, rows, 8, 1});
    const Value y = form == 0 ? b.ops("batch_norm_training", {wide, b.full({rows}, DType::f32, 1), b.full({rows}, DType::f32, 0)}, {{"epsilon", 1e-3}, {"feature_index", int64_t{1}}})[0]
                          : spelled(b, wide, {0, 2, 3}, {.shift = 2, .scale = false, .bias = false, .dropped = form == 2}, kNoValue, kNoValue);
    const Graph g = optimised(b.finish({b.add(b.multiply(b.reshape(y, b.dims(x)), b.constant(wave({8}, 1))), b.constant(wave({8}, 2)))}), {wave({2, 4, 8})});
    EXPECT_EQ(count(g, "layer_norm"), 1) << print(g);
    EXPECT_EQ(count(g, "reshape") + count(g, "add") + count(g, "multiply"), 0) << print(g);
  }
}

TEST(RaiseNorm, statistics_of_another_value_or_axis_or_sign_are_no_norm) {
  for (const int form : {0, 1, 2, 3}) {
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {8, 8}), "x"), z = b.input(Type::tensor(DType::f32, {8, 8}), "z");
    const Value m = b.mean(form == 0 ? z : x, {1}, true), d = b.subtract(x, b.mean(x, {1}, true));
    const Value inverse = b.rsqrt(b.add(b.mean(b.multiply(d, d), {1}, true), 1e-3));
    // Form 1: each row's factor along the columns.
    const Value f = form == 1 ? b.broadcast_in_dim(b.reshape(inverse, {8}), {8, 8}, {1}) : b.broadcast_to(inverse, {8, 8});
    const Value shift = b.multiply(form == 3 ? b.multiply(m, m) : m, f);
    const Value y = form == 2 ? b.add(b.multiply(x, f), shift) : b.subtract(b.multiply(x, f), shift);
    const Graph g = optimised(b.finish({y}), {wave({8, 8}), wave({8, 8}, 1)});
    EXPECT_EQ(count(g, "layer_norm"), 0) << form << print(g);
  }
}

// x over the root of its own variance, without the mean taken off, is neither norm.
TEST(RaiseNorm, a_value_over_its_deviation_is_no_rms_norm) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {kBatch, 8}), "x");
  const Value d = b.subtract(x, b.mean(x, {1}, true));
  const Graph g = optimised(b.finish({b.multiply(x, b.rsqrt(b.add(b.mean(b.multiply(d, d), {1}, true), 1e-3)))}), {wave({2, 8})});
  EXPECT_EQ(count(g, "layer_norm") + count(g, "rms_norm"), 0) << print(g);
}

}  // namespace
}  // namespace bascule
