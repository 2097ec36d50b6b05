// device/chip/expand_order.cc — sorts and largest elements by counting who comes before whom (all pairs, a fold), of long rows among the pieces that can hold
// them, or by repeated maxima; positions of the
// largest as folds; running folds from the end or without the element itself by those from the start.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/chip/expand_rules.h"
#include "device/chip/step_maker.h"

namespace bascule::device::chip {
namespace {

constexpr int64_t kMostPairs = int64_t{1} << 22;   // elements compared by counting: beyond, the host sorts sooner
constexpr int64_t kFewPairs = int64_t{1} << 16;    // so few that counting beats repeated maxima
constexpr int64_t kShortRow = 256;                 // not worth cutting in pieces
constexpr int64_t kMostRounds = 128;               // of repeated maxima

Ints all_but(int64_t rank, int64_t axis, int64_t instead) {
  Ints out;
  for (int64_t a = 0; a < rank; ++a) out.push_back(a == axis ? instead : a);
  return out;
}

Ints same_axes(int64_t rank) { return all_but(rank, -1, 0); }

// The permutation that puts an axis behind all others.
Ints axis_last(int64_t rank, int64_t axis) {
  Ints out;
  for (int64_t a = 0; a < rank; ++a)
    if (a != axis) out.push_back(a);
  out.push_back(axis);
  return out;
}

// Less than every number of the type, for folds by maximum; or, for sums of one element, 0.
double least(DType t) { return float_info(t).has_inf ? -std::numeric_limits<double>::infinity() : -float_info(t).largest; }

// Along `axis`: out[r] = x[i] where rank[i] == r, for r in [0, k).
Value placed_by_rank(Builder& b, Value x, Value rank, int64_t axis, int64_t k) {
  const int64_t r = b.rank(x), n = b.dim(x, axis).value();
  Dims dims = b.dims(x);
  dims[static_cast<size_t>(axis)] = k;
  dims.push_back(n);
  const Ints from = all_but(r, axis, r);
  const Value here = b.compare(b.broadcast_in_dim(rank, dims, from), b.iota(b.dtype(rank), dims, axis), "EQ");
  const Value all = b.broadcast_in_dim(x, dims, from);
  const DType t = b.dtype(x);
  if (is_bool(t)) return b.reduce("or", b.logical_and(here, all), {r}, false);
  return is_float(t) ? b.reduce("maximum", b.select(here, all, least(t)), {r}, false) : b.sum(b.select(here, all, 0), {r}, false);
}

// rank[i] = elements that come before element i along the axis; before(j, i) of tensors over [dims..., n], j along the last axis. `order`: by which equal
// elements are told apart; none: their positions.
template <class Before>
Value ranks(Builder& b, const Dims& x, int64_t axis, Value order, Before before) {
  const auto r = static_cast<int64_t>(x.size());
  const int64_t n = x[static_cast<size_t>(axis)].value();
  Dims dims = x;
  dims.push_back(n);
  const auto spread = [&](Value v, bool j) { return b.broadcast_in_dim(v, dims, j ? all_but(r, axis, r) : same_axes(r)); };
  const Value earlier = order ? b.compare(spread(order, true), spread(order, false), "LT") : b.compare(b.iota(DType::i32, dims, r), b.iota(DType::i32, dims, axis), "LT");
  return b.sum(b.convert(before(spread, earlier, dims), DType::i32), {r}, false);
}

bool within_pairs(const Graph& g, Value x, int64_t axis, int64_t most) {
  const auto dims = constants(g.type(x).dims);
  if (!dims) return true;
  const int64_t total = element_count(*dims), n = (*dims)[static_cast<size_t>(axis)];
  return n <= (int64_t{1} << 20) && total >= 0 && total <= (int64_t{1} << 40) && total * n <= most;
}

// ---- sort

int64_t sort_axis(const Graph& g, const Node& n) {
  const int64_t axis = n.attrs.integer("dimension"), rank = static_cast<int64_t>(g.type(n.inputs[0]).rank());
  return axis < 0 ? axis + rank : axis;
}

std::string refuse_sort(const Graph& g, const Node& n) {
  for (const Value v : n.inputs)
    if (!g.type(v).is_tensor() || !g.type(v).ranked) return "a value whose rank is only known at run time";
  if (g.type(n.inputs[0]).rank() == 0) return "";
  if (!can_inline(*n.regions[0], 2 * n.inputs.size())) return "an order that is no expression of the elements";
  return within_pairs(g, n.inputs[0], sort_axis(g, n), kMostPairs) ? "" : "the chip has no sorting engine, and rows this long are not sorted by counting";
}

Values apply_sort(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  Values x;
  for (const Value v : n.inputs) x.push_back(r(v));
  const int64_t axis = b.rank(x[0]) == 0 ? 0 : sort_axis(r.old(), n);
  if (b.rank(x[0]) == 0 || b.dim(x[0], axis).value() <= 1 || b.type(x[0]).elements_count().is(0)) return x;
  const Value rank = ranks(b, b.dims(x[0]), axis, {}, [&](const auto& spread, Value earlier, const Dims& dims) {
    Values forward, backward;
    for (const Value v : x) {
      const Value i = spread(v, false), j = spread(v, true);
      forward.insert(forward.end(), {j, i});
      backward.insert(backward.end(), {i, j});
    }
    const Value less = inline_region(b, *n.regions[0], forward, dims)[0], more = inline_region(b, *n.regions[0], backward, dims)[0];
    return b.logical_or(less, b.logical_and(earlier, b.logical_not(more)));
  });
  Values out;
  for (const Value v : x) out.push_back(placed_by_rank(b, v, rank, axis, b.dim(v, axis).value()));
  return out;
}

// ---- the k largest or smallest

struct Top {
  int64_t axis = 0, k = 0;
  bool largest = true;
};
std::optional<Top> top_of(const Graph& g, const Node& n) {
  if (n.op->name == "top_k") return Top{static_cast<int64_t>(g.type(n.inputs[0]).rank()) - 1, n.attrs.integer("k"), true};
  const auto k = n.attrs.dims("k")[0].constant();
  if (!k) return std::nullopt;
  return Top{n.attrs.integer("axis"), *k, n.attrs.flag("largest")};
}

// The k largest of a row lie in the k pieces of it with the largest elements. Lengths of pieces and their count, so that counting among the pieces and among
// the elements of k of them costs alike.
struct Pieces {
  int64_t count = 1, length = 1;
};
Pieces pieces_of(int64_t n, int64_t k) {
  Pieces p;
  p.length = std::max<int64_t>(1, static_cast<int64_t>(std::sqrt(static_cast<double>(n) / static_cast<double>(std::max<int64_t>(k, 1)))));
  p.count = (n + p.length - 1) / p.length;
  return p;
}
bool worth_pieces(const Graph& g, Value x, const Top& top) {
  const auto dims = constants(g.type(x).dims);
  if (!dims || !top.largest || is_bool(g.type(x).dtype) || element_count(*dims) < 0) return false;
  const int64_t n = (*dims)[static_cast<size_t>(top.axis)], rows = n > 0 ? element_count(*dims) / n : 0;
  const Pieces p = pieces_of(n, top.k);
  const int64_t left = top.k * p.length;
  return p.length > 1 && p.count > top.k && n <= (int64_t{1} << 24) && left < (1 << 15) && p.count < (1 << 15) && rows <= (1 << 20) && rows * (left * left + p.count * p.count) <= kMostPairs;
}

std::string refuse_top(const Graph& g, const Node& n) {
  const Type& x = g.type(n.inputs[0]);
  if (!x.ranked) return "a value whose rank is only known at run time";
  if (x.dtype == DType::u64) return "an order of u64";
  const auto top = top_of(g, n);
  if (!top) return "";
  if (within_pairs(g, n.inputs[0], top->axis, kMostPairs) || worth_pieces(g, n.inputs[0], *top)) return "";
  if (top->k > kMostRounds) return std::to_string(top->k) + " largest of rows this long";
  return top->largest && !is_bool(x.dtype) ? "" : "the smallest of rows this long";
}

// NaN is the largest, the first of equals comes first: by `positions` below `bound`, i32, if given.
Values top_by_counting(Builder& b, Value x, const Top& top, DType index, Value positions = {}, int64_t bound = 0) {
  if (!positions) {
    positions = b.iota(DType::i32, b.dims(x), top.axis);
    bound = b.dim(x, top.axis).value();
  }
  // A NaN counts as the largest number, and as earlier (later, among the smallest) than all that are that number.
  Value key = is_bool(b.dtype(x)) ? b.convert(x, DType::i32) : x, order = positions;
  if (is_float(b.dtype(x))) {
    const Value broken = b.compare(x, x, "NE");
    key = b.select(broken, -least(b.dtype(x)), x);
    order = b.add(positions, b.multiply(b.convert(broken, DType::i32), static_cast<double>(top.largest ? -bound : bound)));
  }
  const Value rank = ranks(b, b.dims(x), top.axis, order, [&](const auto& spread, Value earlier, const Dims&) {
    const Value i = spread(key, false), j = spread(key, true);
    return b.logical_or(b.compare(j, i, top.largest ? "GT" : "LT"), b.logical_and(earlier, b.compare(j, i, "EQ")));
  });
  const Value position = placed_by_rank(b, positions, rank, top.axis, top.k);
  return {placed_by_rank(b, x, rank, top.axis, top.k), b.convert(position, index)};
}

Values top_by_pieces(Builder& b, Value x, const Top& top, DType index) {
  const DType t = b.dtype(x);
  const int64_t rank = b.rank(x), n = b.dim(x, top.axis).value();
  const Pieces p = pieces_of(n, top.k);
  const Ints to_last = axis_last(rank, top.axis);
  x = b.transpose(x, to_last);
  Dims result = b.dims(x);
  result.back() = top.k;
  const int64_t rows = b.type(x).elements_count().value() / n, k = top.k;
  x = b.pad(b.reshape(x, {rows, n}), is_float(t) ? least(t) : static_cast<double>(int_min(t)), {0, 0}, {0, p.count * p.length - n});
  const Value best = b.reduce("maximum", b.reshape(x, {rows, p.count, p.length}), {2}, false);
  const Value chosen = top_by_counting(b, best, {1, k, true}, DType::i32)[1];
  const Value row = b.add(b.multiply(b.iota(DType::i32, {rows, k}, 0), static_cast<double>(p.count)), chosen);
  const Value found = b.reshape(take_rows(b, b.reshape(x, {rows * p.count, p.length}), b.reshape(row, {rows * k}), 0), {rows, k * p.length});
  const Dims lying{rows, k, p.length};
  const Value position = b.add(b.multiply(b.broadcast_in_dim(chosen, lying, {0, 1}), static_cast<double>(p.length)), b.iota(DType::i32, lying, 2));
  Values out = top_by_counting(b, found, {1, k, true}, index, b.reshape(position, {rows, k * p.length}), p.count * p.length);
  for (Value& v : out) v = b.transpose(b.reshape(v, result), inverse(to_last));
  return out;
}

Values top_by_rounds(Builder& b, Value x, const Top& top, DType index) {
  const DType t = b.dtype(x);
  const Dims& dims = b.dims(x);
  const int64_t n = b.dim(x, top.axis).value();
  const double lowest = is_float(t) ? least(t) : static_cast<double>(int_min(t));
  const Value positions = b.iota(DType::i32, dims, top.axis);
  Value alive, left = x;
  Values values, indices;
  for (int64_t k = 0; k < top.k; ++k) {
    const Value best = b.reduce("maximum", left, {top.axis}, true);
    const Value all = b.broadcast_to(best, dims);
    Value here = b.compare(x, all, "EQ");
    if (is_float(t)) here = b.logical_or(here, b.logical_and(b.compare(x, x, "NE"), b.compare(all, all, "NE")));
    if (alive) here = b.logical_and(here, alive);
    const Value at = b.reduce("minimum", b.select(here, positions, static_cast<double>(n)), {top.axis}, true);
    values.push_back(best);
    indices.push_back(at);
    if (k + 1 == top.k) break;
    const Value other = b.compare(positions, b.broadcast_to(at, dims), "NE");
    alive = alive ? b.logical_and(alive, other) : other;
    left = b.select(alive, x, lowest);
  }
  return {b.concatenate(values, top.axis), b.convert(b.concatenate(indices, top.axis), index)};
}

Values apply_top(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]);
  const Top top = *top_of(r.old(), n);
  const Type &values = r.old().type(n.outputs[0]), &indices = r.old().type(n.outputs[1]);
  if (values.elements_count().is(0)) return {b.full(values.dims, values.dtype, 0), b.full(indices.dims, indices.dtype, 0)};
  const bool few = within_pairs(r.old(), n.inputs[0], top.axis, kFewPairs) || (b.dim(x, top.axis).value() <= kShortRow && within_pairs(r.old(), n.inputs[0], top.axis, kMostPairs));
  if (!few && worth_pieces(r.old(), n.inputs[0], top)) return top_by_pieces(b, x, top, indices.dtype);
  return few || within_pairs(r.old(), n.inputs[0], top.axis, kMostPairs) ? top_by_counting(b, x, top, indices.dtype) : top_by_rounds(b, x, top, indices.dtype);
}

