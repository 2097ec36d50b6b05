// device/chip/map_neuron_convolution.cc — convolutions: input channels on partitions, taps accumulated in the accumulator over the outputs that each
// one reaches (padding is never stored). Few input channels: the taps of the first axis lie beside them on partitions. One channel a group: taps are
// multiplied and added per partition.
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

// Outputs [first, first + count * step) of a box that tap t of an axis reaches, and where they read.
struct Reach {
  int64_t first = 0, count = 0, step = 1;  // outputs
  int64_t in = 0, in_step = 1;             // inputs
};
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

struct Taps {
  std::vector<int64_t> extents;
  int64_t count() const {
    int64_t n = 1;
    for (const int64_t e : extents) n *= e;
    return n;
  }
  std::vector<int64_t> at(int64_t index) const {
    std::vector<int64_t> r(extents.size());
    for (size_t k = extents.size(); k-- > 0;) {
      r[k] = index % extents[k];
      index /= extents[k];
    }
    return r;
  }
};

}  // namespace

// What is multiplied: x itself, or x with the taps of its first axis on partitions.
struct Mapper::Convolution {
  explicit Convolution(const Step& step) : s(step) {}
  const Step& s;
  Nest y, x;                        // y: images, groups, channels, spatial axes; operand 0 the result, then the epilogue's. x: alike
  std::vector<WindowAxis> windows;  // as the moving operand sees them
  bool depthwise = false, packed = false;
  int out_axis = 2;
  int64_t rows = 0;      // of a K tile: input channels, or taps x channels
  int64_t row_tiles = 1;
  Taps taps;             // those that are accumulated
  int64_t chunk = 0, chunks = 1;
  bool keep = false;
  int32_t weight_main = -1;
  std::vector<int32_t> pieces;
  // of a block
  Place xp, yp;
  int32_t packed_buffer = -1;
  int64_t packed_images = 0, packed_image0 = 0, packed_rows = 0, packed_row0 = 0;
};

