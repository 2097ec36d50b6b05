// tests/chips/chip_laws.cc — closed-form laws over every chip file, on programs of the mapper: what the file says is what a large product and a large
// move reach, and never more.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "device/chip/emitter.h"
#include "device/chip/map.h"
#include "device/chip/timing.h"
#include "graph/builder.h"

namespace bascule::device::chip {
namespace {

// The hardware alone: no schedule losses, launches or forced order.
Chip bare(const std::string& name) {
  Chip c = find_chip(name);
  c.software.schedule_factor = 1;
  c.software.operator_ns = c.software.wave_ns = 0;
  c.software.overlap = true;
  c.software.resident_weight_bytes = 0;
  return c;
}

Value weight(Builder& b, DType t, std::vector<int64_t> dims) {
  return b.op("absent", {}, {{"dtype", t}, {"dims", to_dims(dims)}, {"reason", std::string("only timed")}});
}

Graph linear(int64_t m, int64_t k, int64_t n, DType t, int count = 1, bool bias = false) {
  Builder b("linear");
  Value x = b.input(Type::tensor(t, to_dims({m, k})), "x");
  for (int i = 0; i < count; ++i) {
    x = b.dot_general(x, weight(b, t, {k, n}), {}, {}, {1}, {0});
    if (bias) x = b.add(x, weight(b, t, {n}));
  }
  return prepare(b.finish({x}, {"y"}));
}

double bytes_per_s(const Chip& c, int64_t cores) {
  const Memory& m = c.main();
  double rate = m.bytes_per_s * m.achieved;
  if (m.shared_by_cores > 0) rate *= std::min(1.0, static_cast<double>((cores + m.shared_by_cores - 1) / m.shared_by_cores * m.shared_by_cores) / static_cast<double>(c.cores));
  if (c.machine == Machine::scratchpad && c.dma.bytes_per_s > 0) rate = std::min(rate, c.dma.bytes_per_s * static_cast<double>(c.dma.engines * cores));
  return rate;
}

// Of square f32 matrices of which `count` fill a quarter of main memory at most; `largest` if there is room.
int64_t extent(const Chip& c, int64_t count, int64_t largest) {
  int64_t size = largest;
  while (4 * count * size * size > c.main().bytes / 4) size /= 2;
  return size;
}

void expect_honest(const Timing& t, const Program& p) {
  for (size_t q = 0; q < t.queues.size(); ++q) EXPECT_LE(t.queues[q].busy_ns, t.total_ns * (1 + 1e-9)) << p.queues[q].name;
  EXPECT_LE(t.main_busy_ns, t.total_ns * (1 + 1e-9));
  EXPECT_NEAR(std::accumulate(t.step_ns.begin(), t.step_ns.end(), 0.0), t.total_ns, 1e-6 * t.total_ns);
}

TEST(ChipLaws, a_large_product_reaches_the_peak) {
  for (const std::string& name : chip_names()) {
    SCOPED_TRACE(name);
    const Chip chip = bare(name);
    const DType type = chip.arithmetic.default_type;
    const int64_t size = extent(chip, 3, 4096), rows = 4 * size, side = size / 2;  // as much work as size^3
    const Graph g = linear(rows, side, side, type);
    const Program p = map(chip, g, {.precision = type});
    const Timing t = simulate(chip, p);
    expect_honest(t, p);
    const double peak = chip.matrix.peak_flop_per_s(type) * static_cast<double>(p.cores);
    const double compute_ns = 2.0 * std::pow(size, 3) / peak * 1e9;
    const double elements = static_cast<double>(2 * rows * side + side * side);
    const double memory_ns = elements * static_cast<double>(storage_bytes(type, 8)) / 8 / bytes_per_s(chip, p.cores) * 1e9;
    EXPECT_GE(t.total_ns, std::max(compute_ns, memory_ns) * (1 - 1e-9));
    if (2 * memory_ns > compute_ns / chip.matrix.achieved) continue;  // how often operands are read again decides
    const double fill_ns = 20'000 + memory_ns / 8;  // the first operands and the last results have nothing to hide behind
    EXPECT_LE(t.total_ns, 1.15 * compute_ns / chip.matrix.achieved + fill_ns) << "compute " << compute_ns << " memory " << memory_ns << " limiter " << t.limiter;
  }
}

// Blocks of rows share what is read of the weight, so that main memory keeps up at every size.
TEST(ChipLaws, square_products_of_any_size_reach_the_peak_of_a_neuron_core) {
  for (const char* name : {"trainium1", "trainium2", "trainium3"})
    for (const int64_t size : {2048, 4096, 8192}) {
      SCOPED_TRACE(std::string(name) + " " + std::to_string(size));
      const Chip chip = bare(name);
      const Program p = map(chip, linear(size, size, size, DType::bf16), {.cores = 1});
      const Timing t = simulate(chip, p);
      expect_honest(t, p);
      const double compute_ns = 2.0 * std::pow(size, 3) / chip.matrix.peak_flop_per_s(DType::bf16) * 1e9;
      const double read_ns = 2.0 * static_cast<double>(size * size) / bytes_per_s(chip, 1) * 1e9;  // an operand
      EXPECT_GE(t.total_ns, compute_ns);
      EXPECT_LE(t.total_ns, 1.12 * compute_ns + 20'000 + read_ns) << "limiter " << t.limiter << ", " << p.steps[0].choice;
    }
}

TEST(ChipLaws, a_large_move_reaches_the_bandwidth) {
  for (const std::string& name : chip_names()) {
    SCOPED_TRACE(name);
    const Chip chip = bare(name);
    Builder b("move");
    const int64_t size = extent(chip, 2, 4096);
    const Value x = b.input(Type::tensor(DType::f32, to_dims({size, size})), "x");
    const Graph g = prepare(b.finish({b.negate(x)}, {"y"}));
    const Program p = map(chip, g);
    const Timing t = simulate(chip, p);
    expect_honest(t, p);
    double bytes = 0;  // as the program stores its activations
    for (const Buffer& buffer : p.buffers)
      if (buffer.use == Buffer::input || buffer.use == Buffer::output) bytes += static_cast<double>(storage_bytes(buffer.dtype, buffer.elements()));
    const double memory_ns = bytes / bytes_per_s(chip, p.cores) * 1e9;
    EXPECT_GE(t.total_ns, memory_ns * (1 - 1e-9));
    EXPECT_LE(t.total_ns, 1.15 * memory_ns + 20'000) << "limiter " << t.limiter;
  }
}

TEST(ChipLaws, slowing_any_part_never_speeds_a_mapped_program_up) {
  for (const std::string& name : chip_names()) {
    SCOPED_TRACE(name);
    const Chip chip = find_chip(name);
    const Program p = map(chip, linear(256, 512, 512, chip.arithmetic.default_type, 2, true));
    const Timing t = simulate(chip, p);
    const TimingOptions same{.grants = &t.grants, .cold = &t.cold};
    EXPECT_DOUBLE_EQ(simulate(chip, p, same).total_ns, t.total_ns);
    const auto slower = [&](const char* what, auto change) {
      Chip slow = chip;
      change(slow);
      EXPECT_GE(simulate(slow, p, same).total_ns, t.total_ns * (1 - 1e-12)) << what;
    };
    slower("matrix engine", [](Chip& c) { c.matrix.clock_hz /= 2; });
    for (size_t e = 0; e < chip.engines.size(); ++e) slower(chip.engines[e].name.c_str(), [&](Chip& c) { c.engines[e].clock_hz /= 3; });
    slower("DMA", [](Chip& c) { c.dma.bytes_per_s /= 2, c.dma.start_ns *= 2, c.dma.floor_ns *= 2; });
    slower("memories", [](Chip& c) { for (Memory& m : c.memories) m.bytes_per_s /= 2; });
    slower("software", [](Chip& c) { c.software.operator_ns *= 2, c.software.wave_ns *= 2, c.software.schedule_factor *= 2; });
  }
}

// unit.toml: a byte of main memory takes 1 ns, a column of a product or of vector work 1 ns.
TEST(UnitChip, a_product_by_hand) {
  const Chip& chip = find_chip("unit");
  Emitter e(chip, "by hand", 1);
  e.begin_step({.name = "dot_general"});
  const int32_t w = e.main("w", Buffer::weight, DType::f32, 128 * 128), x = e.main("x", Buffer::input, DType::f32, 128 * 512),
                y = e.main("y", Buffer::output, DType::f32, 128 * 512);
  const int32_t ws = e.local(Role::scratchpad, "ws", DType::f32, 128, 128), xs = e.local(Role::scratchpad, "xs", DType::f32, 128, 512),
                p = e.local(Role::accumulator, "p", DType::f32, 128, 512), ys = e.local(Role::scratchpad, "ys", DType::f32, 128, 512);
  const auto emit = [&](Opcode op, int32_t queue, Access out, Access a, Access b = {}) {
    Instruction i;
    i.op = op;
    i.work = op == Opcode::matmul ? WorkClass::matmul : WorkClass::copy;
    i.queue = queue;
    i.out = out;
    i.in[0] = a;
    i.in[1] = b;
    e.emit(i);
  };
  const auto rows = [](int32_t buffer, int64_t n) { return Emitter::strided(buffer, 0, {128, n}, {n, 1}); };
  emit(Opcode::copy, e.dma(0), e.whole(ws), rows(w, 128));                               //       0 ..  65,536
  emit(Opcode::copy, e.dma(0), e.whole(xs), rows(x, 512));                               //  65,536 .. 327,680
  emit(Opcode::matmul, e.matrix(), e.whole(p), e.whole(ws), e.whole(xs));                // 327,680 .. 328,192
  emit(Opcode::copy, e.engine("vector"), e.whole(ys), e.whole(p));                       // 328,192 .. 328,704
  emit(Opcode::copy, e.dma(0), rows(y, 512), e.whole(ys));                               // 328,704 .. 590,848
  const Timing t = simulate(chip, e.finish());
  EXPECT_EQ(t.start_ns, (std::vector<double>{0, 65'536, 327'680, 328'192, 328'704}));
  EXPECT_EQ(t.total_ns, 590'848);
  EXPECT_EQ(t.critical_path.size(), 5u);
}

// neuroncore.md 12: NKI's matrix multiplication tutorial, all of M, N and K blocked; written by hand, so no losses of a compiler's schedule.
TEST(PublishedKernels, f32_4096x8192x8192_on_one_core_of_trainium2_takes_28_ms) {
  const Chip& chip = find_chip("trainium2");
  const Program p = map(chip, linear(4096, 8192, 8192, DType::f32), {.precision = DType::f32, .cores = 1});
  const Timing t = simulate(chip, p, {.schedule_factor = 1});
  EXPECT_NEAR(t.total_ns * 1e-6, 28.302, 0.05 * 28.302);
}

// kernels_train.csv Kaf670b8c: 1,000 linear layers with bias, f32 inputs, products in bf16: time of one more layer.
TEST(PublishedKernels, a_chain_of_linear_layers_of_1024_on_trainium1_takes_28_us_each) {
  const Chip& chip = find_chip("trainium1");
  const auto us = [&](int layers) { return simulate(chip, map(chip, linear(1024, 1024, 1024, DType::f32, layers, true), {.cores = 1})).total_ns * 1e-3; };
  EXPECT_NEAR((us(24) - us(8)) / 16, 27.66, 0.1 * 27.66);
}

}  // namespace
}  // namespace bascule::device::chip
