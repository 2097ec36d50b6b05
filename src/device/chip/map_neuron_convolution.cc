// device/chip/map_neuron_convolution.cc — convolutions: input channels on partitions, taps accumulated in the accumulator over the outputs that each
// one reaches (padding is never stored). Few input channels: the taps of the first axis lie beside them on partitions. One channel a group: taps are
// multiplied and added per partition.
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_neuron_convolution.h"

namespace bascule::device::chip::neuron {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

Reach reach(const WindowAxis& w, int64_t tap, int64_t start, int64_t size) {
  const int64_t c = tap * w.dilation - w.low;
  Reach r;
  if (w.base > 1 && w.stride == 1) {
    r.step = w.base;
    int64_t low = std::max(start, -c);
    low += ((-c - low) % w.base + w.base) % w.base;
    const int64_t high = std::min(start + size - 1, (w.in - 1) * w.base - c);
    r.first = low;
    r.count = high >= low ? (high - low) / w.base + 1 : 0;
    r.in = (low + c) / w.base;
    return r;
  }
  const int64_t low = std::max(start, ceil_div(-c, w.stride)), high = std::min(start + size - 1, floor_div(w.in - 1 - c, w.stride));
  r.first = low;
  r.count = std::max<int64_t>(0, high - low + 1);
  r.in = low * w.stride + c;
  r.in_step = w.stride;
  return r;
}

}  // namespace

void Mapper::convolution(const Step& s) {
  for (const WindowAxis& w : s.windows)
    if (w.base > 1 && w.stride > 1) return host_step(s);
  if (!item(item_of(s.rhs.value)).weight) return host_step(s);
  Convolution c(s);
  c.windows = s.windows;
  c.depthwise = s.in_channels == 1 && s.out_channels == 1 && s.groups > 1;
  c.out_axis = c.depthwise ? 1 : 2;
  c.epilogue = expression(s);
  if (!place_output(c)) return host_step(s);
  c.packed = packs(c);
  if (!c.packed && !place_input(c)) return host_step(s);
  for (const WindowAxis& w : s.windows) c.taps.extents.push_back(w.taps);
  c.rows = std::min(partitions_, s.in_channels);
  c.row_tiles = ceil_div(s.in_channels, partitions_);
  if (c.packed) {
    c.taps.extents[0] = 1;
    c.rows = s.in_channels * s.windows[0].taps;
  }
  convolve(c);
}

// Result: channels on partitions, those of all groups one after the other where that keeps groups apart.
bool Mapper::place_output(Convolution& c) const {
  const Step& s = c.s;
  const Operand y = result(s);
  std::vector<int64_t> extents{s.images, s.groups, s.out_channels};
  for (const WindowAxis& w : s.windows) extents.push_back(w.out);
  const auto axis = static_cast<size_t>(c.out_axis);
  const int64_t channels = extents[axis];
  std::vector<Placement> tries;
  const bool apart = s.out_channels % partitions_ == 0 || (partitions_ % s.out_channels == 0 && s.out_channels >= partitions_ / 4);
  const bool whole_groups = !c.depthwise && s.groups > 1 && y.strides[1] == y.strides[2] * s.out_channels && apart;
  if (whole_groups || (s.groups == 1 && !c.depthwise)) tries.push_back({y.strides[2], s.groups * s.out_channels});
  tries.push_back({std::max<int64_t>(y.strides[axis], 1), channels});
  for (const Placement& p : tries) {
    Nest n;
    n.extents = extents;
    n.tags.assign(extents.size(), 'S');
    n.operands = {y};
    for (const View& v : s.epilogue_operands) n.operands.push_back(operand(v));
    n.operands[0].placement = p;
    int part = -1;
    if (!fits(p, y.total) || !follow(n, 0, 1, part) || n.extents.size() != extents.size() || (part != c.out_axis && channels > 1)) continue;
    c.y = std::move(n);
    return true;
  }
  return false;
}

