// import/onnx/movement.cc — operators that move, shape and select elements without arithmetic on them.
#include <algorithm>
#include <numeric>

#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

// ---- shapes

Dims part(const Dims& d, int64_t from, int64_t to) { return {d.begin() + from, d.begin() + to}; }

// start, end of a Shape operator: clamped to the rank, negative from the end.
int64_t shape_bound(int64_t i, int64_t rank) { return std::clamp(i < 0 ? i + rank : i, int64_t{0}, rank); }

Results shape(NodeContext& n, Builder& b, int64_t start, int64_t end) {
  const Dims d = b.dims(n.in(0));
  const auto rank = static_cast<int64_t>(d.size());
  const int64_t from = shape_bound(start, rank), to = std::max(from, shape_bound(end, rank));
  return b.sizes(part(d, from, to));
}

Results reshape(NodeContext& n, Builder& b, Dims target, bool allow_zero) {
  const Value x = n.in(0);
  const Dims& from = b.dims(x);
  std::optional<size_t> inferred;
  bool zero = false;
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i].is(-1)) {
      if (inferred) n.fail("at most one -1 in shape", text(target));
      inferred = i;
      target[i] = 1;
    } else if (target[i].is(0) && !allow_zero) {
      if (i >= from.size()) n.fail("0 in shape only where the input has an axis", text(target) + " for " + b.type(x).text());
      target[i] = from[i];
    } else if (target[i].is_constant() && target[i].value() < -1) {
      n.fail("sizes of -1 or more", text(target));
    }
    zero |= target[i].is(0);
  }
  if (inferred) {
    if (zero && allow_zero) n.fail("no -1 beside a size of 0 when allowzero is set", text(target));
    const Dim rest = product(target), all = product(from);
    if (rest.is(0)) {
      target[*inferred] = 0;
    } else {
      if (rest.is_constant() && all.is_constant() && all.value() % rest.value() != 0) n.fail("a multiple of " + rest.text() + " elements", b.type(x).text());
      target[*inferred] = Dim::floor_div(all, rest);
    }
  }
  return b.reshape(x, target);
}

Results squeeze(NodeContext& n, Builder& b, std::optional<Ints> axes) {
  const Value x = n.in(0);
  const Dims& d = b.dims(x);
  if (!axes) {
    axes.emplace();
    for (size_t i = 0; i < d.size(); ++i) {
      if (!d[i].is_constant()) throw NeedsRun{0, false};  // whether this size is 1 only the run knows
      if (d[i].is(1)) axes->push_back(static_cast<int64_t>(i));
    }
  }
  for (int64_t a : n.axes(*axes, b.rank(x)))
    if (b.dim(x, a).is_constant() && !b.dim(x, a).is(1)) n.fail("a size of 1 on axis " + std::to_string(a), b.type(x).text());
  return b.squeeze(x, *axes);
}

Results unsqueeze(NodeContext& n, Builder& b, const Ints& axes) {
  const Value x = n.in(0);
  return b.unsqueeze(x, n.axes(axes, b.rank(x) + static_cast<int64_t>(axes.size())));
}

// y = x repeated r[i] times along axis i: [d] -> [1, d] -> [r, d] -> [r*d] on every axis.
Value tile(Builder& b, Value x, const Dims& repeats) {
  const Dims& d = b.dims(x);
  Dims wide, out;
  Ints axes;
  for (size_t i = 0; i < d.size(); ++i) {
    if (!repeats[i].is(1)) wide.push_back(repeats[i]);
    axes.push_back(static_cast<int64_t>(wide.size()));
    wide.push_back(d[i]);
    out.push_back(repeats[i] * d[i]);
  }
  return b.reshape(b.broadcast_in_dim(x, wide, axes), out);
}

// ---- parts

// The clamped start and limit of a slice with a positive step, for starts and ends as ONNX writes them.
Dim slice_bound(const Dim& i, const Dim& extent) {
  if (i.never_negative()) return Dim::min(i, extent);
  if (i.is_constant()) return i.value() <= -INT32_MAX ? Dim(0) : Dim::max(extent + i, 0);
  const Dim negative = Dim::min(1, Dim::max(0, Dim(0) - i));  // 1 where i < 0
  return Dim::max(0, Dim::min(i + extent * negative, extent));
}

// One axis of a slice with a negative step: the axis reversed, then from the end.
Dim reversed_bound(const Dim& i, const Dim& extent) {
  // position p in [-1, extent-1] of x is extent-1-p in the reversed axis
  if (i.is_constant() && i.value() < 0) {
    if (i.value() <= -INT32_MAX) return extent;  // before the first of any size that fits memory
    return Dim::min(Dim(-1 - i.value()), extent);
  }
  if (i.never_negative()) return Dim::max(extent - 1 - i, 0);
  const Dim negative = Dim::min(1, Dim::max(0, Dim(0) - i));
  return Dim::max(0, Dim::min(extent - 1 - (i + extent * negative), extent));
}

