// device/chip/expand_index.cc — positions that data decide: gathers of any form as rows by one index, scatters as rows at one index, slices and updates
// at computed starts as gathers and selections. Index arithmetic is in i32 after the clamp, exact.
#include <algorithm>
#include <numeric>

#include "device/chip/expand_rules.h"
#include "device/chip/step_maker.h"

namespace bascule::device::chip {
namespace {

constexpr int64_t kMostRows = int64_t{1} << 24;  // indices that engines of f32 compute exactly

bool has(const Ints& list, int64_t x) { return std::find(list.begin(), list.end(), x) != list.end(); }
Ints ints_or_none(const Node& n, std::string_view name) { return n.attrs.has(name) ? n.attrs.ints(name) : Ints(); }
std::string text_or(const Node& n, std::string_view name, std::string_view otherwise) { return n.attrs.has(name) ? n.attrs.text(name) : std::string(otherwise); }

std::optional<int64_t> constant_start(const Graph& g, Value v) {
  const Tensor* t = g.constant(v);
  return t ? std::optional(t->integer(0)) : std::nullopt;
}

Value clamped(Builder& b, Value start, int64_t most) { return b.clamp(0, start, static_cast<double>(most)); }

int64_t product(const std::vector<int64_t>& v) { return std::accumulate(v.begin(), v.end(), int64_t{1}, std::multiplies<>()); }

// Where windows lie in an operand, for gather and scatter alike: each row axis of the operand has a position that the indices give; the other axes are
// whole and form the rows' contents.
struct Windows {
  Ints position_axes;              // of the index tensor
  Ints index_map, batching, index_batching;
  int64_t vector_axis = 0;
  std::vector<int64_t> operand, window;  // extents
  std::vector<bool> row;           // operand axis whose position is computed
  Ints order;                      // operand axes, row axes first

