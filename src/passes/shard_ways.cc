// passes/shard_ways.cc — see shard_ways.h: ways from links, and of operators that move elements: reshape, slice, concatenate, gather.
#include "passes/shard_ways.h"

#include <algorithm>

#include "base/error.h"
#include "graph/op_def.h"

namespace bascule::passes {
namespace {

// The row-major elements of a split value are (outer, ranks, inner): a reshape keeps them, so the part of the other shape is where ranks stand whole.
std::optional<Part> reshaped_part(const std::vector<int64_t>& from, const std::vector<int64_t>& to, const Part& part, int64_t ranks) {
  const auto dim = static_cast<size_t>(part.dim);
  int64_t outer = part.blocks, inner = from[dim] / (part.blocks * ranks);
  for (size_t a = 0; a < dim; ++a) outer *= from[a];
  for (size_t a = dim + 1; a < from.size(); ++a) inner *= from[a];
  int64_t before = 1;
  for (size_t k = 0; k < to.size(); ++k) {
    int64_t after = 1;
    for (size_t a = k + 1; a < to.size(); ++a) after *= to[a];
    if (before > 0 && after > 0 && outer % before == 0 && inner % after == 0 && to[k] == (outer / before) * ranks * (inner / after))
      return Part::along(k, outer / before);
    before *= to[k];
  }
  return std::nullopt;
}

// The dimension of the other shape that has the same elements before and after it.
std::optional<Part> same_dimension(const std::vector<int64_t>& from, const std::vector<int64_t>& to, const Part& part) {
  const auto after = [](const std::vector<int64_t>& d, size_t a) { return element_count(std::span(d).subspan(a + 1)); };
  for (size_t k = 0; k < to.size(); ++k)
    if (to[k] == from[static_cast<size_t>(part.dim)] && after(to, k) == after(from, static_cast<size_t>(part.dim))) return Part::along(k, 1, true);
  return std::nullopt;
}

}  // namespace

ShardRules::ShardRules(const Graph& graph, int64_t ranks) : g_(graph), ranks_(ranks), links_(graph.nodes.size()) {
  for (const ValueInfo& v : graph.values) {
    const bool numbers = v.type.is_tensor() && v.type.ranked && !is_string(v.type.dtype);
    dims_.push_back(numbers ? constants(v.type.dims) : std::nullopt);
    if (dims_.back() && element_count(*dims_.back()) <= 0) dims_.back().reset();
  }
}

std::optional<int64_t> ShardRules::extent(Value v, size_t dim) const {
  const Type& t = g_.type(v);
  if (!t.is_tensor() || !t.ranked || dim >= t.dims.size()) return std::nullopt;
  return t.dims[dim].constant();
}

bool ShardRules::divides(Value v, const Part& part) const {
  if (part.kind != Part::split) return true;
  const auto& d = dims(v);
  if (!d || part.dim < 0 || static_cast<size_t>(part.dim) >= d->size() || part.blocks < 1) return false;
  const int64_t all = (*d)[static_cast<size_t>(part.dim)];
  if (part.filled) return part.blocks == 1 && all > ranks_ && all % ranks_ != 0;
  return part.blocks <= all / ranks_ && all % (part.blocks * ranks_) == 0;
}

std::vector<int64_t> ShardRules::local_dims(const Type& t, const Part& part) const {
  std::vector<int64_t> d = constants(t.dims).value();
  if (part.kind != Part::split) return d;
  int64_t& extent = d[static_cast<size_t>(part.dim)];
  extent = extent / ranks_ + (extent % ranks_ != 0);
  return d;
}

Type ShardRules::local_type(const Type& t, const Part& part) const {
  if (part.kind != Part::split) return t;
  return Type::tensor(t.dtype, to_dims(local_dims(t, part)));
}

double ShardRules::bytes(Value v) const {
  const auto& d = dims(v);
  const int64_t n = d ? element_count(*d) : 0;
  return n > 0 && !is_string(g_.type(v).dtype) ? static_cast<double>(storage_bytes(g_.type(v).dtype, n)) : 0;
}

Part ShardRules::outside(Value v, int dim) const {
  if (dim < 0) return {};
  const auto all = extent(v, static_cast<size_t>(dim));
  return Part::along(static_cast<size_t>(dim), 1, all && *all % ranks_ != 0);
}

Way ShardRules::whole(const Node& n) const { return {std::vector<Part>(n.inputs.size()), std::vector<Part>(n.outputs.size()), -1}; }

std::optional<Way> ShardRules::along(const Node& n, const Link& link, int64_t blocks, bool filled) const {
  if (filled && (link.folds || link.units > 0)) return std::nullopt;
  if (blocks < 1 || (link.units > 0 && (blocks > link.units / ranks_ || link.units % (blocks * ranks_) != 0))) return std::nullopt;
  Way way = whole(n);
  const auto set = [&](const std::vector<Value>& values, const std::vector<int16_t>& dims, std::vector<Part>& parts) {
    for (size_t k = 0; k < dims.size(); ++k) {
      if (dims[k] < 0) continue;
      parts[k] = Part::along(static_cast<size_t>(dims[k]), blocks, filled);
      if (!values[k] || !divides(values[k], parts[k])) return false;
    }
    return true;
  };
  if (!set(n.inputs, link.operands, way.operands) || !set(n.outputs, link.results, way.results)) return std::nullopt;
  if (link.folds) std::fill(way.results.begin(), way.results.end(), Part::terms(*link.folds));
  return way;
}

std::optional<Way> ShardRules::from_operand(const Node& n, size_t k, const Part& part) const {
  if (part.kind == Part::partial) return linear(n, part);
  if (part.kind == Part::whole) return std::nullopt;
  const std::string_view name = n.op->name;
  if (name == "reshape") return reshaped(n, true, part);
  if (name == "slice") return sliced(n, true, part);
  if (name == "concatenate" && part.dim == n.attrs.integer("dimension")) return joined(n, k, part);
  for (const bool folds : {false, true})
    for (const Link& l : links(n))
      if (l.folds.has_value() == folds && k < l.operands.size() && l.operands[k] == part.dim)
        if (auto way = along(n, l, part.blocks, part.filled)) return way;
  return name == "gather" && k == 0 ? near_gather(n, part) : std::nullopt;
}

std::optional<Way> ShardRules::from_result(const Node& n, size_t k, const Part& part) const {
  if (part.kind != Part::split) return std::nullopt;
  const std::string_view name = n.op->name;
  if (name == "reshape") return reshaped(n, false, part);
  if (name == "slice") return sliced(n, false, part);
  if (name == "concatenate" && part.dim == n.attrs.integer("dimension")) return joined(n, std::nullopt, part);
  for (const Link& l : links(n))
    if (l.results[k] == part.dim)
      if (auto way = along(n, l, part.blocks, part.filled)) return way;
  return std::nullopt;
}

// Sums of terms are terms of the sum; what only moves elements moves those of each term.
std::optional<Way> ShardRules::linear(const Node& n, const Part& part) const {
  const std::string_view name = n.op->name;
  Way way = whole(n);
  way.results.assign(n.outputs.size(), part);
  const bool moves = name == "reshape" || name == "transpose" || name == "slice" || name == "broadcast_in_dim";
  const bool sums = part.fold == Part::add && (name == "add" || name == "subtract" || name == "negate");
  if (!moves && !sums) return std::nullopt;
  way.operands.assign(n.inputs.size(), part);
  return way;
}

std::optional<Way> ShardRules::reshaped(const Node& n, bool forward, const Part& part) const {
  const Value given = forward ? n.inputs[0] : n.outputs[0], asked = forward ? n.outputs[0] : n.inputs[0];
  const auto &from = dims(given), &to = dims(asked);
  if (!from || !to || !divides(given, part)) return std::nullopt;
  const auto other = part.filled ? same_dimension(*from, *to, part) : reshaped_part(*from, *to, part, ranks_);
  if (!other || !divides(asked, *other)) return std::nullopt;
  return forward ? Way{{part}, {*other}} : Way{{*other}, {part}};
}

// Along a dimension that is taken in whole blocks of the split, or whole.
std::optional<Way> ShardRules::sliced(const Node& n, bool forward, const Part& part) const {
  const auto dim = static_cast<size_t>(part.dim);
  const Value given = forward ? n.inputs[0] : n.outputs[0], asked = forward ? n.outputs[0] : n.inputs[0];
  const auto all = extent(n.inputs[0], dim), some = extent(n.outputs[0], dim);
  const auto start = n.attrs.dims("start_indices")[dim].constant();
  if (!all || !some || !start || n.attrs.ints("strides")[dim] != 1 || !divides(given, part)) return std::nullopt;
  const int64_t block = (forward ? *all : *some) / part.blocks, other = forward ? *some : *all;
  if (block <= 0 || *start % block != 0 || other % block != 0) return std::nullopt;
  if (part.filled && *all != *some) return std::nullopt;
  const Part made = Part::along(dim, other / block, part.filled);
  if (!divides(asked, made)) return std::nullopt;
  return forward ? Way{{part}, {made}} : Way{{made}, {part}};
}

// Operands split along the dimension in which they are joined: blocks of one extent everywhere.
std::optional<Way> ShardRules::joined(const Node& n, std::optional<size_t> operand, const Part& part) const {
  const auto dim = static_cast<size_t>(part.dim);
  const Value given = operand ? n.inputs[*operand] : n.outputs[0];
  const auto all = extent(given, dim);
  if (!all || part.filled || !divides(given, part)) return std::nullopt;
  const int64_t block = *all / part.blocks;
  Way way = whole(n);
  const auto set = [&](Value v, Part& p) {
    const auto size = extent(v, dim);
    if (!size || *size % block != 0) return false;
    p = Part::along(dim, *size / block);
    return divides(v, p);
  };
  for (size_t k = 0; k < n.inputs.size(); ++k)
    if (!set(n.inputs[k], way.operands[k])) return std::nullopt;
  if (!set(n.outputs[0], way.results[0])) return std::nullopt;
  return way;
}

// Constant indices of which every rank's positions read the rank's own rows: the gather of padding masks along the batch.
std::optional<Way> ShardRules::near_gather(const Node& n, const Part& part) const {
  constexpr int64_t kMostLookedAt = int64_t{1} << 22;
  const Tensor* indices = g_.constant(n.inputs[1]);
  const Ints& moved = n.attrs.ints("start_index_map");
  const auto at = std::find(moved.begin(), moved.end(), part.dim);
  const auto rows = extent(n.inputs[0], static_cast<size_t>(part.dim));
  if (!indices || at == moved.end() || !rows || part.blocks != 1 || part.filled || *rows % ranks_ != 0 || indices->elements() == 0 ||
      indices->elements() > kMostLookedAt || !n.attrs.dims("slice_sizes")[static_cast<size_t>(part.dim)].is(1))
    return std::nullopt;
  const auto component = at - moved.begin(), vector_dim = n.attrs.integer("index_vector_dim");
  for (const Link& l : links(n)) {
    if (l.operands[1] < 0 || l.operands[0] >= 0) continue;
    auto way = along(n, l, 1);
    if (!way) continue;
    const auto dim = static_cast<size_t>(l.operands[1]);
    const auto& d = indices->dims();
    // Element i is at index_of(axis) along an axis: i / (product of what follows) % extent.
    std::vector<int64_t> after(d.size() + 1, 1);
    for (size_t a = d.size(); a-- > 0;) after[a] = after[a + 1] * d[a];
    const auto place = [&](int64_t i, size_t axis) { return i / after[axis + 1] % d[axis]; };
    bool near = true;
    for (int64_t i = 0; i < indices->elements() && near; ++i) {
      if (vector_dim < static_cast<int64_t>(d.size()) && place(i, static_cast<size_t>(vector_dim)) != component) continue;
      near = indices->integer(i) >= 0 && indices->integer(i) / (*rows / ranks_) == place(i, dim) / (d[dim] / ranks_);
    }
    if (!near) continue;
    way->operands[0] = part;
    way->shift = static_cast<int16_t>(component);
    return way;
  }
  return std::nullopt;
}

Attrs ShardRules::local_attrs(const Node& n, const Way& way) const {
  const std::string_view name = n.op->name;
  Attrs a = n.attrs;
  const auto split = [](const Part& p) { return p.kind == Part::split; };
  const bool in_parts = std::any_of(way.operands.begin(), way.operands.end(), split) || std::any_of(way.results.begin(), way.results.end(), split);
  if (!in_parts) return a;
  const auto divide = [&](const char* attr, size_t at) {
    Dims d = a.dims(attr);
    d[at] = (d[at].value() + ranks_ - 1) / ranks_;  // starts are whole shares; extents round up where they are filled
    a.set(attr, std::move(d));
  };
  if (name == "reshape" || name == "broadcast_in_dim" || name == "iota") {
    a.set("dims", to_dims(local_dims(g_.type(n.outputs[0]), way.results[0])));
  } else if (name == "slice") {
    divide("start_indices", static_cast<size_t>(way.operands[0].dim));
    divide("limit_indices", static_cast<size_t>(way.operands[0].dim));
  } else if (name == "dynamic_slice") {
    divide("slice_sizes", static_cast<size_t>(way.operands[0].dim));
  } else if (name == "gather" && split(way.operands[0]) && !n.attrs.dims("slice_sizes")[static_cast<size_t>(way.operands[0].dim)].is(1)) {
    divide("slice_sizes", static_cast<size_t>(way.operands[0].dim));
  } else if (name == "convolution" && n.attrs.integer("feature_group_count") != 1 && split(way.operands[1])) {
    a.set("feature_group_count", n.attrs.integer("feature_group_count") / ranks_);
  } else if (name == "group_norm" && way.operands[0].dim == 1) {
    a.set("groups", n.attrs.integer("groups") / ranks_);
  }
  return a;
}

}  // namespace bascule::passes
