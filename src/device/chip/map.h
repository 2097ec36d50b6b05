// device/chip/map.h — Graph (sizes bound) -> Program for a chip: steps, tiles under the file's capacities, engines, buffers, semaphores.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "device/chip/program.h"
#include "device/device.h"

namespace bascule::device::chip {

// Mapping and timing take about a millisecond for this many instructions; counting them keeps a search's choice the same on every machine.
inline constexpr double kInstructionsPerMs = 1000;

struct MapOptions {
  std::optional<DType> precision;  // of matrix inputs; none: the chip's default
  int64_t cores = 0;               // of each chip, for one request; 0: the chip's default
  int64_t chips = 1;               // that one request runs on
  std::string split;               // of several ranks: "batch", "tensor", "" to let the timing model choose
  int64_t ranks = 1;               // map(): the graph is that of one of so many (map_ranks.h)
  bool search = true;              // let the timing model choose where a step can be mapped in several ways, within search_ms; else by closed forms
  double search_ms = 50;           // nominal: counted in instructions mapped and timed, so that the choice is the same everywhere
  std::string pinned;  // choices by step, as Program::steps[i].choice prints them, one "step: choice" a line
};

// A copy of `graph` after the device's passes: composites that the mapper takes whole are kept, others decomposed. Symbols must be bound before.
Graph prepare(const Graph& bound);
// Code of one rank; map_ranks.h cuts a request for several, and chooses how. CapacityError, UnsupportedError as style asks. `graph` is a prepared one; the program's values are this graph's.
// UsageError: a pinned step that the program has not; a note in the program says which pinned choice could not be kept.
Program map(const Chip& chip, const Graph& graph, const MapOptions& options = {});
// MapOptions::pinned by step name, or by "name of shape" where a choice ends with its shape, as those of products do. Lines without ": " are ignored.
using Pins = std::map<std::string, std::string, std::less<>>;
Pins read_pins(const std::string& text);
// Whether the chip runs the node itself, or why not: it then runs on the host.
Support supports(const Chip& chip, const Graph& graph, const Node& node);

}  // namespace bascule::device::chip
