// device/chip/map_neuron_product_tiles.cc — a product that is laid out, as instructions: weights in chunks, blocks where operands do not fit, tiles of the
// result summed over K in the accumulator and moved out through the epilogue.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "device/chip/map_neuron_product.h"

namespace bascule::device::chip::neuron {
namespace {


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
    const int64_t n = std::min(p.wanted_n / inner, outer);
    if (n > 0 && n * column_bytes <= most) p.chunk = n;
    else if (unit > 1 && ceil_div(p.chunk, unit) * unit * column_bytes <= most) p.chunk = std::min(outer, ceil_div(p.chunk, unit) * unit);
    // stationary features begin where an engine may begin
    if (p.features && inner == 1 && p.chunk < outer)
      p.chunk = p.chunk >= partitions_ ? p.chunk / partitions_ * partitions_ : p.chunk >= partitions_ / 2 ? partitions_ / 2 : std::min(outer, partitions_ / 4);
  }
  p.chunks = ceil_div(outer, p.chunk);
  p.chunk_columns = p.chunk * inner;
  const int64_t all_bytes = p.chunks * p.chunk_columns * p.k_tiles * bytes;
  p.keep = p.weight && (resident_ || (p.wanted_kept ? *p.wanted_kept && all_bytes <= budget_ / 2 : all_bytes <= budget_ / 3));
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

// Stationary rows come in whole tiles of partitions.
int64_t Mapper::whole_tiles(const Product& p, int64_t rows) const { return p.features ? rows : ceil_div(rows, partitions_) * partitions_; }

// Bytes of a partition that are still to come for the operands of the epilogue.
int64_t Mapper::beside_bytes(const Product& p) const {
  int64_t bytes = 0;
  for (size_t e = 3; e < p.nest.operands.size(); ++e) {
    const Operand& o = p.nest.operands[e];
    if (!items_[static_cast<size_t>(o.item)].weight && !held(o, operand_type(o))) bytes += place_bytes(o.total, o.placement, operand_type(o));
  }
  return bytes;
}

// Blocks of a product of two activations: rows, and features where these are too many.
void Mapper::plan_blocks(Product& p) {
  const Nest& n = p.nest;
  const Operand &x = n.operands[0], &f = n.operands[1], &y = n.operands[2];
  p.blocks = {n.all()};
  const int64_t unheld = (held(x, precision_) ? 0 : place_bytes(x.total, x.placement, precision_)) + beside_bytes(p);
  const int64_t f_bytes = place_bytes(f.total, f.placement, precision_);
  if (p.streamed && !p.ms.empty()) {
    const int64_t rows = p.over(p.ms);
    const bool narrow = f_bytes > budget_ / 4;  // features come in blocks too
    const int64_t y_bytes = p.out.image >= 0 && !narrow ? place_bytes(y.total, y.placement, item(y.item).dtype) : 0;
    const double parts = std::max(1.0, static_cast<double>(unheld + y_bytes) / (static_cast<double>(budget_) / 5));
    int64_t most = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(rows) / parts));
    const int64_t unit = p.features ? most_moving() : partitions_;
    if (most > unit) most = most / unit * unit;
    if (p.wanted_m > 0) most = std::min(rows, whole_tiles(p, p.wanted_m));
    std::vector<int> outer = p.bs;
    outer.insert(outer.end(), p.ms.begin(), p.ms.end());
    p.blocks = boxes(n.all(), outer, most, [&](int a) { return n.tags[static_cast<size_t>(a)] == 'B'; }, unit);
    p.block_rows = most;
  }
  if (p.weight || p.ns.empty() || held(f, precision_) || f_bytes <= budget_ / 4) return;
  p.streamed = true;
  const int64_t features = p.over(p.ns);
  const int64_t unit = p.features ? chip_.matrix.cols : most_moving();
  const auto fits_in = static_cast<int64_t>(static_cast<double>(features) * static_cast<double>(budget_) / 6 / static_cast<double>(f_bytes));
  p.chunk_columns = std::min(features, p.wanted_n > 0 ? p.wanted_n : std::max(unit, fits_in / unit * unit));
  std::vector<Box> parts;
  for (const Box& by_n : boxes(n.all(), p.ns, p.chunk_columns, [](int) { return false; }, unit))
    for (Box b : p.blocks) {
      limit(b, p.ns, by_n);
      parts.push_back(b);
    }
  p.blocks = std::move(parts);
}

