// Passes: what is true afterwards, and that answers stay the same.
#include <gtest/gtest.h>

#include <cmath>

#include "passes/fuse.h"
#include "tests/support/passes.h"

namespace bascule {
namespace {
using namespace bascule::test;

TEST(Passes, fold_turns_operators_of_constants_into_constants) {
  Builder b;
  b.fold = false;
  const Value x = b.input(Type::tensor(DType::f32, {2}), "x");
  const Value c = b.add(b.constant_like(1, DType::f32), b.constant_like(2, DType::f32));
  const Graph g = optimised(b.finish({b.multiply(x, c)}), {wave({2})});
  EXPECT_EQ(count(g, "add"), 0);
}

TEST(Passes, cse_leaves_one_of_two_equal_nodes) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {kBatch}), "x");
  const Graph g = optimised(b.finish({b.add(b.exp(x), b.exp(x))}), {wave({3})});
  EXPECT_EQ(count(g, "exponential"), 1);
}

TEST(Passes, simplify_drops_transposes_that_undo_each_other) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {kBatch, 3}), "x");
  const Graph g = optimised(b.finish({b.exp(b.transpose(b.transpose(b.multiply(x, 1), {1, 0}), {1, 0}))}), {wave({2, 3})});
  EXPECT_EQ(count(g, "transpose"), 0);
  EXPECT_EQ(count(g, "multiply"), 0);
}

TEST(Passes, dce_keeps_unused_inputs_and_drops_unused_nodes) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {2}), "x");
  b.exp(x);
  Graph g = b.finish({b.abs(x)});
  passes::run_pass("dce", g);
  EXPECT_EQ(g.nodes.size(), 1u);
  EXPECT_EQ(g.inputs.size(), 1u);
}

TEST(Passes, raise_finds_softmax) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {kBatch, 5}), "x");
  const Value e = b.exp(b.subtract(x, b.reduce("maximum", x, {1}, true)));
  const Graph g = optimised(b.finish({b.divide(e, b.sum(e, {1}, true))}), {wave({2, 5})});
  EXPECT_EQ(count(g, "softmax"), 1);
  EXPECT_EQ(g.nodes.size(), 1u);
}

TEST(Passes, raise_finds_layer_norm_with_scale_and_bias_in_three_spellings) {
  for (const int form : {0, 1, 2}) {
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {kBatch, 4, 8}), "x");
    const Value d = b.subtract(x, b.mean(x, {2}, true));
    const Value variance = b.add(b.mean(form == 0 ? b.multiply(d, d) : b.power(d, 2), {2}, true), 1e-5);
    Value y = form == 0 ? b.multiply(d, b.rsqrt(variance)) : form == 1 ? b.divide(d, b.sqrt(variance)) : b.multiply(d, b.divide(1, b.sqrt(variance)));
    y = b.add(b.multiply(y, b.constant(wave({8}, 1))), b.constant(wave({8}, 2)));
    const Graph g = optimised(b.finish({y}), {wave({2, 4, 8})});
    EXPECT_EQ(count(g, "layer_norm"), 1) << form;
    EXPECT_EQ(count(g, "reduce"), 0) << form;
    EXPECT_EQ(count(g, "add"), 0) << form;
  }
}

TEST(Passes, raise_finds_rms_norm) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {kBatch, 8}), "x");
  const Value root = b.sqrt(b.add(b.mean(b.power(x, 2), {1}, true), 1e-6));
  const Graph g = optimised(b.finish({b.multiply(b.constant(wave({8}, 1)), b.multiply(x, b.divide(1, root)))}), {wave({2, 8})});
  EXPECT_EQ(count(g, "rms_norm"), 1);
  EXPECT_EQ(count(g, "multiply"), 0);
}

