// device/chip/cost.cc — see cost.h and the rules in timing.h. Knows nothing of order: what one instruction asks for by itself.
#include "device/chip/cost.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace bascule::device::chip {
namespace {

double ceil_div(int64_t a, int64_t b) { return static_cast<double>((a + b - 1) / b); }
double bytes_of(DType t, int64_t elements) { return static_cast<double>(storage_bytes(t, elements)); }

// Hops of one pass over n members, each way round a ring or axis of a torus at once.
double hops(const std::string& topology, int64_t n) {
  if (n <= 1) return 0;
  const auto d = static_cast<double>(n);
  if (topology == "all_to_all") return 1;
  if (topology == "torus2d") return std::max(1.0, std::ceil(std::sqrt(d)));
  if (topology == "torus3d") return std::max(1.0, std::ceil(1.5 * std::cbrt(d)));
  return std::ceil(d / 2);
}

}  // namespace

CostModel::CostModel(const Chip& chip, const Program& program, double schedule_factor)
    : chip_(chip), program_(program), factor_(schedule_factor > 0 ? schedule_factor : chip.software.schedule_factor) {
  for (const Memory& m : chip.memories) {
    if (m.role == Role::scratchpad) {
      partitioned_scratchpad_ = m.partitions > 1;
      partitions_ = m.partitions;
      scratchpad_bytes_per_cycle_ = m.read_bytes_per_cycle;
    } else if (m.role == Role::accumulator) {
      partitioned_accumulator_ = m.partitions > 1;
      banks_ = std::max<int64_t>(m.banks, 1);
      accumulator_bytes_per_cycle_ = m.read_bytes_per_cycle;
      bank_bytes_ = m.bytes / std::max<int64_t>(m.partitions, 1) / banks_;
    } else if (m.role == Role::cache) {
      if (m.read_bytes_per_cycle > 0) cache_bytes_per_ns_ = m.read_bytes_per_cycle * chip.matrix.clock_hz * 1e-9;
      else if (m.bytes_per_s > 0) cache_bytes_per_ns_ = m.bytes_per_s * m.achieved / static_cast<double>(std::max<int64_t>(chip.cores, 1)) * 1e-9;
    } else {
      main_bytes_per_s_ = m.bytes_per_s * m.achieved;
      main_latency_ns_ = m.latency_ns;
      if (chip.level != Level::instruction) {  // one server: the stacks of the cores in use
        const int64_t cores = std::max<int64_t>(program.cores, 1);
        const int64_t shared = m.shared_by_cores > 0 ? m.shared_by_cores : chip.cores;
        main_bytes_per_s_ *= std::min(1.0, static_cast<double>((cores + shared - 1) / shared * shared) / static_cast<double>(chip.cores));
      } else if (m.shared_by_cores > 0 && m.shared_by_cores < chip.cores) {
        cores_of_stack_ = m.shared_by_cores;
        main_bytes_per_s_ *= static_cast<double>(m.shared_by_cores) / static_cast<double>(chip.cores);
      }
      if (program.ranks > 1) {  // the ranks beside this one on its stack ask for as much, at the same times
        const int64_t of_stack = cores_of_stack_ > 0 ? cores_of_stack_ : chip.cores;
        main_bytes_per_s_ /= static_cast<double>(std::clamp<int64_t>(of_stack / program.cores_of_rank(), 1, program.ranks_of_chip()));
      }
    }
  }
  static_assert(kDTypeCount <= 64);
  for (const auto& [t, p] : chip.matrix.passes) passes_[static_cast<size_t>(t)] = p;
  rates_.resize(chip.engines.size());
  for (size_t e = 0; e < rates_.size(); ++e)
    for (int c = 0; c < kWorkClasses; ++c)
      for (int v = 0; v < 6; ++v)
        rates_[e][static_cast<size_t>(c)][static_cast<size_t>(v)] = chip.engines[e].rate(static_cast<WorkClass>(c), v >= 3, static_cast<Width>(v % 3));
}

void CostModel::refuse(const Instruction& i, const std::string& expected, const std::string& found) const {
  const StepInfo* step = i.step >= 0 ? &program_.steps[static_cast<size_t>(i.step)] : nullptr;
  fail_internal("program for chip:" + chip_.name + ": instruction '" + std::string(name(i.op)) + "' on " + program_.queues[static_cast<size_t>(i.queue)].name +
                    (step ? " of step '" + step->name + "', " + text(step->origin) : ""),
                expected, found);
}

