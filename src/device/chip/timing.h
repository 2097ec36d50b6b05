// device/chip/timing.h — event-driven timing of a Program: engines in order, semaphores, ports, DMA and shared bandwidth. Never looks at numbers.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "device/chip/program.h"

namespace bascule::device::chip {

// What one instruction asks for.
struct Cost {
  double interval_ns = 0;  // occupation of its queue
  double latency_ns = 0;   // until a dependent may start, after the occupation
  double main_bytes = 0;   // through main memory
  double cache_bytes = 0;
};
Cost cost(const Chip& chip, const Program& program, const Instruction& instruction);

struct TimingOptions {
  double schedule_factor = 0;  // 0: the chip's
  // Order in which shared resources served instructions, from an earlier run of the same program; empty: first come, first served.
  const std::vector<int32_t>* grants = nullptr;
};

struct QueueUse {
  double busy_ns = 0;
  int64_t instructions = 0;
};

struct Timing {
  double total_ns = 0;        // on the chip: from the first instruction's start to the last one's end
  double request_ns = 0;      // host and runtime per request, beside total_ns
  double copy_ns = 0;         // inputs and outputs over the host link
  double weight_load_ns = 0;  // once, when the model is loaded
  double latency_ns() const { return total_ns + request_ns + copy_ns; }
  std::vector<QueueUse> queues;          // as Program::queues
  double main_busy_ns = 0;               // main memory's bandwidth in use
  std::vector<double> start_ns, end_ns;  // of each instruction's occupation
  std::vector<double> step_ns;           // of each step: its share of the critical path; sums to total_ns
  std::vector<int32_t> critical_path;    // instructions, first to last
  std::string limiter;                   // "tensor", "vector", "hbm", "dma", "latency": where the critical path spends most
  std::vector<int32_t> grants;           // order of service of shared resources
  std::optional<double> joules;
  std::string energy_basis;  // "dynamic, from work and bytes", "share of TDP", or the reason why there is none
};
Timing simulate(const Chip& chip, const Program& program, const TimingOptions& options = {});

// Chrome/Perfetto trace (JSON): one track per queue, slices named by opcode with source nodes as arguments.
std::string perfetto(const Program& program, const Timing& timing);

}  // namespace bascule::device::chip