void Mapper::convolution(const Step& s) {
  for (const WindowAxis& w : s.windows)
    if (w.base > 1 && w.stride > 1) return host_step(s);
  Convolution c(s);
  c.windows = s.windows;
  c.depthwise = s.in_channels == 1 && s.out_channels == 1 && s.groups > 1;
  const Operand ox = operand(s.lhs), oy = result(s);
  if (!item(item_of(s.rhs.value)).weight) return host_step(s);
  std::vector<int64_t> xe{s.images, s.groups, s.in_channels}, ye{s.images, s.groups, s.out_channels};
  for (const WindowAxis& w : s.windows) xe.push_back(w.in), ye.push_back(w.out);
  c.out_axis = c.depthwise ? 1 : 2;
  const auto axis = static_cast<size_t>(c.out_axis);
  // result: channels on partitions, those of all groups one after the other where that keeps groups apart
  std::vector<Placement> ys;
  const int64_t channels = ye[axis];
  const bool whole_groups = !c.depthwise && s.groups > 1 && oy.strides[1] == oy.strides[2] * s.out_channels && (s.out_channels % partitions_ == 0 || (partitions_ % s.out_channels == 0 && s.out_channels >= partitions_ / 4));
  if (whole_groups || (s.groups == 1 && !c.depthwise)) ys.push_back({oy.strides[2], s.groups * s.out_channels});
  ys.push_back({std::max<int64_t>(oy.strides[axis], 1), channels});
  bool placed = false;
  for (const Placement& p : ys) {
    Nest n;
    n.extents = ye;
    n.tags.assign(ye.size(), 'S');
    n.operands = {oy};
    for (const View& v : s.epilogue_operands) n.operands.push_back(operand(v));
    n.operands[0].placement = p;
    int part = -1;
    if (!fits(p, oy.total) || !follow(n, 0, 1, part) || n.extents.size() != ye.size() || (part != c.out_axis && channels > 1)) continue;
    c.y = std::move(n);
    placed = true;
    break;
  }
  if (!placed) return host_step(s);
  // few channels: taps of the first spatial axis on partitions
  const Item& ix = item(ox.item);
  const bool held_by_channels = !ix.local.empty() || !ix.images.empty();
  const WindowAxis w0 = s.windows.empty() ? WindowAxis{} : s.windows[0];
  bool dense_planes = true;
  for (size_t a = 3, k = 0; k < s.windows.size(); ++a, ++k) {
    int64_t want = 1;
    for (size_t b = a + 1; b < xe.size(); ++b) want *= xe[b];
    dense_planes = dense_planes && ox.strides[a] == want;
  }
  c.packed = !c.depthwise && s.groups == 1 && w0.taps > 1 && w0.base == 1 && !w0.reversed && s.in_channels <= partitions_ / 8 && s.in_channels * w0.taps <= partitions_ && dense_planes && !held_by_channels;
  if (!c.packed) {
    std::vector<Placement> xs;
    for (const Held& h : ix.local) xs.push_back(h.placement);
    for (const Held& h : ix.images) xs.push_back(h.placement);
    if (const auto w = wish_of(s, s.lhs.value)) xs.push_back(*w);
    xs.push_back({std::max<int64_t>(ox.strides[c.depthwise ? 1 : 2], 1), c.depthwise ? s.groups : s.in_channels});
    placed = false;
    for (const Placement& p : xs) {
      Nest n;
      n.extents = xe;
      n.tags.assign(xe.size(), 'S');
      n.operands = {ox};
      n.operands[0].placement = p;
      if (p.replicated() || !fits(p, ox.total) || !n.refine() || n.extents.size() != xe.size()) continue;
      if (n.part_axis(0) != c.out_axis && xe[axis] > 1) continue;
      bool whole_tiles = ox.offset / p.inner % p.extent % partitions_ == 0, free = true;
      for (size_t a = 0; a < xe.size(); ++a) {
        const Digit& d = n.operands[0].digits[a];
        if (a == axis || d.level != Level::part || xe[a] == 1) continue;
        if (a != 1) free = false;
        if (d.step % partitions_ != 0) whole_tiles = false;
      }
      if (!whole_tiles || !free) continue;
      if (c.depthwise && n.operands[0].placement.extent != c.y.operands[0].placement.extent && xe[1] > partitions_) continue;
      c.x = std::move(n);
      placed = true;
      break;
    }
    if (!placed) return host_step(s);
  }
  for (size_t k = 0; k < s.windows.size(); ++k) c.taps.extents.push_back(s.windows[k].taps);
  c.rows = std::min(partitions_, s.in_channels);
  c.row_tiles = ceil_div(s.in_channels, partitions_);
  if (c.packed) {
    c.taps.extents[0] = 1;
    c.rows = s.in_channels * w0.taps;
    c.windows[0] = w0;
  }
  convolve(c);
}

