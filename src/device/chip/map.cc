// device/chip/map.cc — which mapper a chip's program comes from: to the instruction where the file's facts go that deep and memory is partitioned, else
// to the tile.
#include "device/chip/map.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "device/chip/map_neuron_search.h"
#include "device/chip/map_tile.h"

namespace bascule::device::chip {
namespace {

void report_pins(Program& program, const Pins& pins) {
  for (const auto& [key, choice] : pins) {
    const size_t of = key.rfind(" of ");
    const std::string name = key.substr(0, of), shape = of == std::string::npos ? "" : key.substr(of);
    bool found = false;
    for (const StepInfo& step : program.steps) {
      if (step.name != name || !step.choice.ends_with(shape)) continue;
      found = true;
      if ((" " + step.choice + " ").find(" " + choice + " ") != std::string::npos) continue;
      program.notes.push_back("'" + name + "' is pinned to '" + choice + "' and mapped as '" + step.choice + "': that choice does not fit it");
      break;
    }
    if (!found) fail_usage("pinned choices", "steps of the program", "'" + escaped(name) + "'", "bascule compile MODEL --device chip:" + program.chip + " -o FILE shows the steps");
  }
}

}  // namespace

Pins read_pins(const std::string& text) {
  Pins pins;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (const size_t colon = line.rfind(": "); colon != std::string::npos) {
      const std::string choice = line.substr(colon + 2);
      const size_t of = choice.rfind(" of ");  // steps of this shape only
      pins[line.substr(0, colon) + (of == std::string::npos ? "" : choice.substr(of))] = choice.substr(0, of);
    }
    at = end + 1;
  }
  return pins;
}

Program map(const Chip& chip, const Graph& graph, const MapOptions& options) {
  const bool instructions = chip.level == Level::instruction && chip.machine == Machine::scratchpad;
  const std::vector<Step> steps = make_steps(graph, !instructions);
  Program program = instructions ? neuron::map(chip, graph, steps, options) : map_tiles(chip, graph, steps, options);
  report_pins(program, read_pins(options.pinned));
  return program;
}

}  // namespace bascule::device::chip
