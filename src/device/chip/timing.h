// device/chip/timing.h — event-driven timing of a Program: engines in order, semaphores, ports, DMA and shared bandwidth. Never looks at numbers.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "device/chip/program.h"

namespace bascule::device::chip {

// What one instruction asks for. Rules, in cycles of the engine that does it (per lane; `x` elements of the operand that has most):
//   matrix      passes(type) * max(min_interval, N / moving_rows_per_cycle, load of the stationary tile) for each tile of rows x cols, on `units` side by
//               side; the load hides behind the product before it, so the slower of the two streams decides. fill_cycles come after, as latency.
//   engines     max(min_interval, startup + extra + x * rate(class, accumulator, width)); an innermost stride over 16 bytes halves the ports' rate
//               (instruction-level chips); a fold beside the result (out2) costs min_interval more. Operands at
//               read_bytes_per_cycle of their memory at most, where the file gives it.
//   DMA         bytes / (rate * engines used), at least floor_ns; contiguous pieces count as row_bytes at least; start_ns (with
//               main memory's latency_ns) and finish_ns are latency.
//   tile level  one instruction stands for many tiles, as program.h's Instruction says; launches and waves come before the work.
//   collective  for V bytes of result, in each turn (all_gather: 1; all_reduce: 2) over c ranks of a chip and k chips: start_ns + finish_ns +
//               max(floor_ns, V (c - 1) / c / rate of a core's DMA) if c > 1, V (k - 1) / k / bandwidth of a chip's links if k > 1; then collective_step_ns once, or
//               the topology's hops * latency_ns in each turn. The ranks' part of main memory and DMA is taken from other transfers.
//   host        one request and its copies over the host link, and the work at kHostFlopPerS.
// schedule_factor multiplies matrix and engine intervals.
struct Cost {
  double interval_ns = 0;  // occupation of its queue
  double latency_ns = 0;   // until a dependent may start, after the occupation
  double main_bytes = 0;   // through main memory
  double cache_bytes = 0;
  double start_ns = 0;        // DMA: from trigger to first byte; overlaps the transfer before it on the queue
  double dma_ns = 0;          // DMA: time of all DMA engines of the core together, which its queues share
  double lead_ns = 0;         // part of interval_ns: launches and waves
  bool cache_bound = false;   // the cache decides interval_ns
};
// The chip's own schedule_factor. InternalError, naming the instruction: no rate for that class, or a type that the matrix engine does not take.
Cost cost(const Chip& chip, const Program& program, const Instruction& instruction);

// Assumed of the host, for operators that the chip cannot run: one core of a server.
inline constexpr double kHostFlopPerS = 2e10;
inline constexpr double kHostBytesPerS = 1e10;

struct TimingOptions {
  double schedule_factor = 0;  // 0: the chip's
  // Order in which shared resources served instructions, from an earlier run of the same program; empty: first come, first served.
  const std::vector<int32_t>* grants = nullptr;
  const std::vector<float>* cold = nullptr;  // with grants: Timing::cold of that run
};

struct QueueUse {
  double busy_ns = 0;
  int64_t instructions = 0;
};

// Of one rank: all run alike, at the same times. Time zero is the trigger of the first instruction. Machines whose operators do not overlap (cached ones, and overlap = false) begin a step when
// all of the step before has ended; overlap = false also keeps transfers and compute of a core apart.
struct Timing {
  double total_ns = 0;        // on the chip: until the last result is visible
  double request_ns = 0;      // host and runtime per request, beside total_ns
  double copy_ns = 0;         // inputs and outputs over the host link
  double weight_load_ns = 0;  // once, when the model is loaded: over the host link, or 0 if its rate is not known
  double latency_ns() const { return total_ns + request_ns + copy_ns; }
  std::vector<QueueUse> queues;          // as Program::queues
  double main_busy_ns = 0;               // main memory's bandwidth in use; of the busiest stack where cores have their own
  double main_bytes = 0;                 // moved through main memory, by all ranks
  std::vector<double> start_ns, end_ns;  // of each instruction's occupation
  std::vector<double> step_ns;           // of each step: its share of the critical path; sums to total_ns
  std::vector<int32_t> critical_path;    // instructions, first to last
  std::string limiter;                   // "tensor", "vector", "hbm", "dma", "latency", "launch": where the critical path spends most
  std::vector<std::pair<std::string, double>> limits;  // the critical path by resource, longest first; sums to total_ns
  std::vector<int32_t> grants;                         // order of service of shared resources: all instructions as they were started
  std::vector<float> cold;                             // chips with a power ramp: share of each product done at the idle limit; else empty
  std::optional<double> joules;
  std::string energy_basis;  // "dynamic, from work and bytes", "share of TDP", or the reason why there is none
};
// With `grants` and `cold` of an earlier run, times are a maximum of sums of costs: no cost that grows makes any time shrink.
// DeviceError: a wait that can never end.
Timing simulate(const Chip& chip, const Program& program, const TimingOptions& options = {});

// Chrome/Perfetto trace (JSON): one track per queue, slices named by opcode with source nodes as arguments.
std::string perfetto(const Program& program, const Timing& timing);

}  // namespace bascule::device::chip
