// device/chip/map_tile.h — Steps -> Program for every chip that is not modelled to the instruction: scratchpad machines at the level of tiles
// (operands copied into local memory, worked on, copied back), machines under a cache (kernels of tiles in waves), rooflines.
#pragma once
#include <vector>

#include "device/chip/map.h"
#include "device/chip/step.h"

namespace bascule::device::chip {

// CapacityError as map(). `steps` are make_steps(graph).
Program map_tiles(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options);

}  // namespace bascule::device::chip
