// device/chip/map_neuron_product_tiles.cc — a product that is laid out, as instructions: weights in chunks, blocks where operands do not fit, tiles of the
// result summed over K in the accumulator and moved out through the epilogue.
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_neuron_product.h"

namespace bascule::device::chip::neuron {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool same(const Window& a, const Window& b) {
  return a.q0 == b.q0 && a.q1 == b.q1 && a.outer0 == b.outer0 && a.outer1 == b.outer1 && a.inner0 == b.inner0 && a.inner1 == b.inner1;
}

void limit(Box& b, const std::vector<int>& axes, const Box& to) {
  for (const int a : axes) b.start[static_cast<size_t>(a)] = to.start[static_cast<size_t>(a)], b.size[static_cast<size_t>(a)] = to.size[static_cast<size_t>(a)];
}

}  // namespace

int64_t Mapper::bank_columns() const { return emit_.capacity(Role::accumulator) / std::max<int64_t>(chip_.accumulator()->banks, 1) / 4; }
int64_t Mapper::most_moving() const { return chip_.matrix.max_moving > 0 ? std::min(bank_columns(), chip_.matrix.max_moving) : bank_columns(); }

// Chunks of features of a weight: long enough for DMA, short beside the scratchpad.
void Mapper::plan_weight(Product& p) {
  const int64_t bytes = storage_bytes(precision_, 1);
  p.k_rows = p.k_axis < 0 ? 1 : std::min(partitions_, p.extent(p.k_axis));
  p.k_tiles = p.k_axis < 0 ? 1 : ceil_div(p.extent(p.k_axis), partitions_);
  for (const int a : p.ks)
    if (a != p.k_axis) p.k_tiles *= p.extent(a);
  int64_t inner = 1;
  for (size_t i = 1; i < p.ns.size(); ++i) inner *= p.extent(p.ns[i]);
  const int64_t outer = p.ns.empty() ? 1 : p.extent(p.ns[0]);
  p.chunk = outer;  // of the outermost feature axis
  if (p.weight) {
    const int64_t column_bytes = p.k_tiles * inner * bytes;
    int64_t unit = inner > 1 ? 1 : std::min(outer, p.features ? chip_.matrix.cols : most_moving());
    while (unit > chip_.matrix.cols && unit * column_bytes > budget_ / 10) unit = ceil_div(unit, 2);
    const int64_t want = budget_ / 12, most = budget_ / 4;
    p.chunk = std::max<int64_t>(unit, want / std::max<int64_t>(column_bytes, 1) / unit * unit);
    while (p.chunk > 1 && p.chunk * column_bytes > most) p.chunk = ceil_div(p.chunk, 2);
    p.chunk = std::min(p.chunk, outer);
    p.chunk = ceil_div(outer, ceil_div(outer, p.chunk));
    if (unit > 1 && p.chunk > unit) p.chunk = std::min(outer, ceil_div(p.chunk, unit) * unit);
  }
  p.chunks = ceil_div(outer, p.chunk);
  p.chunk_columns = p.chunk * inner;
  p.keep = p.weight && (resident_ || p.chunks * p.chunk_columns * p.k_tiles * bytes <= budget_ / 3);
  p.pieces.assign(static_cast<size_t>(p.chunks), -1);
  if (p.weight) p.weight_main = arrange_weight(p);
}

// The weight as chunks: its buffer in main memory, or, resident, a buffer for each chunk.
int32_t Mapper::arrange_weight(Product& p) {
  const Operand& o = p.nest.operands[1];
  Arrangement a;
  a.offset = o.offset;
  const auto axis = [&](int64_t extent, int64_t stride) {
    a.dims.push_back(extent);
    a.strides.push_back(stride);
  };
  const auto stride = [&](int k) { return o.strides[static_cast<size_t>(k)]; };
  axis(p.chunks, p.ns.empty() ? 0 : stride(p.ns[0]) * p.chunk);
  axis(p.k_rows, p.k_axis < 0 ? 0 : stride(p.k_axis));
  for (const int k : p.ks)
    if (k != p.k_axis) axis(p.extent(k), stride(k));
  if (p.k_axis >= 0) axis(ceil_div(p.extent(p.k_axis), partitions_), stride(p.k_axis) * partitions_);
  for (size_t i = 0; i < p.ns.size(); ++i) axis(i == 0 ? p.chunk : p.extent(p.ns[i]), stride(p.ns[i]));
  return arranged(o.item, std::move(a), 1, precision_, p.k_rows, p.k_tiles * p.chunk_columns, p.pieces);
}