bool CostModel::partitioned(const Access& a) const {
  const Role m = memory(a);
  return m == Role::accumulator ? partitioned_accumulator_ : m == Role::scratchpad && partitioned_scratchpad_;
}

double CostModel::bytes(const Access& a) const { return bytes_of(type(a), a.elements()); }

double CostModel::lane_elements(const Access& a, int64_t lanes) const {
  if (partitioned(a)) return ceil_div(a.rows(), lanes) * static_cast<double>(a.free());
  return ceil_div(a.elements(), lanes);
}

bool CostModel::strided(const Access& a) const {
  if (!a || !partitioned(a)) return false;
  for (int k = a.rank - 1; k >= 1; --k)
    if (a.sizes[static_cast<size_t>(k)] > 1) return std::abs(a.strides[static_cast<size_t>(k)]) * info(type(a)).storage_bits > 16 * 8;
  return false;
}

// Time at the memories' read ports.
double CostModel::port_cycles(const Instruction& i) const {
  if (scratchpad_bytes_per_cycle_ <= 0 && accumulator_bytes_per_cycle_ <= 0) return 0;
  double scratchpad = 0, accumulator = 0;
  for (const Access& a : i.in) {
    if (!a || memory(a) == Role::main) continue;
    (memory(a) == Role::accumulator ? accumulator : scratchpad) += bytes(a);
  }
  return std::max(scratchpad_bytes_per_cycle_ > 0 ? scratchpad / scratchpad_bytes_per_cycle_ : 0,
                  accumulator_bytes_per_cycle_ > 0 ? accumulator / accumulator_bytes_per_cycle_ : 0);
}

// Pieces that are contiguous in the buffer (within a partition), each counted as row_bytes at least.
CostModel::Transfer CostModel::transfer(const Access& a) const {
  const bool rows_apart = partitioned(a);
  int64_t run = 1;
  for (int k = a.rank - 1; k >= (rows_apart ? 1 : 0); --k) {
    const auto d = static_cast<size_t>(k);
    if (a.sizes[d] == 1) continue;
    if (a.strides[d] != run) break;
    run *= a.sizes[d];
  }
  const int64_t elements = a.elements();
  if (elements <= 0) return {};
  const double piece = bytes_of(type(a), run);
  return {static_cast<double>(elements / run) * std::max(piece, static_cast<double>(chip_.dma.row_bytes)), rows_apart ? a.rows() : 0};
}

double CostModel::passes(const Instruction& i) const {
  double most = 0;
  for (const Access* a : {&i.in[0], &i.in[1]}) {
    if (!*a) continue;
    const double p = passes_[static_cast<size_t>(type(*a))];
    if (p <= 0) refuse(i, "a type that the matrix engine takes", std::string(info(type(*a)).name));
    most = std::max(most, p);
  }
  return most;
}

Cost CostModel::matrix(const Instruction& i) const {
  const MatrixEngine& m = chip_.matrix;
  const double ns = 1e9 / m.clock_hz;
  Cost c;
  c.latency_ns = m.latency_ns + m.fill_cycles * ns;
  const int64_t k = i.in[0].rows(), columns = i.in[0].free();
  if (i.op != Opcode::matmul) {  // transpose: a product with the identity, the operand stationary
    if (i.op != Opcode::transpose) refuse(i, "a product or transpose on the matrix engine", std::string(name(i.op)));
    const double tiles = std::ceil(ceil_div(k, m.rows) * ceil_div(columns, m.cols) / static_cast<double>(m.units));
    const double rows = static_cast<double>(std::min(k, m.rows));
    c.interval_ns = tiles * passes(i) * std::max(rows / m.moving_rows_per_cycle, std::min(m.min_interval_cycles, static_cast<double>(columns))) * ns * factor_;
    return c;
  }
  const double n = static_cast<double>(i.in[1].free());
  const double tiles = std::ceil(ceil_div(k, m.rows) * ceil_div(columns, m.cols) / static_cast<double>(m.units));
  double stream = n / m.moving_rows_per_cycle;
  if (strided(i.in[1])) stream *= 2;
  const double load = m.load_cycles_per_column * static_cast<double>(std::min(columns, m.cols));
  c.interval_ns = std::max(tiles * passes(i) * std::max({m.min_interval_cycles, stream, load}), port_cycles(i)) * ns / m.achieved * factor_;
  return c;
}

