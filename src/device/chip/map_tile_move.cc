// device/chip/map_tile_move.cc — data in motion: operands into local memory and results back, moves, gathers, what the host does.
#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {
namespace {

constexpr int32_t kLoads = 0, kStores = 1;  // DMA channels; one where nothing overlaps

struct CopyDim {
  int64_t size, from, to;
};

// Neighbours that both sides run through with one stride become one.
void merge(std::vector<CopyDim>& dims) {
  std::vector<CopyDim> out;
  for (const CopyDim& d : dims) {
    if (!out.empty() && out.back().from == d.from * d.size && out.back().to == d.to * d.size) out.back() = {out.back().size * d.size, d.from, d.to};
    else out.push_back(d);
  }
  dims = std::move(out);
}

}  // namespace

// Axes that neither side moves along are skipped; an axis along which `to` stands still is one that `from` repeats.
void TileMapper::copy_box(int32_t queue, const Place& from, const Place& to, const Box& box) {
  std::vector<CopyDim> dims;
  int64_t from_offset = from.offset, to_offset = to.offset;
  for (size_t a = 0; a < box.size.size(); ++a) {
    from_offset += box.begin[a] * from.strides[a];
    to_offset += box.begin[a] * to.strides[a];
    if (box.size[a] > 1 && to.strides[a] != 0) dims.push_back({box.size[a], from.strides[a], to.strides[a]});
  }
  std::stable_sort(dims.begin(), dims.end(), [](const CopyDim& a, const CopyDim& b) { return std::abs(a.to) > std::abs(b.to); });
  merge(dims);
  if (dims.empty()) dims.push_back({1, 1, 1});
  const auto emit = [&](auto& self, const std::vector<CopyDim>& left, int64_t f, int64_t t) -> void {
    if (left.size() > Access::kMostDims) {  // more than an access holds: one by one along the shortest
      const auto shortest = std::min_element(left.begin(), left.end(), [](const CopyDim& a, const CopyDim& b) { return a.size < b.size; });
      std::vector<CopyDim> rest(left.begin(), shortest);
      rest.insert(rest.end(), shortest + 1, left.end());
      for (int64_t i = 0; i < shortest->size; ++i) self(self, rest, f + i * shortest->from, t + i * shortest->to);
      return;
    }
    Extents sizes, in, out;
    for (const CopyDim& d : left) {
      sizes.push_back(d.size);
      in.push_back(d.from);
      out.push_back(d.to);
    }
    Instruction i;
    i.op = Opcode::copy;
    i.work = engines_[static_cast<size_t>(WorkClass::copy)].second;
    i.queue = queue;
    i.cores = cores_;
    i.out = Emitter::strided(to.buffer, t, sizes, out);
    i.in[0] = Emitter::strided(from.buffer, f, sizes, in);
    e_.emit(i);
  };
  emit(emit, dims, from_offset, to_offset);
}

// Row-major strides over a box, as if it began at 0 of every axis of the step; axes in the order of `by` (its strides, longest first); 0 where `by` is.
static Place packed(int32_t buffer, const Box& box, const Extents& by) {
  Place p{buffer, 0, Extents(box.size.size(), 0)};
  std::vector<size_t> order;
  for (size_t a = 0; a < box.size.size(); ++a)
    if (by[a] != 0) order.push_back(a);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return std::abs(by[a]) > std::abs(by[b]); });
  int64_t stride = 1;
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    p.strides[*it] = stride;
    p.offset -= box.begin[*it] * stride;
    stride *= box.size[*it];
  }
  return p;
}

int32_t TileMapper::temp(DType t, int64_t elements) {
  if (!staged_) return e_.main("t", Buffer::scratch, t, elements);
  const int32_t id = e_.local(Role::scratchpad, "t", t, 1, elements, 0, cores_);
  if (id < 0)
    fail_capacity("chip:" + chip_.name + ": step '" + e_.step().name + "', " + bascule::text(e_.step().origin),
                  std::to_string(storage_bytes(t, elements) / cores_) + " bytes of " + chip_.scratchpad()->name + " of a core",
                  std::to_string(e_.largest_free(Role::scratchpad)) + " free of " + std::to_string(chip_.scratchpad()->bytes), "Take more cores, or a smaller batch");
  return id;
}

void TileMapper::drop(int32_t buffer) { e_.release(buffer); }

Place TileMapper::dense(int32_t buffer, const Box& box) const { return packed(buffer, box, Extents(box.size.size(), 1)); }

Place TileMapper::fetch(const Place& from, const Box& box, std::optional<DType> as) {
  const Buffer& b = e_.buffer(from.buffer);
  const DType type = as.value_or(b.dtype);
  const bool here = !staged_ || b.memory != Role::main;
  if (here && type == b.dtype) return from;
  int64_t elements = 1;
  for (size_t a = 0; a < box.size.size(); ++a)
    if (from.strides[a] != 0) elements *= box.size[a];
  const int32_t id = temp(type, elements);
  fetched_.push_back(id);
  const Place to = packed(id, box, from.strides);
  copy_box(here ? e_.engine(chip_.engines[static_cast<size_t>(engine_for(WorkClass::copy))].name) : e_.dma(kLoads), from, to, box);
  return to;
}