// Parts of the rows of a product with a weight whose chunks are read for several parts together: as many as fit beside three chunks and what is loaded
// next, so that the weight comes as seldom as can be. The result of a part leaves after `group` chunks, in pieces long enough for DMA.
void Mapper::plan_parts(Product& p) {
  const Nest& n = p.nest;
  const Operand &x = n.operands[0], &y = n.operands[2];
  p.blocks = {n.all()};
  p.group = p.chunks;
  if (!p.streamed) return;
  const auto rows = static_cast<double>(p.over(p.bs) * p.over(p.ms));
  const auto budget = static_cast<double>(budget_), chunks = static_cast<double>(p.chunks);
  const double x_row = held(x, precision_) ? 0 : static_cast<double>(place_bytes(x.total, x.placement, precision_)) / rows;
  const double beside_row = static_cast<double>(beside_bytes(p)) / rows;
  const double y_row = p.out.image < 0 ? 0 : static_cast<double>(place_bytes(y.total, y.placement, item(y.item).dtype)) / rows;
  const int64_t unit = p.features ? most_moving() : partitions_;
  const double of_chunk = (y_row + beside_row) / chunks;
  const double room = p.keep ? budget / 5 : budget / 12, row = p.keep ? x_row + std::min(y_row + beside_row, std::max(of_chunk, room / static_cast<double>(unit) / 2)) : x_row + of_chunk;
  int64_t most = std::max<int64_t>(1, static_cast<int64_t>(std::min(rows, room / std::max(row, 1e-9))));
  if (most > unit) most = most / unit * unit;
  else if (!p.keep || row * static_cast<double>(unit) <= budget / 4) most = static_cast<int64_t>(std::min(rows, static_cast<double>(unit)));
  if (p.wanted_m > 0) most = std::min(most, whole_tiles(p, p.wanted_m));
  std::vector<int> outer = p.bs;
  outer.insert(outer.end(), p.ms.begin(), p.ms.end());
  p.blocks = boxes(n.all(), outer, most, [&](int a) { return n.tags[static_cast<size_t>(a)] == 'B'; }, unit);
  const auto part = static_cast<double>(most);
  const double least_store = static_cast<double>(chip_.dma.row_bytes) * std::ceil(part / static_cast<double>(partitions_));  // long pieces where that is little
  const double y_room = p.keep ? budget / 5 : std::max(budget / 48, std::min(least_store, budget / 24));
  p.group = p.out.image < 0 ? p.chunks : std::clamp<int64_t>(static_cast<int64_t>(y_room / std::max(part * of_chunk, 1e-9)), 1, p.chunks);
  const double x_part = part * x_row, y_part = part * of_chunk * static_cast<double>(p.group);
  const auto chunk_bytes = static_cast<double>(storage_bytes(precision_, p.k_tiles * p.chunk_columns));
  // beside the blocks: the chunk in use, one or two that come next, and blocks that come next
  const auto fit = [&](int chunks_beside, int blocks_beside) {
    const double free = std::min(0.9 * budget, static_cast<double>(emit_.largest_free(Role::scratchpad)));
    return static_cast<int64_t>((free - chunks_beside * chunk_bytes - blocks_beside * x_part - y_part) / std::max(x_part + y_part, 1e-9));
  };
  const auto all = static_cast<int64_t>(p.blocks.size());
  const int64_t ample = fit(2, 0) >= all ? all : fit(3, 3), most_blocks = std::max(ample, fit(2, 1));
  const int64_t want = p.wanted_m > 0 ? ceil_div(p.wanted_m, most) : std::max(ample, std::min<int64_t>(2, most_blocks));
  p.together = p.keep ? 1 : std::clamp<int64_t>(std::min(most_blocks, want), 1, all);
  p.ahead = fit(2, 1) >= p.together;
  p.block_rows = std::min(p.over(p.bs) * p.over(p.ms), p.together * most);
}