Cost CostModel::engine(const Instruction& i, int32_t index) const {
  const Engine& e = chip_.engines[static_cast<size_t>(index)];
  const bool tile_level = chip_.level != Level::instruction;
  bool accumulator = false, half_rate = false;
  int bits = 0;
  double elements = 0;
  for (const Access* a : {&i.out, &i.in[0], &i.in[1], &i.in[2], &i.out2}) {
    if (!*a) continue;
    accumulator |= memory(*a) == Role::accumulator;
    bits = std::max(bits, info(type(*a)).storage_bits);
    elements = std::max(elements, tile_level ? static_cast<double>(a->elements()) / static_cast<double>(e.lanes * i.cores) : lane_elements(*a, e.lanes));
    half_rate |= !tile_level && strided(*a);
  }
  if (table_of(i)) elements = tile_level ? static_cast<double>(rows_of(i).elements()) / static_cast<double>(e.lanes * i.cores) : lane_elements(rows_of(i), e.lanes);
  const Width width = bits <= 8 ? Width::bits8 : bits <= 16 ? Width::bits16 : Width::wide;
  const auto& rate = rates_[static_cast<size_t>(index)][static_cast<size_t>(i.work)][static_cast<size_t>((accumulator ? 3 : 0) + static_cast<int>(width))];
  if (!rate) refuse(i, "work that the engine does", std::string(name(i.work)));
  double cycles = e.startup_cycles + rate->extra_cycles + elements * rate->cycles_per_element * (half_rate ? 2 : 1);
  cycles = std::max({cycles, e.min_interval_cycles, tile_level ? 0 : port_cycles(i)});
  if (i.out2) cycles += e.min_interval_cycles;
  Cost c;
  c.interval_ns = cycles * 1e9 / e.clock_hz * factor_;
  c.latency_ns = e.latency_ns;
  return c;
}

Cost CostModel::dma(const Instruction& i) const {
  const Dma& d = chip_.dma;
  Transfer most;
  Cost c;
  for (const Access* a : {&i.out, &i.in[0], &i.in[1]}) {
    if (!*a || a == table_of(i)) continue;
    const Transfer t = transfer(*a);
    most.bytes = std::max(most.bytes, t.bytes);
    most.rows = std::max(most.rows, t.rows);
    if (memory(*a) == Role::main) c.main_bytes += bytes(*a);
  }
  const bool folds = i.op == Opcode::scatter && i.fn != loops::Op::load;  // read, added to, written: DMA accumulates at half the rate of copies
  if (const Access* table = table_of(i); table && memory(*table) == Role::main) c.main_bytes += bytes_of(type(*table), rows_of(i).elements()) * (folds ? 2 : 1);
  if (i.main_bytes > 0) c.main_bytes = i.main_bytes;
  const auto all = static_cast<double>(std::max<int64_t>(d.engines, 1) * i.cores);
  double used = all;
  if (most.rows > 0 && partitions_ > 1) used = std::min(all, std::ceil(static_cast<double>(most.rows) * all / static_cast<double>(partitions_)));
  double rate = d.bytes_per_s * (folds ? 0.5 : 1);
  if (i.op == Opcode::transpose) {
    if (d.transpose_rate <= 0) refuse(i, "a DMA that transposes", "transpose_rate 0");
    rate *= d.transpose_rate;
  }
  if (rate > 0) {
    c.interval_ns = most.bytes / (used * rate) * 1e9;
    c.dma_ns = most.bytes / (all * rate) * 1e9;
  } else if (c.main_bytes == 0 && main_bytes_per_s_ > 0) {
    c.interval_ns = most.bytes / main_bytes_per_s_ * 1e9;  // local to local: as fast as the memory
  }
  c.interval_ns = std::max(c.interval_ns, d.floor_ns);
  c.start_ns = d.start_ns + (c.main_bytes > 0 ? main_latency_ns_ : 0);
  c.latency_ns = d.finish_ns;
  return c;
}

