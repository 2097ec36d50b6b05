// device/chip/map_tile_select.cc — what data decide, to the tile: scatters of rows into main memory, running folds along rows.
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {

// A copy of the table, then its rows by index.
void TileMapper::map_scatter(const Step& s) {
  const Place table = place(s.views[0]), index = place(s.views[1]), updates = place(s.views[2]), result{home(s.result), s.out.offset, s.out.strides};
  const auto queue_of = [&](WorkClass c) { return staged_ ? load_queue() : e_.engine(chip_.engines[static_cast<size_t>(engine_for(c))].name); };
  const Box whole = whole_box(s.axes), count = whole_box({s.updates});
  copy_box(queue_of(WorkClass::copy), table, result, whole);
  const int32_t line = temp(e_.buffer(index.buffer).dtype, s.updates);
  copy_box(queue_of(WorkClass::copy), index, dense(line, count), count);
  const auto rows = [](const Place& p, int64_t n, int64_t columns) { return Emitter::strided(p.buffer, p.offset, {n, columns}, {p.strides[0], p.strides[1]}); };
  Instruction i;
  i.op = Opcode::scatter;
  i.fn = s.fold;
  i.work = engines_[static_cast<size_t>(WorkClass::gather)].second;
  i.queue = queue_of(WorkClass::gather);
  i.cores = cores_;
  i.out = rows(result, s.axes[0], s.axes[1]);
  i.in[0] = rows(updates, s.updates, s.axes[1]);
  i.in[1] = Emitter::strided(line, 0, {s.updates}, {1});
  e_.emit(i);
  drop(line);
  e_.step().choice = "rows=" + std::to_string(s.updates);
  const double row_bytes = static_cast<double>(s.axes[1]) * info(e_.buffer(result.buffer).dtype).storage_bits / 8;
  end_kernel(row_bytes * static_cast<double>(2 * s.axes[0] + (s.fold == loops::Op::load ? 2 : 3) * s.updates) + 8 * static_cast<double>(s.updates));
}

void TileMapper::map_scan(const Step& s) {
  const Place x = place(s.views[0]), result{home(s.result), s.out.offset, s.out.strides};
  const int64_t n = s.axes.back();
  const auto parts = boxes(s.axes, s.row_axis, local_limit(), [&](const Extents& size) {
    double e = 1;
    for (const int64_t d : size) e *= static_cast<double>(d);
    return e * 12;
  });
  for (const Box& box : parts) {
    const Place from = fetch(x, box), y = result_box(result, box);
    // One row after the other, whatever the axes before.
    const DType in = e_.buffer(from.buffer).dtype, out = e_.buffer(y.buffer).dtype;
    const int64_t rows = box.elements() / n;
    const int32_t a = temp(in, box.elements()), b = temp(out, box.elements());
    evaluate({{loops::Op::load, in, {{Item::Ref::anchor, 0, 0}, {}, {}}}}, {}, {from}, box, dense(a, box));
    vector(Opcode::scan, s.fold, WorkClass::scan, Emitter::strided(b, 0, {rows, n}, {n, 1}), Emitter::strided(a, 0, {rows, n}, {n, 1}));
    evaluate({{loops::Op::load, out, {{Item::Ref::anchor, 0, 0}, {}, {}}}}, {}, {dense(b, box)}, box, y);
    drop(a);
    drop(b);
    store(y, result, box);
    drop_fetched();
  }
  e_.step().choice = "boxes=" + std::to_string(parts.size());
  end_kernel(bytes_over(x, s.axes) + bytes_over(result, s.axes));
}

}  // namespace bascule::device::chip
