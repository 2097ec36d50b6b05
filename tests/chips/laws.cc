// tests/chips/laws.cc — what holds for every program on every chip: no engine works longer than there is time, the critical path is the time, and with
// the order of service fixed nothing becomes faster when a part becomes slower.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "tests/chips/unit.h"

namespace bascule::device::chip {
namespace {

struct Random {
  std::mt19937 bits;
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(n)); }
  double factor() { return below(3) ? 1.0 : 1 + static_cast<double>(below(1000)) / 250; }
};

// Cores with private stacks or a shared one, ports, latencies, a power ramp, steps that overlap or not.
Chip random_chip(Random& r) {
  Chip c = unit_chip();
  c.cores = 1 + r.below(3);
  c.exclusive = {{"vector", "gpsimd", "scratchpad"}, {"vector", "scalar", r.below(2) ? "accumulator" : "accumulator_bank"}};
  c.matrix.latency_ns = static_cast<double>(r.below(10));
  c.matrix.min_interval_cycles = static_cast<double>(r.below(8));
  if (r.below(2)) {
    c.matrix.idle_limit = 0.5;
    c.matrix.ramp_ns = 20;
  }
  for (Engine& e : c.engines) {
    e.latency_ns = static_cast<double>(r.below(10));
    e.min_interval_cycles = static_cast<double>(r.below(8));
  }
  c.dma.start_ns = static_cast<double>(r.below(20));
  c.dma.finish_ns = static_cast<double>(r.below(20));
  c.dma.floor_ns = static_cast<double>(r.below(10));
  c.dma.row_bytes = r.below(64);
  c.memories[0].bytes_per_s = 1e9 * static_cast<double>(4 + r.below(32));
  c.memories[0].shared_by_cores = r.below(2);
  c.software.overlap = r.below(3) > 0;
  c.software.operator_ns = static_cast<double>(r.below(5));
  return c;
}

Program random_program(const Chip& chip, Random& r) {
  Hand h(chip, chip.cores);
  std::vector<int32_t> mains;
  for (int i = 0; i < 4; ++i) mains.push_back(h.main(4 * 32));
  for (int i = 0; i < 200; ++i) {
    if (r.below(20) == 0) h.e.begin_step({.name = "next"});
    const auto core = static_cast<int32_t>(r.below(chip.cores));
    const int64_t n = 1 + r.below(16);
    const int32_t a = h.sbuf(n, core), b = h.sbuf(n, core), w = h.sbuf(4, core), p = h.psum(n, core);
    const auto main = mains[static_cast<size_t>(r.below(4))];
    h.load(h.e.dma(static_cast<int32_t>(r.below(3)), core), a, main);
    const char* engines[] = {"vector", "scalar", "gpsimd"};
    const int32_t engine = h.e.engine(engines[r.below(3)], core), other = h.e.engine(engines[r.below(2)], core);
    h.map(engine, b, a);
    h.matmul(p, w, b);
    if (r.below(2)) h.matmul(p, w, a, true);
    h.map(other, b, p);
    if (r.below(2)) h.store(h.e.dma(static_cast<int32_t>(r.below(3)), core), main, b);
    for (const int32_t buffer : {a, b, w, p}) h.e.release(buffer);
  }
  return h.e.finish();
}

// The chip with some parts slower, none faster.
Chip slower(Chip c, Random& r) {
  c.matrix.clock_hz /= r.factor();
  c.matrix.latency_ns *= r.factor();
  for (Engine& e : c.engines) {
    e.clock_hz /= r.factor();
    e.latency_ns *= r.factor();
  }
  c.dma.bytes_per_s /= r.factor();
  c.dma.start_ns *= r.factor();
  c.dma.finish_ns *= r.factor();
  c.dma.floor_ns *= r.factor();
  c.memories[0].bytes_per_s /= r.factor();
  c.software.operator_ns *= r.factor();
  return c;
}

TEST(Laws, random_programs) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    Random r{std::mt19937(seed)};
    const Chip chip = random_chip(r);
    const Program program = random_program(chip, r);
    const Timing t = simulate(chip, program);

    for (const QueueUse& q : t.queues) EXPECT_LE(q.busy_ns, t.total_ns * (1 + 1e-12));
    EXPECT_LE(t.main_busy_ns, t.total_ns * (1 + 1e-12));
    EXPECT_NEAR(std::accumulate(t.step_ns.begin(), t.step_ns.end(), 0.0), t.total_ns, 1e-9 * t.total_ns);
    double limits = 0;
    for (const auto& [name, ns] : t.limits) limits += ns;
    EXPECT_NEAR(limits, t.total_ns, 1e-9 * t.total_ns);
    for (size_t i = 1; i < t.critical_path.size(); ++i)
      EXPECT_LE(t.start_ns[static_cast<size_t>(t.critical_path[i - 1])], t.end_ns[static_cast<size_t>(t.critical_path[i])]);

    const TimingOptions same{.grants = &t.grants, .cold = &t.cold};
    EXPECT_DOUBLE_EQ(simulate(chip, program, same).total_ns, t.total_ns);
    for (int i = 0; i < 5; ++i) {
      const Timing slow = simulate(slower(chip, r), program, same);
      EXPECT_GE(slow.total_ns, t.total_ns * (1 - 1e-12));
      for (size_t k = 0; k < t.end_ns.size(); ++k) ASSERT_GE(slow.end_ns[k], t.end_ns[k] * (1 - 1e-12)) << "instruction " << k;
    }
  }
}

}  // namespace
}  // namespace bascule::device::chip
