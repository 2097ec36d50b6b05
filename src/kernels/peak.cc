// kernels/peak.cc — a loop of independent multiply-adds per instruction set, and a sum over large memory.
#include "kernels/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bascule::kernels {
namespace {
using Clock = std::chrono::steady_clock;

// Each runs `rounds` rounds of 12 independent multiply-adds and returns the floating-point operations done. 12 chains cover the
// latency of 4 to 5 cycles at two starts a cycle. The asm keeps the registers live without costing an instruction.
#if defined(__x86_64__)
__attribute__((target("avx512f"))) double fma_512(int64_t rounds) {
  __m512 acc[12];
  for (auto& a : acc) a = _mm512_set1_ps(1.0f);
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(0.001f);
  for (int64_t i = 0; i < rounds; ++i) {
    for (auto& a : acc) a = _mm512_fmadd_ps(a, x, y);
    for (auto& a : acc) asm volatile("" : "+v"(a));
  }
  return static_cast<double>(rounds) * 12 * 16 * 2;
}
__attribute__((target("avx2,fma"))) double fma_256(int64_t rounds) {
  __m256 acc[12];
  for (auto& a : acc) a = _mm256_set1_ps(1.0f);
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(0.001f);
  for (int64_t i = 0; i < rounds; ++i) {
    for (auto& a : acc) a = _mm256_fmadd_ps(a, x, y);
    for (auto& a : acc) asm volatile("" : "+x"(a));
  }
  return static_cast<double>(rounds) * 12 * 8 * 2;
}
#endif
double fma_portable(int64_t rounds) {
  typedef float Four __attribute__((vector_size(16)));
  Four acc[12];
  for (auto& a : acc) a = Four{1, 1, 1, 1};
  const Four x = {0.999f, 0.999f, 0.999f, 0.999f}, y = {0.001f, 0.001f, 0.001f, 0.001f};
  for (int64_t i = 0; i < rounds; ++i) {
    for (auto& a : acc) a = a * x + y;
    for (auto& a : acc) asm volatile("" : "+m"(a));
  }
  return static_cast<double>(rounds) * 12 * 4 * 2;
}

using Loop = double (*)(int64_t);
Loop best_loop() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return fma_512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return fma_256;
#endif
  return fma_portable;
}

// Runs work() again and again on all threads for a while; the sum of what the calls return, per second. The best of five windows: what
// else runs on the machine can only make one slower.
template <class Work>
double rate(int threads, const Work& work) {
  constexpr auto kWindow = std::chrono::milliseconds(30);
  double best = 0;
  for (int window = 0; window < 5; ++window) {
    std::atomic<double> total{0};
    const auto start = Clock::now();
    {
      std::vector<std::jthread> team;
      for (int k = 0; k < threads; ++k)
        team.emplace_back([&, k] {
          double done = 0;
          do done += work(k);
          while (Clock::now() - start < kWindow);
          total.fetch_add(done);
        });
    }
    best = std::max(best, total.load() / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

}  // namespace

Peak measure_peak(int threads) {
  const int n = threads > 0 ? threads : 1;
  const Loop loop = best_loop();
  Peak peak;
  peak.flop_per_s = rate(n, [&](int) { return loop(20'000); });

  const size_t each = (size_t{256} << 20) / static_cast<size_t>(n) / sizeof(uint64_t);
  std::vector<std::vector<uint64_t>> memory(static_cast<size_t>(n));
  for (auto& m : memory) m.assign(each, 1);
  peak.bytes_per_s = rate(n, [&](int k) {
    uint64_t sum[8] = {};
    const uint64_t* p = memory[static_cast<size_t>(k)].data();
    for (size_t i = 0; i + 8 <= each; i += 8)
      for (size_t j = 0; j < 8; ++j) sum[j] += p[i + j];
    for (auto& s : sum) asm volatile("" : "+r"(s));
    return static_cast<double>(each * sizeof(uint64_t));
  });
  return peak;
}

}  // namespace bascule::kernels