Results slice(NodeContext& n, Builder& b, const Dims& starts, const Dims& ends, const Ints& axes, const Ints& steps) {
  Value x = n.in(0);
  if (starts.size() != ends.size() || axes.size() != starts.size() || steps.size() != starts.size()) {
    n.fail("starts, ends, axes and steps of one length",
           std::to_string(starts.size()) + ", " + std::to_string(ends.size()) + ", " + std::to_string(axes.size()) + ", " + std::to_string(steps.size()));
  }
  const Ints at = n.axes(axes, b.rank(x));
  Dims low(b.dims(x).size(), Dim(0)), high = b.dims(x);
  Ints strides(low.size(), 1), reversed;
  for (size_t k = 0; k < at.size(); ++k) {
    const auto a = static_cast<size_t>(at[k]);
    const Dim extent = b.dims(x)[a];
    if (steps[k] == 0) n.fail("steps other than 0", "0 on axis " + std::to_string(at[k]));
    if (steps[k] > 0) {
      low[a] = slice_bound(starts[k], extent);
      // INT_MAX and above mean "to the end" for every size that fits memory
      high[a] = ends[k].is_constant() && ends[k].value() >= INT32_MAX ? extent : slice_bound(ends[k], extent);
      strides[a] = steps[k];
    } else {
      reversed.push_back(at[k]);
      low[a] = starts[k].is_constant() && starts[k].value() >= INT32_MAX ? Dim(0) : reversed_bound(starts[k], extent);
      high[a] = reversed_bound(ends[k], extent);
      strides[a] = steps[k] == INT64_MIN ? INT64_MAX : -steps[k];
    }
    high[a] = Dim::max(low[a], high[a]);
    strides[a] = std::min(strides[a], int64_t{1} << 48);  // beyond any extent: one element either way, and no sum overflows
  }
  return b.slice(b.reverse(x, reversed), low, high, strides);
}

Results split(NodeContext& n, Builder& b, const Dims& sizes, int64_t axis) {
  const Value x = n.in(0);
  if (sizes.size() != n.outputs()) n.fail("one size for each of the " + std::to_string(n.outputs()) + " outputs", std::to_string(sizes.size()) + " sizes");
  Values out;
  Dim at = 0;
  for (const Dim& s : sizes) {
    if (s.is_constant() && s.value() < 0) n.fail("sizes of 0 or more", s.text());
    out.push_back(b.slice_axis(x, axis, at, at + s));
    at = at + s;
  }
  const Dim extent = b.dim(x, axis);
  if (at.is_constant() && extent.is_constant() && !(at == extent)) n.fail("sizes that add up to " + extent.text(), at.text());
  return out;
}

Dims equal_parts(NodeContext& n, const Dim& extent) {
  const auto count = static_cast<int64_t>(n.outputs());
  if (extent.is_constant() && extent.value() % count != 0) n.fail("a size that " + std::to_string(count) + " parts divide", extent.text());
  return Dims(n.outputs(), Dim::floor_div(extent, count));
}

// ---- padding

enum class PadMode { constant, reflect, edge, wrap };

PadMode pad_mode(NodeContext& n) {
  const std::string mode = n.text("mode", "constant");
  if (mode == "constant") return PadMode::constant;
  if (mode == "reflect") return PadMode::reflect;
  if (mode == "edge") return PadMode::edge;
  if (mode == "wrap" && n.version >= 19) return PadMode::wrap;
  n.fail("mode constant, reflect, edge or (from version 19) wrap", "'" + mode + "'");
}

// Source positions of one padded axis of extent d: out positions 0 .. low+d+high-1.
Value pad_positions(Builder& b, PadMode mode, const Dim& d, const Dim& low, const Dim& high) {
  const Value at = b.subtract(b.iota(DType::i64, {low + d + high}, 0), b.size(low));
  const Value extent = b.size(d);
  if (mode == PadMode::edge) return b.maximum(b.minimum(at, b.subtract(extent, 1)), 0);
  const auto floor_mod = [&](Value p) {  // remainder has the sign of the dividend
    return [&b, p](Value x) { return b.remainder(b.add(b.remainder(x, p), p), p); };
  };
  if (mode == PadMode::wrap) return floor_mod(extent)(at);
  const Value period = b.maximum(b.multiply(b.subtract(extent, 1), 2), 1);  // 0 1 2 | 1 0 | ...; a size of 1 repeats itself
  const Value m = floor_mod(period)(at);
  return b.minimum(m, b.subtract(period, m));
}

