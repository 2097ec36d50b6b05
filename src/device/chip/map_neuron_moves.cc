// device/chip/map_neuron_moves.cc — gathers by index and copies of boxes: DMA.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

void Mapper::gather(const Step& s) {
  if (s.drop) return host_step(s);
  Nest n;
  for (size_t a = 0; a < s.axes.size(); ++a) {
    n.extents.push_back(s.axes[a]);
    n.tags.push_back(a < s.row_axis ? 'P' : 'R');
  }
  // operands: result, index, table (its row axis apart), epilogue
  n.operands.push_back(result(s));
  Operand index = operand(s.views[1]), table = operand(s.views[0]);
  const int64_t row_stride = table.strides[0];
  table.strides.erase(table.strides.begin());
  table.strides.insert(table.strides.begin(), s.row_axis, 0);
  index.strides.resize(s.axes.size(), 0);
  index.placed = table.placed = false;
  n.operands.push_back(index);
  n.operands.push_back(table);
  for (const View& v : s.epilogue_operands) n.operands.push_back(operand(v));
  n.merge();
  const int32_t out_item = n.operands[0].item;
  std::vector<Placement> tries;
  int64_t inner = 0, joined = 1;
  for (size_t a = n.extents.size(); a-- > 0;)
    if (n.tags[a] == 'P') {
      const int64_t st = n.operands[0].strides[a];
      if (inner == 0) inner = st;
      if (st == inner * joined) joined *= n.extents[a];
    }
  if (inner > 0) tries.push_back({inner, joined});
  for (size_t a = 0; a < n.extents.size(); ++a)
    if (n.tags[a] == 'P') tries.push_back({n.operands[0].strides[a], n.extents[a]});
  tries.push_back({n.operands[0].total, 1});
  int part = -1;
  bool found = false;
  for (const Placement& p : tries) {
    Nest trial = n;
    trial.operands[0].placement = p;
    if (!fits(p, trial.operands[0].total) || !follow(trial, 0, 3, part)) continue;
    if (part >= 0 && trial.tags[static_cast<size_t>(part)] != 'P') continue;
    n = std::move(trial);
    found = true;
    break;
  }
  if (!found) return host_step(s);
  const int32_t indices = in_main(n.operands[1].item), rows_of = in_main(n.operands[2].item);
  Target out = target(out_item, n.operands[0].placement);
  Place shape = out.place;
  if (out.image >= 0) {
    const Window w = all_of(n.operands[0].placement, n.operands[0].total);
    shape.outers = w.outer1;
    shape.inners = w.inner1;
  }
  const std::vector<int> rs = axes_of(n, 'R'), ps = axes_of(n, 'P');
  const int64_t table_rows = s.table_rows;
  const Expression x = expression(s);
  std::vector<int> row_axes;
  for (const Box& tile : row_boxes(n, 0, shape, n.all(), ps, part)) {
    const Place yp = target_block(out, out_item, n.operands[0].placement, window(n.operands[0], tile));
    const int64_t rows = part < 0 ? 1 : tile.size[static_cast<size_t>(part)];
    const Source to{pattern(n.operands[0], yp, tile, part, rs, pitch(yp), partitions_, 0, rows), item(out_item).dtype, false, false};
    Source got = to;
    if (!s.epilogue.empty()) {
      int64_t columns = 1;
      for (const int a : rs) columns *= tile.size[static_cast<size_t>(a)];
      got.pattern = {};
      got.dtype = emit_.buffer(rows_of).dtype;
      got.pattern.buffer = scratch(got.dtype, rows, columns);
      got.pattern.add(rows, columns);
      for (const int a : rs) {
        columns /= tile.size[static_cast<size_t>(a)];
        got.pattern.add(tile.size[static_cast<size_t>(a)], columns);
      }
    }
    Instruction i;
    i.op = Opcode::gather;
    i.work = WorkClass::gather;
    i.queue = emit_.dma(kLoads);
    Pattern from;
    from.buffer = rows_of;
    from.offset = n.operands[2].offset;
    from.add(table_rows, row_stride);
    Pattern to_rows = got.pattern;
    for (const int a : rs) from.add(tile.size[static_cast<size_t>(a)], n.operands[2].strides[static_cast<size_t>(a)]);
    // rows differ in dimension 0 alone: join the others alike
    const Cut cut_rows = cut({to_rows, [&] { Pattern f = from; f.sizes[0] = rows; return f; }(), {}, {}, {}}, Access::kMostDims);
    int64_t at = n.operands[1].offset;
    for (size_t a = 0; a < n.extents.size(); ++a) at += tile.start[a] * n.operands[1].strides[a];
    Access which;
    which.buffer = indices;
    which.offset = at;
    which.rank = 1;
    which.sizes[0] = static_cast<int32_t>(rows);
    which.strides[0] = part < 0 ? 1 : n.operands[1].strides[static_cast<size_t>(part)];
    for (const auto& c : cut_rows.pieces) {
      i.out = c[0];
      i.in[0] = c[1];
      i.in[0].sizes[0] = static_cast<int32_t>(table_rows);
      i.in[1] = which;
      emit_.emit(i);
    }
    if (!s.epilogue.empty()) {
      const int64_t row0 = to.pattern.offset / pitch(yp);
      std::vector<Place> ep;
      for (size_t e = 3; e < n.operands.size(); ++e) ep.push_back(hold_operand(n.operands[e], &tile));
      evaluate(x, to,
               [&](const Term& t) {
                 if (t.leaf == Term::anchor) return got;
                 return leaf_source(n.operands[static_cast<size_t>(t.index) + 3], ep[static_cast<size_t>(t.index)], tile, part, rs, row0, rows);
               },
               nullptr);
    }
    target_done(out, n, 0, tile, yp);
    done();
  }
}

