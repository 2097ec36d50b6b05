// tests/chips/ranks.cc — one request over several cores or chips: what an exchange costs, that ranks in step give the answer of one, what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "device/chip/map_ranks.h"
#include "device/chip/timing.h"
#include "device/chip/values_ranks.h"
#include "device/chip/values_run.h"
#include "graph/builder.h"
#include "graph/evaluate.h"
#include "tests/chips/random.h"
#include "tests/chips/unit.h"

namespace bascule::device::chip {
namespace {

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

// ---- ranks in step

struct Model {
  Builder b{"model"};
  std::vector<Tensor> inputs;
  uint32_t seed = 1;
  Value input(std::vector<int64_t> dims) {
    inputs.push_back(random(dims, ++seed));
    return b.input(Type::tensor(DType::f32, to_dims(dims)), "x" + std::to_string(inputs.size()));
  }
  Value weight(std::vector<int64_t> dims) { return b.constant(random(dims, ++seed, 1 / std::sqrt(static_cast<double>(dims[0])))); }
  Value linear(Value x, int64_t k, int64_t n) { return b.dot_general(x, weight({k, n}), {}, {}, {b.rank(x) - 1}, {0}); }
  std::shared_ptr<const Graph> graph(Value y) { return std::make_shared<const Graph>(prepare(b.finish({y}, {"y"}))); }