// Two levels where ranks lie on several chips: all_reduce = reduce-scatter among the ranks of a chip, all_reduce between the chips of what each rank then
// holds, all_gather in the chip; all_gather alone likewise from outside in. Of V bytes (the whole result) a rank moves V (c - 1) / c within its chip, and
// a chip V (k - 1) / k over its links, in each turn.
Cost CostModel::collective(const Instruction& i) const {
  const auto c = static_cast<double>(program_.ranks_of_chip()), k = static_cast<double>(std::max<int64_t>(program_.chips, 1));
  Cost cost;
  if (program_.ranks <= 1) return cost;
  const bool gather = i.fn == loops::Op::load;
  const double turns = gather ? 1 : 2, whole = bytes(i.out);
  if (c > 1) {  // by the core's DMA engines, through the memories of the ranks
    const Dma& d = chip_.dma;
    const double rate = d.bytes_per_s > 0 ? d.bytes_per_s * static_cast<double>(d.engines) : main_bytes_per_s_, moved = whole * (c - 1) / c;
    const double ns = rate > 0 ? moved / rate * 1e9 : 0;
    cost.interval_ns = turns * (d.start_ns + main_latency_ns_ + std::max(d.floor_ns, ns) + d.finish_ns);
    cost.dma_ns = d.bytes_per_s > 0 ? turns * ns : 0;
    cost.main_bytes = moved * (gather ? 2 : 5);  // read and written; to reduce, the own part is read too
  }
  if (k > 1) {
    if (!chip_.link) refuse(i, "a chip with links", "no [link] in the chip file");
    const Link& l = *chip_.link;
    const double rate = l.collective_bytes_per_s > 0 ? l.collective_bytes_per_s : l.bytes_per_s, moved = whole * (k - 1) / k;
    cost.interval_ns += (l.collective_step_ns > 0 ? l.collective_step_ns : turns * hops(l.topology, program_.chips) * l.latency_ns) + turns * moved / rate * 1e9;
    cost.main_bytes += moved / c * (gather ? 2 : 5);
  }
  return cost;
}

Cost CostModel::host(const Instruction& i) const {
  Cost c;
  double copied = bytes(i.out);
  for (const Access& a : i.in)
    if (a) copied += bytes(a);
  c.interval_ns = chip_.software.request_ns;
  if (chip_.software.copy_bytes_per_s > 0) c.interval_ns += copied / chip_.software.copy_bytes_per_s * 1e9;
  if (i.step >= 0) {
    const Work& w = program_.steps[static_cast<size_t>(i.step)].work;
    c.interval_ns += std::max(w.flops() / kHostFlopPerS, (w.bytes_read + w.bytes_written) / kHostBytesPerS) * 1e9;
  }
  return c;
}

// One instruction for many tiles, as Instruction's comment says.
Cost CostModel::tiles(const Instruction& i, const Queue& q) const {
  Cost c;
  if (q.kind == Queue::engine) {
    c = engine(i, q.engine_index);
  } else {
    const MatrixEngine& m = chip_.matrix;
    double flops = i.flops;
    if (i.op == Opcode::matmul && flops <= 0) {
      double k = 1;
      for (int d = i.batch; d < i.batch + i.folded; ++d) k *= i.in[0].sizes[static_cast<size_t>(d)];
      flops = 2 * static_cast<double>(i.out.elements()) * k / i.cores;
    } else if (i.op == Opcode::transpose && flops <= 0) {
      flops = 2 * static_cast<double>(i.out.elements()) * static_cast<double>(m.rows) / i.cores;
    } else if (i.op != Opcode::matmul && i.op != Opcode::transpose) {
      refuse(i, "a product or transpose on the matrix engine", name(i.op));
    }
    const double per_cycle = 2.0 * static_cast<double>(m.rows * m.cols * m.units) * m.moving_rows_per_cycle / passes(i) * m.achieved;
    c.interval_ns = (std::max(flops / per_cycle, m.min_interval_cycles) + m.fill_cycles) * 1e9 / m.clock_hz * factor_;
    c.latency_ns = m.latency_ns;
  }
  c.main_bytes = i.main_bytes;
  c.cache_bytes = i.cache_bytes;
  if (i.cache_bytes > 0 && cache_bytes_per_ns_ > 0) {
    const double ns = i.cache_bytes / cache_bytes_per_ns_;
    c.cache_bound = ns > c.interval_ns;
    c.interval_ns = std::max(c.interval_ns, ns);
  }
  return c;
}

Cost CostModel::operator()(const Instruction& i) const {
  const Queue& q = program_.queues[static_cast<size_t>(i.queue)];
  Cost c;
  switch (q.kind) {
    case Queue::matrix: c = chip_.level == Level::instruction ? matrix(i) : tiles(i, q); break;
    case Queue::engine: c = chip_.level == Level::instruction ? engine(i, q.engine_index) : tiles(i, q); break;
    case Queue::dma: c = dma(i); break;
    case Queue::collective: c = collective(i); break;
    case Queue::host: c = host(i); break;
  }
  c.lead_ns = i.launches * chip_.software.operator_ns + i.waves * chip_.software.wave_ns;
  c.interval_ns += c.lead_ns;
  return c;
}

Cost cost(const Chip& chip, const Program& program, const Instruction& instruction) { return CostModel(chip, program, 0)(instruction); }

}  // namespace bascule::device::chip