void Mapper::convolve(Convolution& c) {
  const Step& s = c.s;
  const int32_t out_item = c.y.operands[0].item, in_item = item_of(s.lhs.value);
  const Placement py = c.y.operands[0].placement;
  const int64_t bytes = storage_bytes(precision_, 1);
  if (!c.depthwise) {
    const int64_t column_bytes = c.row_tiles * c.taps.count() * bytes;
    const int64_t unit = std::min(s.out_channels, chip_.matrix.cols);
    c.chunk = std::clamp<int64_t>(budget_ / 12 / column_bytes / unit * unit, unit, s.out_channels);
    c.chunks = ceil_div(s.out_channels, c.chunk);
    c.keep = resident_ || s.groups * c.chunks * c.chunk * column_bytes <= budget_ / 4;
    c.pieces.assign(static_cast<size_t>(s.groups * c.chunks), -1);
    arrange_taps(c);
  }
  Target out = target(out_item, py);
  int32_t source_main = -1;
  if (c.packed) source_main = narrow_input(in_item);
  // blocks: images, then rows of the first spatial axis
  const auto held = [&](const Operand& o, DType t) {
    const auto& local = item(o.item).local;
    return std::any_of(local.begin(), local.end(), [&](const Held& h) { return h.placement == o.placement && h.dtype == t; });
  };
  const bool x_whole = !c.packed && (held(c.x.operands[0], precision_) || place_bytes(c.x.operands[0].total, c.x.operands[0].placement, precision_) <= budget_ / 4);
  int64_t beside = 0;  // of the epilogue, still to come
  for (size_t e = 1; e < c.y.operands.size(); ++e) {
    const Operand& o = c.y.operands[e];
    if (!item(o.item).weight && !held(o, operand_type(o))) beside += place_bytes(o.total, o.placement, operand_type(o));
  }
  const bool streamed = out.image >= 0 || !x_whole || beside > budget_ / 4;
  int64_t images = s.images, lines = s.windows.empty() ? 1 : s.windows[0].out;
  const int64_t all_lines = lines;
  if (streamed) {
    double need = static_cast<double>(beside);
    if (out.image >= 0) need += static_cast<double>(place_bytes(c.y.operands[0].total, py, item(out_item).dtype));
    if (c.packed) {
      double plane = static_cast<double>(s.images * bytes);
      for (const WindowAxis& w : s.windows) plane *= static_cast<double>(w.in);
      need += plane;
    } else if (!x_whole) {
      need += static_cast<double>(place_bytes(c.x.operands[0].total, c.x.operands[0].placement, precision_));
    }
    const double parts = std::max(1.0, need / (static_cast<double>(budget_) / 6));
    if (parts <= static_cast<double>(images)) {
      images = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(images) / parts));
    } else {
      const double of_image = parts / static_cast<double>(images);
      images = 1;
      lines = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(lines) / of_image));
      lines = ceil_div(all_lines, ceil_div(all_lines, lines));
    }
  }
  choice(std::string(c.depthwise ? "depthwise" : c.packed ? "packed" : "channels") + " rows=" + std::to_string(c.rows) + (streamed ? " images=" + std::to_string(images) + " lines=" + std::to_string(lines) : "") +
         (c.depthwise ? "" : resident_ ? " weights=resident" : " weights=" + std::to_string(c.chunks) + (c.keep ? "" : " each block")));
  for (int64_t n0 = 0; n0 < s.images; n0 += images)
    for (int64_t l0 = 0; l0 < all_lines; l0 += lines) {
      Box block = c.y.all();
      block.start[0] = n0;
      block.size[0] = std::min(images, s.images - n0);
      if (!s.windows.empty()) {
        block.start[3] = l0;
        block.size[3] = std::min(lines, all_lines - l0);
      }
      if (c.packed) {
        pack(c, source_main, block);
      } else if (!streamed) {
        c.xp = hold(in_item, c.x.operands[0].placement, precision_);
      } else {
        Box xb = c.x.all();
        xb.start[0] = block.start[0];
        xb.size[0] = block.size[0];
        if (!s.windows.empty()) {
          const WindowAxis& w = s.windows[0];
          const int64_t low = std::clamp<int64_t>(floor_div(l0 * w.stride - w.low, w.base), 0, w.in - 1);
          const int64_t high = std::clamp<int64_t>(ceil_div((l0 + block.size[3] - 1) * w.stride - w.low + (w.taps - 1) * w.dilation, w.base), 0, w.in - 1);
          xb.start[3] = low;
          xb.size[3] = high - low + 1;
        }
        const Window win = window(c.x.operands[0], xb);
        c.xp = hold(in_item, c.x.operands[0].placement, precision_, &win);
      }
      c.yp = target_block(out, out_item, py, window(c.y.operands[0], block));
      if (c.depthwise) depthwise_block(c, block);
      else matmul_block(c, block);
      target_done(out, out_item, py, c.yp);
      done();
    }
  for (int32_t& id : c.pieces)
    if (!resident_ && id >= 0) emit_.release(id), id = -1;
  if (source_main >= 0 && source_main != item(in_item).main) main_free(source_main);
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
  std::string key = "c" + std::to_string(w.item) + "/" + std::to_string(a.offset);
  for (size_t k = 0; k < a.dims.size(); ++k) key += "," + std::to_string(a.dims[k]) + "x" + std::to_string(a.strides[k]);
  const int64_t columns = c.row_tiles * c.taps.count() * c.chunk;
  c.weight_main = arranged(key, w.item, std::move(a), 2, c.rows, columns, c.pieces);
}

