// device/chip/map.cc — which mapper a chip's program comes from: to the instruction where the file's facts go that deep and memory is partitioned, else
// to the tile.
#include "device/chip/map.h"

#include "base/error.h"
#include "device/chip/map_neuron.h"
#include "device/chip/map_tile.h"
#include "device/chip/timing.h"

namespace bascule::device::chip {

Program map(const Chip& chip, const Graph& graph, const MapOptions& options) {
  if (chip.level == Level::instruction && chip.machine == Machine::scratchpad) {
    // With weights that stay, or large blocks, other data may find too little room: then without, then in smaller blocks.
    bool resident = true;
    for (double share = 1;; share /= 2) {
      neuron::Mapper mapper(chip, graph, options, resident, share);
      try {
        Program program = mapper.run();
        if (!mapper.resident() || !mapper.spilled()) return program;
        // weights that stay push activations out: what is faster?
        Program streamed = neuron::Mapper(chip, graph, options, false).run();
        return simulate(chip, streamed).total_ns < simulate(chip, program).total_ns ? streamed : program;
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::capacity || share < 0.2) throw;
      }
      if (mapper.resident()) share *= 2;
      resident = false;
    }
  }
  return map_tiles(chip, graph, make_steps(graph), options);
}

}  // namespace bascule::device::chip