// Few channels: whether taps of the first spatial axis lie beside them on partitions.
bool Mapper::packs(const Convolution& c) const {
  const Step& s = c.s;
  if (c.depthwise || s.groups != 1 || s.windows.empty()) return false;
  const Operand x = operand(s.lhs);
  const Item& held = items_[static_cast<size_t>(x.item)];
  const WindowAxis& w = s.windows[0];
  if (w.taps <= 1 || w.base != 1 || w.reversed || s.in_channels > partitions_ / 8 || s.in_channels * w.taps > partitions_) return false;
  int64_t dense = 1;  // planes lie as they are
  for (size_t k = s.windows.size(); k-- > 0;) {
    if (x.strides[3 + k] != dense) return false;
    dense *= s.windows[k].in;
  }
  return held.local.empty() && held.images.empty();
}

// Input: channels on partitions, where it lies already or as its strides say.
bool Mapper::place_input(Convolution& c) const {
  const Step& s = c.s;
  const Operand x = operand(s.lhs);
  const Item& held = items_[static_cast<size_t>(x.item)];
  std::vector<int64_t> extents{s.images, s.groups, s.in_channels};
  for (const WindowAxis& w : s.windows) extents.push_back(w.in);
  const auto axis = static_cast<size_t>(c.out_axis);
  std::vector<Placement> tries;
  for (const Held& h : held.local) tries.push_back(h.placement);
  for (const Held& h : held.images) tries.push_back(h.placement);
  if (const auto w = wish_of(s, s.lhs.value)) tries.push_back(*w);
  tries.push_back({std::max<int64_t>(x.strides[axis], 1), extents[axis]});
  for (const Placement& p : tries) {
    Nest n;
    n.extents = extents;
    n.tags.assign(extents.size(), 'S');
    n.operands = {x};
    n.operands[0].placement = p;
    if (p.replicated() || !fits(p, x.total) || !n.refine() || n.extents.size() != extents.size()) continue;
    if (n.part_axis(0) != c.out_axis && extents[axis] > 1) continue;
    bool good = x.offset / p.inner % p.extent % partitions_ == 0;  // tiles of channels begin at partition 0, spatial axes lie free
    for (size_t a = 0; a < extents.size(); ++a) {
      const Digit& d = n.operands[0].digits[a];
      if (a == axis || d.level != Level::part || extents[a] == 1) continue;
      good = good && a == 1 && d.step % partitions_ == 0;
    }
    if (!good || (c.depthwise && p.extent != c.y.operands[0].placement.extent && extents[1] > partitions_)) continue;
    c.x = std::move(n);
    return true;
  }
  return false;
}

void Mapper::convolve(Convolution& c) {
  const Step& s = c.s;
  const Operand& y = c.y.operands[0];
  const int32_t in_item = item_of(s.lhs.value);
  if (!c.depthwise) {
    const int64_t column_bytes = c.row_tiles * c.taps.count() * storage_bytes(precision_, 1);
    const int64_t unit = std::min(s.out_channels, chip_.matrix.cols);
    c.chunk = std::clamp<int64_t>(budget_ / 12 / column_bytes / unit * unit, unit, s.out_channels);
    c.chunks = ceil_div(s.out_channels, c.chunk);
    c.keep = resident_ || s.groups * c.chunks * c.chunk * column_bytes <= budget_ / 4;
    c.pieces.assign(static_cast<size_t>(s.groups * c.chunks), -1);
    arrange_taps(c);
  }
  Target out = target(y.item, y.placement);
  const int32_t source_main = c.packed ? narrow_input(in_item) : -1;
  plan_convolution(c, out.image >= 0);
  const int64_t all_lines = s.windows.empty() ? 1 : s.windows[0].out;
  choice(std::string(c.depthwise ? "depthwise" : c.packed ? "packed" : "channels") + " rows=" + std::to_string(c.rows) +
         (c.streamed ? " images=" + std::to_string(c.images) + " lines=" + std::to_string(c.lines) : "") +
         (c.depthwise ? "" : resident_ ? " weights=resident" : " weights=" + std::to_string(c.chunks) + (c.keep ? "" : " each block")));
  for (int64_t n0 = 0; n0 < s.images; n0 += c.images)
    for (int64_t l0 = 0; l0 < all_lines; l0 += c.lines) {
      Box block = c.y.all();
      block.start[0] = n0;
      block.size[0] = std::min(c.images, s.images - n0);
      if (!s.windows.empty()) block.start[3] = l0, block.size[3] = std::min(c.lines, all_lines - l0);
      if (c.packed) pack(c, source_main, block);
      else hold_input(c, block);
      c.yp = target_block(out, y.item, y.placement, window(y, block));
      if (c.depthwise) depthwise_block(c, block);
      else matmul_block(c, block);
      target_done(out, c.y, 0, block, c.yp);
      done();
    }
  for (int32_t& id : c.pieces)
    if (!resident_ && id >= 0) emit_.release(id), id = -1;
  if (source_main >= 0 && source_main != item(in_item).main) main_free(source_main);
}

