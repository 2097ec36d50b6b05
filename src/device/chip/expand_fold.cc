// device/chip/expand_fold.cc — folds and windows with regions of their own: a fold as a tree of its region on neighbouring halves, a window as its taps;
// folds of nothing; padding with a computed number; map.
#include <algorithm>

#include "device/chip/expand_rules.h"
#include "device/chip/step_maker.h"
#include "device/common/lower.h"
#include "passes/fuse.h"

namespace bascule::device::chip {
namespace {

constexpr int64_t kMostTaps = 128;  // of a window whose fold is no plain one

// A comparison of floats in an order of all of them, as far as engines see it: NaN comes last whatever its sign, zeros are equal.
Value ordered(Builder& b, Value x, Value y, std::string_view direction) {
  const auto less = [&](Value u, Value v) { return b.logical_or(b.compare(u, v, "LT"), b.logical_and(b.compare(u, u, "EQ"), b.compare(v, v, "NE"))); };
  if (direction == "LT") return less(x, y);
  if (direction == "GT") return less(y, x);
  if (direction == "LE") return b.logical_not(less(y, x));
  if (direction == "GE") return b.logical_not(less(x, y));
  const Value differ = b.logical_or(less(x, y), less(y, x));
  return direction == "NE" ? differ : b.logical_not(differ);
}

Value spread(Builder& b, Value scalar, const Dims& dims) { return b.broadcast_in_dim(b.reshape(scalar, {}), dims, {}); }

// region(left..., right...)
Values combined(Builder& b, const Graph& region, const Values& left, const Values& right) {
  Values arguments = left;
  arguments.insert(arguments.end(), right.begin(), right.end());
  return inline_region(b, region, arguments, b.dims(left[0]));
}

// ---- reduce

std::string refuse_reduce(const Graph& g, const Node& n) {
  const bool plain = no_loops(g, n).empty();
  const size_t k = n.inputs.size() / 2;
  for (size_t i = 0; i < k; ++i)
    if (!g.type(n.inputs[i]).is_tensor() || !g.type(n.inputs[i]).ranked) return "a value whose rank is only known at run time";
  const bool empty = all_static(g, n) && g.type(n.inputs[0]).elements_count().is(0) && !g.type(n.outputs[0]).elements_count().is(0);
  if (plain && !empty) return std::string(kAsItIs);
  for (size_t i = 0; i < k; ++i)
    if (g.type(n.inputs[i]).dtype != g.type(n.outputs[i]).dtype) return "a reduction that changes the element type";
  return can_inline(*n.regions[0], 2 * k) ? "" : "a reduction that is no expression of two elements";
}

// Neighbours are folded pair by pair, so that the order of the elements is kept; the last of an odd count waits until the end.
Values folded(Builder& b, const Graph& region, Values x, int64_t axis) {
  std::vector<Values> waiting;
  for (int64_t n = b.dim(x[0], axis).value(); n > 1; n /= 2) {
    Values left, right;
    if (n % 2) waiting.emplace_back();
    for (const Value v : x) {
      left.push_back(b.slice_axis(v, axis, 0, n / 2 * 2, 2));
      right.push_back(b.slice_axis(v, axis, 1, n / 2 * 2, 2));
      if (n % 2) waiting.back().push_back(b.slice_axis(v, axis, n - 1, n));
    }
    x = combined(b, region, left, right);
  }
  for (; !waiting.empty(); waiting.pop_back()) x = combined(b, region, x, waiting.back());
  return x;
}

Values apply_reduce(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const size_t k = n.inputs.size() / 2;
  Values x, start;
  const Dims& result = r.old().type(n.outputs[0]).dims;
  for (size_t i = 0; i < k; ++i) {
    x.push_back(r(n.inputs[i]));
    start.push_back(spread(b, r(n.inputs[k + i]), result));
  }
  if (b.type(x[0]).elements_count().is(0)) return start;
  Ints axes = n.attrs.ints("dimensions");
  const std::string_view body = k == 1 ? reduction_body(*n.regions[0]) : "";
  std::sort(axes.rbegin(), axes.rend());
  if (body == "add" || body == "multiply" || body == "maximum" || body == "minimum" || body == "and" || body == "or")
    x = {b.reduce(body, x[0], axes, false)};
  else
    for (const int64_t axis : axes) x = folded(b, *n.regions[0], std::move(x), axis);
  for (Value& v : x) v = b.reshape(v, result);
  return combined(b, *n.regions[0], start, x);
}

// ---- reduce_window

std::string refuse_window(const Graph& g, const Node& n) {
  const std::string_view body = n.inputs.size() == 2 ? reduction_body(*n.regions[0]) : "";
  if ((body == "add" || body == "maximum" || body == "minimum") && g.constant(n.inputs[1])) return std::string(kAsItIs);
  const size_t k = n.inputs.size() / 2;
  for (size_t i = 0; i < k; ++i) {
    if (!g.type(n.inputs[i]).is_tensor() || !g.type(n.inputs[i]).ranked) return "a value whose rank is only known at run time";
    if (g.type(n.inputs[i]).dtype != g.type(n.outputs[i]).dtype) return "windows that change the element type";
    if (!g.constant(n.inputs[k + i])) return "windows folded from a number that is computed";
  }
  if (!can_inline(*n.regions[0], 2 * k)) return "windows folded by what is no expression of two elements";
  const auto taps = constants(n.attrs.dims("window_dimensions"));
  return taps && element_count(*taps) > kMostTaps ? "windows of more than " + std::to_string(kMostTaps) + " elements folded by other than sum, maximum or minimum" : "";
}

Values apply_window(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const size_t k = n.inputs.size() / 2;
  const auto taps = n.attrs.static_dims("window_dimensions");
  const size_t rank = taps.size();
  const Dims& result = r.old().type(n.outputs[0]).dims;
  const auto ints = [&](std::string_view name) { return n.attrs.has(name) && !n.attrs.ints(name).empty() ? n.attrs.ints(name) : Ints(rank, 1); };
  const auto edges = [&](std::string_view name) { return n.attrs.has(name) ? n.attrs.dims(name) : Dims(rank, 0); };
  const Ints strides = ints("window_strides"), dilation = ints("window_dilations");
  Ints interior = ints("base_dilations");
  for (int64_t& x : interior) --x;
  Values x, sum;
  for (size_t i = 0; i < k; ++i) {
    const Value start = r(n.inputs[k + i]);
    x.push_back(b.op("pad", {r(n.inputs[i]), b.reshape(start, {})}, {{"edge_padding_low", edges("padding_low")}, {"edge_padding_high", edges("padding_high")}, {"interior_padding", interior}}));
    sum.push_back(spread(b, start, result));
  }
  if (r.old().type(n.outputs[0]).elements_count().is(0)) return sum;
  std::vector<int64_t> tap(rank, 0);
  for (bool more = element_count(taps) > 0; more;) {
    Dims from, to;
    for (size_t a = 0; a < rank; ++a) {
      from.push_back(tap[a] * dilation[a]);
      to.push_back(tap[a] * dilation[a] + (result[a].value() - 1) * strides[a] + 1);
    }
    Values read;
    for (const Value v : x) read.push_back(b.slice(v, from, to, strides));
    sum = combined(b, *n.regions[0], sum, read);
    more = false;
    for (size_t a = rank; a-- > 0 && !more;) {
      if (++tap[a] < taps[a]) more = true;
      else tap[a] = 0;
    }
  }
  return sum;
}

// ---- map, pad

std::string refuse_map(const Graph&, const Node& n) { return can_inline(*n.regions[0], n.inputs.size()) ? "" : "a function that is no expression of the elements"; }

Values apply_map(passes::Rewriter& r, const Node& n) {
  Values x;
  for (const Value v : n.inputs) x.push_back(r(v));
  return inline_region(r.builder(), *n.regions[0], x, r.old().type(n.outputs[0]).dims);
}

std::string refuse_pad(const Graph& g, const Node& n) {
  if (g.constant(n.inputs[1])) return std::string(kAsItIs);
  return g.type(n.inputs[0]).ranked ? "" : "a value whose rank is only known at run time";
}

// The operand padded with 0, and the number where a padded mask is 0.
Values apply_pad(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]);
  const Dims& result = r.old().type(n.outputs[0]).dims;
  const Value number = spread(b, r(n.inputs[1]), result);
  if (b.type(x).elements_count().is(0)) return {number};
  const DType mask_type = is_float(b.dtype(x)) ? DType::f32 : DType::i32;  // as wide as what lies beside it
  const Value inside = b.op("pad", {b.full(b.dims(x), mask_type, 1), b.constant_like(0, mask_type)}, n.attrs);
  const Value padded = b.op("pad", {x, b.constant_like(0, b.dtype(x))}, n.attrs);
  return {b.select(b.compare(inside, 0, "NE"), padded, number)};
}

}  // namespace