  // max |got - want| / max |want|; the program must pass all checks.
  double error(const std::shared_ptr<const Graph>& g, const std::string& chip_name, const MapOptions& options, Program* program = nullptr) {
    const Chip& chip = find_chip(chip_name);
    const Mapped m = map_ranks(chip, g, options);
    if (program) *program = m.program;
    for (const std::string& problem : check(chip, m.program)) ADD_FAILURE() << problem;
    const std::vector<Tensor> got = execute(chip, m, g, inputs);
    EvalContext context;
    const HostValues want = evaluate(*g, HostValues(inputs.begin(), inputs.end()), context);
    EXPECT_EQ(got[0].dims(), want[0].tensor().dims());
    double most = 0, worst = 0;
    for (int64_t i = 0; i < got[0].elements(); ++i) {
      const double w = want[0].tensor().number(i), e = std::abs(got[0].number(i) - w);
      most = std::max(most, std::abs(w));
      worst = std::isnan(e) ? INFINITY : std::max(worst, e);
    }
    return worst / most;
  }
};

std::shared_ptr<const Graph> perceptron(Model& m, int64_t rows, int64_t width, int64_t hidden) {
  const Value x = m.input({rows, width});
  const Value up = m.b.op("gelu", {m.linear(x, width, hidden)});
  return m.graph(m.b.add(m.linear(up, hidden, width), x));
}

std::shared_ptr<const Graph> block(Model& m, int64_t batch, int64_t sequence, int64_t heads, int64_t size) {
  const int64_t width = heads * size;
  const Value x = m.input({batch, sequence, width});
  const auto head = [&] { return m.b.transpose(m.b.reshape(m.linear(x, width, width), to_dims({batch, sequence, heads, size})), {0, 2, 1, 3}); };
  const Value q = head(), k = head(), v = head();
  const Value a = m.b.op("attention", {q, k, v}, {{"scale", 1 / std::sqrt(static_cast<double>(size))}});
  const Value y = m.linear(m.b.reshape(m.b.transpose(a, {0, 2, 1, 3}), to_dims({batch, sequence, width})), width, width);
  return m.graph(m.b.op("layer_norm", {m.b.add(y, x), m.weight({width}), m.weight({width})}, {{"axis", int64_t{2}}, {"epsilon", 1e-5}}));
}

// bf16 inputs round by 2^-9 each; a few stages add up.
constexpr double kStage = 0.008;

size_t count(const Program& p, Opcode op) { return static_cast<size_t>(std::count_if(p.code.begin(), p.code.end(), [&](const Instruction& i) { return i.op == op; })); }

TEST(Ranks, cores_and_chips_in_step_give_the_answer_of_one) {
  for (const auto& [chip, options] : std::vector<std::pair<std::string, MapOptions>>{{"trainium1", {.cores = 2}}, {"trainium2", {.cores = 4}}, {"trainium1", {.cores = 2, .chips = 2}}, {"tpu_v5e", {.chips = 2}}, {"h100_sxm", {.chips = 4}}})
    for (const char* split : {"batch", "tensor"}) {
      SCOPED_TRACE(chip + " " + std::to_string(options.cores) + "x" + std::to_string(options.chips) + " " + split);
      MapOptions o = options;
      o.split = split;
      Program p;
      Model layers, attention;
      EXPECT_LE(layers.error(perceptron(layers, 64, 256, 1024), chip, o, &p), 2 * kStage);
      EXPECT_EQ(p.ranks, std::max<int64_t>(o.cores, 1) * o.chips);
      EXPECT_EQ(count(p, Opcode::collective), o.split == "tensor" ? 1u : 0u) << "columns, then rows: one sum";
      EXPECT_LE(attention.error(block(attention, 4, 32, 4, 64), chip, o, &p), 4 * kStage);
      EXPECT_EQ(count(p, Opcode::collective) > 0, o.split == "tensor");
    }
}

TEST(Ranks, two_cores_are_no_slower_than_one_and_no_more_than_twice_as_fast) {
  Model m;
  const auto g = perceptron(m, 512, 512, 2048);
  const Chip& chip = find_chip("trainium1");
  const auto total = [&](int64_t cores, const char* split) { return simulate(chip, map_ranks(chip, g, {.cores = cores, .split = split}).program).total_ns; };
  const double one = total(1, "");
  EXPECT_LE(total(2, "batch"), 1.02 * one);
  EXPECT_GE(total(2, "batch"), 0.5 * one);
  EXPECT_GE(total(2, "tensor"), 0.5 * one);
}

TEST(Ranks, the_faster_way_is_chosen_printed_and_kept) {
  Model m;
  const auto g = perceptron(m, 512, 512, 2048);
  const Chip& chip = find_chip("trainium2");  // two cores a request by default
  const auto ns = [&](const MapOptions& o) { return simulate(chip, map_ranks(chip, g, o).program).latency_ns(); };
  const Mapped chosen = map_ranks(chip, g);
  EXPECT_EQ(chosen.program.spread, "cores=2 chips=1 split=batch");
  EXPECT_LE(simulate(chip, chosen.program).latency_ns(), std::min({ns({.cores = 1}), ns({.cores = 2, .split = "batch"}), ns({.cores = 2, .split = "tensor"})}) + 1e-6);
  EXPECT_NE(chosen.program.text().find("ranks: cores=2 chips=1 split=batch"), std::string::npos);
  const Mapped kept = map_ranks(chip, g, {.pinned = "ranks: cores=2 chips=1 split=tensor"});
  EXPECT_EQ(kept.program.spread, "cores=2 chips=1 split=tensor");
  EXPECT_EQ(map_ranks(chip, g, {.pinned = "ranks: cores=1"}).program.ranks, 1);
  EXPECT_THROW(map_ranks(chip, g, {.pinned = "ranks: cores=two"}), Error);
}

TEST(Ranks, what_cannot_be_shared_out_is_said) {
  Model m;
  const auto g = perceptron(m, 3, 64, 64);
  const auto refusal = [&](const char* chip, const MapOptions& o) -> std::string {
    try {
      map_ranks(find_chip(chip), g, o);
    } catch (const Error& e) {
      return std::string(e.kind_name()) + ": " + e.what();
    }
    return "";
  };
  EXPECT_EQ(refusal("trainium1", {.cores = 3}).substr(0, 81), "UsageError: chip:trainium1: expected at most 2 cores, found 3. Ask for fewer core");
  EXPECT_TRUE(refusal("trainium1", {.cores = 2, .split = "batch"}).starts_with("UsageError")) << refusal("trainium1", {.cores = 2, .split = "batch"});
  EXPECT_TRUE(refusal("trainium1", {.chips = 17}).starts_with("UsageError: chip:trainium1: expected at most 16 chips"));
  EXPECT_TRUE(refusal("l4", {.chips = 2}).starts_with("UnsupportedError: chip:l4: expected links between 2 chips"));
  EXPECT_TRUE(refusal("tpu_v5e", {.chips = 100'000}).starts_with("UsageError"));
  EXPECT_EQ(map_ranks(find_chip("trainium2"), g).program.ranks, 1) << "no part of 3 rows, and too little to share the weights of";
}

// Weights that one chip cannot hold lie in parts on several.
TEST(Ranks, a_model_too_large_for_a_chip_lies_on_several) {
  Model m;
  const auto g = perceptron(m, 64, 1024, 4096);
  for (const char* name : {"trainium1", "tpu_v5e"}) {
    Chip chip = find_chip(name);
    for (Memory& memory : chip.memories)
      if (memory.role == Role::main) memory.bytes = 12 << 20;  // for 16 MiB of weights
    chip.software.resident_weight_bytes = 0;
    EXPECT_THROW(map_ranks(chip, g), Error);
    const Mapped two = map_ranks(chip, g, {.chips = 2});
    EXPECT_EQ(two.plan.split, passes::Split::tensor) << name;
    EXPECT_LE(two.program.main_bytes * two.program.ranks, 2 * chip.main().bytes);
    EXPECT_GE(two.program.weight_bytes * two.program.ranks, 16 << 20);
  }
}

}  // namespace
}  // namespace bascule::device::chip
