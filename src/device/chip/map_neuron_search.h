// device/chip/map_neuron_search.h — the program of a scratchpad machine known to the instruction, with products' sides and tile sizes chosen by the timing
// model within MapOptions::search_ms.
#pragma once
#include <vector>

#include "device/chip/map.h"
#include "device/chip/step.h"

namespace bascule::device::chip::neuron {

Program map(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options);

}  // namespace bascule::device::chip::neuron