void Mapper::emit_product(const Step& s, Product& p) {
  const Operand &x = p.nest.operands[0], &y = p.nest.operands[2];
  p.epilogue = expression(s);
  p.bs = axes_of(p.nest, 'B'), p.ms = axes_of(p.nest, 'M'), p.ns = axes_of(p.nest, 'N'), p.ks = axes_of(p.nest, 'K');
  // what moves is read along its dense axis: others step over more than a port's width
  const auto inner_last = [](std::vector<int>& axes, const Operand& o) {
    std::stable_sort(axes.begin(), axes.end(), [&](int a, int b) { return o.strides[static_cast<size_t>(a)] > o.strides[static_cast<size_t>(b)]; });
  };
  inner_last(p.ms, x);
  if (!p.weight) inner_last(p.ns, p.nest.operands[1]);
  plan_weight(p);
  p.block_rows = p.over(p.ms);
  p.out = target(y.item, y.placement);
  const int64_t unheld = (held(x, precision_) ? 0 : place_bytes(x.total, x.placement, precision_)) + beside_bytes(p);
  p.streamed = p.out.image >= 0 || unheld > budget_ / 4;
  const bool parts = p.weight && (p.streamed || !p.keep);
  if (parts) plan_parts(p);
  else plan_blocks(p);
  choice(std::string("stationary=") + (p.features ? "features" : "rows") + " n=" + std::to_string(p.chunk_columns) + " m=" + std::to_string(p.block_rows) +
         (!p.weight ? "" : resident_ ? " weights=resident" : p.keep ? " weights=kept" : " weights=streamed"));
  if (parts) emit_parts(p);
  else emit_blocks(p);
  for (int64_t c = 0; c < p.chunks; ++c) drop_piece(p, c);
}

void Mapper::emit_blocks(Product& p) {
  for (const Box& block : p.blocks) {
    hold_block(p, block);
    for (const Box& batch : boxes(block, p.bs, 1, [](int) { return true; })) product_block(p, batch);
    target_done(p.out, p.nest, 2, block, p.yp);
    done();
  }
  drop_features(p);
}

// The rows of a block.
void Mapper::hold_rows(Product& p, RowBlock& part) {
  if (part.x.buffer >= 0) return;
  const Operand& x = p.nest.operands[0];
  const Window w = window(x, part.box);
  part.x = hold(x.item, x.placement, precision_, p.streamed ? &w : nullptr);
  if (part.x.temporary) {  // what it came through is not wanted any more
    part.owned = {part.x.buffer};
    std::erase(temporaries_, part.x.buffer);
  }
  done();
}

// The place of its result in the chunks of a group from c on, and the operands beside it.
void Mapper::hold_group(Product& p, RowBlock& part, int64_t c) {
  const Operand& y = p.nest.operands[2];
  Box& group = part.group = chunk_box(p, part.box, c);
  if (!p.ns.empty()) group.size[static_cast<size_t>(p.ns[0])] = std::min(p.extent(p.ns[0]), (c + p.group) * p.chunk) - c * p.chunk;
  part.y = target_block(p.out, y.item, y.placement, window(y, group));
  part.beside.clear();
  for (size_t e = 3; e < p.nest.operands.size(); ++e) part.beside.push_back(hold_operand(p.nest.operands[e], p.streamed ? &group : nullptr));
  part.beside_owned = std::exchange(temporaries_, {});
}