Results pad(NodeContext& n, Builder& b, const Dims& pads, Ints axes, std::optional<Operand> fill) {
  Value x = n.in(0);
  const int64_t rank = b.rank(x);
  axes = n.axes(axes, rank);
  if (pads.size() != axes.size() * 2) n.fail(std::to_string(axes.size() * 2) + " pads", std::to_string(pads.size()));
  const PadMode mode = pad_mode(n);
  Dims low(static_cast<size_t>(rank), Dim(0)), high = low;
  for (size_t k = 0; k < axes.size(); ++k) {
    low[static_cast<size_t>(axes[k])] = pads[k];
    high[static_cast<size_t>(axes[k])] = pads[k + axes.size()];
  }
  if (mode == PadMode::constant) {
    if (is_string(b.dtype(x)) && !fill) fill = b.constant(Tensor(DType::string, {}));
    return b.pad(x, fill ? *fill : Operand(0), low, high);
  }
  for (int64_t a = 0; a < rank; ++a) {
    const auto i = static_cast<size_t>(a);
    // Negative pads crop first: what was cropped is not reflected back in.
    const Dim crop_low = Dim::max(0, Dim(0) - low[i]), crop_high = Dim::max(0, Dim(0) - high[i]);
    x = b.slice_axis(x, a, crop_low, b.dim(x, a) - crop_high);
    low[i] = Dim::max(low[i], 0);
    high[i] = Dim::max(high[i], 0);
    if (low[i].is(0) && high[i].is(0)) continue;
    if (b.dim(x, a).is(0)) n.fail("an axis of 1 or more elements to pad from", b.type(x).text());
    x = take(b, x, pad_positions(b, mode, b.dim(x, a), low[i], high[i]), a);
  }
  return x;
}

// ---- scatter

// How an update meets the element it replaces.
std::string scatter_body(NodeContext& n) {
  const std::string reduction = n.text("reduction", "none");
  if (reduction == "none") return "";
  if (reduction == "add") return "add";
  if (reduction == "mul") return "multiply";
  if (reduction == "max" && n.version >= 18) return "maximum";
  if (reduction == "min" && n.version >= 18) return "minimum";
  n.fail("reduction none, add, mul or (from version 18) max, min", "'" + reduction + "'");
}

std::shared_ptr<const Graph> scatter_region(const std::string& body, DType t) {
  if (!body.empty()) return Builder::scalar_region(body, t);
  Builder b("update");
  b.input(Type::tensor(t, {}), "old");
  const Value update = b.input(Type::tensor(t, {}), "new");
  return std::make_shared<const Graph>(b.finish({update}));
}

Results scatter_elements(NodeContext& n, Builder& b, const std::string& body) {
  const Value x = n.in(0), updates = n.in(2);
  const int64_t rank = b.rank(x), axis = n.axis(n.integer("axis", 0), rank);
  Value indices = n.in(1);
  if (b.rank(indices) != rank || b.rank(updates) != rank) n.fail("data, indices and updates of one rank", b.type(x).text() + ", " + b.type(indices).text() + ", " + b.type(updates).text());
  indices = from_end(b, indices, b.dim(x, axis));
  Ints all(static_cast<size_t>(rank));
  std::iota(all.begin(), all.end(), 0);
  Attrs attrs{{"update_window_dims", Ints{}},        {"inserted_window_dims", all},         {"input_batching_dims", Ints{}}, {"scatter_indices_batching_dims", Ints{}},
              {"scatter_dims_to_operand_dims", all}, {"index_vector_dim", rank},            {"out_of_bounds", std::string("error")}};
  return b.ops("scatter", {x, full_indices(b, indices, axis), updates}, attrs, {scatter_region(body, b.dtype(x))})[0];
}

// The last axis of indices holds k coordinates, counted from the end where negative.
Value nd_indices(Builder& b, Value indices, const Dims& extents) {
  if (is_unsigned_int(b.dtype(indices))) return indices;
  const Value sizes = b.sizes(extents, b.dtype(indices));
  return b.select(b.compare(indices, 0, "LT"), b.add(indices, sizes), indices);
}

Results scatter_nd(NodeContext& n, Builder& b, const std::string& body) {
  const Value x = n.in(0), updates = n.in(2);
  Value indices = n.in(1);
  const int64_t rank = b.rank(x), index_rank = b.rank(indices);
  if (index_rank < 1) n.fail("indices of rank 1 or more", b.type(indices).text());
  const auto k = b.dim(indices, -1).constant();
  if (!k) throw NeedsRun{1, false};
  if (*k > rank) n.fail("at most " + std::to_string(rank) + " coordinates in the last axis of indices", std::to_string(*k));
  if (b.rank(updates) != index_rank - 1 + rank - *k) n.fail("updates of rank " + std::to_string(index_rank - 1 + rank - *k), b.type(updates).text());
  indices = nd_indices(b, indices, part(b.dims(x), 0, *k));
  Ints inserted(static_cast<size_t>(*k)), window;
  std::iota(inserted.begin(), inserted.end(), 0);
  for (int64_t i = index_rank - 1; i < b.rank(updates); ++i) window.push_back(i);
  Attrs attrs{{"update_window_dims", window},         {"inserted_window_dims", inserted},  {"input_batching_dims", Ints{}}, {"scatter_indices_batching_dims", Ints{}},
              {"scatter_dims_to_operand_dims", inserted}, {"index_vector_dim", index_rank - 1}, {"out_of_bounds", std::string("error")}};
  return b.ops("scatter", {x, indices, updates}, attrs, {scatter_region(body, b.dtype(x))})[0];
}

