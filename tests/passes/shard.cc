// One rank's graph: all ranks together answer as the whole graph does, on graphs that models are made of and on random ones; published models come
// apart as people would cut them.
#include "passes/shard.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>

#include "base/error.h"
#include "base/file.h"
#include "device/chip/map.h"
#include "graph/builder.h"
#include "import/importer.h"
#include "passes/bind.h"
#include "passes/pipeline.h"
#include "tests/support/convolution.h"
#include "tests/support/passes.h"
#include "tests/support/random_graph.h"
#include "tests/support/shards.h"

namespace bascule {
namespace {
using namespace bascule::test;
using passes::plan_shards;
using passes::Shards;
using passes::Split;

// Answers of 1 to 4 ranks; the operators of rank 0 of the last.
void expect_same(const Graph& g, const HostValues& in, Split split, const passes::ShardPrices& prices = kCheap,
                 std::vector<int64_t> ranks = {1, 2, 3, 4}) {
  for (const int64_t r : ranks) EXPECT_EQ(sharded_fault(g, in, plan_shards(g, r, split, prices)), "") << r << " ranks";
}
Graph rank0(const Graph& g, int64_t ranks, Split split) { return passes::shard(g, plan_shards(g, ranks, split, kCheap), 0); }

// The last node of an operator.
const Node& last(const Graph& g, std::string_view op) {
  for (size_t i = g.nodes.size(); i-- > 0;)
    if (g.nodes[i].op->name == op) return g.nodes[i];
  throw std::runtime_error("no " + std::string(op));
}
Dims operand_dims(const Graph& g, std::string_view op, size_t k) { return g.type(last(g, op).inputs[k]).dims; }

Value linear(Builder& b, Value x, const Tensor& w) { return b.dot_general(x, b.constant(w), {}, {}, {b.rank(x) - 1}, {0}); }

TEST(Shard, mlp_takes_columns_then_rows_and_folds_once) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {2, 5}), "x");
  const Value h = b.tanh(b.add(linear(b, x, wave({5, 24}, 1)), b.constant(wave({24}, 2))));
  const Graph g = b.finish({b.add(b.add(linear(b, h, wave({24, 5}, 3)), b.constant(wave({5}, 4))), x)});
  expect_same(g, {wave({2, 5})}, Split::tensor);
  const Shards plan = plan_shards(g, 4, Split::tensor, kCheap);
  const Graph first = passes::shard(g, plan, 0);
  EXPECT_EQ(count(first, "all_reduce"), 1);
  EXPECT_EQ(count(first, "all_gather"), 0);
  EXPECT_EQ(plan.collectives, 1);
  EXPECT_EQ(plan.collective_bytes, 2 * 0.75 * 2 * 5 * 4);  // a ring sends 2 (R-1)/R of the folded f32[2,5]
  EXPECT_EQ(plan.outputs, std::vector<int>{-1});
}

TEST(Shard, small_products_stay_whole_and_that_is_noted) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {2, 6}), "x");
  const Graph g = b.finish({b.reduce("add", linear(b, b.tanh(linear(b, x, wave({6, 24}, 1))), wave({24, 6}, 2)), {1}, false)});
  const Shards plan = plan_shards(g, 2, Split::tensor);
  EXPECT_EQ(plan.collectives, 0);
  EXPECT_EQ(
      plan.notes,
      (std::vector<std::string>{"2 of 2 products with weights are done whole by every rank: parts would save less than it costs to join them"}));
  EXPECT_EQ(passes::shard(g, plan, 1).nodes.size(), g.nodes.size());
}

// q, k and v from one product, as GPT-2 has them: columns in 3 blocks; heads that 2 and 3 divide but not 4.
TEST(Shard, attention_goes_by_heads_through_one_joined_product) {
  constexpr int64_t B = 2, S = 3, H = 6, D = 4;
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {B, S, H * D}), "x");
  const Value all = linear(b, x, wave({H * D, 3 * H * D}, 1));
  const auto heads = [&](int64_t k) { return b.transpose(b.reshape(b.slice_axis(all, 2, k * H * D, (k + 1) * H * D), {B, S, H, D}), {0, 2, 1, 3}); };
  const Value mask = b.broadcast_to(b.constant(wave({1, 1, S, S}, 2)), {B, H, S, S});
  const Value y = b.op("attention", {heads(0), heads(1), heads(2), mask}, {{"scale", 0.5}});
  const Value sum = b.add(x, linear(b, b.reshape(b.transpose(y, {0, 2, 1, 3}), {B, S, H * D}), wave({H * D, H * D}, 3)));
  const Graph g = b.finish({b.op("layer_norm", {sum, kNoValue, kNoValue}, {{"axis", int64_t{2}}, {"epsilon", 1e-5}})});
  expect_same(g, {wave({B, S, H * D})}, Split::tensor);
  expect_same(g, {wave({B, S, H * D})}, Split::batch, kCheap, {1, 2});
  for (const int64_t r : {2, 3}) {
    const Graph first = rank0(g, r, Split::tensor);
    EXPECT_EQ(count(first, "all_reduce"), 1);
    EXPECT_EQ(count(first, "all_gather"), 0);
    EXPECT_TRUE(operand_dims(first, "attention", 0)[1].is(H / r));
  }
  const Shards four = plan_shards(g, 4, Split::tensor);
  EXPECT_EQ(count(passes::shard(g, four, 0), "all_reduce"), 0);
  EXPECT_FALSE(four.notes.empty());
}