int32_t Mapper::weight_piece(Product& p, int64_t c) {
  int32_t& id = p.pieces[static_cast<size_t>(c)];
  if (id >= 0) return id;
  const int64_t columns = p.k_tiles * p.chunk_columns;
  id = take("weights", precision_, p.k_rows, columns, true);
  if (id < 0) {  // the other chunks are loaded again when they are needed
    for (int64_t other = 0; other < p.chunks; ++other) drop_piece(p, other);
    id = take("weights", precision_, p.k_rows, columns);
  }
  Pattern in, out;
  in.buffer = p.weight_main;
  in.offset = c * p.k_rows * columns;
  in.add(p.k_rows, columns), out.add(p.k_rows, columns);
  in.add(columns, 1), out.add(columns, 1);
  out.buffer = id;
  transfer(out, in, kWeights);
  return id;
}

void Mapper::drop_piece(Product& p, int64_t c) {
  int32_t& id = p.pieces[static_cast<size_t>(c)];
  if (resident_ || id < 0) return;
  emit_.release(id);
  id = -1;
}

// The box within a chunk of features.
Box Mapper::chunk_box(const Product& p, Box b, int64_t c) const {
  if (p.ns.empty() || !p.weight) return b;
  const auto a = static_cast<size_t>(p.ns[0]);
  b.start[a] = c * p.chunk;
  b.size[a] = std::min(p.chunk, p.nest.extents[a] - c * p.chunk);
  return b;
}

bool Mapper::held(const Operand& o, DType t) const {
  const auto& local = items_[static_cast<size_t>(o.item)].local;
  return std::any_of(local.begin(), local.end(), [&](const Held& h) { return h.placement == o.placement && h.dtype == t; });
}

void Mapper::plan_blocks(Product& p) {
  const Nest& n = p.nest;
  const Operand &x = n.operands[0], &f = n.operands[1], &y = n.operands[2];
  int64_t unheld = held(x, precision_) ? 0 : place_bytes(x.total, x.placement, precision_);  // bytes of a partition that are still to come
  for (size_t e = 3; e < n.operands.size(); ++e) {
    const Operand& o = n.operands[e];
    if (!item(o.item).weight && !held(o, operand_type(o))) unheld += place_bytes(o.total, o.placement, operand_type(o));
  }
  p.streamed = p.out.image >= 0 || unheld > budget_ / 4;
  p.blocks = {n.all()};
  const int64_t f_bytes = p.weight ? 0 : place_bytes(f.total, f.placement, precision_);
  if (p.streamed && !p.ms.empty()) {
    int64_t rows = 1;
    for (const int a : p.ms) rows *= p.extent(a);
    const bool narrow = f_bytes > budget_ / 4;  // features come in blocks too
    const int64_t y_bytes = place_bytes(y.total, y.placement, item(y.item).dtype);
    const double need = static_cast<double>(unheld + (p.out.image >= 0 && !narrow ? y_bytes : 0));
    const double parts = std::max(1.0, need / (static_cast<double>(budget_) / 5));
    int64_t most = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(rows) / parts));
    const int64_t unit = p.features ? most_moving() : partitions_;
    if (most > unit) most = most / unit * unit;
    std::vector<int> outer = p.bs;
    outer.insert(outer.end(), p.ms.begin(), p.ms.end());
    p.blocks = boxes(n.all(), outer, most, [&](int a) { return n.tags[static_cast<size_t>(a)] == 'B'; }, unit);
  }
  // features that are no weight and too many to lie in the scratchpad at once
  if (!p.weight && !p.ns.empty() && !held(f, precision_) && f_bytes > budget_ / 4) {
    p.streamed = true;
    int64_t features = 1;
    for (const int a : p.ns) features *= p.extent(a);
    const int64_t unit = p.features ? chip_.matrix.cols : most_moving();
    const auto fits_in = static_cast<int64_t>(static_cast<double>(features) * static_cast<double>(budget_) / 6 / static_cast<double>(f_bytes));
    std::vector<Box> parts;
    for (const Box& by_n : boxes(n.all(), p.ns, std::max(unit, fits_in / unit * unit), [](int) { return false; }, unit))
      for (Box b : p.blocks) {
        limit(b, p.ns, by_n);
        parts.push_back(b);
      }
    p.blocks = std::move(parts);
  }
  // a result whose rows alone are too long goes out a chunk of features at a time
  if (p.out.image < 0 || !p.weight || p.ns.empty() || p.chunks <= 1) return;
  int64_t widest = 0;
  for (const Box& b : p.blocks) {
    const Window w = window(y, b);
    widest = std::max(widest, (ceil_div(w.q1, partitions_) - w.q0 / partitions_) * (w.outer1 - w.outer0) * (w.inner1 - w.inner0));
  }
  p.by_chunk = storage_bytes(item(y.item).dtype, widest) > budget_ / 4;
  if (!p.by_chunk) return;
  std::vector<Box> parts;
  for (int64_t c = 0; c < p.chunks; ++c)
    for (const Box& b : p.blocks) parts.push_back(chunk_box(p, b, c));
  p.blocks = std::move(parts);
}

