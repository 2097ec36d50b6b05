// device/chip/map.cc — which mapper a chip's program comes from: to the instruction where the file's facts go that deep and memory is partitioned, else
// to the tile.
#include "device/chip/map.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "device/chip/map_neuron.h"
#include "device/chip/map_tile.h"
#include "device/chip/timing.h"

namespace bascule::device::chip {
namespace {

Program choose(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options) {
  if (chip.level == Level::instruction && chip.machine == Machine::scratchpad) {
    // With weights that stay, or large blocks, other data may find too little room: then without, then in smaller blocks.
    bool resident = true;
    for (double share = 1;; share /= 2) {
      neuron::Mapper first(chip, graph, steps, options, resident, share);
      try {
        Program program = first.run();
        if (!first.resident()) return program;
        // once more, now that it is known how much room the weights that stay want for themselves
        neuron::Mapper mapper(chip, graph, steps, options, resident, share, first.weight_room());
        mapper.reuse(std::move(program));
        program = mapper.run();
        if (!mapper.spilled()) return program;
        // weights that stay push activations out: what is faster?
        Program streamed = neuron::Mapper(chip, graph, steps, options, false).run();
        return simulate(chip, streamed).total_ns < simulate(chip, program).total_ns ? streamed : program;
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::capacity || share < 0.2) throw;
      }
      if (first.resident()) share *= 2;
      resident = false;
    }
  }
  return map_tiles(chip, graph, steps, options);
}

// Mapping and timing take about a millisecond for this many instructions; counting them keeps the choice the same on every machine.
constexpr double kInstructionsPerMs = 1000;

// Tries the other side of each kind of product, those that take longest first, and keeps what the timing model finds faster.
Program search(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options, Program best) {
  double left = options.search_ms * kInstructionsPerMs;
  if (static_cast<double>(best.code.size()) > left) return best;
  const auto pins = read_pins(options.pinned);
  const Timing first = simulate(chip, best);
  double best_ns = first.total_ns;
  std::map<std::string, std::pair<double, std::string>> products;  // time and side of each kind
  for (size_t i = 0; i < best.steps.size(); ++i) {
    const StepInfo& step = best.steps[i];
    if (!step.choice.starts_with("stationary=") || pins.contains(step.name)) continue;
    auto& [ns, side] = products[step.name];
    ns += first.step_ns[i];
    side = step.choice.starts_with("stationary=rows") ? "rows" : "features";
  }
  std::vector<std::pair<double, std::string>> order;
  for (const auto& [name, product] : products) order.emplace_back(product.first, name);
  std::sort(order.rbegin(), order.rend());
  MapOptions trial = options;
  for (const auto& [ns, name] : order) {
    left -= static_cast<double>(best.code.size());
    if (left < 0) break;
    const std::string kept = trial.pinned;
    trial.pinned += "\n" + name + ": stationary=" + (products[name].second == "rows" ? "features" : "rows");
    std::optional<Program> other;
    try {
      other = choose(chip, graph, steps, trial);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::capacity) throw;
    }
    const double total_ns = other ? simulate(chip, *other).total_ns : 0;
    if (other && total_ns < best_ns) {
      best = std::move(*other);
      best_ns = total_ns;
    } else {
      trial.pinned = kept;
    }
  }
  return best;
}

void report_pins(Program& program, const std::map<std::string, std::string, std::less<>>& pins) {
  for (const auto& [name, choice] : pins) {
    bool found = false;
    for (const StepInfo& step : program.steps) {
      if (step.name != name) continue;
      found = true;
      if ((" " + step.choice + " ").find(" " + choice + " ") != std::string::npos) continue;
      program.notes.push_back("'" + name + "' is pinned to '" + choice + "' and mapped as '" + step.choice + "': that choice does not fit it");
      break;
    }
    if (!found) fail_usage("pinned choices", "steps of the program", "'" + escaped(name) + "'", "bascule compile MODEL --device chip:" + program.chip + " -o FILE shows the steps");
  }
}

}  // namespace

std::map<std::string, std::string, std::less<>> read_pins(const std::string& text) {
  std::map<std::string, std::string, std::less<>> pins;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (const size_t colon = line.rfind(": "); colon != std::string::npos) pins[line.substr(0, colon)] = line.substr(colon + 2);
    at = end + 1;
  }
  return pins;
}

Program map(const Chip& chip, const Graph& graph, const MapOptions& options) {
  const std::vector<Step> steps = make_steps(graph);
  Program program = choose(chip, graph, steps, options);
  if (options.search && chip.level == Level::instruction) program = search(chip, graph, steps, options, std::move(program));
  report_pins(program, read_pins(options.pinned));
  return program;
}

}  // namespace bascule::device::chip