// A vocabulary that ranks do not divide, its weight turned: all but the last rank have views of it, the last one zeros beyond the end.
TEST(Shard, columns_that_leave_the_model_need_not_divide) {
  const Tensor table = wave({67, 6}, 1);
  Builder b;
  b.fold = false;
  const Value x = b.input(Type::tensor(DType::f32, {6, 6}), "x");
  const Value logits = b.dot_general(x, b.transpose(b.constant(table), {1, 0}), {}, {}, {1}, {0});
  const Graph g = b.finish({b.reshape(b.add(logits, b.constant(wave({67}, 2))), {2, 3, 67}), b.reduce("maximum", logits, {0}, false)});
  expect_same(g, {wave({6, 6})}, Split::tensor);
  const Shards plan = plan_shards(g, 4, Split::tensor, kCheap);
  EXPECT_EQ(plan.outputs, (std::vector<int>{2, 0}));
  EXPECT_EQ(plan.collectives, 0);
  for (const int64_t rank : {0, 3}) {
    const Graph part = passes::shard(g, plan, rank);
    const Tensor& rows = *part.constant(last(part, "transpose").inputs[0]);
    EXPECT_EQ(rows.type_text(), "f32[17,6]");
    EXPECT_EQ(rows.number(15 * 6), table.number((rank * 17 + 15) * 6));
    if (rank == 0) EXPECT_EQ(rows.data(), table.data());
    else EXPECT_EQ(rows.number(16 * 6), 0);
  }
  const Graph h = [&] {
    Builder c;
    const Value z = c.input(Type::tensor(DType::f32, {6, 6}), "z");
    const Value y = c.dot_general(z, c.constant(wave({6, 67})), {}, {}, {1}, {0});
    return c.finish({y, c.op("softmax", {y}, {{"axis", int64_t{1}}})});  // needs all of them
  }();
  expect_same(h, {wave({6, 6})}, Split::tensor);
}

TEST(Shard, grouped_heads_stay_with_their_keys) {
  constexpr int64_t B = 1, S = 3, H = 8, K = 4, D = 2;
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {B, S, 16}), "x");
  const auto heads = [&](int64_t n, double phase) {
    return b.transpose(b.reshape(linear(b, x, wave({16, n * D}, phase)), {B, S, n, D}), {0, 2, 1, 3});
  };
  const Value y = b.op("attention", {heads(H, 1), heads(K, 2), heads(K, 3)}, {{"scale", 0.7}, {"causal", true}});
  const Graph g = b.finish({linear(b, b.reshape(b.transpose(y, {0, 2, 1, 3}), {B, S, H * D}), wave({H * D, 16}, 4))});
  expect_same(g, {wave({B, S, 16})}, Split::tensor);
  EXPECT_TRUE(operand_dims(rank0(g, 4, Split::tensor), "attention", 1)[1].is(1));
  expect_same(g, {wave({B, S, 16})}, Split::tensor, kCheap, {8});  // keys do not divide
}

Value conv(Builder& b, Value x, const Tensor& w, int64_t groups) {
  Attrs a = nchw(groups);
  a.set("padding_low", Dims{1, 1});
  a.set("padding_high", Dims{1, 1});
  return b.op("convolution", {x, b.constant(w)}, a);
}

// Convolution, batch norm, depthwise convolution, squeeze and excite, pooling, classes.
TEST(Shard, convolutions_go_by_features_and_groups) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {4, 3, 6, 6}), "x");
  Value y = conv(b, x, wave({12, 3, 3, 3}, 1), 1);
  y = b.add(b.multiply(y, b.constant(wave({12, 1, 1}, 2))), b.constant(wave({12, 1, 1}, 3)));
  y = conv(b, b.maximum(y, 0), wave({12, 1, 3, 3}, 4), 12);
  const Value squeezed = b.mean(y, {2, 3}, false);
  const Value gate = b.logistic(linear(b, b.maximum(linear(b, squeezed, wave({12, 4}, 5)), 0), wave({4, 12}, 6)));
  y = b.multiply(y, b.broadcast_in_dim(gate, {4, 12, 6, 6}, {0, 1}));
  y = b.mean(conv(b, y, wave({8, 12, 3, 3}, 7), 1), {2, 3}, false);
  const Graph g = b.finish({linear(b, y, wave({8, 10}, 8))});
  expect_same(g, {wave({4, 3, 6, 6})}, Split::tensor);
  expect_same(g, {wave({4, 3, 6, 6})}, Split::batch, kCheap, {1, 2, 4});
  EXPECT_EQ(count(rank0(g, 2, Split::batch), "all_gather"), 0);
  int64_t depthwise = 0;
  const Graph first = rank0(g, 4, Split::tensor);
  for (const Node& n : first.nodes) depthwise += n.op->name == "convolution" && n.attrs.integer("feature_group_count") == 3;
  EXPECT_EQ(depthwise, 1);
}

