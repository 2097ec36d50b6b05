// inspect/modelled.h — a model weighed on chips that are not here: loaded once, then mapped and timed for any sizes, chips and precisions. Nothing
// runs and no weight is read, so a model whose weights are absent is weighed like any other.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "device/chip/map_ranks.h"
#include "device/chip/timing.h"
#include "runtime/session.h"

namespace bascule::inspect {

// "chip:trainium2" -> "trainium2"; nullopt: not a modelled chip.
std::optional<std::string> chip_of_device(const std::string& device);
// Every installed chip but those that exist for teaching and for tests.
std::vector<std::string> real_chips();

// "instruction", "tile" or "roofline".
const char* level_name(device::chip::Level level);

// The symbol of the leading dimension that stands for the batch, "" if none does.
std::string batch_symbol(const std::vector<runtime::Port>& inputs);

// What a request fixes. A symbol that nothing binds is 1, and a note says so.
struct Sizes {
  std::map<std::string, std::vector<int64_t>> inputs;
  Bindings symbols;
  std::optional<int64_t> batch;          // of the leading dimension that inputs share
  std::map<std::string, Tensor> values;  // of inputs; they bind sizes too, and decide control flow that depends on them
};

struct Placement {
  std::string chip;
  std::optional<DType> precision;  // of matrix inputs; none: the vendor compiler's default
  int64_t cores = 0;               // of one request; 0: the vendor's default
  int64_t chips = 1;               // that one request runs on
  std::string split, pinned;       // see MapOptions
};

// One engine or kind of queue, over all cores that take part.
struct EngineUse {
  std::string name;
  double busy_ns = 0;  // mean of a core
  double share = 0;    // of the time on the chip
  int64_t instructions = 0;
};

struct Modelled {
  const device::chip::Chip* chip = nullptr;
  std::shared_ptr<const Graph> graph;  // as mapped; of one rank
  std::shared_ptr<const device::chip::Program> program;
  std::shared_ptr<const device::chip::Timing> timing;
  Bindings symbols;
  int64_t batch = 1;  // inferences of one request
  // One request alone: timing->latency_ns(). Requests that overlap: host work and copies hidden behind the chip's, every core of one chip busy.
  int64_t streams = 1;    // requests side by side, each on program->cores of a chip's cores (of each of program->chips chips, if it spans several)
  double service_ns = 0;  // time between two answers of one stream
  double throughput_per_s() const { return 1e9 * static_cast<double>(batch * streams) / service_ns; }
  double memory_bytes = 0, capacity_bytes = 0;  // of one stream; of the chips it spans
  bool fits = true;
  double utilisation = 0;  // achieved FLOP/s of matrix products over the peak of the cores used, requests overlapping
  std::vector<EngineUse> engines;
  std::vector<std::string> notes;
};

// Share of a run that belongs to one operator of the source model.
struct SourceTime {
  std::string source;   // "MatMul 'encoder/mlp/up'"; "" for what no operator claims
  double ns = 0;        // sums to the time on the chip
  bool shared = false;  // its step holds other operators too: apportioned by their work
};
std::vector<SourceTime> times_by_source(const Modelled& m);  // largest first

// Where one step stands under the roofline.
struct StepPoint {
  int32_t step = -1;
  double ns = 0;                   // share of the critical path
  double flops = 0, bytes = 0;     // of its operators; through main memory
  double roof_flop_per_s = 0;      // min(peak, intensity * bandwidth) of the cores used
  std::optional<double> achieved;  // share of the roof; nullopt: hidden behind other steps, or no FLOPs
};
std::vector<StepPoint> roofline(const Modelled& m);

// When a buffer is in use: from the first instruction that touches it to the end of the last.
struct BufferLife {
  int32_t buffer = -1;
  double from_ns = 0, to_ns = 0;
  int64_t bytes = 0;  // of one partition, in partitioned memories
};
std::vector<BufferLife> buffer_lives(const Modelled& m);  // by start
// Bytes in use of a core's local memory at `samples` evenly spaced times.
std::vector<int64_t> memory_over_time(const Modelled& m, const std::vector<BufferLife>& lives, device::chip::Role memory, int32_t core, int samples);
// The program with what stands around it: instruction counts, the host link, the weights' load, a new shape's cost, the memory map. Lines of
// comments, then Program::text().
std::string program_report(const Modelled& m);

// A loaded model. Threads may weigh at once.
class ChipModel {
 public:
  static std::shared_ptr<ChipModel> load(const std::string& path);
  static std::shared_ptr<ChipModel> from_graph(Graph graph);

  const std::vector<runtime::Port>& inputs() const { return inputs_; }
  int64_t absent_parameters() const { return absent_parameters_; }
  // UnsupportedError: control flow or sizes that only a run decides, values that no chip holds. CapacityError: the program does not fit the chip.
  // UsageError: sizes the model has not. Asked again with the same arguments, it answers at once.
  Modelled weigh(const Sizes& sizes, const Placement& placement) const;

 private:
  struct Bound {
    std::shared_ptr<const Graph> graph;
    Bindings symbols;
    int64_t batch = 1;
    std::vector<std::string> notes;
  };
  explicit ChipModel(Graph graph);
  std::shared_ptr<const Bound> bind(const Sizes& sizes) const;

  std::shared_ptr<const Graph> optimized_;
  std::vector<runtime::Port> inputs_;
  int64_t absent_parameters_ = 0;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const Bound>> bound_;
  mutable std::map<std::string, Modelled> modelled_;
};

}  // namespace bascule::inspect