// Blocks: images, then rows of the first spatial axis.
void Mapper::plan_convolution(Convolution& c, bool result_streams) {
  const Step& s = c.s;
  const Operand& y = c.y.operands[0];
  const auto bytes_of = [&](const Operand& o, DType t) { return place_bytes(o.total, o.placement, t); };
  const bool x_whole = !c.packed && (held(c.x.operands[0], precision_) || bytes_of(c.x.operands[0], precision_) <= budget_ / 4);
  int64_t beside = 0;  // of the epilogue, still to come
  for (size_t e = 1; e < c.y.operands.size(); ++e) {
    const Operand& o = c.y.operands[e];
    if (!item(o.item).weight && !held(o, operand_type(o))) beside += bytes_of(o, operand_type(o));
  }
  const int64_t all_lines = s.windows.empty() ? 1 : s.windows[0].out;
  c.images = s.images;
  c.lines = all_lines;
  c.streamed = result_streams || !x_whole || beside > budget_ / 4;
  if (!c.streamed) return;
  auto need = static_cast<double>(beside);
  if (result_streams) need += static_cast<double>(bytes_of(y, item(y.item).dtype));
  if (c.packed) {
    auto plane = static_cast<double>(s.images * storage_bytes(precision_, 1));
    for (const WindowAxis& w : s.windows) plane *= static_cast<double>(w.in);
    need += plane;
  } else if (!x_whole) {
    need += static_cast<double>(bytes_of(c.x.operands[0], precision_));
  }
  const double parts = std::max(1.0, need / (static_cast<double>(budget_) / 6));
  if (parts <= static_cast<double>(c.images)) {
    c.images = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(c.images) / parts));
    return;
  }
  const double of_image = parts / static_cast<double>(c.images);
  c.images = 1;
  c.lines = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(c.lines) / of_image));
  c.lines = ceil_div(all_lines, ceil_div(all_lines, c.lines));
}

// The part of the input that a block of outputs reads.
void Mapper::hold_input(Convolution& c, const Box& block) {
  const Step& s = c.s;
  const Operand& x = c.x.operands[0];
  if (!c.streamed) {
    c.xp = hold(x.item, x.placement, precision_);
    return;
  }
  Box b = c.x.all();
  b.start[0] = block.start[0];
  b.size[0] = block.size[0];
  if (!s.windows.empty()) {
    const WindowAxis& w = s.windows[0];
    const int64_t first = block.start[3] * w.stride - w.low, last = (block.start[3] + block.size[3] - 1) * w.stride - w.low + (w.taps - 1) * w.dilation;
    const int64_t low = std::clamp<int64_t>(floor_div(first, w.base), 0, w.in - 1), high = std::clamp<int64_t>(ceil_div(last, w.base), 0, w.in - 1);
    b.start[3] = low;
    b.size[3] = high - low + 1;
  }
  const Window w = window(x, b);
  c.xp = hold(x.item, x.placement, precision_, &w);
}

// Operands of the epilogue.
void Mapper::hold_beside(Convolution& c, const Box& block) {
  c.ep.clear();
  for (size_t e = 1; e < c.y.operands.size(); ++e) c.ep.push_back(hold_operand(c.y.operands[e], &block));
}

