// device/chip/map_tile_direct.cc — machines under a cache: which output tile and split of K a product takes, in how many waves over the cores, and how
// the bytes of a kernel fall to its instructions.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {
namespace {

// Output tiles (m, n) of matrix libraries' kernels.
constexpr std::pair<int64_t, int64_t> kTiles[] = {{16, 16}, {16, 64}, {32, 32}, {32, 64}, {64, 16}, {64, 32}, {64, 64}, {64, 128}, {128, 32}, {128, 64}, {128, 128}, {64, 256}, {128, 256}, {256, 64}, {256, 128}};
constexpr int64_t kMostSplits = 16;

double up(double x, double to) { return std::ceil(x / to) * to; }

}  // namespace

double TileMapper::bytes_over(const Place& p, const Extents& extents) const {
  double bytes = info(e_.buffer(p.buffer).dtype).storage_bits / 8.0;
  for (size_t a = 0; a < extents.size(); ++a)
    if (p.strides[a] != 0) bytes *= static_cast<double>(extents[a]);
  return std::min(bytes, static_cast<double>(storage_bytes(e_.buffer(p.buffer).dtype, e_.buffer(p.buffer).elements())));
}

// time = waves * max(tile's FLOP at a core's rate, its operands from the cache) or the main-memory bytes, and wave_ns for each wave.
TileMapper::Kernel TileMapper::best_kernel(double batch, double m, double n, double k, double main_bytes, DType in, const std::string& pinned) const {
  const MatrixEngine& x = chip_.matrix;
  const double flop_per_ns = x.peak_flop_per_s(in) * x.achieved * 1e-9, element = info(in).storage_bits / 8.0;
  const double main_per_ns = chip_.main().bytes_per_s * chip_.main().achieved * 1e-9;
  double cache_per_ns = 0;
  if (const Memory* c = chip_.cache()) {
    if (c->read_bytes_per_cycle > 0) cache_per_ns = c->read_bytes_per_cycle * x.clock_hz * 1e-9;
    else if (c->bytes_per_s > 0) cache_per_ns = c->bytes_per_s * c->achieved / static_cast<double>(std::max<int64_t>(chip_.cores, 1)) * 1e-9;
  }
  if (chip_.level == Level::roofline) return {0, 0, 1, 0, 2 * batch * m * n * k / cores_, 0, 0, 0};
  const double step_k = static_cast<double>(std::max<int64_t>(x.tile_k, 1));
  Kernel best;
  best.ns = std::numeric_limits<double>::infinity();
  for (const auto& [tm, tn] : kTiles) {
    const auto dm = static_cast<double>(tm), dn = static_cast<double>(tn);
    const double tiles = batch * std::ceil(m / dm) * std::ceil(n / dn);
    for (int64_t split = 1; split <= kMostSplits; ++split) {
      const auto ds = static_cast<double>(split);
      const double part = up(std::ceil(k / ds), step_k);
      if (split > 1 && part * ds - k >= part) break;
      if (!pinned.empty() && pinned != "tile=" + std::to_string(tm) + "x" + std::to_string(tn) + " split_k=" + std::to_string(split)) continue;
      const double waves = std::ceil(tiles * ds / cores_), flops = 2 * dm * dn * part, cache = (dm + dn) * part * element;
      // Split sums meet in main memory's cache: written and read once, in f32.
      const double extra = split > 1 ? 2 * batch * m * n * 4 * ds : 0;
      const double tile_ns = std::max(flops / flop_per_ns, cache_per_ns > 0 ? cache / cache_per_ns : 0);
      const double ns = std::max(waves * tile_ns, (main_bytes + extra) / main_per_ns) + waves * chip_.software.wave_ns;
      if (ns < best.ns) best = {tm, tn, split, static_cast<int64_t>(waves), waves * flops, waves * cache, extra, ns};
    }
  }
  if (best.tile_m == 0 && !pinned.empty()) return best_kernel(batch, m, n, k, main_bytes, in, "");
  return best;
}

double TileMapper::compute_ns(const Instruction& i) {
  const Queue& q = e_.program().queues[static_cast<size_t>(i.queue)];
  if (q.kind == Queue::matrix) {
    const double peak = chip_.matrix.peak_flop_per_s(e_.buffer(i.in[0].buffer).dtype) * chip_.matrix.achieved * 1e-9;
    return peak > 0 ? i.flops / peak : 0;
  }
  if (q.kind != Queue::engine) return 0;
  const Engine& x = chip_.engines[static_cast<size_t>(q.engine_index)];
  const auto rate = x.rate(i.work, false, Width::wide);
  double elements = static_cast<double>(table_of(i) ? rows_of(i).elements() : i.out.elements());
  if (i.in[0] && !table_of(i)) elements = std::max(elements, static_cast<double>(i.in[0].elements()));
  return rate ? elements * rate->cycles_per_element / static_cast<double>(x.lanes * i.cores) / x.clock_hz * 1e9 : 0;
}

void TileMapper::begin_kernel() { kernel_begin_ = e_.program().code.size(); }

// Shares by work: the sum of max(compute, bytes) over the instructions is then max(compute, bytes) of the kernel.
void TileMapper::end_kernel(double main_bytes, int64_t waves) {
  auto& code = e_.program().code;
  if (staged_ || kernel_begin_ >= code.size()) return;
  double total = 0;
  for (size_t k = kernel_begin_; k < code.size(); ++k) total += compute_ns(code[k]);
  for (size_t k = kernel_begin_; k < code.size(); ++k)
    code[k].main_bytes = total > 0 ? main_bytes * compute_ns(code[k]) / total : main_bytes / static_cast<double>(code.size() - kernel_begin_);
  code[kernel_begin_].launches = 1;
  if (chip_.machine == Machine::cached && chip_.level == Level::tile) code[kernel_begin_].waves = static_cast<int32_t>(waves);
}

}  // namespace bascule::device::chip