// A weight in an arrangement whose first `outer` dimensions number its pieces [rows, columns]: the buffer in main memory, or, resident, all pieces.
int32_t Mapper::arranged(const std::string& key, int32_t item_index, Arrangement a, size_t outer, int64_t rows, int64_t columns, std::vector<int32_t>& pieces) {
  Program& program = emit_.program();
  const Item& it = item(item_index);
  const auto describe = [&](int32_t id, Arrangement part) {
    Buffer& b = program.buffers[static_cast<size_t>(id)];
    b.use = Buffer::weight;
    b.value = it.value;
    b.arrangement = static_cast<int32_t>(program.arrangements.size());
    program.arrangements.push_back(std::move(part));
  };
  if (!resident_) {
    const auto [at, made] = arranged_.try_emplace(key, -1);
    if (made) {
      int64_t elements = 1;
      for (const int64_t d : a.dims) elements *= d;
      at->second = emit_.main(it.name, Buffer::weight, precision_, elements, it.value);
      describe(at->second, std::move(a));
    }
    return at->second;
  }
  for (size_t p = 0; p < pieces.size(); ++p) {
    const auto [at, made] = arranged_.try_emplace(key + "#" + std::to_string(p), -1);
    if (made) {
      at->second = take(it.name, precision_, rows, columns, false, true);
      Arrangement part = a;
      int64_t index = static_cast<int64_t>(p);
      for (size_t k = outer; k-- > 0;) {
        part.offset += index % a.dims[k] * a.strides[k];
        part.dims[k] = 1;
        index /= a.dims[k];
      }
      describe(at->second, std::move(part));
    }
    pieces[p] = at->second;
  }
  return -1;
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

void Mapper::matmul_block(Convolution& c, const Box& block) {
  const Step& s = c.s;
  const Nest& y = c.y;
  const Operand& oy = y.operands[0];
  const Expression expr = expression(s);
  const size_t spatial = s.windows.size();
  const int64_t taps = c.taps.count(), piece_columns = c.row_tiles * taps * c.chunk;
  const auto piece = [&](int64_t index) {
    int32_t& id = c.pieces[static_cast<size_t>(index)];
    if (id >= 0) return id;
    id = take("weights", precision_, c.rows, piece_columns, true);
    if (id < 0) {  // the other pieces are loaded again when they are needed
      for (int32_t& other : c.pieces)
        if (other >= 0 && !resident_) emit_.release(other), other = -1;
      id = take("weights", precision_, c.rows, piece_columns);
    }
    Pattern in, out;
    in.buffer = c.weight_main;
    in.offset = index * c.rows * piece_columns;
    out.buffer = id;
    in.add(c.rows, piece_columns), out.add(c.rows, piece_columns);
    in.add(piece_columns, 1), out.add(piece_columns, 1);
    transfer(out, in, kWeights);
    return id;
  };
  std::vector<Place> ep;
  for (size_t e = 1; e < y.operands.size(); ++e) ep.push_back(hold_operand(y.operands[e], &block));
  std::vector<int> moving_axes{0}, free{0};
  for (size_t k = 0; k < spatial; ++k) moving_axes.push_back(static_cast<int>(3 + k)), free.push_back(static_cast<int>(3 + k));
  const int64_t most = chip_.matrix.max_moving > 0 ? std::min(bank_columns(), chip_.matrix.max_moving) : bank_columns();
  const bool three = spatial > 2;
  const auto single = [&](int a) { return a == 0 && three; };
  // the operand that moves, for channel tile `t` and a tap, over a box of outputs; and the outputs that it reaches
  std::vector<Reach> reached(spatial);
  const auto moving = [&](int64_t g, int64_t t, const std::vector<int64_t>& tap, const Box& at, Pattern& out) {
    for (size_t k = 0; k < spatial; ++k) {
      WindowAxis w = c.windows[k];
      if (c.packed && k == 0) {
        w.taps = 1;
        w.in = c.packed_rows;
        w.low = c.packed_row0 * w.stride;
      }
      reached[k] = reach(w, tap[k], at.start[3 + k], at.size[3 + k]);
      if (reached[k].count == 0) return false;
    }
    if (c.packed) {
      int64_t line = 1;
      for (size_t k = 1; k < spatial; ++k) line *= s.windows[k].in;
      out = {};
      out.buffer = c.packed_buffer;
      out.offset = (at.start[0] - c.packed_image0) * c.packed_rows * line;
      out.add(c.rows, c.packed_images * c.packed_rows * line);
      out.add(at.size[0], c.packed_rows * line);
      int64_t stride = c.packed_rows * line;
      for (size_t k = 0; k < spatial; ++k) {
        stride /= k == 0 ? c.packed_rows : s.windows[k].in;
        out.offset += reached[k].in * stride;
        out.add(reached[k].count, reached[k].count > 1 ? reached[k].in_step * stride : 0);
      }
      return true;
    }
    Box b = c.x.all();
    b.start[0] = at.start[0];
    b.size[0] = at.size[0];
    b.start[1] = g;
    b.size[1] = 1;
    b.start[2] = t * partitions_;
    b.size[2] = std::min(partitions_, s.in_channels - t * partitions_);
    for (size_t k = 0; k < spatial; ++k) {
      b.start[3 + k] = reached[k].in;
      b.size[3 + k] = reached[k].count;
    }
    out = pattern(c.x.operands[0], c.xp, b, s.in_channels > 1 ? 2 : -1, free, pitch(c.xp), partitions_, 0, b.size[2]);
    for (size_t k = 0; k < spatial; ++k) out.strides[2 + k] *= reached[k].in_step;
    return true;
  };
  const auto tile = [&](const Box& at, int64_t g, int64_t chunk_index) {
    const int64_t rows = at.size[2];
    int64_t columns = at.size[0];
    for (size_t k = 0; k < spatial; ++k) columns *= at.size[3 + k];
    const int32_t sum = accumulator(DType::f32, rows, columns);
    Source psum;
    psum.pattern.buffer = sum;
    psum.dtype = DType::f32;
    psum.accumulator = true;
    psum.pattern.add(rows, columns);
    int64_t left = columns / at.size[0];
    psum.pattern.add(at.size[0], left);
    for (size_t k = 0; k < spatial; ++k) {
      left /= at.size[3 + k];
      psum.pattern.add(at.size[3 + k], left);
    }
    // a tap that reaches every output goes first: it overwrites
    std::vector<int64_t> order;
    bool covered = false;
    for (int64_t t = 0; t < taps; ++t) {
      const auto tap = c.taps.at(t);
      bool all = true, any = true;
      for (size_t k = 0; k < spatial; ++k) {
        WindowAxis w = c.windows[k];
        if (c.packed && k == 0) w.taps = 1, w.in = c.packed_rows, w.low = c.packed_row0 * w.stride;
        const Reach r = reach(w, tap[k], at.start[3 + k], at.size[3 + k]);
        any = any && r.count > 0;
        all = all && r.count == at.size[3 + k];
      }
      if (!any) continue;
      if (all && !covered) {
        order.insert(order.begin(), t);
        covered = true;
      } else {
        order.push_back(t);
      }
    }
    if (!covered) {
      Call f;
      f.op = Opcode::fill;
      f.work = WorkClass::fill;
      f.out = psum;
      emit(f);
    }
    const int32_t weights = piece(g * c.chunks + chunk_index);
    bool first = covered;
    for (const int64_t t : order) {
      const auto tap = c.taps.at(t);
      int64_t weight_tap = 0;
      for (size_t k = 0; k < spatial; ++k) weight_tap = weight_tap * c.taps.extents[k] + (c.windows[k].reversed ? c.taps.extents[k] - 1 - tap[k] : tap[k]);
      for (int64_t ct = 0; ct < c.row_tiles; ++ct) {
        Pattern in;
        if (!moving(g, ct, tap, at, in)) continue;
        Pattern to = psum.pattern;
        for (size_t k = 0; k < spatial; ++k) {
          to.offset += (reached[k].first - at.start[3 + k]) * to.strides[2 + k];
          to.sizes[2 + k] = reached[k].count;
          to.strides[2 + k] *= reached[k].step;
        }
        const int64_t depth = in.sizes[0];
        Pattern stationary;
        stationary.buffer = weights;
        stationary.offset = (ct * taps + weight_tap) * c.chunk + (at.start[2] - chunk_index * c.chunk);
        stationary.add(depth, piece_columns);
        stationary.add(rows, 1);
        const Cut pair = cut({to, in, {}, {}, {}}, Access::kMostDims);
        if (pair.pieces.size() != 1) fail_internal("mapping a convolution", "at most four free dimensions", "more");
        Instruction i;
        i.op = Opcode::matmul;
        i.work = WorkClass::matmul;
        i.queue = emit_.matrix();
        i.accumulate = !first;
        i.out = pair.pieces[0][0];
        i.in[1] = pair.pieces[0][1];
        i.in[0] = cut({stationary, {}, {}, {}, {}}, Access::kMostDims).pieces[0][0];
        emit_.emit(i);
        first = false;
      }
    }
    const Source to{pattern(oy, c.yp, at, s.out_channels > 1 ? 2 : -1, free, pitch(c.yp), partitions_, 0, rows), emit_.buffer(c.yp.buffer).dtype, false, false};
    const int64_t row0 = to.pattern.offset / pitch(c.yp);
    evaluate(expr, to,
             [&](const Term& t) {
               if (t.leaf == Term::anchor) return psum;
               const auto e = static_cast<size_t>(t.index);
               return leaf_source(y.operands[e + 1], ep[e], at, s.out_channels > 1 ? 2 : -1, free, row0, rows);
             },
             &psum);
    emit_.release(sum);
  };
  for (int64_t g = 0; g < s.groups; ++g)
    for (int64_t k = 0; k < c.chunks; ++k) {
      Box b = block;
      b.start[1] = g;
      b.size[1] = 1;
      b.start[2] = k * c.chunk;
      b.size[2] = std::min(c.chunk, s.out_channels - k * c.chunk);
      for (const Box& o : row_boxes(y, 0, c.yp, b, {}, s.out_channels > 1 ? 2 : -1))
        for (const Box& at : boxes(y, o, moving_axes, most, single)) tile(at, g, k);
      int32_t& id = c.pieces[static_cast<size_t>(g * c.chunks + k)];
      if (!c.keep && id >= 0) emit_.release(id), id = -1;
    }
}

// y = sum_t x * w[t] per partition, summed in the accumulator.
void Mapper::depthwise_block(Convolution& c, const Box& block) {
  const Step& s = c.s;
  const Nest& y = c.y;
  const Operand& oy = y.operands[0];
  const Expression expr = expression(s);
  const size_t spatial = s.windows.size();
  const int64_t taps = c.taps.count();
  // weights as columns: [channel][tap]
  const Operand w = operand(s.rhs);  // G, O, C, T...
  Nest wn;
  wn.extents = y.extents;
  wn.tags = y.tags;
  Operand ow = w;
  ow.strides.assign(y.extents.size(), 0);
  ow.strides[1] = w.strides[0];
  ow.placement = {std::max<int64_t>(w.strides[0], 1), s.groups};
  wn.operands = {ow};
  if (!fits(ow.placement, ow.total) || !wn.refine()) fail_internal("mapping a convolution", "weights of one channel after the other", "another layout");
  const Place wp = hold(ow.item, ow.placement, DType::f32);
  std::vector<Place> ep;
  for (size_t e = 1; e < y.operands.size(); ++e) ep.push_back(hold_operand(y.operands[e], &block));
  std::vector<int> moving_axes{0}, free{0};
  for (size_t k = 0; k < spatial; ++k) moving_axes.push_back(static_cast<int>(3 + k)), free.push_back(static_cast<int>(3 + k));
  const auto single = [&](int a) { return a == 0; };
  for (const Box& rows_box : row_boxes(y, 0, c.yp, block, {}, 1))
    for (const Box& at : boxes(y, rows_box, moving_axes, bank_columns(), single)) {
      const int64_t rows = at.size[1];
      int64_t columns = at.size[0];
      for (size_t k = 0; k < spatial; ++k) columns *= at.size[3 + k];
      const int32_t sum = accumulator(DType::f32, rows, columns);
      Source psum;
      psum.pattern.buffer = sum;
      psum.dtype = DType::f32;
      psum.accumulator = true;
      psum.pattern.add(rows, columns);
      int64_t left = columns / at.size[0];
      psum.pattern.add(at.size[0], left);
      for (size_t k = 0; k < spatial; ++k) {
        left /= at.size[3 + k];
        psum.pattern.add(at.size[3 + k], left);
      }
      std::vector<std::pair<int64_t, std::vector<Reach>>> order;
      bool covered = false;
      for (int64_t t = 0; t < taps; ++t) {
        const auto tap = c.taps.at(t);
        std::vector<Reach> r;
        bool all = true, any = true;
        for (size_t k = 0; k < spatial; ++k) {
          r.push_back(reach(s.windows[k], tap[k], at.start[3 + k], at.size[3 + k]));
          any = any && r.back().count > 0;
          all = all && r.back().count == at.size[3 + k];
        }
        if (!any) continue;
        if (all && !covered) {
          order.insert(order.begin(), {t, r});
          covered = true;
        } else {
          order.emplace_back(t, r);
        }
      }
      if (!covered) {
        Call f;
        f.op = Opcode::fill;
        f.work = WorkClass::fill;
        f.out = psum;
        emit(f);
      }
      bool first = covered;
      for (const auto& [t, r] : order) {
        const auto tap = c.taps.at(t);
        int64_t weight_tap = 0;
        for (size_t k = 0; k < spatial; ++k) weight_tap += (s.windows[k].reversed ? s.windows[k].taps - 1 - tap[k] : tap[k]) * w.strides[3 + k];
        Box b = c.x.all();
        b.start[0] = at.start[0];
        b.size[0] = at.size[0];
        b.start[1] = at.start[1];
        b.size[1] = rows;
        Source to = psum;
        for (size_t k = 0; k < spatial; ++k) {
          b.start[3 + k] = r[k].in;
          b.size[3 + k] = r[k].count;
          to.pattern.offset += (r[k].first - at.start[3 + k]) * to.pattern.strides[2 + k];
          to.pattern.sizes[2 + k] = r[k].count;
          to.pattern.strides[2 + k] *= r[k].step;
        }
        Source in;
        in.pattern = pattern(c.x.operands[0], c.xp, b, 1, free, pitch(c.xp), partitions_, 0, rows);
        for (size_t k = 0; k < spatial; ++k) in.pattern.strides[2 + k] *= r[k].in_step;
        in.dtype = precision_;
        Operand tap_weight = wn.operands[0];
        tap_weight.offset += weight_tap;
        Source column;
        Box wb = at;
        column.pattern = pattern(tap_weight, wp, wb, 1, free, pitch(wp), partitions_, 0, rows);
        for (int d = 1; d < in.pattern.rank; ++d) column.pattern.sizes[static_cast<size_t>(d)] = in.pattern.sizes[static_cast<size_t>(d)], column.pattern.strides[static_cast<size_t>(d)] = 0;
        column.dtype = DType::f32;
        Call call;
        call.op = Opcode::activate;
        call.work = first ? WorkClass::arith : WorkClass::arith2;
        call.in[0] = in;
        call.in[2] = column;
        if (!first) call.in[1] = to;
        call.out = to;
        emit(call);
        first = false;
      }
      const Source to{pattern(oy, c.yp, at, 1, free, pitch(c.yp), partitions_, 0, rows), emit_.buffer(c.yp.buffer).dtype, false, false};
      const int64_t row0 = to.pattern.offset / pitch(c.yp);
      evaluate(expr, to,
               [&](const Term& t) {
                 if (t.leaf == Term::anchor) return psum;
                 const auto e = static_cast<size_t>(t.index);
                 return leaf_source(y.operands[e + 1], ep[e], at, 1, free, row0, rows);
               },
               &psum);
      emit_.release(sum);
    }
}

}  // namespace bascule::device::chip::neuron