// A weight as [group, chunk][row][tile of channels][tap][channel of the chunk].
void Mapper::arrange_taps(Convolution& c) {
  const Step& s = c.s;
  const Operand w = operand(s.rhs);  // G, O, C, T...
  Arrangement a;
  a.offset = w.offset;
  const auto axis = [&](int64_t extent, int64_t stride) {
    a.dims.push_back(extent);
    a.strides.push_back(stride);
  };
  axis(s.groups, w.strides[0]);
  axis(c.chunks, w.strides[1] * c.chunk);
  if (c.packed) {
    axis(s.windows[0].taps, w.strides[3]);
    axis(s.in_channels, w.strides[2]);
  } else {
    axis(c.rows, w.strides[2]);
    axis(c.row_tiles, w.strides[2] * partitions_);
  }
  for (size_t k = c.packed ? 1 : 0; k < s.windows.size(); ++k) axis(s.windows[k].taps, w.strides[3 + k]);
  axis(c.chunk, w.strides[1]);
  c.weight_main = arranged(w.item, std::move(a), 2, precision_, c.rows, c.row_tiles * c.taps.count() * c.chunk, c.pieces);
}

// The input in the type of products, dense in main memory: cast by an engine on full partitions.
int32_t Mapper::narrow_input(int32_t item_index) {
  const int32_t from = in_main(item_index);
  if (emit_.buffer(from).dtype == precision_) return from;
  const int64_t total = item(item_index).total;
  const int32_t to = main_room(item(item_index).name + " cast", precision_, total);
  int64_t inner = 1;  // long rows, but enough of them for all partitions
  for (int64_t d = 1; d <= 4096 && d <= total; ++d)
    if (total % d == 0 && (total / d >= partitions_ || d == 1)) inner = d;
  const Placement p{inner, total / inner};
  const int64_t tiles = std::max<int64_t>(1, budget_ / 8 / (inner * 4));
  for (int64_t q = 0; q < p.extent; q += tiles * partitions_) {
    const Window w{q, std::min(p.extent, q + tiles * partitions_), 0, 1, 0, inner};
    Place wide = room("input", total, p, emit_.buffer(from).dtype, &w, false), narrow = room("input", total, p, precision_, &w, false);
    load_dense(from, total, p, wide, kLoads);
    const int64_t whole = (w.q1 - q) / partitions_, rest = (w.q1 - q) % partitions_;  // tiles, and rows of the last one
    if (whole > 0) copy(source(narrow.buffer, partitions_, whole * inner), source(wide.buffer, partitions_, whole * inner));
    if (rest > 0) copy(source(narrow.buffer, rest, inner, whole * inner), source(wide.buffer, rest, inner, whole * inner));
    store(narrow, p, total, to, false);
    emit_.release(wide.buffer);
    emit_.release(narrow.buffer);
  }
  return to;
}

// [tap, channel][image][line][rest]: line r of tap t holds input line row0 + r + t * dilation - low, zero outside.
void Mapper::pack(Convolution& c, int32_t from, const Box& block) {
  const Step& s = c.s;
  const WindowAxis& w = s.windows[0];
  const Operand x = operand(s.lhs);  // N, G, C, S...
  int64_t line = 1;
  for (size_t k = 1; k < s.windows.size(); ++k) line *= s.windows[k].in;
  const int64_t images = block.size[0], lines = (block.size[3] - 1) * w.stride + 1, first = block.start[3] * w.stride;
  c.packed_images = images;
  c.packed_image0 = block.start[0];
  c.packed_rows = lines;
  c.packed_row0 = block.start[3];
  c.packed_buffer = scratch(precision_, c.rows, images * lines * line);
  const bool inside = first - w.low >= 0 && first + lines - 1 + (w.taps - 1) * w.dilation - w.low < w.in;
  if (!inside) {
    Call f;
    f.op = Opcode::fill;
    f.work = WorkClass::fill;
    f.out = source(c.packed_buffer, c.rows, images * lines * line);
    emit(f);
  }
  const auto load = [&](int64_t t0, int64_t taps, int64_t r0, int64_t count) {
    for (int64_t n = 0; n < images; ++n) {
      Instruction i;
      i.op = Opcode::copy;
      i.queue = emit_.dma(kLoads);
      i.out = Emitter::strided(c.packed_buffer, t0 * s.in_channels * images * lines * line + (n * lines + r0) * line, {taps * s.in_channels, count * line}, {images * lines * line, 1});
      const int64_t offset = x.offset + (block.start[0] + n) * x.strides[0] + (first + r0 + t0 * w.dilation - w.low) * line;
      i.in[0] = Emitter::strided(from, offset, {taps, s.in_channels, count * line}, {w.dilation * line, x.strides[2], 1});
      emit_.emit(i);
    }
  };
  if (inside) return load(0, w.taps, 0, lines);
  for (int64_t t = 0; t < w.taps; ++t) {
    const int64_t start = first + t * w.dilation - w.low;
    const int64_t r0 = std::max<int64_t>(0, -start), r1 = std::min(lines, w.in - start);
    if (r1 > r0) load(t, 1, r0, r1 - r0);
  }
}