// ---- selection

Results top_k(NodeContext& n, Builder& b, const Dim& k, bool largest) {
  const Value x = n.in(0);
  const int64_t rank = b.rank(x);
  if (rank == 0) n.fail("an input of rank 1 or more", b.type(x).text());
  const int64_t axis = n.axis(n.integer("axis", -1), rank);
  const Dim extent = b.dim(x, axis);
  if (k.is_constant() && (k.value() < 0 || (extent.is_constant() && k.value() > extent.value()))) n.fail("k from 0 to " + extent.text(), k.text());
  // Stable sort of (value, position) pairs: equal values keep the lower position first, as ONNX asks.
  Builder region("comparator");
  const Type element_type = Type::tensor(b.dtype(x), {}), position = Type::tensor(DType::i64, {});
  const Value left = region.input(element_type, "left"), right = region.input(element_type, "right");
  region.input(position, "left_at");
  region.input(position, "right_at");
  const Value first = region.op("compare", {left, right}, {{"comparison_direction", std::string(largest ? "GT" : "LT")}});
  const auto comparator = std::make_shared<const Graph>(region.finish({first}));
  const Value at = b.iota(DType::i64, b.dims(x), axis);
  const Values sorted = b.ops("sort", {x, at}, {{"dimension", axis}, {"is_stable", true}}, {comparator});
  return Values{b.slice_axis(sorted[0], axis, 0, k), b.slice_axis(sorted[1], axis, 0, k)};
}

Results one_hot(NodeContext& n, Builder& b) {
  Value indices = n.in(0);
  const Value values = n.in(2);
  Dim depth;
  if (is_float(n.dtype(1))) depth = static_cast<int64_t>(std::clamp(number_of(n, 1), -1.0, 9e15));
  else depth = n.size(1);
  if (!is_int(b.dtype(indices))) indices = b.convert(indices, DType::i64);
  if (b.rank(values) != 1 || (b.dim(values, 0).is_constant() && !b.dim(values, 0).is(2))) n.fail("values [off, on]", b.type(values).text());
  const int64_t axis = n.axis(n.integer("axis", -1), b.rank(indices) + 1);
  if (depth.is_constant() && depth.value() < 0) n.fail("a depth of 0 or more", depth.text());
  indices = b.unsqueeze(from_end(b, indices, depth), {axis});
  Dims out = b.dims(indices);
  out[static_cast<size_t>(axis)] = depth;
  const Value hot = b.compare(b.broadcast_to(indices, out), b.iota(b.dtype(indices), out, axis), "EQ");
  return b.select(hot, b.broadcast_to(element(b, values, 1), out), b.broadcast_to(element(b, values, 0), out));
}

bool crd_mode(NodeContext& n) {
  const std::string mode = n.text("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") n.fail("mode DCR or CRD", "'" + mode + "'");
  return mode == "CRD";
}

int64_t block_size(NodeContext& n) {
  const int64_t size = n.integer("blocksize");
  if (size < 1 || size > INT32_MAX) n.fail("a blocksize of 1 or more", std::to_string(size));
  return size;
}

void require_rank(NodeContext& n, Builder& b, Value x, int64_t rank) {
  if (b.rank(x) != rank) n.fail("an input of rank " + std::to_string(rank), b.type(x).text());
}

}  // namespace

ONNX_OP(Shape, 1) { return shape(n, b, 0, INT64_MAX); }
ONNX_OP(Shape, 15) { return shape(n, b, n.integer("start", 0), n.integer("end", INT64_MAX)); }
ONNX_OP(Size, 1) { return b.size(product(b.dims(n.in(0)))); }

ONNX_OP(Reshape, 1) {
  n.ignore("consumed_inputs");
  return reshape(n, b, to_dims(n.ints("shape", Ints{})), false);
}
ONNX_OP(Reshape, 5) { return reshape(n, b, n.sizes(1), false); }
ONNX_OP(Reshape, 14) { return reshape(n, b, n.sizes(1), n.flag("allowzero", false)); }

// y[prod(d[:axis]), prod(d[axis:])]
ONNX_OP(Flatten, 1) {
  const Value x = n.in(0);
  const int64_t rank = b.rank(x), given = n.integer("axis", 1);
  if (given < -rank || given > rank) n.fail("an axis in [" + std::to_string(-rank) + ", " + std::to_string(rank) + "]", std::to_string(given));
  const int64_t axis = given < 0 ? given + rank : given;
  return b.reshape(x, {product(part(b.dims(x), 0, axis)), product(part(b.dims(x), axis, rank))});
}