// One block of rows by one chunk of the weight.
void Mapper::multiply_rows(Product& p, RowBlock& part, int64_t c) {
  const auto release = [&](std::vector<int32_t>& buffers) {
    for (const int32_t b : buffers) emit_.release(b);
    buffers.clear();
  };
  hold_rows(p, part);
  if (c % p.group == 0) hold_group(p, part, c);
  weight_piece(p, c);
  p.xp = part.x;
  p.yp = part.y;
  p.ep = part.beside;
  p.k_boxes = row_boxes(p.nest, 0, p.xp, part.box, p.ks, p.k_axis);
  for (const Box& batch : boxes(chunk_box(p, part.box, c), p.bs, 1, [](int) { return true; })) product_chunk(p, batch, c);
  done();
  if ((c + 1) % p.group == 0 || c + 1 == p.chunks) {
    target_done(p.out, p.nest, 2, part.group, part.y);
    release(part.beside_owned);
  }
  if (c + 1 == p.chunks) release(part.owned);
}

// Blocks of rows in groups: chunk by chunk over those of a group; the next group's come in one ahead of those that leave.
void Mapper::emit_parts(Product& p) {
  const auto group_at = [&](size_t first) {
    std::vector<RowBlock> parts(std::min(p.blocks.size() - std::min(first, p.blocks.size()), static_cast<size_t>(p.together)));
    for (size_t k = 0; k < parts.size(); ++k) parts[k].box = p.blocks[first + k];
    return parts;
  };
  std::vector<RowBlock> parts = group_at(0), next;
  for (size_t first = 0; first < p.blocks.size(); first += static_cast<size_t>(p.together)) {
    next = group_at(first + static_cast<size_t>(p.together));
    for (int64_t c = 0; c < p.chunks; ++c) {
      const bool leaves = c + 1 == p.chunks && p.ahead;
      if (leaves && !next.empty()) hold_rows(p, next[0]);
      for (size_t k = 0; k < parts.size(); ++k) {
        multiply_rows(p, parts[k], c);
        if (leaves && k + 1 < next.size()) hold_rows(p, next[k + 1]);
      }
      if (!p.keep) drop_piece(p, c);
    }
    parts = std::move(next);
  }
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

// Tiles of a block, rows outside, so that what follows may begin.
void Mapper::product_block(Product& p, const Box& block) {
  for (const Box& b : product_rows(p, block))
    for (int64_t c = 0; c < p.chunks; ++c) {
      if (p.weight) weight_piece(p, c);
      product_features(p, chunk_box(p, b, c), c);
    }
}

// Tiles of a block within one chunk of the weight.
void Mapper::product_chunk(Product& p, const Box& block, int64_t c) {
  for (const Box& b : product_rows(p, block)) product_features(p, b, c);
}

// Whether an axis is taken step by step: it runs over partitions where it should lie free.
bool Mapper::product_single(const Product& p, int axis) const {
  const Nest& n = p.nest;
  const auto u = static_cast<size_t>(axis);
  if (n.extents[u] == 1) return false;
  if (free_stride(n.operands[2].digits[u], p.yp, partitions_) < 0) return true;
  if (n.tags[u] == 'M' && free_stride(n.operands[0].digits[u], p.xp, partitions_) < 0) return true;
  return n.tags[u] == 'N' && !p.weight && free_stride(n.operands[1].digits[u], p.fp, partitions_) < 0;
}

std::vector<Box> Mapper::product_rows(const Product& p, const Box& block) const {
  if (!p.features) return row_boxes(p.nest, 2, p.yp, block, p.ms, p.out_axis);
  return boxes(block, p.ms, most_moving(), [&](int a) { return product_single(p, a); });
}

void Mapper::product_features(Product& p, const Box& block, int64_t c) {
  const auto single = [&](int a) { return product_single(p, a); };
  for (const Box& t : p.features ? row_boxes(p.nest, 2, p.yp, block, p.ns, p.out_axis) : boxes(block, p.ns, most_moving(), single)) product_tile(p, t, c);
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