// Weights of a group and chunk of output channels.
int32_t Mapper::taps_piece(Convolution& c, int64_t index) {
  int32_t& id = c.pieces[static_cast<size_t>(index)];
  if (id >= 0) return id;
  const int64_t columns = c.row_tiles * c.taps.count() * c.chunk;
  id = take("weights", precision_, c.rows, columns, true);
  if (id < 0) {  // the other pieces are loaded again when they are needed
    for (int32_t& other : c.pieces)
      if (other >= 0 && !resident_) emit_.release(other), other = -1;
    id = take("weights", precision_, c.rows, columns);
  }
  Pattern in, out;
  in.buffer = c.weight_main;
  in.offset = index * c.rows * columns;
  out.buffer = id;
  in.add(c.rows, columns), out.add(c.rows, columns);
  in.add(columns, 1), out.add(columns, 1);
  transfer(out, in, kWeights);
  return id;
}

// The outputs of a box that a tap reaches, by spatial axis. Taps of the first axis that lie on partitions count as one.
std::vector<Reach> Mapper::Convolution::reached(const Box& at, int64_t tap) const {
  const std::vector<int64_t> t = taps.at(tap);
  std::vector<Reach> r;
  for (size_t k = 0; k < windows.size(); ++k) {
    WindowAxis w = windows[k];
    if (packed && k == 0) {
      w.taps = 1;
      w.in = packed_rows;
      w.low = packed_row0 * w.stride;
    }
    r.push_back(reach(w, t[k], at.start[3 + k], at.size[3 + k]));
  }
  return r;
}

// The taps that reach any output of a box; one that reaches all of them goes first, if there is one: it overwrites.
std::vector<std::pair<int64_t, std::vector<Reach>>> Mapper::Convolution::order(const Box& at, bool& covered) const {
  std::vector<std::pair<int64_t, std::vector<Reach>>> out;
  covered = false;
  for (int64_t t = 0; t < taps.count(); ++t) {
    std::vector<Reach> r = reached(at, t);
    bool all = true, any = true;
    for (size_t k = 0; k < r.size(); ++k) {
      any = any && r[k].count > 0;
      all = all && r[k].count == at.size[3 + k];
    }
    if (!any) continue;
    const bool first = all && !covered;
    out.emplace(first ? out.begin() : out.end(), t, std::move(r));
    covered = covered || all;
  }
  return out;
}

// What moves for a tile of input channels and a tap that reaches `r`.
Pattern Mapper::moving_tile(const Convolution& c, const Box& at, int64_t group, int64_t channel_tile, const std::vector<Reach>& r) const {
  const Step& s = c.s;
  const size_t spatial = r.size();
  if (c.packed) {
    int64_t stride = c.packed_rows;
    for (size_t k = 1; k < spatial; ++k) stride *= s.windows[k].in;
    Pattern out;
    out.buffer = c.packed_buffer;
    out.offset = (at.start[0] - c.packed_image0) * stride;
    out.add(c.rows, c.packed_images * stride);
    out.add(at.size[0], stride);
    for (size_t k = 0; k < spatial; ++k) {
      stride /= k == 0 ? c.packed_rows : s.windows[k].in;
      out.offset += r[k].in * stride;
      out.add(r[k].count, r[k].count > 1 ? r[k].in_step * stride : 0);
    }
    return out;
  }
  Box b = c.x.all();
  b.start[0] = at.start[0];
  b.size[0] = at.size[0];
  b.start[1] = group;
  b.size[1] = 1;
  b.start[2] = channel_tile * partitions_;
  b.size[2] = std::min(partitions_, s.in_channels - b.start[2]);
  for (size_t k = 0; k < spatial; ++k) b.start[3 + k] = r[k].in, b.size[3 + k] = r[k].count;
  Pattern out = pattern(c.x.operands[0], c.xp, b, s.in_channels > 1 ? 2 : -1, c.moving_axes(), pitch(c.xp), partitions_, 0, b.size[2]);
  for (size_t k = 0; k < spatial; ++k) out.strides[2 + k] *= r[k].in_step;
  return out;
}