// ---- arg_max, arg_min

std::string refuse_arg(const Graph& g, const Node& n) {
  const DType t = g.type(n.inputs[0]).dtype;
  return t == DType::u64 ? "positions among u64" : "";
}

// The first (or last) position where x equals its largest element; the first NaN, if there is one.
Values apply_arg(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  Value x = r(n.inputs[0]);
  const bool last = n.attrs.has("select_last") && n.attrs.flag("select_last"), largest = n.op->name == "arg_max";
  const int64_t axis = n.attrs.integer("axis"), count = b.dim(x, axis).value();
  if (is_bool(b.dtype(x))) x = b.convert(x, DType::i32);
  const bool floats = is_float(b.dtype(x));
  const auto spread = [&](Value v) { return b.broadcast_to(v, b.dims(x)); };
  const Value best = spread(b.reduce(largest ? "maximum" : "minimum", x, {axis}, true));
  const Value positions = b.iota(DType::i32, b.dims(x), axis);
  const Value equal = b.compare(x, best, "EQ");
  Value at;
  if (last && floats) {
    const Value some = b.reduce("maximum", b.select(equal, positions, -1), {axis}, true);
    const Value broken = b.reduce("minimum", b.select(b.compare(x, x, "NE"), positions, static_cast<double>(count)), {axis}, true);
    at = b.select(b.compare(broken, static_cast<double>(count), "LT"), broken, some);
  } else {
    const Value here = floats ? b.logical_or(equal, b.compare(x, x, "NE")) : equal;
    at = b.reduce(last ? "maximum" : "minimum", b.select(here, positions, last ? -1.0 : static_cast<double>(count)), {axis}, true);
  }
  return {b.convert(at, r.old().type(n.outputs[0]).dtype)};
}