// Padding masks are read by constant indices that count the batch: each rank counts from its own first row.
TEST(Shard, a_batch_of_tokens_with_a_gathered_mask_needs_no_collective) {
  constexpr int64_t B = 4, S = 3;
  Builder b;
  const Value ids = b.input(Type::tensor(DType::i64, {B, S}), "ids"), mask = b.input(Type::tensor(DType::f32, {B, S}), "mask");
  const Value rows = b.op("gather", {b.constant(wave({7, 6}, 1)), ids},
                          {{"offset_dims", Ints{2}},
                           {"collapsed_slice_dims", Ints{0}},
                           {"start_index_map", Ints{0}},
                           {"index_vector_dim", int64_t{2}},
                           {"slice_sizes", Dims{1, 6}}});
  std::vector<int64_t> index;
  for (int64_t n = 0; n < B; ++n)
    for (int64_t s = 0; s < S; ++s) index.insert(index.end(), {n, S - 1 - s});
  const Value turned = b.op("gather", {mask, b.constant(Tensor::from_ints(DType::i64, {B, S, 2}, index))},
                            {{"offset_dims", Ints{}},
                             {"collapsed_slice_dims", Ints{0, 1}},
                             {"start_index_map", Ints{0, 1}},
                             {"index_vector_dim", int64_t{2}},
                             {"slice_sizes", Dims{1, 1}}});
  const Graph g = b.finish({b.multiply(rows, b.broadcast_in_dim(turned, {B, S, 6}, {0, 1})), b.reduce("maximum", mask, {0, 1}, false)});
  const HostValues in{Tensor::from_ints(DType::i64, {B, S}, std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4}), wave({B, S})};
  expect_same(g, in, Split::batch, kCheap, {1, 2, 4});
  const Graph first = rank0(g, 2, Split::batch);
  EXPECT_EQ(count(first, "all_gather"), 0);
  EXPECT_EQ(count(first, "all_reduce"), 1);  // the largest of the whole batch
}

TEST(Shard, an_operator_without_a_rule_takes_whole_operands) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {4, 4}), "x");
  const Value y =
      b.op("cholesky",
           {b.add(b.multiply(x, 0.01),
                  b.constant(Tensor::from_doubles(DType::f32, {4, 4}, std::vector<double>{2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2})))},
           {{"lower", true}});
  const Graph g = b.finish({b.tanh(y)});
  expect_same(g, {wave({4, 4})}, Split::batch, kCheap, {2, 4});
  EXPECT_EQ(count(rank0(g, 2, Split::batch), "all_gather"), 1);
}

TEST(Shard, random_graphs_answer_alike) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    const RandomGraph r = random_graph(seed, 12, 4 + static_cast<int>(seed % 16));
    for (const Split split : {Split::batch, Split::tensor})
      for (const int64_t ranks : {2, 3, 4})
        ASSERT_EQ(sharded_fault(r.graph, r.inputs, plan_shards(r.graph, ranks, split, seed % 2 ? kFree : kCheap)), "")
            << "seed " << seed << ", " << ranks << " ranks";
  }
}