bool can_inline(const Graph& region, size_t arguments) {
  if (region.inputs.size() != arguments) return false;
  const auto scalar = [&](Value v) { return v && region.type(v).is_tensor() && region.type(v).ranked && region.type(v).rank() == 0; };
  for (const Value v : region.inputs)
    if (!scalar(v)) return false;
  for (const Node& n : region.nodes) {
    if (n.op->name == "constant") {
      if (!scalar(n.outputs[0])) return false;
      continue;
    }
    if (!passes::is_elementwise(n) || n.outputs.size() != 1 || !std::all_of(n.inputs.begin(), n.inputs.end(), scalar)) return false;
  }
  return true;
}

Values inline_region(Builder& b, const Graph& region, const Values& arguments, const Dims& dims) {
  std::vector<Value> made(region.values.size());
  const auto at = [&](Value v) -> Value& { return made[static_cast<size_t>(v.id)]; };
  for (size_t i = 0; i < arguments.size(); ++i) at(region.inputs[i]) = arguments[i];
  for (const Node& n : region.nodes) {
    if (const Tensor* c = region.constant(n.outputs[0])) {
      at(n.outputs[0]) = b.broadcast_to(b.constant(*c), dims);
      continue;
    }
    Values in;
    for (const Value v : n.inputs) in.push_back(at(v));
    const bool total = n.op->name == "compare" && is_float(region.type(n.inputs[0]).dtype) && n.attrs.has("compare_type") && n.attrs.text("compare_type") == "TOTALORDER";
    at(n.outputs[0]) = total ? ordered(b, in[0], in[1], n.attrs.text("comparison_direction")) : b.op(n.op->name, in, n.attrs);
  }
  Values out;
  for (const Value v : region.outputs) out.push_back(at(v));
  return out;
}

std::vector<ExpansionRule> fold_rules() {
  return {{"reduce", refuse_reduce, apply_reduce}, {"reduce_window", refuse_window, apply_window}, {"map", refuse_map, apply_map}, {"pad", refuse_pad, apply_pad}};
}

}  // namespace bascule::device::chip