// ---- running folds: forward and including the element itself is what engines do

std::string refuse_cumulative(const Graph& g, const Node& n) {
  if (!g.type(n.inputs[0]).ranked) return "a value whose rank is only known at run time";
  const auto extent = extent_of(g, n.inputs[0], n.attrs.integer("axis"));
  const bool plain = extent != 1 && !n.attrs.flag("exclusive") && !n.attrs.flag("reverse") && n.attrs.integer("axis") + 1 == static_cast<int64_t>(g.type(n.inputs[0]).rank());
  return plain && !is_bool(g.type(n.inputs[0]).dtype) ? std::string(kAsItIs) : is_bool(g.type(n.inputs[0]).dtype) ? "a running fold of i1" : "";
}

Values apply_cumulative(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const int64_t axis = n.attrs.integer("axis"), rank = b.rank(r(n.inputs[0]));
  const std::string& body = n.attrs.text("body");
  const Ints to_last = axis_last(rank, axis);
  Value x = b.transpose(r(n.inputs[0]), to_last);
  const bool reverse = n.attrs.flag("reverse");
  if (reverse) x = b.reverse(x, {rank - 1});
  Value y = b.dim(x, rank - 1).is(1) ? x : b.op("cumulative", {x}, {{"axis", rank - 1}, {"body", body}});
  if (n.attrs.flag("exclusive") && !b.type(x).elements_count().is(0)) {
    const DType t = b.dtype(x);
    const bool top = body == "maximum";
    const double edge = is_float(t) ? (top ? least(t) : -least(t)) : static_cast<double>(top ? int_min(t) : int_max(t));
    Dims low(static_cast<size_t>(rank), 0), high(static_cast<size_t>(rank), 0);
    low.back() = 1;
    high.back() = -1;
    y = b.pad(y, body == "add" ? 0.0 : body == "multiply" ? 1.0 : edge, low, high);
  }
  if (reverse) y = b.reverse(y, {rank - 1});
  return {b.transpose(y, inverse(to_last))};
}

}  // namespace

std::vector<ExpansionRule> order_rules() {
  return {{"sort", refuse_sort, apply_sort},       {"topk", refuse_top, apply_top},         {"top_k", refuse_top, apply_top},
          {"arg_max", refuse_arg, apply_arg},      {"arg_min", refuse_arg, apply_arg},      {"cumulative", refuse_cumulative, apply_cumulative}};
}

}  // namespace bascule::device::chip