ONNX_OP(Squeeze, 1) { return squeeze(n, b, n.has_attr("axes") ? std::optional(n.ints("axes")) : std::nullopt); }
ONNX_OP(Squeeze, 13) { return squeeze(n, b, n.has(1) ? std::optional(n.constants(1)) : std::nullopt); }
ONNX_OP(Unsqueeze, 1) { return unsqueeze(n, b, n.ints("axes")); }
ONNX_OP(Unsqueeze, 13) { return unsqueeze(n, b, n.constants(1)); }

ONNX_OP(Expand, 8) {
  const Value x = n.in(0);
  return b.broadcast_to(x, b.broadcast_dims(b.dims(x), n.sizes(1)));
}

ONNX_OP(Tile, 1) {
  const Value x = n.in(0);
  const int64_t axis = n.axis(n.constant(2), b.rank(x));
  Dims repeats(b.dims(x).size(), Dim(1));
  repeats[static_cast<size_t>(axis)] = n.size(1);
  return tile(b, x, repeats);
}
ONNX_OP(Tile, 6) {
  const Value x = n.in(0);
  const Dims repeats = n.sizes(1);
  if (repeats.size() != b.dims(x).size()) n.fail("one repeat for each axis of " + b.type(x).text(), std::to_string(repeats.size()));
  for (const Dim& r : repeats)
    if (r.is_constant() && r.value() < 0) n.fail("repeats of 0 or more", r.text());
  return tile(b, x, repeats);
}

ONNX_OP(Transpose, 1) {
  const Value x = n.in(0);
  Ints backwards(b.dims(x).size());
  std::iota(backwards.rbegin(), backwards.rend(), 0);
  const Ints perm = n.ints("perm", backwards);
  if (perm.size() != backwards.size()) n.fail("perm of " + std::to_string(backwards.size()) + " axes", std::to_string(perm.size()));
  return b.transpose(x, n.axes(perm, b.rank(x)));
}

namespace {
Results concat(NodeContext& n, Builder& b, int64_t axis) {
  Values parts;
  for (size_t i = 0; i < n.inputs(); ++i) parts.push_back(n.in(i));
  if (parts.empty()) n.fail("at least one input", "none");
  return b.concatenate(parts, n.axis(axis, b.rank(parts[0])));
}
}  // namespace
ONNX_OP(Concat, 1) { return concat(n, b, n.integer("axis", 1)); }
ONNX_OP(Concat, 4) { return concat(n, b, n.integer("axis")); }

ONNX_OP(Split, 1) {
  const Value x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", 0), b.rank(x));
  if (n.has_attr("split")) return split(n, b, to_dims(n.ints("split")), axis);
  return split(n, b, n.has(1) ? n.sizes(1) : equal_parts(n, b.dim(x, axis)), axis);
}
ONNX_OP(Split, 2) {
  const Value x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", 0), b.rank(x));
  return split(n, b, n.has_attr("split") ? to_dims(n.ints("split")) : equal_parts(n, b.dim(x, axis)), axis);
}
ONNX_OP(Split, 13) {
  const Value x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", 0), b.rank(x));
  return split(n, b, n.has(1) ? n.sizes(1) : equal_parts(n, b.dim(x, axis)), axis);
}
// num_outputs parts of ceil(d / num_outputs), the last one what remains
ONNX_OP(Split, 18) {
  const Value x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", 0), b.rank(x));
  if (n.has(1) == n.has_attr("num_outputs")) n.fail("either the input 'split' or the attribute 'num_outputs'", n.has(1) ? "both" : "neither");
  if (n.has(1)) return split(n, b, n.sizes(1), axis);
  const int64_t count = n.integer("num_outputs");
  if (count != static_cast<int64_t>(n.outputs())) n.fail("num_outputs = " + std::to_string(n.outputs()), std::to_string(count));
  const Dim extent = b.dim(x, axis), each = Dim::ceil_div(extent, count);
  Dims sizes(n.outputs(), each);
  sizes.back() = Dim::max(extent - each * (count - 1), 0);
  return split(n, b, sizes, axis);
}

namespace {
Ints first_axes(size_t count) {
  Ints out(count);
  std::iota(out.begin(), out.end(), 0);
  return out;
}
}  // namespace
ONNX_OP(Slice, 1) {
  const Ints starts = n.ints("starts"), ends = n.ints("ends");
  return slice(n, b, to_dims(starts), to_dims(ends), n.ints("axes", first_axes(starts.size())), Ints(starts.size(), 1));
}
ONNX_OP(Slice, 10) {
  const Ints axes = n.has(3) ? n.constants(3) : Ints{}, steps = n.has(4) ? n.constants(4) : Ints{};
  const Dims starts = n.sizes(1), ends = n.sizes(2);
  return slice(n, b, starts, ends, n.has(3) ? axes : first_axes(starts.size()), n.has(4) ? steps : Ints(starts.size(), 1));
}