void TileMapper::drop_fetched() {
  for (const int32_t id : fetched_) e_.release(id);
  fetched_.clear();
}

void TileMapper::unload(Loaded& l) {
  for (const int32_t id : l.held) drop(id);
  l.held.clear();
  l.at = {};
}

int32_t TileMapper::load_queue() { return e_.dma(kLoads); }

double TileMapper::relay_seconds(double elements, DType t) const {
  const Dma& d = chip_.dma;
  const double bytes = elements * info(t).storage_bits / 8.0, rate = d.bytes_per_s > 0 ? d.bytes_per_s * static_cast<double>(d.engines * cores_) : chip_.main().bytes_per_s * chip_.main().achieved;
  const double dma = (d.start_ns + d.finish_ns) * 1e-9 + bytes / std::max(rate, 1.0), engine = elements * vector_seconds(WorkClass::copy, info(t).storage_bits <= 16 ? Width::bits16 : Width::wide);
  return engine > 0 ? std::min(dma, engine) : dma;
}

int32_t TileMapper::relay_queue(double elements, DType t) {
  const double engine = elements * vector_seconds(WorkClass::copy, info(t).storage_bits <= 16 ? Width::bits16 : Width::wide);
  return engine > 0 && engine <= relay_seconds(elements, t) ? e_.engine(chip_.engines[static_cast<size_t>(engine_for(WorkClass::copy))].name) : load_queue();
}

Place TileMapper::result_box(const Place& home, const Box& box) {
  const Buffer& b = e_.buffer(home.buffer);
  if (!staged_ || b.memory != Role::main) return home;
  const DType type = b.dtype;
  return packed(temp(type, box.elements()), box, home.strides);
}

void TileMapper::store(const Place& made, const Place& home, const Box& box) {
  if (made.buffer == home.buffer) return;
  copy_box(e_.dma(overlap_ ? kStores : kLoads), made, home, box);
  drop(made.buffer);
}

// result[to(i)] = from(i) for each piece; `fill` first where they leave gaps.
void TileMapper::map_move(const Step& s) {
  const int32_t out = home(s.result);
  const Buffer& b = e_.buffer(out);
  const bool by_dma = staged_;
  const int32_t queue = by_dma ? e_.dma(kLoads) : e_.engine(chip_.engines[static_cast<size_t>(engine_for(WorkClass::copy))].name);
  int64_t covered = 0;
  double bytes = 0;
  for (const Piece& p : s.pieces) covered += whole_box(p.extents).elements();
  if (s.fill && covered < b.elements()) {
    Instruction i;
    i.op = Opcode::fill;
    i.work = engines_[static_cast<size_t>(WorkClass::fill)].second;
    i.queue = queue;
    i.cores = cores_;
    i.out = Emitter::strided(out, 0, {b.elements()}, {1});
    i.immediate = static_cast<float>(*s.fill);
    e_.emit(i);
    bytes += static_cast<double>(storage_bytes(b.dtype, b.elements()));
  }
  for (const Piece& p : s.pieces) {
    const Place from = place(p.from), to{out, p.to.offset, p.to.strides};
    const Box box = whole_box(p.extents);
    if (box.elements() == 0) continue;
    copy_box(queue, from, to, box);
    bytes += static_cast<double>(box.elements()) * (info(e_.buffer(from.buffer).dtype).storage_bits + info(b.dtype).storage_bits) / 8;
  }
  e_.step().choice = by_dma ? "dma" : "copy";
  end_kernel(bytes);
}

