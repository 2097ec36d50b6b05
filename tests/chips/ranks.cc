// tests/chips/ranks.cc — one request over several cores or chips: what an exchange costs, that ranks in step give the answer of one, what is refused.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "device/chip/map_ranks.h"
#include "device/chip/timing.h"
#include "device/chip/values_ranks.h"
#include "device/chip/values_run.h"
#include "graph/builder.h"
#include "graph/evaluate.h"
#include "tests/chips/unit.h"

namespace bascule::device::chip {
namespace {

Tensor random(std::vector<int64_t> dims, uint32_t seed, double scale = 1) {
  Tensor t(DType::f32, std::move(dims));
  for (float& x : t.as_mutable<float>()) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>((static_cast<double>(seed >> 8) / 8388608.0 - 1) * scale);
  }
  return t;
}

Value joined_by(Builder& b, const char* op, Value x, int64_t ranks, int64_t axis = -1) {
  std::vector<int64_t> ids;
  for (int64_t r = 0; r < ranks; ++r) ids.push_back(r);
  Attrs attrs{{"replica_groups", Tensor::from_ints(DType::i64, {1, ranks}, ids)}};
  if (axis < 0) return b.ops(op, {x}, std::move(attrs), {Builder::scalar_region("add", b.dtype(x))})[0];
  Dims dims = b.dims(x);
  dims[static_cast<size_t>(axis)] = *dims[static_cast<size_t>(axis)].constant() * ranks;
  attrs.set("dims", dims);
  attrs.set("all_gather_dim", axis);
  return b.ops(op, {x}, std::move(attrs))[0];
}

// One rank's part of two linear layers, columns then rows: y = sum over ranks of relu(x W1) W2.
Graph part_of_layers(int64_t rows, int64_t width, int64_t hidden, int64_t ranks) {
  Builder b("layers");
  const Value x = b.input(Type::tensor(DType::f32, to_dims({rows, width})), "x");
  const auto weight = [&](int64_t k, int64_t n) { return b.op("absent", {}, {{"dtype", DType::f32}, {"dims", to_dims({k, n})}, {"reason", std::string("only timed")}}); };
  const Value h = b.maximum(b.dot_general(x, weight(width, hidden / ranks), {}, {}, {1}, {0}), 0);
  const Value y = b.dot_general(h, weight(hidden / ranks, width), {}, {}, {1}, {0});
  return prepare(b.finish({b.add(joined_by(b, "all_reduce", y, ranks), x)}, {"y"}));
}

// ---- what an exchange costs

// 4 engines of 4 bytes a nanosecond; 16 through main memory, which two ranks share.
Program exchange(const Chip& chip, int64_t cores, int64_t chips, bool gather) {
  Hand h(chip);
  h.e.program().cores = cores;
  h.e.program().chips = chips;
  const int64_t ranks = h.e.program().ranks = cores * chips;
  const int32_t from = h.main(1600), to = h.main(gather ? 1600 * ranks : 1600);
  Instruction i;
  i.op = Opcode::collective;
  i.fn = gather ? loops::Op::load : loops::Op::add;
  i.queue = h.e.collective();
  i.in[0] = Emitter::strided(from, 0, {1, 1600}, {1600, 1});
  i.out = gather ? Emitter::strided(to, 0, {1, ranks, 1600}, {1600 * ranks, 1600, 1}) : i.in[0];
  if (!gather) i.out.buffer = to;
  h.e.emit(i);
  return h.e.finish();
}

TEST(Ranks, an_exchange_costs_its_turns_and_its_traffic) {
  Chip chip = unit_chip();
  chip.cores = 2;
  chip.dma.start_ns = 30;
  chip.dma.finish_ns = 20;
  chip.memories[0].bytes_per_s = 1e15;
  // all_reduce: two turns, in each 3,200 of 6,400 bytes at 16 a nanosecond.
  EXPECT_NEAR(simulate(chip, exchange(chip, 2, 1, false)).total_ns, 2 * (30 + 200 + 20), 1e-6);
  // all_gather: one turn, the other rank's 6,400 bytes.
  EXPECT_NEAR(simulate(chip, exchange(chip, 2, 1, true)).total_ns, 30 + 400 + 20, 1e-6);
  chip.dma.floor_ns = 500;
  EXPECT_NEAR(simulate(chip, exchange(chip, 2, 1, false)).total_ns, 2 * (30 + 500 + 20), 1e-6);
  chip.dma.floor_ns = 0;
  // Main memory: of each byte moved two are written and three read, by two ranks at once through 16 bytes a nanosecond.
  chip.memories[0].bytes_per_s = 16e9;
  EXPECT_NEAR(simulate(chip, exchange(chip, 2, 1, false)).total_ns, 5 * 3200 * 2 / 16.0, 1e-6);
  chip.memories[0].shared_by_cores = 1;  // half of it for each
  EXPECT_NEAR(simulate(chip, exchange(chip, 2, 1, false)).total_ns, 5 * 3200 * 2 / 16.0, 1e-6);
}


TEST(Ranks, an_exchange_between_chips_goes_over_their_links) {
  Chip chip = unit_chip();
  chip.cores = 2;
  chip.memories[0].bytes_per_s = 1e15;
  EXPECT_THROW(simulate(chip, exchange(chip, 1, 4, false)), Error);
  chip.link = Link{.bytes_per_s = 4e9, .latency_ns = 100, .topology = "ring", .chips = 4};
  // Two turns of two hops, 6,400 * 3 / 4 bytes at 4 a nanosecond in each.
  EXPECT_NEAR(simulate(chip, exchange(chip, 1, 4, false)).total_ns, 2 * (200 + 1200), 1e-6);
  // Two ranks on each chip: within it as before, and the chip's link once.
  EXPECT_NEAR(simulate(chip, exchange(chip, 2, 4, false)).total_ns, 2 * (200 + 1200) + 2 * 200, 1e-6);
  chip.link->collective_step_ns = 1000;
  EXPECT_NEAR(simulate(chip, exchange(chip, 1, 4, false)).total_ns, 1000 + 2 * 1200, 1e-6);
}

TEST(Ranks, work_that_does_not_need_the_result_goes_on_beside_an_exchange) {
  const Graph g = part_of_layers(128, 512, 2048, 2);
  const Chip& chip = find_chip("trainium1");
  const Program p = map(chip, g, {.cores = 2, .ranks = 2});
  for (const std::string& problem : check(chip, p)) ADD_FAILURE() << problem;
  EXPECT_EQ(p.ranks, 2);
  EXPECT_EQ(p.cores_of_rank(), 1);
  EXPECT_NE(p.text().find("2 ranks run this code alike"), std::string::npos);
  EXPECT_NE(p.text().find("= all_reduce("), std::string::npos);
  const Timing t = simulate(chip, p);
  for (size_t q = 0; q < t.queues.size(); ++q) EXPECT_LE(t.queues[q].busy_ns, t.total_ns * (1 + 1e-9)) << p.queues[q].name;
  const TimingOptions same{.grants = &t.grants, .cold = &t.cold};
  const auto slower = [&](auto change) {
    Chip slow = chip;
    change(slow);
    EXPECT_GE(simulate(slow, p, same).total_ns, t.total_ns * (1 - 1e-12));
  };
  slower([](Chip& c) { c.dma.bytes_per_s /= 2; });
  slower([](Chip& c) { c.dma.start_ns *= 2, c.dma.floor_ns *= 2; });
  slower([](Chip& c) { c.memories[0].bytes_per_s /= 4; });
  // No engine waits for the links: what waits for the collective does so by its own semaphore.
  size_t waits = 0;
  for (const Instruction& i : p.code)
    for (int32_t w = i.wait_first; w < i.wait_first + i.wait_count; ++w) waits += p.queues[static_cast<size_t>(p.waits[static_cast<size_t>(w)].queue)].kind == Queue::collective;
  EXPECT_GE(waits, 1u);
  EXPECT_THROW(map(chip, g, {.cores = 1}), Error);  // a collective of two, alone
}

TEST(Ranks, parts_of_tensors_join_to_the_whole) {
  const Tensor t = random({2, 6, 3}, 7);
  for (int dim = 0; dim < 3; ++dim) {
    const int64_t ranks = t.dim(static_cast<size_t>(dim)) == 6 ? 3 : t.dim(static_cast<size_t>(dim));
    std::vector<Tensor> parts;
    for (int64_t r = 0; r < ranks; ++r) parts.push_back(part_of(t, dim, r, ranks));
    EXPECT_TRUE(joined(parts, dim).identical(t)) << dim;
  }
  EXPECT_THROW(part_of(t, 0, 0, 4), Error);
  // Parts that were filled up, cut at the extent.
  const std::vector<Tensor> filled{Tensor::from_doubles(DType::f32, {2, 2}, std::vector<double>{1, 2, 4, 5}), Tensor::from_doubles(DType::f32, {2, 2}, std::vector<double>{3, 0, 6, 0})};
  EXPECT_TRUE(joined(filled, 1, 3).identical(Tensor::from_doubles(DType::f32, {2, 3}, std::vector<double>{1, 2, 3, 4, 5, 6})));
  EXPECT_THROW(joined(filled, 1, 5), Error);
}

}  // namespace
}  // namespace bascule::device::chip