// Boxes that stay in the scratchpad: rows on partitions as the reader wants them, each piece brought to that layout and put in its place. False: some
// piece has no such rows, or there is no room.
bool Mapper::move_local(const Step& s) {
  const int32_t out = item_of(s.result);
  const int64_t total = item(out).total;
  if (item(out).output || s.pieces.empty() || total < 1024) return false;
  for (const Piece& p : s.pieces)  // reversed boxes lie in no placement
    if (std::any_of(p.from.layout.strides.begin(), p.from.layout.strides.end(), [](int64_t stride) { return stride < 0; })) return false;
  std::vector<Placement> tries;
  if (const auto w = wish(item(out), now_)) tries.push_back(*w);
  for (const Piece& p : s.pieces) {  // as the pieces lie
    const int32_t from = item_of(p.from.value);
    for (const Held& h : item(from).local)
      for (size_t a = 0; a < p.extents.size(); ++a)
        if (p.extents[a] > 1 && p.from.layout.strides[a] == h.placement.inner && p.to.strides[a] > 0 && total % (p.to.strides[a] * p.extents[a]) == 0) tries.push_back({p.to.strides[a], p.extents[a]});
  }
  if (const auto dims = constants(graph_.type(s.result).dims); dims && dims->size() > 1) tries.push_back({dims->back(), total / dims->back()});
  struct Part {
    Nest nest;
    int axis = -1;
  };
  for (const Placement& p : tries) {
    if (!fits(p, total) || p.replicated() || place_bytes(total, p, item(out).dtype) > budget_ / 4) continue;
    std::vector<Part> parts;
    for (const Piece& piece : s.pieces) {
      Part part;
      Nest& n = part.nest;
      n.extents = piece.extents;
      n.tags.assign(piece.extents.size(), 'x');
      Operand to, from = operand(piece.from);
      to.item = out;
      to.total = total;
      to.strides = piece.to.strides;
      to.offset = piece.to.offset;
      to.placement = p;
      from.placed = false;
      n.operands = {to, from};
      n.merge();
      if (!n.refine()) break;
      part.axis = n.part_axis(0);
      if (part.axis < 0) break;
      Operand& f = n.operands[1];
      const int64_t stride = f.strides[static_cast<size_t>(part.axis)];
      if (stride <= 0) break;
      f.placed = true;
      bool good = false;
      std::vector<Placement> sources;
      for (const Held& h : item(f.item).local) sources.push_back(h.placement);
      sources.push_back({stride, n.extents[static_cast<size_t>(part.axis)]});
      if (f.total % stride == 0) sources.push_back({stride, f.total / stride});
      for (const Placement& q : sources) {
        if (q.replicated() || !fits(q, f.total)) continue;
        Nest trial = n;
        trial.operands[1].placement = q;
        if (!trial.refine() || trial.part_axis(0) != trial.part_axis(1) || trial.part_axis(0) < 0) continue;
        n = std::move(trial);
        part.axis = n.part_axis(0);
        good = true;
        break;
      }
      if (!good) break;
      parts.push_back(std::move(part));
    }
    if (parts.size() != s.pieces.size()) continue;
    Target t = target(out, p);
    if (t.image >= 0) return move_dense(s), true;
    if (s.fill) {
      Call f;
      f.op = Opcode::fill;
      f.work = WorkClass::fill;
      const Buffer& b = emit_.buffer(t.place.buffer);
      f.out = source(t.place.buffer, b.rows, b.row_elements);
      f.immediate = *s.fill;
      emit(f);
    }
    for (const Part& part : parts) {
      const Nest& n = part.nest;
      const Operand &to = n.operands[0], &from = n.operands[1];
      const DType type = item(from.item).dtype;
      const Place at = hold(from.item, from.placement, type);
      std::vector<int> free, single;
      for (size_t a = 0; a < n.extents.size(); ++a) {
        if (static_cast<int>(a) == part.axis) continue;
        const bool one = free_stride(to.digits[a], t.place, partitions_) < 0 || free_stride(from.digits[a], at, partitions_) < 0;
        (one ? single : free).push_back(static_cast<int>(a));
      }
      for (Box tile : row_boxes(n, 0, t.place, n.all(), single, part.axis)) {
        const auto a = static_cast<size_t>(part.axis);
        const int64_t end = tile.start[a] + tile.size[a];
        for (int64_t i = tile.start[a]; i < end;) {  // and within a tile of the source
          tile.start[a] = i;
          tile.size[a] = 1;
          const int64_t q = origin(from, at, tile, partitions_).q % partitions_, q_to = origin(to, t.place, tile, partitions_).q % partitions_;
          int64_t rows = std::min({end - i, partitions_ - q, partitions_ - q_to});
          const int64_t legal = legal_rows(q, q_to, rows);
          if (legal > 0) rows = legal;
          tile.size[a] = rows;
          const Source o{pattern(to, t.place, tile, part.axis, free, pitch(t.place), partitions_, 0, rows), item(out).dtype, false, false};
          const Source in{pattern(from, at, tile, part.axis, free, pitch(at), partitions_, 0, rows), type, false, false};
          if (legal > 0) copy(o, in);
          else transfer(o.pattern, in.pattern, kLoads);
          i += rows;
        }
      }
    }
    return true;
  }
  return false;
}