void Mapper::emit_product(const Step& s, Product& p) {
  const Operand& y = p.nest.operands[2];
  p.epilogue = expression(s);
  p.bs = axes_of(p.nest, 'B'), p.ms = axes_of(p.nest, 'M'), p.ns = axes_of(p.nest, 'N'), p.ks = axes_of(p.nest, 'K');
  // what moves is read along its dense axis: others step over more than a port's width
  const auto inner_last = [](std::vector<int>& axes, const Operand& o) {
    std::stable_sort(axes.begin(), axes.end(), [&](int a, int b) { return o.strides[static_cast<size_t>(a)] > o.strides[static_cast<size_t>(b)]; });
  };
  inner_last(p.ms, p.nest.operands[0]);
  if (!p.weight) inner_last(p.ns, p.nest.operands[1]);
  plan_weight(p);
  p.out = target(y.item, y.placement);
  plan_blocks(p);
  choice(std::string("stationary=") + (p.features ? "features" : "rows") + (p.streamed ? " blocks=" + std::to_string(p.blocks.size()) : "") +
         (p.weight ? (resident_ ? " weights=resident" : " weights=" + std::to_string(p.chunks) + (p.keep ? "" : " each block")) : ""));
  for (const Box& block : p.blocks) {
    hold_block(p, block);
    for (const Box& batch : boxes(block, p.bs, 1, [](int) { return true; })) product_block(p, batch);
    target_done(p.out, p.nest, 2, block, p.yp);
    done();
  }
  drop_features(p);
  for (int64_t c = 0; c < p.chunks; ++c) drop_piece(p, c);
}

void Mapper::drop_features(Product& p) {
  for (const int32_t b : p.kept_buffers) emit_.release(b);
  p.kept_buffers.clear();
  p.kept = {};
}

// The operands of a block in the scratchpad, and room for its result.
void Mapper::hold_block(Product& p, const Box& block) {
  const Nest& n = p.nest;
  const auto place_of = [&](const Operand& o) {
    if (!p.streamed) return hold(o.item, o.placement, precision_);
    const Window w = window(o, block);
    return hold(o.item, o.placement, precision_, &w);
  };
  p.xp = place_of(n.operands[0]);
  if (!p.weight) {
    const Window w = window(n.operands[1], block);
    if (p.kept.buffer < 0 || !same(w, p.kept_window)) {
      drop_features(p);
      const size_t before = temporaries_.size();
      p.kept = place_of(n.operands[1]);
      p.kept_window = w;
      p.kept_buffers.assign(temporaries_.begin() + static_cast<std::ptrdiff_t>(before), temporaries_.end());
      temporaries_.resize(before);
    }
    p.fp = p.kept;
  }
  p.yp = target_block(p.out, n.operands[2].item, n.operands[2].placement, window(n.operands[2], block));
  p.ep.clear();
  for (size_t e = 3; e < n.operands.size(); ++e) p.ep.push_back(hold_operand(n.operands[e], p.streamed ? &block : nullptr));
  p.k_boxes = row_boxes(n, 0, p.xp, block, p.ks, p.k_axis);
}