ONNX_OP(Pad, 1) {
  const Ints pads = n.ints("paddings");
  return pad(n, b, to_dims(pads), first_axes(pads.size() / 2), Operand(n.number("value", 0)));
}
ONNX_OP(Pad, 2) {
  const Ints pads = n.ints("pads");
  return pad(n, b, to_dims(pads), first_axes(pads.size() / 2), Operand(n.number("value", 0)));
}
ONNX_OP(Pad, 11) {
  const Dims pads = n.sizes(1);
  const auto fill = n.has(2) ? std::optional<Operand>(scalar(b, n.in(2))) : std::nullopt;
  return pad(n, b, pads, n.has(3) ? n.constants(3) : first_axes(static_cast<size_t>(b.rank(n.in(0)))), fill);
}

namespace {
Results gather(NodeContext& n, Builder& b, bool negative) {
  const Value x = n.in(0), indices = n.in(1);
  if (b.rank(x) == 0) n.fail("data of rank 1 or more", b.type(x).text());
  const int64_t axis = n.axis(n.integer("axis", 0), b.rank(x));
  // A single constant position is a slice, which symbolic sizes flow through.
  const Tensor* at = b.constant(indices);
  if (at && at->elements() == 1 && (negative || at->integer(0) >= 0)) {
    const Dim extent = b.dim(x, axis);
    const int64_t i = at->integer(0);
    if (extent.is_constant() && (i < -extent.value() || i >= extent.value())) n.fail("an index in [-" + extent.text() + ", " + extent.text() + ")", std::to_string(i));
    const Dim from = i < 0 ? extent + i : Dim(i);
    Dims out = b.dims(x);
    out.erase(out.begin() + axis);
    out.insert(out.begin() + axis, static_cast<size_t>(at->rank()), Dim(1));
    return b.reshape(b.slice_axis(x, axis, from, from + 1), out);
  }
  return take(b, x, negative ? from_end(b, indices, b.dim(x, axis)) : indices, axis);
}
}  // namespace
ONNX_OP(Gather, 1) { return gather(n, b, false); }
ONNX_OP(Gather, 11) { return gather(n, b, true); }

ONNX_OP(GatherElements, 11) {
  const Value x = n.in(0), indices = n.in(1);
  if (b.rank(x) != b.rank(indices) || b.rank(x) == 0) n.fail("data and indices of one rank of 1 or more", b.type(x).text() + " and " + b.type(indices).text());
  const int64_t axis = n.axis(n.integer("axis", 0), b.rank(x));
  return take_along(b, x, from_end(b, indices, b.dim(x, axis)), axis);
}

ONNX_OP(GatherND, 11) {
  const Value x = n.in(0);
  Value indices = n.in(1);
  const int64_t rank = b.rank(x), index_rank = b.rank(indices), batch = n.version >= 12 ? n.integer("batch_dims", 0) : 0;
  if (batch < 0 || batch >= std::min(rank, index_rank)) n.fail("batch_dims below the ranks of data and indices", std::to_string(batch));
  const auto k = b.dim(indices, -1).constant();
  if (!k) throw NeedsRun{1, false};
  if (*k < 1 || *k > rank - batch) n.fail("1 to " + std::to_string(rank - batch) + " coordinates in the last axis of indices", std::to_string(*k));
  indices = nd_indices(b, indices, part(b.dims(x), batch, batch + *k));
  Ints batches = first_axes(static_cast<size_t>(batch)), indexed, offset;
  Dims sizes = b.dims(x);
  for (int64_t i = 0; i < batch + *k; ++i) sizes[static_cast<size_t>(i)] = 1;
  for (int64_t i = batch; i < batch + *k; ++i) indexed.push_back(i);
  for (int64_t i = batch + *k; i < rank; ++i) offset.push_back(index_rank - 1 + i - batch - *k);
  return b.op("gather", {x, indices},
              {{"offset_dims", offset},
               {"collapsed_slice_dims", indexed},
               {"operand_batching_dims", batches},
               {"start_indices_batching_dims", batches},
               {"start_index_map", indexed},
               {"index_vector_dim", index_rank - 1},
               {"slice_sizes", sizes},
               {"out_of_bounds", std::string("error")}});
}

ONNX_OP(Scatter, 9) { return scatter_elements(n, b, ""); }
ONNX_OP(ScatterElements, 11) { return scatter_elements(n, b, ""); }
ONNX_OP(ScatterElements, 16) { return scatter_elements(n, b, scatter_body(n)); }
ONNX_OP(ScatterND, 11) { return scatter_nd(n, b, ""); }
ONNX_OP(ScatterND, 16) { return scatter_nd(n, b, scatter_body(n)); }

