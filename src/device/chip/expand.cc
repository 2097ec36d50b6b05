// device/chip/expand.cc — operators that no engine does as they are, written with those that engines do: recurrent layers as their time steps,
// slices at a computed position as gathers, the position of the largest element as folds.
#include "device/chip/expand.h"

#include <algorithm>

#include "graph/builder.h"
#include "ops/recurrent.h"
#include "passes/rewrite.h"

namespace bascule::device::chip {
namespace {

std::optional<int64_t> constant_start(const Graph& g, Value v) {
  const Tensor* t = g.constant(v);
  return t ? std::optional(t->integer(0)) : std::nullopt;
}

std::optional<Values> recurrent(passes::Rewriter& r, const Node& n) {
  std::vector<Type> types;
  Values operands;
  for (const Value v : n.inputs) {
    operands.push_back(r(v));
    types.push_back(v ? r.old().type(v) : absent_type());
  }
  Attrs attrs = n.attrs;
  const std::string where = std::string(n.op->name) + (n.origin ? " of " + bascule::text(n.origin) : "");
  infer(*n.op, attrs, types, n.regions, {}, where, ErrorKind::internal);
  return ops::recurrent_unrolled(r.builder(), {*n.op, attrs, types, n.regions, {}, where, ErrorKind::internal}, operands, kMostTimeSteps);
}

// x's slices [index[i]] along the axis; indices are in range.
Value take(Builder& b, Value x, Value index, int64_t axis) {
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

Value clamped(Builder& b, Value start, int64_t most) { return b.clamp(0, start, static_cast<double>(most)); }

std::optional<Values> dynamic_slice(passes::Rewriter& r, const Node& n) {
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
    x = take(b, x, b.add(b.iota(b.dtype(start), {size[a]}, 0), start), axis);
  }
  return Values{x};
}

// x with u written at the starts of the axes from `a` on; one of them may be computed.
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
  // y[i] = u[i - start] where that is in [0, size), else x[i]; the other axes of u are x's by now or constant.
  const Value start = clamped(b, r(n.inputs[a + 2]), extent - size);
  const Value at = b.subtract(b.iota(b.dtype(start), {extent}, 0), start);
  const Value inside = b.logical_and(b.compare(at, 0, "GE"), b.compare(at, static_cast<double>(size), "LT"));
  const Value written = updated(r, n, x, take(b, u, b.clamp(0, at, static_cast<double>(size - 1)), axis), a + 1);
  return b.select(b.broadcast_in_dim(inside, b.dims(x), {axis}), written, x);
}

std::optional<Values> dynamic_update_slice(passes::Rewriter& r, const Node& n) {
  for (const Dim& d : r.old().type(n.inputs[1]).dims)
    if (d.is(0)) return Values{r(n.inputs[0])};
  return Values{updated(r, n, r(n.inputs[0]), r(n.inputs[1]), 0)};
}

// The first position where x equals its largest element (a NaN, if there is one).
std::optional<Values> arg_best(passes::Rewriter& r, const Node& n, bool largest) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]);
  const bool last = n.attrs.has("select_last") && n.attrs.flag("select_last");
  const int64_t axis = n.attrs.integer("axis"), count = b.dim(x, axis).value();
  const DType t = b.type(x).dtype, index = DType::i32;
  const Value best = b.broadcast_to(b.reduce(largest ? "maximum" : "minimum", x, {axis}, true), b.dims(x));
  Value here = b.compare(x, best, "EQ");
  if (is_float(t)) here = b.logical_or(here, b.compare(x, x, "NE"));
  const Value position = b.select(here, b.iota(index, b.dims(x), axis), last ? -1.0 : static_cast<double>(count));
  return Values{b.convert(b.reduce(last ? "maximum" : "minimum", position, {axis}, true), r.old().type(n.outputs[0]).dtype)};
}

bool all_static(const Graph& g, const Node& n) {
  const auto bound = [&](Value v) { return !v || (g.type(v).is_tensor() && g.type(v).is_static()); };
  return std::all_of(n.inputs.begin(), n.inputs.end(), bound) && std::all_of(n.outputs.begin(), n.outputs.end(), bound);
}

int computed_starts(const Graph& g, const Node& n) {
  const Dims &x = g.type(n.inputs[0]).dims, &u = g.type(n.inputs[1]).dims;
  int count = 0;
  for (size_t a = 0; a < x.size(); ++a) count += !(x[a] == u[a]) && !constant_start(g, n.inputs[a + 2]);
  return count;
}

}  // namespace

bool expand(Graph& g) {
  return passes::rewrite(g, [&](passes::Rewriter& r, const Node& n) {
    const std::string_view name = n.op->name;
    std::optional<Values> results;
    if (!all_static(g, n) || !cannot_expand(g, n).empty()) return false;
    if (name == "lstm" || name == "gru" || name == "rnn") results = recurrent(r, n);
    else if (name == "dynamic_slice") results = dynamic_slice(r, n);
    else if (name == "dynamic_update_slice") results = dynamic_update_slice(r, n);
    else if (name == "arg_max" || name == "arg_min") results = arg_best(r, n, name == "arg_max");
    if (results) r.replace(n, *results);
    return results.has_value();
  });
}

std::string cannot_expand(const Graph& g, const Node& n) {
  const std::string_view name = n.op->name;
  if (name == "lstm" || name == "gru" || name == "rnn") {
    const auto steps = g.type(n.inputs[0]).dims[0].constant();
    return steps && *steps > kMostTimeSteps
               ? std::to_string(*steps) + " time steps, more than " + std::to_string(kMostTimeSteps) + " are not scheduled one by one"
               : "";
  }
  if (name == "dynamic_slice") return "";
  if (name == "dynamic_update_slice") return computed_starts(g, n) > 1 ? "writes at a position that the data decide along several axes" : "";
  if (name == "arg_max" || name == "arg_min") {
    const DType t = g.type(n.inputs[0]).dtype;
    const bool last = n.attrs.has("select_last") && n.attrs.flag("select_last");
    return is_bool(t) || is_unsigned_int(t) || (last && is_float(t)) ? "positions among " + std::string(info(t).name) + (last ? ", the last" : "")
                                                                     : "";
  }
  return "no expansion";
}

}  // namespace bascule::device::chip
