// device/chip/map.cc — which mapper a chip's program comes from: to the instruction where the file's facts go that deep and memory is partitioned, else
// to the tile.
#include "device/chip/map.h"

#include "base/error.h"
#include "device/chip/map_neuron.h"
#include "device/chip/map_tile.h"

namespace bascule::device::chip {

Program map(const Chip& chip, const Graph& graph, const MapOptions& options) {
  if (chip.level == Level::instruction && chip.machine == Machine::scratchpad) {
    neuron::Mapper first(chip, graph, options);
    try {
      return first.run();
    } catch (const Error& e) {  // with weights that stay, activations may find too little room
      if (e.kind() != ErrorKind::capacity || !first.resident()) throw;
    }
    return neuron::Mapper(chip, graph, options, false).run();
  }
  return map_tiles(chip, graph, make_steps(graph), options);
}

}  // namespace bascule::device::chip