// out[P..., R...] = table[index[P...], R...]. The table stays in main memory: only the rows asked for move.
void TileMapper::map_gather(const Step& s) {
  const Place table = place(s.views[0]), index = place(s.views[1]), result{home(s.result), s.out.offset, s.out.strides};
  const size_t P = s.row_axis, n = s.axes.size();
  const DType row_type = e_.buffer(table.buffer).dtype;
  double row_bytes = 1;
  for (size_t a = P; a < n; ++a) row_bytes *= static_cast<double>(s.axes[a]);
  row_bytes *= info(row_type).storage_bits / 8.0;
  const int64_t table_rows = s.table_rows;
  double bytes = 0;
  std::vector<Place> operands;
  for (const View& v : s.epilogue_operands) operands.push_back(place(v));
  // Axes of the table: row, then R...; of the index: P...
  for (const Box& box : boxes(s.axes, P, local_limit(), [&](const Extents& x) {
         double e = 1;
         for (const int64_t d : x) e *= static_cast<double>(d);
         return e * (s.epilogue.empty() ? 4 : 12);
       })) {
    const Box p{Extents(box.begin.begin(), box.begin.begin() + static_cast<std::ptrdiff_t>(P)), Extents(box.size.begin(), box.size.begin() + static_cast<std::ptrdiff_t>(P))};
    // The index as one dense line.
    int32_t line = temp(e_.buffer(index.buffer).dtype, p.elements());
    copy_box(staged_ ? e_.dma(kLoads) : e_.engine(chip_.engines[static_cast<size_t>(engine_for(WorkClass::copy))].name), index, dense(line, p), p);
    const bool through = s.epilogue.empty() && !s.drop;
    const Place made = through ? result_box(result, box) : dense(temp(row_type, box.elements()), box);
    // Rows over R: at most 4 dimensions beside the row's own; positions one after the other.
    Place rows = made;
    bool direct = true;
    int64_t pitch = 0;
    for (size_t a = P; a-- > 0;) {  // P... must be one dimension of the result
      if (box.size[a] == 1) continue;
      if (pitch == 0) pitch = made.strides[a];
      else if (made.strides[a] != pitch) direct = false;
      pitch = made.strides[a] * box.size[a];
    }
    pitch = 0;
    for (size_t a = P; a-- > 0;)
      if (box.size[a] > 1 && pitch == 0) pitch = made.strides[a];
    if (!direct) rows = dense(temp(row_type, box.elements()), box), pitch = 0;
    if (pitch == 0) {
      pitch = 1;
      for (size_t a = P; a < n; ++a) pitch *= box.size[a];
    }
    Extents sizes{p.elements()}, out_strides{pitch}, table_sizes{table_rows}, table_strides{table.strides[0]};
    for (size_t a = P; a < n; ++a) {
      if (box.size[a] == 1 && n - P > 1) continue;
      sizes.push_back(box.size[a]);
      table_sizes.push_back(box.size[a]);
      out_strides.push_back(rows.strides[a]);
      table_strides.push_back(table.strides[a - P + 1]);
    }
    int64_t offset = rows.offset;
    for (size_t a = 0; a < n; ++a) offset += box.begin[a] * rows.strides[a];
    Instruction i;
    i.op = Opcode::gather;
    i.work = engines_[static_cast<size_t>(WorkClass::gather)].second;
    i.queue = staged_ ? e_.dma(kLoads) : e_.engine(chip_.engines[static_cast<size_t>(engine_for(WorkClass::gather))].name);
    i.cores = cores_;
    i.out = Emitter::strided(rows.buffer, offset, sizes, out_strides);
    i.in[0] = Emitter::strided(table.buffer, table.offset, table_sizes, table_strides);
    i.in[1] = Emitter::strided(line, 0, {p.elements()}, {1});
    e_.emit(i);
    Place now = rows;
    if (s.drop) {  // rows whose index is out of range are 0
      std::vector<Item> items(4);
      items[0] = {loops::Op::greater_equal, DType::i1, {{Item::Ref::operand, 0, 0}, {Item::Ref::constant, 0, 0}, {}}};
      items[1] = {loops::Op::less, DType::i1, {{Item::Ref::operand, 0, 0}, {Item::Ref::constant, 0, static_cast<double>(table_rows)}, {}}};
      items[2] = {loops::Op::bit_and, DType::i1, {{Item::Ref::value, 0, 0}, {Item::Ref::value, 1, 0}, {}}};
      items[3] = {loops::Op::select, row_type, {{Item::Ref::value, 2, 0}, {Item::Ref::anchor, 0, 0}, {Item::Ref::constant, 0, 0}}};
      Place indices = dense(line, p);
      indices.strides.resize(n, 0);
      evaluate(items, {indices}, {now}, box, now);
    }
    if (!s.epilogue.empty()) {
      std::vector<Place> local;
      for (const Place& o : operands) local.push_back(fetch(o, box));
      const Place y = result_box(result, box);
      epilogue(s, local, now, box, y);
      store(y, result, box);
    } else if (now.buffer != made.buffer || !through) {
      const Place y = through ? made : result_box(result, box);
      Item same{loops::Op::load, row_type, {{Item::Ref::anchor, 0, 0}, {}, {}}};
      evaluate({same}, {}, {now}, box, y);
      store(y, result, box);
    } else {
      store(made, result, box);
    }
    if (now.buffer != result.buffer && now.buffer != made.buffer) drop(now.buffer);
    if (!through) drop(made.buffer);
    drop(line);
    drop_fetched();
    bytes += static_cast<double>(p.elements()) * (2 * row_bytes + 8);
  }
  e_.step().choice = staged_ ? "dma rows" : "rows";
  end_kernel(bytes);
}

void TileMapper::map_host(const Step& s) {
  std::vector<int32_t> in, out;
  for (const Value v : s.results) out.push_back(home(v));
  for (const Value v : host_operands(graph_, s, made_)) in.push_back(home(v));
  e_.host_work(std::move(in), std::move(out));
}

}  // namespace bascule::device::chip
