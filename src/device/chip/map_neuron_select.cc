// device/chip/map_neuron_select.cc — what data decide, to the instruction: scatters of rows by DMA, running folds along the free dimension.
#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

using loops::Op;

// A copy of the table in main memory, then its rows by index: descriptors that the engine beside the DMA queues makes from the index.
void Mapper::scatter(const Step& s) {
  if (s.fold != Op::load && s.fold != Op::add) {
    Step host = s;
    host.reason = "scatter: DMA writes and adds; a maximum or minimum of what is there runs on the host";
    return host_step(host);
  }
  const int32_t out = item_of(s.result), to = main_for(out);
  const int32_t table = in_main(item_of(s.views[0].value)), index = in_main(item_of(s.views[1].value)), updates = in_main(item_of(s.views[2].value));
  item(out).main = to;
  const int64_t rows = s.axes[0], columns = s.axes[1];
  const auto matrix = [](int32_t buffer, int64_t offset, int64_t n, int64_t m, int64_t row, int64_t column) {
    Access a;
    a.buffer = buffer;
    a.offset = offset;
    a.rank = 2;
    a.sizes[0] = static_cast<int32_t>(n), a.sizes[1] = static_cast<int32_t>(m);
    a.strides[0] = row, a.strides[1] = column;
    return a;
  };
  const auto lying = [&](int32_t buffer, const View& v, int64_t n) { return matrix(buffer, v.layout.offset, n, columns, v.layout.strides[0], v.layout.strides[1]); };
  Instruction i;
  i.queue = emit_.dma(kStores);
  i.op = Opcode::copy;
  i.out = matrix(to, 0, rows, columns, columns, 1);
  i.in[0] = lying(table, s.views[0], rows);
  emit_.emit(i);
  i.op = Opcode::scatter;
  i.work = WorkClass::gather;
  i.fn = s.fold;
  i.in[0] = lying(updates, s.views[2], s.updates);
  i.in[1].buffer = index;
  i.in[1].offset = s.views[1].layout.offset;
  i.in[1].rank = 1;
  i.in[1].sizes[0] = static_cast<int32_t>(s.updates);
  i.in[1].strides[0] = s.views[1].layout.strides[0];
  emit_.emit(i);
  choice("dma rows=" + std::to_string(s.updates));
}

// One row a partition. The dimension that is scanned must be one: rows that lie in pieces are brought together first.
void Mapper::scan_row(const Step& s, const Source& out, const Source& in, const std::function<Source(DType)>& like_row) {
  const auto line = [](const Pattern& p, Pattern& joined) {  // rows, then one dimension
    joined.buffer = p.buffer;
    joined.offset = p.offset;
    joined.rank = 0;
    int64_t size = 1, stride = 0;
    for (int k = p.rank; k-- > 1;) {
      const auto u = static_cast<size_t>(k);
      if (p.sizes[u] == 1) continue;
      if (size == 1) stride = p.strides[u];
      else if (p.strides[u] != stride * size) return false;
      size *= p.sizes[u];
    }
    joined.add(p.sizes[0], p.strides[0]);
    joined.add(size, stride);
    return true;
  };
  Call c;
  c.op = Opcode::scan;
  c.fn = s.fold;
  c.work = WorkClass::scan;
  c.in[0] = in;
  c.out = out;
  if (!line(in.pattern, c.in[0].pattern)) {
    const Source whole = like_row(in.dtype);
    copy(whole, in);
    c.in[0] = whole;
    line(whole.pattern, c.in[0].pattern);
  }
  if (line(out.pattern, c.out.pattern)) {
    emit_uncut(c);
    return;
  }
  const Source whole = like_row(out.dtype);
  c.out = whole;
  line(whole.pattern, c.out.pattern);
  emit_uncut(c);
  copy(out, whole);
}

}  // namespace bascule::device::chip::neuron
