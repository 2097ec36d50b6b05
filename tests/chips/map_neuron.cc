// tests/chips/map_neuron.cc — programs of instruction-level chips: legal, right within their arithmetic, and as fast as published where that is known.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "device/chip/map.h"
#include "device/chip/timing.h"
#include "device/chip/values.h"
#include "graph/builder.h"
#include "graph/evaluate.h"
#include "tests/chips/random.h"
#include "tests/support/convolution.h"

namespace bascule::device::chip {
namespace {

struct Model {
  Builder b{"model"};
  std::vector<Tensor> inputs;
  uint32_t seed = 1;
  bool may_use_host = false;
  Value input(std::vector<int64_t> dims) {
    inputs.push_back(random(dims, ++seed));
    return b.input(Type::tensor(DType::f32, to_dims(dims)), "x" + std::to_string(inputs.size()));
  }
  Value weight(std::vector<int64_t> dims) {
    const auto fan = static_cast<double>(dims.size() > 1 ? std::accumulate(dims.begin() + 1, dims.end(), int64_t{1}, std::multiplies<>()) : 1);
    return b.constant(random(dims, ++seed, 1 / std::sqrt(fan)));
  }

  // max |got - want| / max |want| over the results; the program must pass all checks.
  double error(Value y, const std::string& chip_name = "trainium1") { return error(y, find_chip(chip_name)); }
  double error(Value y, const Chip& chip) {
    const Graph g = prepare(b.finish({y}));
    const Program p = map(chip, g);
    for (const std::string& problem : check(chip, p)) ADD_FAILURE() << problem;
    if (!may_use_host) {
      for (const StepInfo& s : p.steps) EXPECT_EQ(s.host, "") << s.name;
    }
    const std::vector<Tensor> got = execute(chip, p, g, inputs);
    EvalContext context;
    const HostValues want = evaluate(g, HostValues(inputs.begin(), inputs.end()), context);
    double most = 0, worst = 0;
    for (int64_t i = 0; i < got[0].elements(); ++i) {
      const double w = want[0].tensor().number(i);
      most = std::max(most, std::abs(w));
      const double e = std::abs(got[0].number(i) - w);
      worst = std::isnan(e) ? INFINITY : std::max(worst, e);
    }
    return worst / most;
  }
};

// bf16 inputs round by 2^-9 each; sums of independent errors stay near that, a few stages add up.
constexpr double kStage = 0.008;
const std::vector<double> kDiagonal{20, 0, 0, 0, 0, 20, 0, 0, 0, 0, 20, 0, 0, 0, 0, 20};

TEST(MapNeuron, product_bias_and_relu_match_the_reference) {
  for (const int64_t rows : {1, 5, 128, 200}) {
    Model m;
    const Value y = m.b.maximum(m.b.add(m.b.dot_general(m.input({rows, 300}), m.weight({300, 190}), {}, {}, {1}, {0}), m.weight({190})), 0.0);
    EXPECT_LT(m.error(y), kStage) << rows;
  }
}

TEST(MapNeuron, chained_products_keep_features_on_partitions) {
  Model m;
  const Value h = m.b.op("gelu", {m.b.dot_general(m.input({2, 40, 64}), m.weight({64, 256}), {}, {}, {2}, {0})});
  EXPECT_LT(m.error(m.b.dot_general(h, m.weight({256, 64}), {}, {}, {2}, {0})), 2 * kStage);
}

TEST(MapNeuron, norms_and_softmax_of_ragged_rows_match) {
  Model m;
  const Value x = m.input({3, 50, 96});
  const Value n = m.b.op("layer_norm", {x, m.weight({96}), m.weight({96})}, {{"axis", int64_t{2}}, {"epsilon", 1e-5}});
  EXPECT_LT(m.error(m.b.op("softmax", {m.b.op("rms_norm", {n, m.weight({96})}, {{"axis", int64_t{2}}, {"epsilon", 1e-5}})}, {{"axis", int64_t{2}}})), 3 * kStage);
}

TEST(MapNeuron, attention_with_heads_masks_and_long_rows_matches) {
  for (const auto& [heads, tokens, size] : {std::tuple<int64_t, int64_t, int64_t>{4, 40, 64}, {3, 150, 32}, {2, 600, 80}}) {
    Model m;
    const auto split = [&](Value x) { return m.b.transpose(m.b.reshape(x, to_dims({2, tokens, heads, size})), {0, 2, 1, 3}); };
    const Value x = m.input({2, tokens, heads * size});
    const auto projected = [&] { return split(m.b.dot_general(x, m.weight({heads * size, heads * size}), {}, {}, {2}, {0})); };
    const Value q = projected(), k = projected(), v = projected();
    const Value y = m.b.op("attention", {q, k, v}, {{"scale", 1 / std::sqrt(static_cast<double>(size))}, {"causal", heads == 3}});
    EXPECT_LT(m.error(m.b.reshape(m.b.transpose(y, {0, 2, 1, 3}), to_dims({2, tokens, heads * size}))), 3 * kStage) << heads;
  }
}

Value conv(Model& m, Value x, std::vector<int64_t> kernel, int64_t stride, int64_t pad, int64_t groups) {
  Attrs a = nchw(groups);
  a.set("window_strides", Ints{stride, stride});
  a.set("padding_low", Dims{pad, pad});
  a.set("padding_high", Dims{pad, pad});
  return m.b.op("convolution", {x, m.weight(kernel)}, a);
}

TEST(MapNeuron, convolutions_with_padding_strides_and_groups_match) {
  {
    Model m;  // few channels: taps beside them; then a stride, then one by one
    Value x = m.b.maximum(conv(m, m.input({2, 3, 30, 26}), {40, 3, 7, 7}, 2, 3, 1), 0.0);
    x = conv(m, x, {150, 40, 3, 3}, 1, 1, 1);
    EXPECT_LT(m.error(conv(m, x, {20, 150, 1, 1}, 2, 0, 1)), 3 * kStage);
  }
  {
    Model m;  // one channel a group
    EXPECT_LT(m.error(conv(m, conv(m, m.input({1, 24, 11, 13}), {144, 24, 1, 1}, 1, 0, 1), {144, 1, 5, 5}, 2, 2, 144)), 2 * kStage);
  }
}

TEST(MapNeuron, joined_and_turned_values_match) {
  Model m;
  const Value x = m.input({2, 24, 48}), y = m.input({2, 48, 10});
  const Value z = m.b.concatenate({m.b.transpose(x, {0, 2, 1}), m.b.add(y, 1.0)}, 2);
  EXPECT_LT(m.error(m.b.sum(m.b.multiply(z, z), {2}, true)), kStage);
}

TEST(MapNeuron, windows_of_three_dimensions_are_folded) {
  const std::vector<int64_t> dims{1, 3, 9, 8, 10};
  for (const char* fold : {"maximum", "add"}) {
    Model m;
    const Value x = m.input(dims), start = m.b.constant_like(std::string(fold) == "add" ? 0 : -INFINITY, DType::f32);
    EXPECT_LT(m.error(m.b.ops("reduce_window", {x, start}, {{"window_dimensions", Dims{1, 1, 2, 3, 2}}, {"window_strides", Ints{1, 1, 2, 1, 2}}},
                              {Builder::scalar_region(fold, DType::f32)})[0]),
              kStage)
        << fold;
  }
}

TEST(MapNeuron, rows_longer_than_the_scratchpad_come_in_pieces) {
  for (const char* op : {"layer_norm", "rms_norm", "softmax", "log_softmax"}) {
    Model m;
    const bool norm = std::string(op).ends_with("norm");
    Values operands{m.input({3, 70'000})};
    if (norm) operands.push_back(m.weight({70'000}));
    Attrs attrs{{"axis", int64_t{1}}};
    if (norm) attrs.set("epsilon", 1e-5);
    EXPECT_LT(m.error(m.b.multiply(m.b.op(op, operands, attrs), 2.0)), 2 * kStage) << op;
  }
  Model m;
  EXPECT_LT(m.error(m.b.add(m.b.sum(m.b.abs(m.input({2, 150'000})), {1}, true), m.input({2, 1}))), kStage);
}

Chip with_scratchpad(int64_t partition_bytes) {
  Chip chip = find_chip("trainium1");
  for (Memory& m : chip.memories)
    if (m.role == Role::scratchpad) m.bytes = partition_bytes * m.partitions;
  return chip;
}

TEST(MapNeuron, a_result_that_leaves_in_blocks_keeps_what_lies_between_them) {
  // 149 x 14 rows lie on each partition: a block takes every fourteenth of them.
  Model m;
  EXPECT_LT(m.error(m.b.add(m.input({149, 1, 1}), m.input({1, 1792, 7})), with_scratchpad(24 << 10)), kStage);
}

TEST(MapNeuron, attention_of_batches_inside_of_rows_is_relaid) {
  // [tokens, batch, heads * size], as PyTorch's fast path lays encoders out; too large to stay in the scratchpad
  const int64_t tokens = 70, batch = 6, heads = 3, size = 32;
  Model m;
  const auto split = [&] {
    const Value x = m.input({tokens, batch, heads * size});
    return m.b.transpose(m.b.reshape(m.b.add(x, x), to_dims({tokens, batch, heads, size})), {1, 2, 0, 3});
  };
  const Value q = split(), k = split(), v = split();
  const Value y = m.b.op("attention", {q, k, v}, {{"scale", 1 / std::sqrt(static_cast<double>(size))}});
  const Value back = m.b.reshape(m.b.transpose(y, {2, 0, 1, 3}), to_dims({tokens, batch, heads * size}));
  EXPECT_LT(m.error(m.b.add(back, back), with_scratchpad(8 << 10)), 3 * kStage);
}

TEST(MapNeuron, attention_of_a_large_mask_and_joined_projections_matches) {
  const int64_t tokens = 300, heads = 2, size = 64;
  Model m;
  const Value joined = m.b.dot_general(m.input({tokens, 128}), m.weight({128, 3 * heads * size}), {}, {}, {1}, {0});
  const auto part = [&](int64_t k) {
    const Value x = m.b.slice_axis(joined, 1, k * heads * size, (k + 1) * heads * size);
    return m.b.transpose(m.b.reshape(x, to_dims({1, tokens, heads, size})), {0, 2, 1, 3});
  };
  const Value bias = m.input({1, heads, tokens, tokens});
  const Value y = m.b.op("attention", {part(0), part(1), part(2), bias}, {{"scale", 1 / std::sqrt(static_cast<double>(size))}});
  EXPECT_LT(m.error(m.b.multiply(y, 2.0), with_scratchpad(16 << 10)), 3 * kStage);
}

TEST(MapNeuron, products_of_few_rows_and_into_another_order_match) {
  const Chip chip = with_scratchpad(16 << 10);
  {
    Model m;  // the first token of each text
    const Value x = m.b.add(m.input({24, 40, 256}), 1.0);
    const Value first = m.b.reshape(m.b.slice(x, {0, 0, 0}, {24, 1, 256}, {1, 1, 1}), to_dims({24, 256}));
    EXPECT_LT(m.error(m.b.dot_general(first, m.weight({256, 64}), {}, {}, {1}, {0}), chip), kStage);
  }
  {
    Model m;  // texts inside of tokens afterwards, joined with the heads
    const Value y = m.b.dot_general(m.input({24, 40, 64}), m.weight({64, 256}), {}, {}, {2}, {0});
    const Value turned = m.b.reshape(m.b.transpose(y, {1, 0, 2}), to_dims({40, 24 * 4, 64}));
    EXPECT_LT(m.error(m.b.add(m.b.transpose(turned, {1, 0, 2}), 1.0), chip), kStage);
  }
}

TEST(MapNeuron, integers_are_turned_without_the_matrix_engine) {
  Model m;
  const auto whole = [&](Value v) { return m.b.convert(m.b.multiply(v, 100.0), DType::i32); };
  const Value x = whole(m.input({300, 40})), y = whole(m.input({40, 300}));
  EXPECT_LT(m.error(m.b.convert(m.b.add(m.b.transpose(x, {1, 0}), m.b.multiply(y, 2)), DType::f32)), kStage);
}

TEST(MapNeuron, the_host_reads_results_through_views) {
  Model m;
  m.may_use_host = true;
  const Value x = m.b.dot_general(m.input({2, 4, 64}), m.weight({64, 4}), {}, {}, {2}, {0});
  const Value square = m.b.dot_general(x, x, {0}, {0}, {2}, {2});
  const auto determinant = [&](Value v) { return m.b.op("determinant", {m.b.add(v, m.b.constant(Tensor::from_doubles(DType::f32, {4, 4}, kDiagonal)))}); };
  EXPECT_LT(m.error(m.b.add(determinant(m.b.transpose(x, {0, 2, 1})), m.b.op("determinant", {m.b.reshape(m.b.add(square, 1.0), to_dims({2, 4, 4}))}))), 4 * kStage);
}

TEST(MapNeuron, a_pinned_side_is_kept_and_an_unknown_step_refused) {
  Model m;
  const Value y = m.b.dot_general(m.input({40, 96}), m.weight({96, 200}), {}, {}, {1}, {0});
  const Graph g = prepare(m.b.finish({m.b.dot_general(y, m.weight({200, 64}), {}, {}, {1}, {0})}));
  const Chip& chip = find_chip("trainium1");
  for (const std::string side : {"rows", "features"}) {
    const Program p = map(chip, g, {.pinned = "dot_general: stationary=" + side});
    int products = 0;
    for (const StepInfo& s : p.steps) products += s.choice.starts_with("stationary=" + side) ? 1 : 0;
    EXPECT_EQ(products, 2) << side;
  }
  EXPECT_THROW(map(chip, g, {.pinned = "softmax: rows"}), Error);
}

TEST(MapNeuron, rows_that_lie_across_others_are_turned_not_gathered) {
  // a norm over the middle axis of what a convolution wrote with its channels on partitions
  Model m;
  const Value x = m.input({4, 64, 8, 64});
  const Value y = m.b.reshape(m.b.transpose(m.b.add(x, x), {0, 2, 1, 3}), Dims{Dim(4), Dim(512), Dim(64)});
  const Value t = m.b.transpose(y, {0, 2, 1});
  EXPECT_LT(m.error(m.b.op("layer_norm", {t, m.weight({512}), m.weight({512})}, {{"axis", int64_t{2}}, {"epsilon", 1e-5}})), 2 * kStage);
}

// AWS: FP32 4096 x 8192 x 8192 on one NeuronCore-v3 in 28.3 ms (kernel optimisation guide).
TEST(MapNeuron, a_large_f32_product_takes_the_published_time) {
  Builder b("product");
  const Value x = b.input(Type::tensor(DType::f32, {8192, 4096}), "x");
  const Value w = b.op("absent", {}, {{"dtype", DType::f32}, {"dims", Dims{8192, 8192}}, {"reason", std::string("only timed")}});
  const Graph g = prepare(b.finish({b.dot_general(x, w, {}, {}, {0}, {0})}));
  const Chip& chip = find_chip("trainium2");
  MapOptions options;
  options.precision = DType::f32;
  const Program p = map(chip, g, options);
  TimingOptions ideal;
  ideal.schedule_factor = 1;
  EXPECT_NEAR(simulate(chip, p, ideal).total_ns * 1e-6, 28.3, 28.3 * 0.05);
}

TEST(MapNeuron, norms_before_products_are_scaled_where_they_are_turned) {
  for (const char* op : {"layer_norm", "rms_norm"})
    for (const int64_t rows : {3, 130, 300}) {
      Model m;
      const Value x = m.input({2, rows, 320});
      std::vector<Value> of{x, m.weight({320})};
      if (std::string(op) == "layer_norm") of.push_back(m.weight({320}));
      const Value y = m.b.op(op, of, {{"axis", int64_t{2}}, {"epsilon", 1e-5}});
      const auto product = [&](int64_t n) { return m.b.dot_general(y, m.weight({320, n}), {}, {}, {2}, {0}); };
      EXPECT_LT(m.error(rows == 130 ? m.b.add(product(320), y) : m.b.add(product(96), product(96))), 2 * kStage) << op << " " << rows;
    }
}

// Channels from their partitions to a single one: not column by column, however many there are.
TEST(MapNeuron, many_columns_of_a_single_partition_stay_few_instructions) {
  Model m;
  const Value x = m.b.maximum(m.input({2, 512, 7, 14}), 0.0);
  const Graph g = prepare(m.b.finish({conv(m, x, {512, 1, 1, 1}, 2, 0, 512)}));
  const Program p = map(find_chip("trainium2"), g, {.cores = 1});
  EXPECT_TRUE(check(find_chip("trainium2"), p).empty());
  EXPECT_LT(p.code.size(), 50'000u);
}

// Whatever the search finds is a program that the chip takes.
TEST(MapNeuron, pinned_sizes_of_tiles_give_legal_programs) {
  for (const int64_t rows : {6, 200})
    for (const char* side : {"rows", "features"})
      for (const int64_t n : {16, 48, 96, 128, 200, 1000}) {
        Model m;
        const Value h = m.b.dot_general(m.input({rows, 256}), m.weight({256, 768}), {}, {}, {1}, {0});
        const Graph g = prepare(m.b.finish({m.b.dot_general(m.b.maximum(h, 0.0), m.weight({768, 384}), {}, {}, {1}, {0})}));
        const Chip& chip = find_chip("trainium1");
        const Program p = map(chip, g, {.search = false, .pinned = "dot_general + maximum: stationary=" + std::string(side) + " n=" + std::to_string(n) + " m=96"});
        EXPECT_TRUE(check(chip, p).empty()) << rows << " " << side << " " << n << ": " << check(chip, p).front();
      }
}

TEST(MapNeuron, a_printed_choice_of_a_product_can_be_pinned) {
  Builder b("products");
  const auto absent = [&](int64_t k, int64_t n) {
    return b.op("absent", {}, {{"dtype", DType::f32}, {"dims", Dims{Dim(k), Dim(n)}}, {"reason", std::string("only timed")}});
  };
  const Value x = b.input(Type::tensor(DType::f32, {1024, 1024}), "x");
  const Value y = b.dot_general(x, absent(1024, 4096), {}, {}, {1}, {0});
  const Graph g = prepare(b.finish({b.dot_general(y, absent(4096, 1024), {}, {}, {1}, {0})}));
  const Chip& chip = find_chip("trainium1");
  const Program free = map(chip, g);
  ASSERT_EQ(free.steps[0].name, free.steps[1].name);
  const auto side = [](const StepInfo& s) { return s.choice.substr(0, s.choice.find(' ')); };
  const std::string other = side(free.steps[0]) == "stationary=rows" ? "stationary=features" : "stationary=rows";
  const std::string first = " of 1024x1024x4096";
  ASSERT_TRUE(free.steps[0].choice.ends_with(first));
  const Program pinned = map(chip, g, {.pinned = free.steps[0].name + ": " + other + " n=256" + first});
  EXPECT_TRUE(pinned.steps[0].choice.starts_with(other + " n=256 ")) << pinned.steps[0].choice;
  EXPECT_TRUE(pinned.notes.empty());
  MapOptions same;
  for (const StepInfo& s : free.steps) same.pinned += s.name + ": " + s.choice + "\n";
  const Program again = map(chip, g, same);
  for (size_t k = 0; k < 2; ++k) EXPECT_EQ(again.steps[k].choice, free.steps[k].choice);
  EXPECT_EQ(simulate(chip, again).total_ns, simulate(chip, free).total_ns);
  EXPECT_LE(simulate(chip, free).total_ns, simulate(chip, map(chip, g, {.search = false})).total_ns);
}

}  // namespace
}  // namespace bascule::device::chip