  Windows(const std::vector<int64_t>& x, std::vector<int64_t> w, Ints map, Ints batching_, Ints index_batching_, int64_t vector_axis_, size_t index_rank)
      : index_map(std::move(map)), batching(std::move(batching_)), index_batching(std::move(index_batching_)), vector_axis(vector_axis_), operand(x), window(std::move(w)) {
    for (size_t a = 0; a < index_rank; ++a)
      if (static_cast<int64_t>(a) != vector_axis) position_axes.push_back(static_cast<int64_t>(a));
    for (size_t d = 0; d < x.size(); ++d) row.push_back(has(index_map, static_cast<int64_t>(d)) || has(batching, static_cast<int64_t>(d)) || window[d] != x[d]);
    for (const bool rows : {true, false})
      for (size_t d = 0; d < x.size(); ++d)
        if (row[d] == rows) order.push_back(static_cast<int64_t>(d));
  }
  // Extents of the positions, then of the windows of row axes.
  std::vector<int64_t> index_dims(const std::vector<int64_t>& index) const {
    std::vector<int64_t> out;
    for (const int64_t a : position_axes) out.push_back(index[static_cast<size_t>(a)]);
    for (size_t d = 0; d < row.size(); ++d)
      if (row[d]) out.push_back(window[d]);
    return out;
  }
  int64_t rows() const {
    int64_t n = 1;
    for (size_t d = 0; d < row.size(); ++d)
      if (row[d]) n *= operand[d];
    return n;
  }
};

struct RowIndex {
  Value index;   // of index_dims(), i32, in range; where not valid: 0
  Value valid;   // i1 of the same extents; none: all are
};

enum class Outside { moved, window, element };  // what is out of range: the window is moved inside, is no window, or only the element is none

// The row that each element of the windows lies in.
RowIndex row_index(Builder& b, const Windows& w, Value indices, Outside outside) {
  const auto index = *constants(b.dims(indices));
  const std::vector<int64_t> extents = w.index_dims(index);
  const Dims dims = to_dims(extents);
  const size_t positions = w.position_axes.size();
  Ints position_axes(positions);
  std::iota(position_axes.begin(), position_axes.end(), 0);
  if (info(b.dtype(indices)).bits < 32) indices = b.convert(indices, DType::i32);
  const DType wide = b.dtype(indices);
  RowIndex out;
  size_t window_axis = positions;
  for (size_t d = 0; d < w.operand.size(); ++d) {
    if (!w.row[d]) continue;
    const auto axis = static_cast<int64_t>(window_axis++);
    const int64_t extent = w.operand[d], size = w.window[d];
    const Value offset = size > 1 ? b.iota(DType::i32, dims, axis) : kNoValue;
    Value at = offset;
    if (const auto k = std::find(w.index_map.begin(), w.index_map.end(), static_cast<int64_t>(d)); k != w.index_map.end()) {
      const int64_t which = k - w.index_map.begin();
      Value start = indices;
      if (w.vector_axis < b.rank(indices)) start = b.squeeze(b.slice_axis(indices, w.vector_axis, which, which + 1), {w.vector_axis});
      const auto require = [&](Value x, int64_t most) {
        const Value inside = b.logical_and(b.compare(x, 0, "GE"), b.compare(x, static_cast<double>(most), "LE"));
        out.valid = out.valid ? b.logical_and(out.valid, inside) : inside;
      };
      if (outside == Outside::element) {
        Value full = b.broadcast_in_dim(start, dims, position_axes);
        if (offset) full = b.add(full, b.iota(wide, dims, axis));
        require(full, extent - 1);
        at = b.convert(clamped(b, full, extent - 1), DType::i32);
      } else {
        if (outside == Outside::window) require(b.broadcast_in_dim(start, dims, position_axes), extent - size);
        const Value first = b.convert(clamped(b, start, extent - size), DType::i32);
        const Value full = b.broadcast_in_dim(first, dims, position_axes);
        at = offset ? b.add(full, offset) : full;
      }
    } else if (const auto at_batch = std::find(w.batching.begin(), w.batching.end(), static_cast<int64_t>(d)); at_batch != w.batching.end()) {
      const int64_t a = w.index_batching[static_cast<size_t>(at_batch - w.batching.begin())];
      at = b.iota(DType::i32, dims, std::find(w.position_axes.begin(), w.position_axes.end(), a) - w.position_axes.begin());
    }
    // row = (... * extent + at)
    if (out.index && extent > 1) out.index = b.multiply(out.index, static_cast<double>(extent));
    if (at) out.index = out.index ? b.add(out.index, at) : at;
  }
  if (!out.index) out.index = b.full(dims, DType::i32, 0);
  return out;
}

// ---- gather

Windows gather_windows(const Graph& g, const Node& n) {
  return {*constants(g.type(n.inputs[0]).dims), n.attrs.static_dims("slice_sizes"), n.attrs.ints("start_index_map"), ints_or_none(n, "operand_batching_dims"),
          ints_or_none(n, "start_indices_batching_dims"), n.attrs.integer("index_vector_dim"), g.type(n.inputs[1]).rank()};
}

std::string refuse_gather(const Graph& g, const Node& n) {
  for (const Value v : n.inputs)
    if (!g.type(v).is_tensor() || !g.type(v).ranked) return "a value whose rank is only known at run time";
  const bool drop = text_or(n, "out_of_bounds", "clamp") == "drop";
  if ((row_gather(g, n) && !drop) || (all_static(g, n) && even_gather(g, n))) return std::string(kAsItIs);
  if (!all_static(g, n)) return "";
  const Windows w = gather_windows(g, n);
  const int64_t elements = element_count(w.operand);
  if (elements == 0 || g.type(n.outputs[0]).elements_count().is(0)) return std::string(kAsItIs);
  return elements < 0 || w.rows() > kMostRows ? "more than 2^24 rows to gather from" : "";
}

Values apply_gather(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Graph& g = r.old();
  const Windows w = gather_windows(g, n);
  const RowIndex index = row_index(b, w, r(n.inputs[1]), text_or(n, "out_of_bounds", "clamp") == "drop" ? Outside::window : Outside::moved);
  Value x = b.transpose(r(n.inputs[0]), w.order);
  const size_t rows = static_cast<size_t>(std::count(w.row.begin(), w.row.end(), true));
  std::vector<int64_t> content;  // extents of the whole axes
  for (size_t k = rows; k < w.order.size(); ++k) content.push_back(w.operand[static_cast<size_t>(w.order[k])]);
  x = b.reshape(x, to_dims({w.rows(), product(content)}));
  const std::vector<int64_t> found = *constants(b.dims(index.index));
  Value y = take_rows(b, x, b.reshape(index.index, to_dims({product(found)})), 0);
  if (index.valid) {
    const Value valid = b.broadcast_in_dim(b.reshape(index.valid, to_dims({product(found)})), b.dims(y), {0});
    y = b.select(valid, y, 0);
  }
  // [positions..., windows of row axes..., whole axes...] -> the result's order: windows stand at offset_dims in the operand's order.
  std::vector<int64_t> made = found;
  made.insert(made.end(), content.begin(), content.end());
  y = b.reshape(y, to_dims(made));
  const Ints& offsets = n.attrs.ints("offset_dims");
  const Ints collapsed = ints_or_none(n, "collapsed_slice_dims");
  Ints window_at;  // axis of y for each offset dim, in the operand's order
  size_t row_seen = 0, content_seen = 0;
  std::vector<bool> dropped(made.size(), false);
  for (size_t d = 0; d < w.row.size(); ++d) {
    const size_t axis = w.row[d] ? w.position_axes.size() + row_seen++ : found.size() + content_seen++;
    if (has(collapsed, static_cast<int64_t>(d)) || has(w.batching, static_cast<int64_t>(d))) dropped[axis] = true;
    else window_at.push_back(static_cast<int64_t>(axis));
  }
  Ints order;
  size_t position = 0, window = 0;
  const Dims& result = g.type(n.outputs[0]).dims;
  for (size_t a = 0; a < result.size(); ++a) order.push_back(has(offsets, static_cast<int64_t>(a)) ? window_at[window++] : static_cast<int64_t>(position++));
  for (size_t a = 0; a < made.size(); ++a)
    if (dropped[a]) order.push_back(static_cast<int64_t>(a));  // extents of 1
  return {b.reshape(b.transpose(y, order), result)};
}

// ---- scatter: y = x; y[index[u], ...] = fold(y[...], updates[u, ...])

Windows scatter_windows(const Graph& g, const Node& n) {
  const auto x = *constants(g.type(n.inputs[0]).dims), u = *constants(g.type(n.inputs[2]).dims);
  const Ints& window_dims = n.attrs.ints("update_window_dims");
  const Ints inserted = ints_or_none(n, "inserted_window_dims"), batching = ints_or_none(n, "input_batching_dims");
  std::vector<int64_t> window;
  size_t next = 0;
  for (size_t d = 0; d < x.size(); ++d)
    window.push_back(has(inserted, static_cast<int64_t>(d)) || has(batching, static_cast<int64_t>(d)) || next >= window_dims.size() ? 1 : u[static_cast<size_t>(window_dims[next++])]);
  return {x, std::move(window), n.attrs.ints("scatter_dims_to_operand_dims"), batching, ints_or_none(n, "scatter_indices_batching_dims"), n.attrs.integer("index_vector_dim"), g.type(n.inputs[1]).rank()};
}

std::string refuse_scatter(const Graph& g, const Node& n) {
  if (row_scatter(g, n)) return std::string(kAsItIs);
  if (n.inputs.size() != 3) return "several values written at once";
  for (const Value v : n.inputs)
    if (!g.type(v).is_tensor() || !g.type(v).ranked) return "a value whose rank is only known at run time";
  if (!scatter_fold(g, n)) return "writes combined by other than assignment, sum, maximum or minimum";
  if (!all_static(g, n)) return "";
  const Windows w = scatter_windows(g, n);
  return element_count(w.operand) < 0 || w.rows() > kMostRows ? "more than 2^24 rows to write to" : "";
}

Values apply_scatter(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Graph& g = r.old();
  if (g.type(n.inputs[0]).elements_count().is(0) || g.type(n.inputs[2]).elements_count().is(0)) return {r(n.inputs[0])};
  const Windows w = scatter_windows(g, n);
  const RowIndex index = row_index(b, w, r(n.inputs[1]), text_or(n, "out_of_bounds", "drop") == "clamp" ? Outside::moved : Outside::element);
  const size_t rows = static_cast<size_t>(std::count(w.row.begin(), w.row.end(), true));
  std::vector<int64_t> lying, content;  // of the operand with row axes first
  for (size_t k = 0; k < w.order.size(); ++k) {
    lying.push_back(w.operand[static_cast<size_t>(w.order[k])]);
    if (k >= rows) content.push_back(lying.back());
  }
  // updates: [positions..., windows of row axes..., whole axes...]
  const Ints& window_dims = n.attrs.ints("update_window_dims");
  const Ints inserted = ints_or_none(n, "inserted_window_dims");
  Ints order;
  for (int64_t a = 0; a < b.rank(r(n.inputs[2])); ++a)
    if (!has(window_dims, a)) order.push_back(a);
  for (const bool row : {true, false}) {
    size_t next = 0;
    for (size_t d = 0; d < w.row.size(); ++d) {
      if (has(inserted, static_cast<int64_t>(d)) || has(w.batching, static_cast<int64_t>(d))) continue;
      const int64_t axis = window_dims[next++];
      if (w.row[d] == row) order.push_back(axis);
    }
  }
  const std::vector<int64_t> found = *constants(b.dims(index.index));
  Value at = b.reshape(index.index, to_dims({product(found)}));
  if (index.valid) at = b.select(b.reshape(index.valid, to_dims({product(found)})), at, -1);
  const Value x = b.reshape(b.transpose(r(n.inputs[0]), w.order), to_dims({w.rows(), product(content)}));
  const Value u = b.reshape(b.transpose(r(n.inputs[2]), order), to_dims({product(found), product(content)}));
  const Value y = b.ops("scatter", {x, at, u},
                        {{"update_window_dims", Ints{1}},
                         {"inserted_window_dims", Ints{0}},
                         {"scatter_dims_to_operand_dims", Ints{0}},
                         {"index_vector_dim", int64_t{1}},
                         {"out_of_bounds", std::string("drop")}},
                        n.regions)[0];
  return {b.transpose(b.reshape(y, to_dims(lying)), inverse(w.order))};
}

// ---- dynamic slices

std::string refuse_none(const Graph&, const Node&) { return ""; }

Values apply_dynamic_slice(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  Value x = r(n.inputs[0]);
  const auto size = n.attrs.static_dims("slice_sizes");
  for (size_t a = 0; a < size.size(); ++a) {
    const auto axis = static_cast<int64_t>(a);
    const int64_t extent = b.dim(x, axis).value();
    if (size[a] == extent) continue;
    if (const auto s = constant_start(r.old(), n.inputs[a + 1])) {
      const int64_t from = std::clamp<int64_t>(*s, 0, extent - size[a]);
      x = b.slice_axis(x, axis, from, from + size[a]);
      continue;
    }
    const Value start = clamped(b, r(n.inputs[a + 1]), extent - size[a]);
    x = take_rows(b, x, b.add(b.iota(b.dtype(start), {size[a]}, 0), start), axis);
  }
  return {x};
}

// x with u written at the starts of the axes from `a` on.
Value updated(passes::Rewriter& r, const Node& n, Value x, Value u, size_t a) {
  Builder& b = r.builder();
  if (a == n.inputs.size() - 2) return u;
  const auto axis = static_cast<int64_t>(a);
  const int64_t extent = b.dim(x, axis).value(), size = b.dim(u, axis).value();
  if (size == extent) return updated(r, n, x, u, a + 1);
  if (const auto s = constant_start(r.old(), n.inputs[a + 2])) {
    const int64_t from = std::clamp<int64_t>(*s, 0, extent - size);
    Values parts;
    if (from > 0) parts.push_back(b.slice_axis(x, axis, 0, from));
    parts.push_back(updated(r, n, b.slice_axis(x, axis, from, from + size), u, a + 1));
    if (from + size < extent) parts.push_back(b.slice_axis(x, axis, from + size, extent));
    return b.concatenate(parts, axis);
  }
  // y[i] = u[i - start] where that is in [0, size), else x[i]
  const Value start = clamped(b, r(n.inputs[a + 2]), extent - size);
  const Value at = b.subtract(b.iota(b.dtype(start), {extent}, 0), start);
  const Value inside = b.logical_and(b.compare(at, 0, "GE"), b.compare(at, static_cast<double>(size), "LT"));
  const Value written = updated(r, n, x, take_rows(b, u, b.clamp(0, at, static_cast<double>(size - 1)), axis), a + 1);
  return b.select(b.broadcast_in_dim(inside, b.dims(x), {axis}), written, x);
}

// An update much smaller than the operand, as of key and value caches: its rows (the axes behind the last that is not whole) written at their positions.
std::optional<Values> updated_rows(passes::Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  const auto x = *constants(g.type(n.inputs[0]).dims), u = *constants(g.type(n.inputs[1]).dims);
  if (element_count(x) < 0) return std::nullopt;
  size_t row_axes = 0;
  bool computed = false;
  for (size_t a = 0; a < x.size(); ++a)
    if (x[a] != u[a]) row_axes = a + 1, computed = computed || !constant_start(g, n.inputs[a + 2]);
  int64_t rows = 1, updates = 1, content = 1;
  for (size_t a = 0; a < x.size(); ++a) (a < row_axes ? rows : content) *= x[a];
  for (size_t a = 0; a < row_axes; ++a) updates *= u[a];
  constexpr int64_t kShortRows = 16, kMostShortRows = 4096;  // each row is a transfer of its own
  if (!computed || rows > kMostRows || updates * 4 > rows || (content < kShortRows && updates > kMostShortRows)) return std::nullopt;
  Builder& b = r.builder();
  const Dims dims = to_dims(std::vector<int64_t>(u.begin(), u.begin() + static_cast<std::ptrdiff_t>(row_axes)));
  Value index;
  for (size_t a = 0; a < row_axes; ++a) {
    const auto axis = static_cast<int64_t>(a);
    Value at = u[a] > 1 ? b.iota(DType::i32, dims, axis) : kNoValue;
    if (x[a] != u[a]) {
      const auto s = constant_start(g, n.inputs[a + 2]);
      const Value start = s ? b.constant(Tensor::scalar_int(DType::i32, std::clamp<int64_t>(*s, 0, x[a] - u[a]))) : b.convert(clamped(b, r(n.inputs[a + 2]), x[a] - u[a]), DType::i32);
      const Value full = b.broadcast_in_dim(start, dims, {});
      at = at ? b.add(at, full) : full;
    }
    if (index && x[a] > 1) index = b.multiply(index, static_cast<double>(x[a]));
    if (at) index = index ? b.add(index, at) : at;
  }
  Builder assign("assign");
  const DType t = g.type(n.inputs[0]).dtype;
  assign.input(Type::tensor(t, {}));
  const Value second = assign.input(Type::tensor(t, {}));
  const Value y = b.ops("scatter", {b.reshape(r(n.inputs[0]), {rows, content}), b.reshape(index, {updates}), b.reshape(r(n.inputs[1]), {updates, content})},
                        {{"update_window_dims", Ints{1}},
                         {"inserted_window_dims", Ints{0}},
                         {"scatter_dims_to_operand_dims", Ints{0}},
                         {"index_vector_dim", int64_t{1}},
                         {"out_of_bounds", std::string("drop")}},
                        {std::make_shared<const Graph>(assign.finish({second}))})[0];
  return Values{b.reshape(y, g.type(n.outputs[0]).dims)};
}

Values apply_dynamic_update_slice(passes::Rewriter& r, const Node& n) {
  for (const Dim& d : r.old().type(n.inputs[1]).dims)
    if (d.is(0)) return {r(n.inputs[0])};
  if (auto rows = updated_rows(r, n)) return *rows;
  return {updated(r, n, r(n.inputs[0]), r(n.inputs[1]), 0)};
}

}  // namespace

Value take_rows(Builder& b, Value x, Value index, int64_t axis) {
  Dims window = b.dims(x);
  window[static_cast<size_t>(axis)] = 1;
  Ints offsets;
  for (int64_t a = 0; a < b.rank(x); ++a)
    if (a != axis) offsets.push_back(a);
  return b.op("gather", {x, index},
              {{"offset_dims", offsets},
               {"collapsed_slice_dims", Ints{axis}},
               {"start_index_map", Ints{axis}},
               {"index_vector_dim", int64_t{1}},
               {"slice_sizes", window}});
}

std::vector<ExpansionRule> index_rules() {
  return {{"gather", refuse_gather, apply_gather},
          {"scatter", refuse_scatter, apply_scatter},
          {"dynamic_slice", refuse_none, apply_dynamic_slice},
          {"dynamic_update_slice", refuse_none, apply_dynamic_update_slice}};
}

}  // namespace bascule::device::chip