// y[batch, ..., t, ...] = update[batch, ..., t - start[batch], ...] where that is inside, else past
ONNX_OP(TensorScatter, 24) {
  const Value past = n.in(0), update = n.in(1);
  const int64_t rank = b.rank(past), axis = n.axis(n.integer("axis", -2), rank);
  const std::string mode = n.text("mode", "linear");
  if (mode != "linear" && mode != "circular") n.fail("mode linear or circular", "'" + mode + "'");
  if (axis == 0 || b.rank(update) != rank) n.fail("past_cache and update of one rank, written along an axis after the batch", b.type(past).text() + " and " + b.type(update).text());
  const Dim extent = b.dim(past, axis), length = b.dim(update, axis);
  Value start = n.has(2) ? b.convert(n.in(2), DType::i64) : b.full({b.dim(past, 0)}, DType::i64, 0);
  require_rank(n, b, start, 1);
  const Dims grid{b.dim(past, 0), extent};
  // Past the end is an error in linear mode: the gathered position of the first such element is out of range.
  Value at = b.subtract(b.iota(DType::i64, grid, 1), b.broadcast_in_dim(start, grid, {0}));
  if (mode == "circular") {
    const Value period = b.size(extent);
    at = b.remainder(b.add(b.remainder(at, period), period), period);
  }
  const Value inside = b.logical_and(b.compare(at, 0, "GE"), b.compare(at, b.size(length), "LT"));
  at = b.maximum(b.minimum(at, b.subtract(b.size(length), 1)), 0);
  Dims sizes = b.dims(update);
  sizes[0] = 1;
  sizes[static_cast<size_t>(axis)] = 1;
  Ints offset, back{0};
  for (int64_t i = 1; i < rank; ++i) {
    if (i != axis) offset.push_back(static_cast<int64_t>(offset.size()) + 2);
    back.push_back(i < axis ? i + 1 : i == axis ? 1 : i);
  }
  const Value moved = b.transpose(b.op("gather", {update, at},
                                       {{"offset_dims", offset},
                                        {"collapsed_slice_dims", Ints{axis}},
                                        {"operand_batching_dims", Ints{0}},
                                        {"start_indices_batching_dims", Ints{0}},
                                        {"start_index_map", Ints{axis}},
                                        {"index_vector_dim", int64_t{2}},
                                        {"slice_sizes", sizes},
                                        {"out_of_bounds", std::string("error")}}),
                                  back);
  return b.select(b.broadcast_in_dim(inside, b.dims(past), {0, axis}), moved, past);
}

ONNX_OP(DepthToSpace, 1) {
  const Value x = n.in(0);
  require_rank(n, b, x, 4);
  const int64_t s = block_size(n);
  const bool crd = n.version >= 11 && crd_mode(n);
  const Dims& d = b.dims(x);
  if (d[1].is_constant() && d[1].value() % (s * s) != 0) n.fail("channels that blocksize^2 divides", b.type(x).text());
  const Dim channels = Dim::floor_div(d[1], s * s);
  const Value split_up = b.reshape(x, crd ? Dims{d[0], channels, s, s, d[2], d[3]} : Dims{d[0], s, s, channels, d[2], d[3]});
  return b.reshape(b.transpose(split_up, crd ? Ints{0, 1, 4, 2, 5, 3} : Ints{0, 3, 4, 1, 5, 2}), {d[0], channels, d[2] * s, d[3] * s});
}
ONNX_OP(SpaceToDepth, 1) {
  const Value x = n.in(0);
  require_rank(n, b, x, 4);
  const int64_t s = block_size(n);
  const bool crd = n.version >= 28 && crd_mode(n);
  const Dims& d = b.dims(x);
  for (size_t i : {size_t{2}, size_t{3}})
    if (d[i].is_constant() && d[i].value() % s != 0) n.fail("height and width that blocksize divides", b.type(x).text());
  const Dim height = Dim::floor_div(d[2], s), width = Dim::floor_div(d[3], s);
  const Value split_up = b.reshape(x, {d[0], d[1], height, s, width, s});
  return b.reshape(b.transpose(split_up, crd ? Ints{0, 1, 3, 5, 2, 4} : Ints{0, 3, 5, 1, 2, 4}), {d[0], d[1] * (s * s), height, width});
}

// y[r, c] = 1 where c - r = k
ONNX_OP(EyeLike, 9) {
  const Value x = n.in(0);
  require_rank(n, b, x, 2);
  const Value row = b.iota(DType::i64, b.dims(x), 0), column = b.iota(DType::i64, b.dims(x), 1);
  return b.convert(b.compare(b.subtract(column, row), b.constant(Tensor::scalar_int(DType::i64, n.integer("k", 0))), "EQ"), n.dtype_attr("dtype", b.dtype(x)));
}

ONNX_OP(OneHot, 9) { return one_hot(n, b); }