TEST(Passes, raise_finds_both_gelus_and_silu) {
  for (const int form : {0, 1, 2, 3}) {
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {kBatch, 8}), "x");
    Value y;
    if (form == 0) y = b.multiply(b.multiply(x, 0.5), b.add(b.erf(b.divide(x, std::sqrt(2.0))), 1));
    if (form == 1) y = b.multiply(b.multiply(x, b.add(1, b.erf(b.multiply(x, std::sqrt(0.5))))), 0.5);
    if (form == 2) y = b.multiply(b.multiply(0.5, x), b.add(1, b.tanh(b.multiply(std::sqrt(2 / M_PI), b.add(x, b.multiply(0.044715, b.power(x, 3)))))));
    if (form == 3) y = b.multiply(x, b.logistic(x));
    const Graph g = optimised(b.finish({y}), {wave({2, 8})});
    EXPECT_EQ(count(g, form == 3 ? "silu" : "gelu"), 1) << form;
    EXPECT_EQ(count(g, "multiply"), 0) << form;
  }
}

TEST(Passes, raise_finds_hard_swish) {
  for (const int form : {0, 1, 2}) {
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {kBatch, 8}), "x");
    Value y;
    if (form == 0) y = b.divide(b.multiply(x, b.clamp(0, b.add(x, 3), 6)), 6);
    if (form == 1) y = b.multiply(x, b.clamp(0, b.add(b.multiply(x, 1.0 / 6), 0.5), 1));
    if (form == 2) y = b.multiply(x, b.clamp(0, b.add(b.multiply(x, 0.2), 0.5), 1));  // hard_sigmoid's own slope: another function
    const Graph g = optimised(b.finish({y}), {wave({2, 8})});
    EXPECT_EQ(count(g, "hard_swish"), form == 2 ? 0 : 1) << form;
  }
}

TEST(Passes, raise_finds_attention_with_a_mask_and_grouped_heads) {
  Builder b;
  const Dim s = Dim::symbol("seq");
  const Value q = b.input(Type::tensor(DType::f32, {kBatch, 4, s, 8}), "q"), k = b.input(Type::tensor(DType::f32, {kBatch, 2, s, 8}), "k"), v = b.input(Type::tensor(DType::f32, {kBatch, 2, s, 8}), "v");
  const Value mask = b.input(Type::tensor(DType::f32, {kBatch, 1, s, s}), "mask");
  const auto repeat = [&](Value x) { return b.reshape(b.broadcast_in_dim(x, {kBatch, 2, 2, s, 8}, {0, 1, 3, 4}), {kBatch, 4, s, 8}); };
  const Value scores = b.add(b.multiply(b.matmul(q, b.transpose(repeat(k), {0, 1, 3, 2})), 0.35), mask);
  const Value e = b.exp(b.subtract(scores, b.reduce("maximum", scores, {3}, true)));
  const Graph g = optimised(b.finish({b.matmul(b.divide(e, b.sum(e, {3}, true)), repeat(v))}), {wave({2, 4, 3, 8}), wave({2, 2, 3, 8}), wave({2, 2, 3, 8}), wave({2, 1, 3, 3})});
  EXPECT_EQ(count(g, "attention"), 1);
  EXPECT_EQ(count(g, "dot_general"), 0);
}

TEST(Passes, raise_finds_rotary_embedding_of_halves) {
  Builder b;
  const Dim s = Dim::symbol("seq");
  const Value x = b.input(Type::tensor(DType::f32, {kBatch, 2, s, 8}), "x"), angles = b.input(Type::tensor(DType::f32, {1, s, 4}), "angles");
  const Value twice = b.concatenate({angles, angles}, 2);
  const auto heads = [&](Value v) { return b.unsqueeze(v, {1}); };
  const Value turned = b.concatenate({b.negate(b.slice_axis(x, 3, 4, 8)), b.slice_axis(x, 3, 0, 4)}, 3);
  const Graph g = optimised(b.finish({b.add(b.multiply(x, heads(b.cosine(twice))), b.multiply(turned, heads(b.sine(twice))))}), {wave({2, 2, 3, 8}), wave({1, 3, 4})});
  EXPECT_EQ(count(g, "rotary_embedding"), 1);
  EXPECT_EQ(count(g, "negate"), 0);
}

TEST(Passes, fuse_puts_a_chain_and_its_reduction_in_one_region) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {kBatch, 8}), "x");
  const Graph g = b.finish({b.sum(b.exp(b.multiply(x, x)), {1}, false)});
  EXPECT_EQ(passes::fuse(g).size(), 1u);
}

}  // namespace
}  // namespace bascule
