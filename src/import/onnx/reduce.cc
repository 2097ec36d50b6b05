// import/onnx/reduce.cc — ONNX reductions over axes, ArgMax and ArgMin.
#include <algorithm>
#include <functional>
#include <numeric>

#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

// A reduction written as pre (elementwise), fold, post (elementwise).
struct Reduction {
  std::string_view body;
  Value (*before)(Builder&, Value) = nullptr;
  Value (*after)(Builder&, Value) = nullptr;
  bool mean = false;
};

struct Axes {
  Ints axes;
  bool none = false;  // noop_with_empty_axes: an empty set of axes
};

Ints all_axes(int64_t rank) {
  Ints axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

Axes axes_from_attribute(NodeContext& n, Builder& b) {
  const int64_t rank = b.rank(n.in(0));
  const Ints axes = n.ints("axes", Ints{});
  return {axes.empty() ? all_axes(rank) : n.axes(axes, rank)};
}

Axes axes_from_input(NodeContext& n, Builder& b) {
  const int64_t rank = b.rank(n.in(0));
  const bool noop = n.flag("noop_with_empty_axes", false);
  const Ints axes = n.has(1) ? n.constants(1) : Ints{};
  if (!axes.empty()) return {n.axes(axes, rank)};
  if (noop) return {{}, true};
  return {all_axes(rank)};
}

Value reduced(NodeContext& n, Builder& b, const Axes& a, const Reduction& r) {
  const bool keep = n.flag("keepdims", true);
  Value x = n.in(0);
  if (r.before) x = r.before(b, x);
  Value y;
  if (a.none) y = x;
  else if (r.mean) y = b.mean(x, a.axes, keep);
  else y = b.reduce(r.body, x, a.axes, keep);
  return r.after ? r.after(b, y) : y;
}

Value magnitude(Builder& b, Value x) { return is_unsigned_int(b.dtype(x)) ? x : b.abs(x); }
Value square(Builder& b, Value x) { return b.multiply(x, x); }
// Integers are rounded down through double, as a cast does.
Value through_float(Builder& b, Value x, std::string_view f) {
  const DType t = b.dtype(x);
  if (!is_int(t)) return b.unary(f, x);
  return b.convert(b.unary(f, b.convert(x, DType::f64)), t);
}
Value root(Builder& b, Value x) { return through_float(b, x, "sqrt"); }
Value logarithm(Builder& b, Value x) { return through_float(b, x, "log"); }

constexpr Reduction kSum{"add"};
constexpr Reduction kMean{"add", nullptr, nullptr, true};
constexpr Reduction kProduct{"multiply"};
constexpr Reduction kMax{"maximum"};
constexpr Reduction kMin{"minimum"};
constexpr Reduction kL1{"add", magnitude};
constexpr Reduction kL2{"add", square, root};
constexpr Reduction kSumSquare{"add", square};
constexpr Reduction kLogSum{"add", nullptr, logarithm};

// m + log(sum(e^(x - m))), m = max(x) where finite, else 0: an all -inf row gives -inf and +inf gives +inf.
Value log_sum_exp(NodeContext& n, Builder& b, const Axes& a) {
  const bool keep = n.flag("keepdims", true);
  const DType t = n.dtype(0);
  const Value x = b.convert(n.in(0), is_int(t) ? DType::f64 : t);
  if (a.none) return n.in(0);
  Value m = b.reduce("maximum", x, a.axes, true);
  m = b.select(b.unary("is_finite", m), m, 0);
  Value y = b.log(b.sum(b.exp(b.subtract(x, m)), a.axes, true));
  y = b.add(y, m);
  if (!keep) y = b.squeeze(y, a.axes);
  return b.convert(y, t);
}

Value arg(NodeContext& n, Builder& b, std::string_view op) {
  const Value x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", 0), b.rank(x));
  const bool keep = n.flag("keepdims", true), last = n.flag("select_last_index", false);
  const Value y = b.op(op, {x}, {{"axis", axis}, {"select_last", last}, {"dtype", DType::i64}});
  return keep ? y : b.squeeze(y, {axis});
}

}  // namespace

// Axes are an attribute until operator set 17 (ReduceSum: 12), then an optional operand.
#define BASCULE_REDUCE(Name, reduction)                                            \
  ONNX_OP(Name, 1) { return reduced(n, b, axes_from_attribute(n, b), reduction); } \
  ONNX_OP(Name, 18) { return reduced(n, b, axes_from_input(n, b), reduction); }
BASCULE_REDUCE(ReduceL1, kL1)
BASCULE_REDUCE(ReduceL2, kL2)
BASCULE_REDUCE(ReduceLogSum, kLogSum)
BASCULE_REDUCE(ReduceMax, kMax)
BASCULE_REDUCE(ReduceMean, kMean)
BASCULE_REDUCE(ReduceMin, kMin)
BASCULE_REDUCE(ReduceProd, kProduct)
BASCULE_REDUCE(ReduceSumSquare, kSumSquare)
#undef BASCULE_REDUCE
ONNX_OP(ReduceSum, 1) { return reduced(n, b, axes_from_attribute(n, b), kSum); }
ONNX_OP(ReduceSum, 13) { return reduced(n, b, axes_from_input(n, b), kSum); }
ONNX_OP(ReduceLogSumExp, 1) { return log_sum_exp(n, b, axes_from_attribute(n, b)); }
ONNX_OP(ReduceLogSumExp, 18) { return log_sum_exp(n, b, axes_from_input(n, b)); }

ONNX_OP(ArgMax, 1) { return arg(n, b, "arg_max"); }
ONNX_OP(ArgMin, 1) { return arg(n, b, "arg_min"); }

}  // namespace bascule::onnx
