// tests/chips/timing.cc — schedules that can be followed by hand, on a chip where everything costs one.
#include "device/chip/timing.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/chips/unit.h"

namespace bascule::device::chip {
namespace {

Timing time(Hand& h, const TimingOptions& options = {}) { return simulate(h.chip, h.e.finish(), options); }

TEST(Timing, load_compute_store_follow_each_other) {
  const Chip chip = unit_chip();
  Hand h(chip);
  const int32_t x = h.main(40), y = h.main(40), a = h.sbuf(10), b = h.sbuf(10);
  h.load(h.e.dma(0), a, x);
  h.map(h.e.engine("vector"), b, a);
  h.store(h.e.dma(0), y, b);
  const Timing t = time(h);
  EXPECT_DOUBLE_EQ(t.total_ns, 30);
  EXPECT_EQ(t.start_ns, (std::vector<double>{0, 10, 20}));
  EXPECT_EQ(t.critical_path, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_DOUBLE_EQ(t.main_busy_ns, 20);
  EXPECT_EQ(t.step_ns, std::vector<double>{30});
}

TEST(Timing, latencies_delay_dependents_only) {
  Chip chip = unit_chip();
  chip.dma.start_ns = 2;
  chip.dma.finish_ns = 3;
  chip.engines[0].latency_ns = 5;
  Hand h(chip);
  const int32_t x = h.main(40), a = h.sbuf(10), b = h.sbuf(10), c = h.sbuf(10);
  h.load(h.e.dma(0), a, x);                // 2 .. 12, visible 15
  h.map(h.e.engine("vector"), b, a);       // 15 .. 25, visible 30
  h.map(h.e.engine("vector"), c, a);       // 25 .. 35: independent, no latency between
  h.store(h.e.dma(1), h.main(40), b);      // trigger 30, 32 .. 42, visible 45
  const Timing t = time(h);
  EXPECT_EQ(t.start_ns, (std::vector<double>{2, 15, 25, 32}));
  EXPECT_DOUBLE_EQ(t.total_ns, 45);
}

TEST(Timing, the_next_transfer_of_a_queue_hides_its_start) {
  Chip chip = unit_chip();
  chip.dma.start_ns = 5;
  Hand h(chip);
  const int32_t x = h.main(40);
  h.load(h.e.dma(0), h.sbuf(10), x);
  h.load(h.e.dma(0), h.sbuf(10), x);
  EXPECT_DOUBLE_EQ(time(h).total_ns, 5 + 10 + 10);
}

// Loads of 10 ns and products of 10 ns. One place: they alternate. Two: all but the first load hide.
TEST(Timing, two_buffers_hide_the_loads) {
  const Chip chip = unit_chip();
  for (const int places : {1, 2}) {
    Hand h(chip);
    const int32_t x = h.main(40), out = h.sbuf(10);
    std::vector<int32_t> tiles;
    for (int p = 0; p < places; ++p) tiles.push_back(h.sbuf(10));
    for (int i = 0; i < 4; ++i) {
      h.load(h.e.dma(0), tiles[static_cast<size_t>(i % places)], x);
      h.map(h.e.engine("vector"), out, tiles[static_cast<size_t>(i % places)]);
    }
    const Timing t = time(h);
    EXPECT_DOUBLE_EQ(t.total_ns, places == 1 ? 80 : 50);
    EXPECT_DOUBLE_EQ(t.queues[1].busy_ns, 40);
  }
}

TEST(Timing, queues_share_the_dma_engines_and_main_memory) {
  Chip chip = unit_chip();
  Hand h(chip);
  const int32_t x = h.main(40);
  h.load(h.e.dma(0), h.sbuf(10), x);
  h.load(h.e.dma(1), h.sbuf(10), x);
  EXPECT_DOUBLE_EQ(time(h).total_ns, 20);
  // One partition: one of the four engines for 10 elements of 4 bytes: 10 ns, and room for three others.
  Hand one(chip);
  for (int q = 0; q < 4; ++q) {
    const int32_t row = one.e.local(Role::scratchpad, "row", DType::f32, 1, 10);
    one.copy(one.e.dma(q), one.e.whole(row), Emitter::strided(one.main(10), 0, {1, 10}, {10, 1}));
  }
  EXPECT_DOUBLE_EQ(time(one).total_ns, 10);
}

TEST(Timing, cores_share_main_memory_unless_they_have_stacks) {
  Chip chip = unit_chip();
  chip.cores = 2;
  for (const int64_t shared : {0, 1}) {
    chip.memories[0].shared_by_cores = shared;
    chip.memories[0].bytes_per_s = shared ? 32e9 : 16e9;  // of the chip: a stack of its own has half
    Hand h(chip, 2);
    const int32_t x = h.main(40);
    for (int32_t core : {0, 1}) h.load(h.e.dma(0, core), h.sbuf(10, core), x);
    EXPECT_DOUBLE_EQ(time(h).total_ns, shared ? 10 : 20);
  }
}

TEST(Timing, exclusive_engines_take_turns_on_the_port) {
  Chip chip = unit_chip();
  chip.exclusive = {{"vector", "gpsimd", "scratchpad"}};
  Hand h(chip);
  const int32_t a = h.sbuf(10), b = h.sbuf(10), c = h.sbuf(10);
  h.map(h.e.engine("vector"), a, a);
  h.map(h.e.engine("gpsimd"), b, b);
  h.map(h.e.engine("scalar"), c, c);
  EXPECT_DOUBLE_EQ(time(h).total_ns, 20);
  Hand free(chip);
  const int32_t p = free.psum(10), s = free.sbuf(10);
  free.map(free.e.engine("vector"), p, p);
  free.map(free.e.engine("gpsimd"), s, s);
  EXPECT_DOUBLE_EQ(time(free).total_ns, 10);
}

TEST(Timing, accumulator_banks_are_ports_of_their_own) {
  Chip chip = unit_chip();
  chip.exclusive = {{"vector", "scalar", "accumulator_bank"}};
  for (const bool same : {true, false}) {
    Hand h(chip);
    const int64_t n = same ? 16 : 20;  // banks of 128 bytes hold 32 elements of a partition
    const int32_t p = h.psum(n), q = h.psum(n);
    ASSERT_EQ(h.e.buffer(q).address / 128 == 0, same);
    h.map(h.e.engine("vector"), p, p);
    h.map(h.e.engine("scalar"), q, q);
    EXPECT_DOUBLE_EQ(time(h).total_ns, same ? 32 : 20);
  }
}

// Three products of 8 columns into one place, then its eviction: 24 + 8. Accumulation needs no wait between them.
TEST(Timing, a_chain_of_products_runs_without_gaps) {
  Chip chip = unit_chip();
  chip.matrix.latency_ns = 6;
  chip.matrix.fill_cycles = 1;
  Hand h(chip);
  const int32_t w = h.sbuf(4), x = h.sbuf(8), p = h.psum(8), y = h.sbuf(8);
  for (int k = 0; k < 3; ++k) h.matmul(p, w, x, k > 0);
  h.map(h.e.engine("vector"), y, p);
  const Timing t = time(h);
  EXPECT_DOUBLE_EQ(t.total_ns, 24 + 7 + 8);
  EXPECT_EQ(t.limiter, "tensor");
}

TEST(Timing, power_ramp_halves_the_rate_after_idling) {
  Chip chip = unit_chip();
  chip.matrix.idle_limit = 0.5;
  chip.matrix.ramp_ns = 10;
  Hand h(chip);
  const int32_t w = h.sbuf(4), x = h.sbuf(20), p = h.psum(20), big = h.sbuf(30);
  h.matmul(p, w, x);  // 10 ns at half rate do 5 columns, 15 more follow: 25 ns
  h.matmul(p, w, x);  // warm: 20 ns
  h.map(h.e.engine("vector"), big, big);
  h.map(h.e.engine("vector"), x, big);  // 30 .. 60, so that the third begins 15 ns after the second: cold again
  h.matmul(p, w, x);
  const Timing t = time(h);
  EXPECT_NEAR(t.end_ns[0], 25, 1e-5);
  EXPECT_NEAR(t.end_ns[1], 45, 1e-5);
  EXPECT_NEAR(t.end_ns[4] - t.start_ns[4], 25, 1e-5);
}

TEST(Timing, steps_of_a_machine_without_overlap_follow_each_other) {
  Chip chip = unit_chip();
  chip.software.overlap = false;
  chip.software.operator_ns = 7;
  Hand h(chip);
  const int32_t x = h.main(40), a = h.sbuf(10), b = h.sbuf(10), c = h.sbuf(10);
  h.load(h.e.dma(0), a, x);
  h.e.program().code.back().launches = 1;
  h.map(h.e.engine("vector"), b, a);
  h.load(h.e.dma(0), c, x);  // could run beside the map; transfers and compute are kept apart
  h.e.begin_step({.name = "second"});
  h.map(h.e.engine("scalar"), c, c);
  h.e.program().code.back().launches = 1;
  const Timing t = time(h);
  EXPECT_DOUBLE_EQ(t.total_ns, 7 + 30 + 7 + 10);
  EXPECT_EQ(t.limits.back(), std::pair(std::string("vector"), 10.0));
  EXPECT_EQ(t.step_ns, (std::vector<double>{37, 17}));
}

TEST(Timing, one_instruction_for_many_tiles_takes_the_slowest_of_compute_cache_and_main_memory) {
  Chip chip = unit_chip();
  chip.machine = Machine::cached;
  chip.level = Level::tile;
  chip.cores = 2;
  chip.software.operator_ns = 3;
  chip.software.wave_ns = 2;
  Memory l2;
  l2.name = "l2";
  l2.role = Role::cache;
  l2.bytes_per_s = 32e9;  // 16 bytes a ns for each core
  chip.memories.push_back(l2);
  const auto total = [&](double cache_bytes, double main_bytes) {
    Hand h(chip, 2);
    const int32_t s = h.sbuf(20);
    h.map(h.e.engine("vector"), s, s);
    Instruction& i = h.e.program().code.back();
    i.cores = 2;  // 80 elements on 2 x 4 lanes
    i.launches = 1;
    i.waves = 2;
    i.cache_bytes = cache_bytes;
    i.main_bytes = main_bytes;
    const Timing t = time(h);
    return std::pair(t.total_ns, t.limiter);
  };
  EXPECT_EQ(total(0, 0), std::pair(3 + 2 * 2 + 10.0, std::string("vector")));
  EXPECT_EQ(total(320, 0), std::pair(7 + 20.0, std::string("l2")));
  EXPECT_EQ(total(160, 480), std::pair(7 + 30.0, std::string("hbm")));
}

TEST(Timing, a_wait_that_never_ends_is_an_error_that_names_the_instruction) {
  const Chip chip = unit_chip();
  Hand h(chip);
  const int32_t a = h.sbuf(10), b = h.sbuf(10);
  h.map(h.e.engine("vector"), a, b);
  h.map(h.e.engine("scalar"), b, a);
  Program p = h.e.finish();
  p.waits.push_back({1, 1});  // the vector engine for the scalar engine, which waits for it
  p.code[0].wait_first = static_cast<int32_t>(p.waits.size()) - 1;
  p.code[0].wait_count = 1;
  try {
    simulate(chip, p);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::device);
    EXPECT_NE(std::string(e.what()).find("instruction 0 'map' on vector of step 'only'"), std::string::npos) << e.what();
  }
}

TEST(Timing, energy_says_its_basis) {
  Chip chip = unit_chip();
  chip.cores = 4;
  const auto energy = [&] {
    Hand h(chip);
    const int32_t x = h.main(40);
    h.load(h.e.dma(0), h.sbuf(10), x);
    h.e.step().work.multiply_adds = 50;
    return time(h);
  };
  EXPECT_FALSE(energy().joules);
  EXPECT_EQ(energy().energy_basis, "no source gives a power figure for unit");
  chip.power.tdp_w = 400;
  EXPECT_NEAR(*energy().joules, 400 * 10e-9 / 4, 1e-15);
  chip.power.joules_per_flop = 1e-12;
  chip.power.joules_per_byte = 1e-11;
  EXPECT_NEAR(*energy().joules, 100e-12 + 160e-11, 1e-15);
}

// ---- what one instruction costs, with the figures of a NeuronCore

struct Priced : testing::Test {
  Priced() {
    chip.matrix.rows = chip.matrix.cols = 128;
    chip.matrix.min_interval_cycles = 64;
    chip.matrix.load_cycles_per_column = 0.25;
    chip.matrix.passes = {{DType::f32, 4}, {DType::bf16, 1}};
    chip.memories[1].partitions = chip.memories[2].partitions = 128;
    chip.memories[1].bytes = 128 * 64 * 1024;
    chip.memories[2].bytes = 128 * 16 * 1024;
    for (Engine& e : chip.engines) {
      e.lanes = 128;
      e.min_interval_cycles = 64;
    }
    auto& vector = chip.engines[0].rates;
    vector[static_cast<size_t>(WorkClass::arith2)] = {ClassRate{2, 0}, ClassRate{1, 0}, ClassRate{1, 0}, std::nullopt};
    chip.dma = {.engines = 16, .queues = 16, .bytes_per_s = 23e9, .start_ns = 900, .finish_ns = 300, .floor_ns = 860, .row_bytes = 512};
    chip.memories[0].bytes_per_s = 1e15;
    chip.memories[0].bytes = 1 << 30;
  }
  double matmul(DType t, int64_t k, int64_t m, int64_t n, int64_t stride = 1) {
    Emitter e(chip, "m", 1);
    Instruction i;
    i.op = Opcode::matmul;
    i.work = WorkClass::matmul;
    i.queue = e.matrix();
    i.in[0] = e.whole(e.local(Role::scratchpad, "w", t, k, m));
    const int32_t x = e.local(Role::scratchpad, "x", t, k, n * stride);
    i.in[1] = Emitter::strided(x, 0, {k, n}, {n * stride, stride});
    i.out = e.whole(e.local(Role::accumulator, "p", DType::f32, m, n));
    e.emit(i);
    return cost(chip, e.program(), e.program().code[0]).interval_ns;
  }
  double arith2(DType t, Role where, int64_t n) {
    Emitter e(chip, "m", 1);
    Instruction i;
    i.op = Opcode::map;
    i.work = WorkClass::arith2;
    i.queue = e.engine("vector");
    i.in[0] = e.whole(e.local(where, "a", t, 128, n));
    i.in[1] = e.whole(e.local(Role::scratchpad, "b", t, 128, n));
    i.out = e.whole(e.local(Role::scratchpad, "c", t, 128, n));
    e.emit(i);
    return cost(chip, e.program(), e.program().code[0]).interval_ns;
  }
  Cost load(int64_t rows, int64_t bytes_of_row) {
    Emitter e(chip, "m", 1);
    Instruction i;
    i.queue = e.dma(0);
    i.in[0] = Emitter::strided(e.main("x", Buffer::weight, DType::u8, rows * bytes_of_row), 0, {rows, bytes_of_row}, {bytes_of_row, 1});
    i.out = e.whole(e.local(Role::scratchpad, "w", DType::u8, rows, bytes_of_row));
    e.emit(i);
    return cost(chip, e.program(), e.program().code[0]);
  }
  Chip chip = unit_chip();
};

TEST_F(Priced, products) {
  EXPECT_DOUBLE_EQ(matmul(DType::bf16, 128, 128, 512), 512);
  EXPECT_DOUBLE_EQ(matmul(DType::f32, 128, 128, 512), 4 * 512);
  EXPECT_DOUBLE_EQ(matmul(DType::bf16, 128, 128, 1), 64);   // a vector on the moving side
  EXPECT_DOUBLE_EQ(matmul(DType::f32, 3, 64, 10), 4 * 64);
  EXPECT_DOUBLE_EQ(matmul(DType::bf16, 128, 128, 128, 8), 128);      // 16 bytes apart: full rate
  EXPECT_DOUBLE_EQ(matmul(DType::bf16, 128, 128, 128, 16), 2 * 128);  // 32 bytes: half
  chip.matrix.achieved = 0.5;
  EXPECT_DOUBLE_EQ(matmul(DType::bf16, 128, 128, 512), 1024);
}

TEST_F(Priced, a_large_product_at_tile_level_runs_at_the_peak_and_fills_once) {
  chip.level = Level::tile;
  chip.matrix.units = 4;
  chip.matrix.moving_rows_per_cycle = 2;
  chip.matrix.fill_cycles = 83;
  EXPECT_DOUBLE_EQ(matmul(DType::bf16, 768, 3072, 1024), 6 * 24 / 4 * 1024 / 2 + 83);
}

TEST_F(Priced, vector_work_by_place_and_width) {
  EXPECT_DOUBLE_EQ(arith2(DType::f32, Role::scratchpad, 512), 1024);
  EXPECT_DOUBLE_EQ(arith2(DType::f32, Role::accumulator, 512), 512);
  EXPECT_DOUBLE_EQ(arith2(DType::bf16, Role::scratchpad, 512), 512);
  EXPECT_DOUBLE_EQ(arith2(DType::f32, Role::scratchpad, 8), 64);
}

TEST_F(Priced, transfers_by_engines_rows_and_floor) {
  EXPECT_NEAR(load(4, 8192).interval_ns, 32768 / 23.0, 1e-9);            // 4 rows: one engine; 1,425 ns (published 1,416)
  EXPECT_NEAR(load(128, 8192).interval_ns, 128 * 8192 / (16 * 23.0), 1e-9);
  EXPECT_DOUBLE_EQ(load(128, 256).interval_ns, 860);                     // the floor of a transfer
  EXPECT_NEAR(load(128, 256).dma_ns, 128 * 512 / (16 * 23.0), 1e-9);     // counted as 512 bytes each
  EXPECT_DOUBLE_EQ(load(128, 256).main_bytes, 128 * 256);
  EXPECT_DOUBLE_EQ(load(128, 256).start_ns, 900);
  EXPECT_DOUBLE_EQ(load(128, 256).latency_ns, 300);
}

// ---- what people read

TEST(ProgramText, names_queues_buffers_waits_and_sources) {
  const Chip chip = unit_chip();
  Hand h(chip);
  h.e.step().origin = make_origin({"MatMul 'dense'"});
  const int32_t x = h.main(40), w = h.sbuf(4), a = h.sbuf(10), p = h.psum(10);
  h.load(h.e.dma(0), a, x);
  h.matmul(p, w, a);
  const std::string text = h.e.finish().text();
  for (const char* fact : {"program of 'by hand' for chip:unit: 1 core", "queue tensor", "1 matmul    b3.p[0:4, 0:10] = b1.s[0:4, 0:4]^T x b2.s[0:4, 0:10]  wait dma0>=1",
                           "of MatMul 'dense'", "tensor             1  matmul 1", "b2.s f32[4x10] scratch at 16:56, 0..1"})
    EXPECT_NE(text.find(fact), std::string::npos) << "missing: " << fact << "\n" << text;
}

TEST(Perfetto, is_json_with_one_track_for_each_queue) {
  const Chip chip = unit_chip();
  Hand h(chip);
  h.e.step().origin = make_origin({"Add 'a\"b'"});
  const int32_t x = h.main(40), a = h.sbuf(10);
  h.load(h.e.dma(0), a, x);
  h.map(h.e.engine("vector"), a, a);
  const Program p = h.e.finish();
  const auto trace = nlohmann::json::parse(perfetto(p, simulate(chip, p)));
  std::vector<std::string> tracks, slices;
  for (const auto& e : trace["traceEvents"]) {
    if (e["name"] == "thread_name") tracks.push_back(e["args"]["name"]);
    if (e["ph"] == "X") slices.push_back(e["args"]["source"]);
  }
  EXPECT_EQ(tracks, (std::vector<std::string>{"dma0", "vector"}));
  EXPECT_EQ(slices, (std::vector<std::string>{"Add 'a\"b'", "Add 'a\"b'"}));
  EXPECT_EQ(trace["traceEvents"].back()["args"]["labels"], "by hand, modelled");
}

}  // namespace
}  // namespace bascule::device::chip