TEST(Shard, weights_in_one_piece_are_views_and_absent_ones_stay_absent) {
  const Tensor up = wave({8, 4096}, 1), down = wave({4096, 4}, 2);
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {1, 8}), "x");
  const Graph g = b.finish({linear(b, linear(b, x, up), down)});
  const Shards plan = plan_shards(g, 2, Split::tensor, kCheap);
  for (const auto weights : {passes::ShardWeights::values, passes::ShardWeights::types}) {
    const Graph second = passes::shard(g, plan, 1, weights);
    std::vector<const Tensor*> values;
    for (const Node& n : second.nodes)
      if (n.op->name == "constant") values.push_back(&n.attrs.tensor("value"));
    const bool all = weights == passes::ShardWeights::values;
    ASSERT_EQ(values.size(), all ? 2u : 1u);
    EXPECT_EQ(values.back()->data(), down.data() + 2048 * 4 * 4);  // rows lie in one piece
    EXPECT_EQ(values.back()->type_text(), "f32[2048,4]");
    if (all) EXPECT_EQ(values[0]->number(2048), up.number(4096 + 2048));
    else EXPECT_EQ(count(second, "absent"), 1);
  }
  Builder c;
  const Value z = c.input(Type::tensor(DType::f32, {1, 4}), "z");
  const auto absent = [&](const Dims& d) { return c.op("absent", {}, {{"dtype", DType::f32}, {"dims", d}, {"reason", std::string("not there")}}); };
  const Graph h = c.finish({c.dot_general(c.dot_general(z, absent({4, 8}), {}, {}, {1}, {0}), absent({8, 4}), {}, {}, {1}, {0})});
  const Graph first = rank0(h, 2, Split::tensor);
  verify(first, "shard");
  EXPECT_EQ(last(first, "absent").attrs.dims("dims"), (Dims{4, 4}));
}

TEST(Shard, what_cannot_be_is_said) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {3, 4}), "x");
  const Graph g = b.finish({b.tanh(x)});
  EXPECT_THROW(plan_shards(g, 0, Split::tensor), Error);
  EXPECT_THROW(passes::shard(g, plan_shards(g, 3, Split::batch), 3), Error);
  try {
    plan_shards(g, 2, Split::batch);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_STREQ(e.what(),
                 "input 'x' f32[3,4]: expected a batch that divides by 2, as many as run it, found 3. Choose a batch that is a multiple, or fewer "
                 "cores or chips");
  }
  EXPECT_EQ(plan_shards(g, 3, Split::batch).outputs, std::vector<int>{0});
}

// ---- published models, without weights

Graph published(const std::string& name, int64_t batch) {
  const char* shared = std::getenv("BASCULE_SHARED");
  const std::string path = std::string(shared ? shared : BASCULE_SOURCE_DIR "/../shared") + "/models/" + name + ".onnx";
  if (!is_regular_file(path)) return {};
  Graph g = import_model(path).graph;
  passes::optimize(g, {});
  Bindings sizes;
  for (const std::string& s : g.symbols()) sizes[s] = s.find("batch") != std::string::npos ? batch : 128;
  return device::chip::prepare(passes::bind(g, sizes));
}

TEST(Shard, transformers_fold_twice_a_layer_and_gather_nothing) {
  struct Known {
    const char* name;
    int64_t ranks, folds;
  };
  for (const Known& k : {Known{"skeletons/bert_base", 2, 24}, Known{"skeletons/bert_base", 4, 24},
                         Known{"skeletons/bert_base", 8, 12},  // 12 heads: only the MLP divides by 8
                         Known{"skeletons/gpt2", 2, 24}, Known{"skeletons/llama_110m", 4, 24}, Known{"skeletons/vit_b_16", 2, 24},
                         Known{"skeletons/minilm", 2, 12}, Known{"skeletons/whisper_tiny_encoder", 2, 9},  // its two convolutions fold once
                         Known{"timing/bert_large", 8, 48}}) {
    const Graph g = published(k.name, 8);
    if (g.nodes.empty()) GTEST_SKIP() << "no shared models (BASCULE_SHARED)";
    const Shards plan = plan_shards(g, k.ranks, Split::tensor);
    const Graph first = passes::shard(g, plan, 0, passes::ShardWeights::types);
    verify(first, "shard");
    EXPECT_EQ(count(first, "all_reduce"), k.folds) << k.name;
    EXPECT_EQ(count(first, "all_gather"), 0) << k.name;
    EXPECT_EQ(plan.collectives, k.folds) << k.name;
    if (k.folds == 12 && k.ranks == 8) {
      EXPECT_EQ(plan.notes.back(), "attention is done whole by every rank where heads do not divide by 8: 12 heads (12)");
    }
  }
}

TEST(Shard, a_batch_of_any_published_model_needs_no_collective) {
  for (const char* name : {"bert_base", "bilstm", "convnext_tiny", "distilbert", "efficientnet_b0", "gpt2", "llama_110m", "minilm",
                           "mobilenet_v3_large", "resnet50", "vit_b_16"}) {
    const Graph g = published(std::string("skeletons/") + name, 8);
    if (g.nodes.empty()) GTEST_SKIP() << "no shared models (BASCULE_SHARED)";
    const Shards plan = plan_shards(g, 4, Split::batch);
    EXPECT_EQ(plan.collectives, 0) << name;
    EXPECT_TRUE(plan.notes.empty()) << name;
    const Graph first = passes::shard(g, plan, 0, passes::ShardWeights::types);
    verify(first, "shard");
    for (const Value v : first.inputs) EXPECT_TRUE(first.type(v).dims[0].is(2)) << name;
  }
}

}  // namespace
}  // namespace bascule