// y[i] = start + i * delta,  max(ceil((limit - start) / delta), 0) elements
ONNX_OP(Range, 11) {
  n.ignore("stash_type");  // the precision inside; ours is the element type's or better
  const DType t = n.dtype(0);
  Dim count;
  Value start, delta;
  if (is_int(t)) {
    const Dim from = n.size(0), to = n.size(1), by = n.size(2);
    if (by.is(0)) n.fail("a delta other than 0", "0");
    // ceil(x / y) = -floor(-x / y) for either sign of a delta that is a symbol
    count = Dim::max(by.is_constant() ? Dim::ceil_div(to - from, by) : Dim(0) - Dim::floor_div(from - to, by), 0);
    start = b.size(from, t);
    delta = b.size(by, t);
  } else {
    const double from = number_of(n, 0), to = number_of(n, 1), by = number_of(n, 2);
    const double steps = std::ceil((to - from) / by);
    if (by == 0 || std::isnan(steps) || steps > 9e15) n.fail("a finite number of elements", "start " + std::to_string(from) + ", limit " + std::to_string(to) + ", delta " + std::to_string(by));
    count = static_cast<int64_t>(std::max(steps, 0.0));
    start = b.constant_like(from, t);
    delta = b.constant_like(by, t);
  }
  return b.add(b.multiply(b.iota(t, {count}, 0), delta), start);
}

ONNX_OP(Where, 9) {
  const Value x = n.in(1), y = n.in(2);
  return b.select(n.in(0), x, y);
}

ONNX_OP(NonZero, 9) { return b.op("nonzero", {n.in(0)}); }

ONNX_OP(Compress, 9) {
  Value x = n.in(0), condition = n.in(1);
  require_rank(n, b, condition, 1);
  int64_t axis = 0;
  if (n.has_attr("axis")) axis = n.axis(n.integer("axis"), b.rank(x));
  else x = b.reshape(x, {product(b.dims(x))});
  const Value found = b.op("nonzero", {condition});  // [1, count]
  return take(b, x, b.reshape(found, {b.dim(found, 1)}), axis);
}

ONNX_OP(ReverseSequence, 10) {
  const Value x = n.in(0), lengths = n.in(1);
  const int64_t batch = n.integer("batch_axis", 1), time = n.integer("time_axis", 0);
  if (b.rank(x) < 2 || batch + time != 1 || batch < 0 || time < 0) n.fail("batch_axis and time_axis 0 and 1 in either order, and an input of rank 2 or more", std::to_string(batch) + ", " + std::to_string(time) + " for " + b.type(x).text());
  const Dims grid{b.dim(x, 0), b.dim(x, 1)};
  const Value at = b.iota(DType::i64, grid, time), length = b.broadcast_in_dim(b.convert(lengths, DType::i64), grid, {batch});
  const Value from = b.select(b.compare(at, length, "LT"), b.subtract(b.subtract(length, 1), at), at);
  Dims sizes = b.dims(x);
  sizes[0] = sizes[1] = 1;
  Ints offset;
  for (int64_t i = 2; i < b.rank(x); ++i) offset.push_back(i);
  return b.op("gather", {x, from},
              {{"offset_dims", offset},
               {"collapsed_slice_dims", Ints{time}},
               {"operand_batching_dims", Ints{batch}},
               {"start_indices_batching_dims", Ints{batch}},
               {"start_index_map", Ints{time}},
               {"index_vector_dim", int64_t{2}},
               {"slice_sizes", sizes},
               {"out_of_bounds", std::string("error")}});
}

// upper: keep where column - row >= k; lower: column - row <= k
ONNX_OP(Trilu, 14) {
  const Value x = n.in(0);
  if (b.rank(x) < 2) n.fail("an input of rank 2 or more", b.type(x).text());
  const bool upper = n.flag("upper", true);
  const Dims matrix = part(b.dims(x), b.rank(x) - 2, b.rank(x));
  const Value k = n.has(1) ? scalar(b, n.in(1)) : b.constant(Tensor::scalar_int(DType::i64, 0));
  const Value diagonal = b.subtract(b.iota(DType::i64, matrix, 1), b.iota(DType::i64, matrix, 0));
  const Value keep = b.compare(diagonal, k, upper ? "GE" : "LE");
  return b.select(keep, x, b.constant(Tensor(b.dtype(x), {})));  // 0, or an empty string
}

ONNX_OP(CumSum, 11) { return cumulative(b, "add", n.in(0), n.axis(n.constant(1), b.rank(n.in(0))), n.flag("exclusive", false), n.flag("reverse", false)); }
ONNX_OP(CumProd, 26) { return cumulative(b, "multiply", n.in(0), n.axis(n.constant(1), b.rank(n.in(0))), n.flag("exclusive", false), n.flag("reverse", false)); }

ONNX_OP(TopK, 1) { return top_k(n, b, n.integer("k"), true); }
ONNX_OP(TopK, 10) { return top_k(n, b, n.size(1), true); }
ONNX_OP(TopK, 11) {
  n.ignore("sorted");  // unsorted allows any order, and sorted is one
  return top_k(n, b, n.size(1), n.flag("largest", true));
}

}  // namespace bascule::onnx
