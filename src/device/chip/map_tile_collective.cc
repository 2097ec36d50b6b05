// device/chip/map_tile_collective.cc — what chips exchange: one instruction on the links for a whole value.
#include <limits>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {

void TileMapper::map_collective(const Step& s) {
  const int64_t ranks = e_.program().ranks;
  const int32_t from = home(s.views[0].value), to = home(s.result);
  const int64_t total = e_.buffer(from).elements();
  if (s.participants != ranks)
    fail_unsupported("chip:" + chip_.name + ": " + e_.step().name, "a collective of the " + std::to_string(ranks) + " ranks that run the program", "one of " + std::to_string(s.participants),
                     "Give the model without its collectives, and several chips");
  if (total > std::numeric_limits<int32_t>::max())
    fail_capacity("chip:" + chip_.name + ": " + e_.step().name, "at most 2^31 elements at a time", std::to_string(total), "Take a smaller batch");
  Instruction i;
  i.op = Opcode::collective;
  i.fn = s.fold;
  i.queue = e_.collective();
  if (s.fold == loops::Op::load) {
    int64_t outer = 1;
    for (size_t a = 0; a < s.row_axis; ++a) outer *= s.axes[a];
    const int64_t part = total / outer;
    i.in[0] = Emitter::strided(from, 0, {outer, part}, {part, 1});
    i.out = Emitter::strided(to, 0, {outer, ranks, part}, {ranks * part, part, 1});
  } else {
    i.in[0] = Emitter::strided(from, 0, {total}, {1});
    i.out = Emitter::strided(to, 0, {total}, {1});
  }
  e_.emit(i);
}

}  // namespace bascule::device::chip