// The part of a sum [rows, images, spatial axes] that a tap reaches.
Pattern Mapper::reached_part(Pattern sum, const Box& at, const std::vector<Reach>& r) {
  for (size_t k = 0; k < r.size(); ++k) {
    sum.offset += (r[k].first - at.start[3 + k]) * sum.strides[2 + k];
    sum.sizes[2 + k] = r[k].count;
    sum.strides[2 + k] *= r[k].step;
  }
  return sum;
}

// One tile of the result: channels of chunk `chunk_index` of a group, over images and outputs.
void Mapper::convolution_tile(Convolution& c, const Box& at, int64_t group, int64_t chunk_index) {
  const Step& s = c.s;
  const size_t spatial = s.windows.size();
  const int64_t rows = at.size[2], taps = c.taps.count();
  std::vector<int64_t> sizes{at.size[0]};
  for (size_t k = 0; k < spatial; ++k) sizes.push_back(at.size[3 + k]);
  const Source sum = sum_tile(rows, sizes);
  bool covered = false;
  const auto order = c.order(at, covered);
  if (!covered) fill(sum, 0);
  const int32_t weights = taps_piece(c, group * c.chunks + chunk_index);
  bool first = covered;
  for (const auto& [t, r] : order) {
    const auto tap = c.taps.at(t);
    int64_t weight_tap = 0;
    for (size_t k = 0; k < spatial; ++k) weight_tap = weight_tap * c.taps.extents[k] + (c.windows[k].reversed ? c.taps.extents[k] - 1 - tap[k] : tap[k]);
    for (int64_t ct = 0; ct < c.row_tiles; ++ct) {
      const Pattern in = moving_tile(c, at, group, ct, r);
      Pattern stationary;
      stationary.buffer = weights;
      stationary.offset = (ct * taps + weight_tap) * c.chunk + (at.start[2] - chunk_index * c.chunk);
      stationary.add(in.sizes[0], c.row_tiles * taps * c.chunk);
      stationary.add(rows, 1);
      multiply(reached_part(sum.pattern, at, r), stationary, in, !first);
      first = false;
    }
  }
  finish_tile(c, at, sum, s.out_channels > 1 ? 2 : -1, rows);
}

// A sum through the epilogue to its place.
void Mapper::finish_tile(Convolution& c, const Box& at, const Source& sum, int part, int64_t rows) {
  const Source to{pattern(c.y.operands[0], c.yp, at, part, c.moving_axes(), pitch(c.yp), partitions_, 0, rows), emit_.buffer(c.yp.buffer).dtype, false, false};
  const int64_t row0 = to.pattern.offset / pitch(c.yp);
  const auto leaf = [&](const Term& t) {
    if (t.leaf == Term::anchor) return sum;
    const auto e = static_cast<size_t>(t.index);
    return leaf_source(c.y.operands[e + 1], c.ep[e], at, part, c.moving_axes(), row0, rows);
  };
  evaluate(c.epilogue, to, leaf, &sum);
  emit_.release(sum.pattern.buffer);
}

