// device/chip/map_neuron_collective.cc — what ranks exchange: from buffers of main memory into others, by the queue of collectives. Neither engines nor
// the scratchpad take part; who needs the result waits for it, all else goes on.
#include <limits>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

void Mapper::collective(const Step& s) {
  const int32_t from = item_of(s.views[0].value), to = item_of(s.result);
  const int64_t ranks = emit_.program().ranks, total = item(from).total;
  if (s.participants != ranks)
    fail_unsupported("chip:" + chip_.name + ": " + emit_.step().name, "a collective of the " + std::to_string(ranks) + " ranks that run the program", "one of " + std::to_string(s.participants),
                     "Give the model without its collectives, and --cores");
  if (total > std::numeric_limits<int32_t>::max())
    fail_capacity("chip:" + chip_.name + ": " + emit_.step().name, "at most 2^31 elements at a time", std::to_string(total), "Take a smaller batch");
  Instruction i;
  i.op = Opcode::collective;
  i.fn = s.fold;
  i.queue = emit_.collective();
  choice("collective=" + std::string(s.fold == loops::Op::load ? "all_gather" : "all_reduce") + " bytes=" + std::to_string(storage_bytes(item(from).dtype, total)));
  if (s.fold == loops::Op::load) {
    int64_t outer = 1;
    for (size_t a = 0; a < s.row_axis; ++a) outer *= s.axes[a];
    const int64_t part = total / outer, source = in_main(from);
    item(to).main = main_for(to);
    i.in[0] = Emitter::strided(static_cast<int32_t>(source), 0, {outer, part}, {part, 1});
    i.out = Emitter::strided(item(to).main, 0, {outer, ranks, part}, {ranks * part, part, 1});
    emit_.emit(i);
    return;
  }
  // Element for element, so in the order in which the operand lies: readers that want it so too load long pieces.
  Held source;
  if (item(from).main < 0 && !item(to).output) {
    if (!item(from).images.empty()) source = item(from).images.front();
    for (const Held& h : item(from).local) {
      if (source.place.buffer >= 0) break;
      if (h.placement.replicated() || h.dtype != item(from).dtype) continue;
      const Held local = h;
      source = {local.placement, {.buffer = main_room(item(from).name, local.dtype, total), .in_main = true}, local.dtype, now_};
      store(local.place, local.placement, total, source.place.buffer, true);
      item(from).images.push_back(source);
      break;
    }
  }
  const bool image = source.place.buffer >= 0;
  i.in[0] = emit_.whole(image ? source.place.buffer : in_main(from));
  const int32_t result = image ? main_room(item(to).name, item(to).dtype, total) : main_for(to);
  if (image) item(to).images.push_back({source.placement, {.buffer = result, .in_main = true}, item(to).dtype, now_});
  else item(to).main = result;
  i.out = emit_.whole(result);
  emit_.emit(i);
}

}  // namespace bascule::device::chip::neuron
