// tests/chips/map_tile.cc — steps cut to tiles give what the references give, however small the local memory and however many cores.
#include "device/chip/map.h"
#include "device/chip/map_tile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "device/chip/timing.h"
#include "device/chip/values.h"
#include "graph/builder.h"
#include "graph/evaluate.h"
#include "ops/cases.h"
#include "tests/support/convolution.h"

namespace bascule::device::chip {
namespace {

// TPU v5e in f32 with this much scratchpad; results stay on the cores where `overlap`.
Chip small_tpu(int64_t scratchpad_bytes, bool overlap) {
  Chip c = find_chip("tpu_v5e");
  for (Memory& m : c.memories)
    if (m.role == Role::scratchpad) m.bytes = scratchpad_bytes;
  c.software.overlap = overlap;
  return c;
}

Type f32(std::vector<int64_t> dims) { return Type::tensor(DType::f32, to_dims(dims)); }

// Largest error relative to the largest value, on seeded inputs in [-1, 1].
double error_on(const Chip& chip, const Graph& g, const MapOptions& options, Program* out = nullptr) {
  uint64_t seed = 11;
  std::vector<Tensor> inputs;
  HostValues values;
  for (const Value v : g.inputs) {
    inputs.push_back(ops::random_tensor(g.type(v).dtype, *constants(g.type(v).dims), -1, 1, seed));
    values.push_back(inputs.back());
  }
  EvalContext context;
  const HostValues want = evaluate(g, values, context);
  const Graph prepared = prepare(g);
  const Program p = map_tiles(chip, prepared, make_steps(prepared), options);
  EXPECT_EQ(check(chip, p), std::vector<std::string>{});
  EXPECT_GT(simulate(chip, p).total_ns, 0);
  const std::vector<Tensor> got = execute(chip, p, prepared, inputs);
  double worst = 0, largest = 1e-6;
  for (size_t k = 0; k < got.size(); ++k)
    for (int64_t i = 0; i < got[k].elements(); ++i) {
      largest = std::max(largest, std::abs(want[k].tensor().number(i)));
      worst = std::max(worst, std::abs(want[k].tensor().number(i) - got[k].number(i)));
    }
  if (out) *out = p;
  return worst / largest;
}

int64_t count(const Program& p, Opcode op) {
  return std::count_if(p.code.begin(), p.code.end(), [&](const Instruction& i) { return i.op == op; });
}

Graph product(int64_t m, int64_t k, int64_t n) {
  Builder b("product");
  const Value x = b.input(f32({m, k}), "x"), w = b.input(f32({k, n}), "w"), bias = b.input(f32({n}), "bias");
  return b.finish({b.op("gelu", {b.add(b.dot_general(x, w, {}, {}, {1}, {0}), bias)})}, {"y"});
}

Graph attention(bool causal) {
  Builder b("attention");
  const Value q = b.input(f32({2, 4, 24, 16}), "q"), k = b.input(f32({2, 2, 40, 16}), "k"), v = b.input(f32({2, 2, 40, 16}), "v");
  return b.finish({b.op("attention", {q, k, v}, {{"scale", 0.25}, {"causal", causal}, {"causal_offset", Dims{16}}})}, {"y"});
}

Graph convolution(int64_t channels, int64_t groups, bool transposed = false) {
  Builder b("convolution");
  const Value x = b.input(f32({2, channels, 17, 15}), "x"), w = b.input(f32({24, channels / groups, 3, 3}), "w");
  Attrs a = nchw(groups);
  a.set("window_strides", Ints{2, 1});
  a.set("padding_low", Dims{1, 1});
  a.set("padding_high", Dims{1, 0});
  a.set("rhs_dilation", Ints{1, 2});
  a.set("lhs_dilation", Ints{1, transposed ? 2 : 1});
  a.set("window_reversal", Ints{transposed, 1});
  const Value y = b.op("convolution", {x, w}, a);
  return b.finish({b.maximum(y, b.constant_like(0, DType::f32))}, {"y"});
}

const MapOptions kExact{.precision = DType::f32};

TEST(MapTile, products_cut_to_a_small_scratchpad_are_right) {
  for (const bool overlap : {false, true}) {
    Program p;
    EXPECT_LE(error_on(small_tpu(32 << 10, overlap), product(96, 200, 112), kExact, &p), 1e-5);
    EXPECT_GT(count(p, Opcode::matmul), 4);
  }
}

TEST(MapTile, attention_on_the_cores_through_memory_and_as_one_kernel_is_right) {
  for (const bool causal : {false, true}) {
    Program apart, together;
    EXPECT_LE(error_on(small_tpu(64 << 10, false), attention(causal), kExact, &apart), 1e-5);
    EXPECT_LE(error_on(small_tpu(64 << 10, true), attention(causal), kExact, &together), 1e-5);
    EXPECT_EQ(apart.steps.size(), together.steps.size() + 2);  // scores, softmax, values
    EXPECT_LE(error_on(find_chip("h100_sxm"), attention(causal), kExact), 1e-5);
  }
}

TEST(MapTile, convolutions_in_boxes_of_rows_are_right) {
  for (const int64_t groups : {1, 4})
    for (const bool overlap : {false, true}) EXPECT_LE(error_on(small_tpu(24 << 10, overlap), convolution(8, groups), kExact), 1e-5);
  EXPECT_LE(error_on(small_tpu(24 << 10, false), convolution(24, 24), kExact), 1e-5);  // depthwise, on the vector engine
  EXPECT_LE(error_on(find_chip("h100_sxm"), convolution(8, 1), kExact), 1e-5);
}

// A convolution of k x k on square pictures, with as much padding on each side.
Graph picture_convolution(int64_t size, int64_t in, int64_t out, int64_t k, int64_t stride, int64_t padding) {
  Builder b("picture");
  const Value x = b.input(f32({1, in, size, size}), "x"), w = b.input(f32({out, in, k, k}), "w");
  Attrs a = nchw(1);
  a.set("window_strides", Ints{stride, stride});
  a.set("padding_low", Dims{padding, padding});
  a.set("padding_high", Dims{padding, padding});
  return b.finish({b.op("convolution", {x, w}, a)}, {"y"});
}

TEST(MapTile, every_way_of_a_convolution_is_right) {
  for (const bool transposed : {false, true})
    for (const int64_t groups : {1, 2}) {
      const Graph g = convolution(8, groups, transposed);
      const Graph prepared = prepare(g);
      const std::string name = map_tiles(find_chip("tpu_v5e"), prepared, make_steps(prepared), {}).steps[0].name;
      for (const bool overlap : {false, true})
        for (const std::string way : {"taps", "packed", "channels"})
          for (const std::string parts : {"images=1 groups=1 channels=1 rows=1 rows outer", "images=2 groups=2 channels=3 rows=4 channels outer", "images=1 groups=1 channels=2 rows=9 rows outer"}) {
            Program p;
            EXPECT_LE(error_on(small_tpu(1 << 20, overlap), g, {.precision = DType::f32, .pinned = name + ": " + way + " " + parts}, &p), 1e-5) << way << " " << parts;
            if (!transposed) {
              EXPECT_TRUE(p.steps[0].choice.starts_with(way + " " + parts + " of 2x")) << p.steps[0].choice;
            }
          }
    }
}

// Patches are one product and a stem packs its taps: no more than a few times what main memory and the arrays ask for.
TEST(MapTile, few_channels_share_the_rows_of_the_array) {
  for (const char* name : {"gaudi3", "tpu_v5e"})
    for (const Graph& g : {picture_convolution(224, 3, 768, 16, 16, 0), picture_convolution(224, 3, 64, 7, 2, 3)}) {
      const Chip& chip = find_chip(name);
      const Graph prepared = prepare(g);
      const Program p = map_tiles(chip, prepared, make_steps(prepared), {});
      EXPECT_TRUE(p.steps[0].choice.starts_with("packed")) << p.steps[0].choice;
      EXPECT_LT(simulate(chip, p).total_ns, 25e3) << name;
    }
}

TEST(MapTile, many_cores_share_what_one_would_do) {
  EXPECT_LE(error_on(find_chip("maia200"), product(96, 200, 112), {.precision = DType::bf16}), 3e-2);
}

TEST(MapTile, a_printed_choice_can_be_pinned) {
  for (const char* name : {"tpu_v5e", "h100_sxm"}) {
    const Graph g = prepare(product(256, 256, 256));
    const std::vector<Step> steps = make_steps(g);
    const Program free = map_tiles(find_chip(name), g, steps, {});
    const std::string other = std::string(name) == "tpu_v5e" ? "batch=1 m=4 n=2 k=1 n outer" : "tile=32x64 split_k=2";
    ASSERT_NE(free.steps[0].choice, other);
    const Program pinned = map_tiles(find_chip(name), g, steps, {.pinned = free.steps[0].name + ": " + other});
    EXPECT_EQ(pinned.steps[0].choice, other + " of 256x256x256");
    EXPECT_NE(simulate(find_chip(name), pinned).total_ns, simulate(find_chip(name), free).total_ns);
  }
}

TEST(MapTile, products_of_one_name_are_pinned_by_their_shape) {
  Builder b("pair");
  const Value x = b.input(f32({256, 256}), "x"), u = b.input(f32({256, 512}), "u"), v = b.input(f32({512, 256}), "v");
  const Graph g = prepare(b.finish({b.dot_general(b.dot_general(x, u, {}, {}, {1}, {0}), v, {}, {}, {1}, {0})}, {"y"}));
  const Program free = map(find_chip("tpu_v5e"), g, {});
  ASSERT_EQ(free.steps.size(), 2u);
  ASSERT_EQ(free.steps[0].name, free.steps[1].name);
  const std::string other = "batch=1 m=4 n=2 k=1 n outer of 256x512x256";
  const Program pinned = map(find_chip("tpu_v5e"), g, {.pinned = free.steps[1].name + ": " + other});
  EXPECT_EQ(pinned.steps[0].choice, free.steps[0].choice);
  EXPECT_EQ(pinned.steps[1].choice, other);
}

// Where transfers run beside the work, the timing model chooses parts: never worse than the closed form, here better; what it chose can be pinned.
TEST(MapTile, the_timing_model_chooses_parts_within_its_budget) {
  Builder b("mlp");
  uint64_t seed = 3;
  Value y = b.input(f32({1024, 768}), "x");
  for (const int64_t n : {3072, 768, 3072, 768}) y = b.op("gelu", {b.dot_general(y, b.constant(ops::random_tensor(DType::f32, {n == 768 ? 3072 : 768, n}, -0.1, 0.1, seed)), {}, {}, {1}, {0})});
  const Graph g = prepare(b.finish({y}, {"y"}));
  const Chip& chip = find_chip("gaudi3");
  const Program closed = map(chip, g, {.search = false}), found = map(chip, g, {});
  EXPECT_LT(simulate(chip, found).total_ns, simulate(chip, closed).total_ns);
  std::string pins;
  for (const StepInfo& s : found.steps) pins += s.name + ": " + s.choice + "\n";
  EXPECT_EQ(map(chip, g, {.search = false, .pinned = pins}).text(), found.text());
}

}  // namespace
}  // namespace bascule::device::chip