void Mapper::matmul_block(Convolution& c, const Box& block) {
  const Step& s = c.s;
  hold_beside(c, block);
  const bool three = s.windows.size() > 2;
  const auto single = [&](int a) { return a == 0 && three; };
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t k = 0; k < c.chunks; ++k) {
      Box b = block;
      b.start[1] = g;
      b.size[1] = 1;
      b.start[2] = k * c.chunk;
      b.size[2] = std::min(c.chunk, s.out_channels - k * c.chunk);
      for (const Box& o : row_boxes(c.y, 0, c.yp, b, {}, s.out_channels > 1 ? 2 : -1))
        for (const Box& at : boxes(o, c.moving_axes(), most_moving(), single)) convolution_tile(c, at, g, k);
      int32_t& id = c.pieces[static_cast<size_t>(g * c.chunks + k)];
      if (!c.keep && id >= 0) emit_.release(id), id = -1;
    }
}

// y = sum_t x * w[t] per partition, summed in the accumulator.
void Mapper::depthwise_block(Convolution& c, const Box& block) {
  const Step& s = c.s;
  const Operand w = operand(s.rhs);  // G, O, C, T...
  Nest wn;  // weights as columns: [channel][tap]
  wn.extents = c.y.extents;
  wn.tags = c.y.tags;
  Operand ow = w;
  ow.strides.assign(c.y.extents.size(), 0);
  ow.strides[1] = w.strides[0];
  ow.placement = {std::max<int64_t>(w.strides[0], 1), s.groups};
  wn.operands = {ow};
  if (!fits(ow.placement, ow.total) || !wn.refine()) fail_internal("mapping a convolution", "weights of one channel after the other", "another layout");
  const Place wp = hold(ow.item, ow.placement, DType::f32);
  hold_beside(c, block);
  const auto column = [&](const Box& at, const std::vector<int64_t>& tap, const Pattern& beside) {
    Operand one = wn.operands[0];
    for (size_t k = 0; k < s.windows.size(); ++k) one.offset += (s.windows[k].reversed ? s.windows[k].taps - 1 - tap[k] : tap[k]) * w.strides[3 + k];
    Source of;
    of.pattern = pattern(one, wp, at, 1, c.moving_axes(), pitch(wp), partitions_, 0, at.size[1]);
    for (int d = 1; d < beside.rank; ++d) of.pattern.sizes[static_cast<size_t>(d)] = beside.sizes[static_cast<size_t>(d)], of.pattern.strides[static_cast<size_t>(d)] = 0;
    of.dtype = DType::f32;
    return of;
  };
  for (const Box& rows_box : row_boxes(c.y, 0, c.yp, block, {}, 1))
    for (const Box& at : boxes(rows_box, c.moving_axes(), bank_columns(), [](int a) { return a == 0; })) {
      std::vector<int64_t> sizes{at.size[0]};
      for (size_t k = 0; k < s.windows.size(); ++k) sizes.push_back(at.size[3 + k]);
      const Source sum = sum_tile(at.size[1], sizes);
      bool covered = false;
      const auto order = c.order(at, covered);
      if (!covered) fill(sum, 0);
      bool first = covered;
      for (const auto& [t, r] : order) {
        Source to = sum, in;
        to.pattern = reached_part(sum.pattern, at, r);
        in.pattern = depthwise_input(c, at, r);
        in.dtype = precision_;
        Call call;
        call.op = Opcode::activate;
        call.work = first ? WorkClass::arith : WorkClass::arith2;
        call.in[0] = in;
        call.in[2] = column(at, c.taps.at(t), in.pattern);
        if (!first) call.in[1] = to;
        call.out = to;
        emit(call);
        first = false;
      }
      finish_tile(c, at, sum, 1, at.size[1]);
    }
}

Pattern Mapper::depthwise_input(const Convolution& c, const Box& at, const std::vector<Reach>& r) const {
  Box b = c.x.all();
  b.start[0] = at.start[0];
  b.size[0] = at.size[0];
  b.start[1] = at.start[1];
  b.size[1] = at.size[1];
  for (size_t k = 0; k < r.size(); ++k) b.start[3 + k] = r[k].in, b.size[3 + k] = r[k].count;
  Pattern in = pattern(c.x.operands[0], c.xp, b, 1, c.moving_axes(), pitch(c.xp), partitions_, 0, at.size[1]);
  for (size_t k = 0; k < r.size(); ++k) in.strides[2 + k] *= r[k].in_step;
  return in;
}

}  // namespace bascule::device::chip::neuron