// Rows outside, so that what follows may begin; or, when weights do not stay, chunks of them outside.
void Mapper::product_block(Product& p, const Box& block) {
  const Nest& n = p.nest;
  const auto single = [&](int a) {
    const auto u = static_cast<size_t>(a);
    if (n.extents[u] == 1) return false;
    if (free_stride(n.operands[2].digits[u], p.yp, partitions_) < 0) return true;
    if (n.tags[u] == 'M' && free_stride(n.operands[0].digits[u], p.xp, partitions_) < 0) return true;
    return n.tags[u] == 'N' && !p.weight && free_stride(n.operands[1].digits[u], p.fp, partitions_) < 0;
  };
  const auto over_rows = [&](const Box& b) { return p.features ? boxes(b, p.ms, most_moving(), single) : row_boxes(n, 2, p.yp, b, p.ms, p.out_axis); };
  const auto over_features = [&](const Box& b, int64_t c) {
    for (const Box& t : p.features ? row_boxes(n, 2, p.yp, b, p.ns, p.out_axis) : boxes(b, p.ns, most_moving(), single)) product_tile(p, t, c);
  };
  if (p.by_chunk) {
    const int64_t c = block.start[static_cast<size_t>(p.ns[0])] / p.chunk;
    if (c > 0 && !p.keep) drop_piece(p, c - 1);
    weight_piece(p, c);
    for (const Box& b : over_rows(block)) over_features(b, c);
  } else if (p.keep || !p.weight) {
    for (const Box& b : over_rows(block))
      for (int64_t c = 0; c < p.chunks; ++c) {
        if (p.weight) weight_piece(p, c);
        over_features(chunk_box(p, b, c), c);
      }
  } else {
    for (int64_t c = 0; c < p.chunks; ++c) {
      weight_piece(p, c);
      for (const Box& b : over_rows(chunk_box(p, block, c))) over_features(b, c);
      drop_piece(p, c);
    }
  }
}

// Tile t of K of a chunk of the weight, [rows of K, features of the box].
Pattern Mapper::weight_tile(const Product& p, const Box& b, int64_t c, int64_t t, int64_t depth) const {
  Pattern w;
  w.buffer = p.pieces[static_cast<size_t>(c)];
  w.offset = t * p.chunk_columns;
  w.add(depth, p.k_tiles * p.chunk_columns);
  int64_t stride = p.chunk_columns;
  for (size_t i = 0; i < p.ns.size(); ++i) {
    const auto a = static_cast<size_t>(p.ns[i]);
    stride /= i == 0 ? p.chunk : p.nest.extents[a];
    w.offset += (b.start[a] - (i == 0 ? c * p.chunk : 0)) * stride;
    w.add(b.size[a], stride);
  }
  return w;
}

// One tile of the result: `at` over B, M, N, its features in chunk c.
void Mapper::product_tile(Product& p, const Box& at, int64_t c) {
  const Nest& n = p.nest;
  const std::vector<int>& free = p.features ? p.ms : p.ns;
  std::vector<int64_t> sizes;
  for (const int a : free) sizes.push_back(at.size[static_cast<size_t>(a)]);
  const int64_t rows = p.out_axis < 0 ? 1 : at.size[static_cast<size_t>(p.out_axis)];
  const Source sum = sum_tile(rows, sizes);
  for (size_t t = 0; t < p.k_boxes.size(); ++t) {
    Box b = at;
    limit(b, p.ks, p.k_boxes[t]);
    const int64_t depth = p.k_axis < 0 ? 1 : b.size[static_cast<size_t>(p.k_axis)];
    const Pattern x = pattern(n.operands[0], p.xp, b, p.k_axis, p.ms, pitch(p.xp), partitions_, 0, depth);
    const Pattern f = p.weight ? weight_tile(p, b, c, static_cast<int64_t>(t), depth) : pattern(n.operands[1], p.fp, b, p.k_axis, p.ns, pitch(p.fp), partitions_, 0, depth);
    multiply(sum.pattern, p.features ? f : x, p.features ? x : f, t > 0);
  }
  const Operand& y = n.operands[2];
  const Source to{pattern(y, p.yp, at, p.out_axis, free, pitch(p.yp), partitions_, 0, rows), item(y.item).dtype, false, false};
  const int64_t row0 = to.pattern.offset / pitch(p.yp);
  const auto leaf = [&](const Term& t) {
    if (t.leaf == Term::anchor) return sum;
    const auto e = static_cast<size_t>(t.index);
    return leaf_source(n.operands[e + 3], p.ep[e], at, p.out_axis, free, row0, rows);
  };
  evaluate(p.epilogue, to, leaf, &sum);
  emit_.release(sum.pattern.buffer);
}

}  // namespace bascule::device::chip::neuron