// Rows that an engine may take from partition `from` to partition `to`, at most `rows`: more than half of them begin at 0, more than a quarter at halves,
// fewer at quarters. 0: it cannot.
int64_t Mapper::legal_rows(int64_t from, int64_t to, int64_t rows) const {
  if (from % partitions_ == 0 && to % partitions_ == 0) return rows;
  for (const int64_t part : {partitions_ / 2, partitions_ / 4})
    if (from % part == 0 && to % part == 0) return std::min(rows, part);
  return 0;
}

void Mapper::move(const Step& s) {
  if (!move_local(s)) move_dense(s);
}

// A box whose elements lie side by side along another axis than in the result, element by element if moved by DMA: its values in the scratchpad with the
// fast axis on partitions, so that rows of the result leave in one piece. False: not of that kind, or no room.
bool Mapper::move_turned(const Piece& p, int32_t to) {
  const int32_t from = item_of(p.from.value);
  const auto &in = p.from.layout.strides, &out = p.to.strides;
  size_t fast = p.extents.size(), wanted = fast;
  for (size_t a = 0; a < p.extents.size(); ++a) {
    if (p.extents[a] < 16) continue;
    if (in[a] == 1) fast = a;
    if (out[a] == 1) wanted = a;
  }
  if (fast == p.extents.size() || wanted == p.extents.size() || fast == wanted || item(from).weight) return false;
  int64_t extent = 0;  // of the fast axis in the source: the step of all others
  for (size_t a = 0; a < p.extents.size(); ++a)
    if (a != fast && p.extents[a] > 1) extent = std::gcd(extent, in[a]);
  const int64_t total = item(from).total, q0 = extent > 0 ? p.from.layout.offset % extent : 0;
  const Placement lying{1, extent};
  const DType type = item(from).dtype;
  if (extent <= 1 || !fits(lying, total) || q0 + p.extents[fast] > extent || type != emit_.buffer(to).dtype) return false;
  // slices of the slowest axis that fit
  size_t slow = fast == 0 ? 1 : 0;
  for (size_t a = 0; a < p.extents.size(); ++a)
    if (a != fast && p.extents[a] > 1 && (p.extents[slow] == 1 || in[a] > in[slow])) slow = a;
  const int64_t begin = p.from.layout.offset / extent, step = in[slow] / extent;
  int64_t inside = 1;  // outers of one step of it
  for (size_t a = 0; a < p.extents.size(); ++a)
    if (a != fast && a != slow && p.extents[a] > 1) inside += (p.extents[a] - 1) * (in[a] / extent);
  const auto span = [&](int64_t steps) { return (steps - 1) * step + inside; };
  int64_t most = p.extents[slow];
  while (most > 1 && storage_bytes(type, ceil_div(extent, partitions_) * span(most)) > budget_ / 3) most = ceil_div(most, 2);
  if (storage_bytes(type, ceil_div(extent, partitions_) * span(most)) > budget_ / 3) return false;
  for (int64_t first = 0; first < p.extents[slow]; first += most) {
    const int64_t steps = std::min(most, p.extents[slow] - first), outer = begin + first * step;
    const Window w{0, extent, outer, outer + span(steps), 0, 1};
    const size_t before = temporaries_.size();
    const Place at = hold(from, lying, type, &w);
    const int64_t width = pitch(at), block = at.outers * at.inners;
    for (int64_t q = q0; q < q0 + p.extents[fast];) {
      const int64_t rows = std::min(partitions_ - q % partitions_, q0 + p.extents[fast] - q);
      Pattern i, o;
      i.buffer = at.buffer;
      i.offset = q % partitions_ * width + (q / partitions_ - at.tile0) * block + outer - at.outer0;
      o.buffer = to;
      o.offset = p.to.offset + (q - q0) * out[fast] + first * out[slow];
      i.add(rows, width), o.add(rows, out[fast]);
      for (size_t a = 0; a < p.extents.size(); ++a) {
        if (a == fast) continue;
        const int64_t extents = a == slow ? steps : p.extents[a];
        i.add(extents, p.extents[a] > 1 ? in[a] / extent : 0), o.add(extents, out[a]);
      }
      transfer(o, i, kStores);
      q += rows;
    }
    release_from(before);
  }
  return true;
}

// Boxes through main memory.
void Mapper::move_dense(const Step& s) {
  const int32_t out = item_of(s.result);
  const int32_t to = main_for(out);
  item(out).main = to;
  if (s.fill) fill_main(to, item(out).total, *s.fill);
  for (size_t k = 0; k < s.pieces.size(); ++k) {
    const Piece& p = s.pieces[k];
    if (move_turned(p, to)) continue;
    Pattern in, o;
    in.buffer = in_main(item_of(p.from.value));
    in.offset = p.from.layout.offset;
    o.buffer = to;
    o.offset = p.to.offset;
    in.add(1, 0), o.add(1, 0);
    bool empty = false;
    for (size_t a = 0; a < p.extents.size(); ++a) {
      empty = empty || p.extents[a] == 0;
      in.add(p.extents[a], p.from.layout.strides[a]);
      o.add(p.extents[a], p.to.strides[a]);
    }
    if (!empty) transfer(o, in, kStores);
  }
}

}  // namespace bascule::device::chip::neuron
