// ops/topk.cc — the k largest or smallest elements of each lane with their indices: ours along any axis, CHLO's along the last.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

// Whether x comes before y when the largest come first: NaN is the largest, equal elements keep their order.
template <class T>
bool larger(T x, T y) {
  if constexpr (std::is_same_v<T, double>)
    if (std::isnan(x) || std::isnan(y)) return std::isnan(x) && !std::isnan(y);
  return x > y;
}

template <class Load>
HostValues top(const Call& call, size_t axis, int64_t k, bool largest, Load load) {
  const Tensor& x = call.in(0);
  Tensor values = call.result(0), indices = call.result(1);
  std::vector<int64_t> lanes = x.dims(), out_lanes = values.dims();
  const std::vector<int64_t> strides = strides_of(lanes), out_strides = strides_of(out_lanes);
  const int64_t n = lanes[axis], stride = strides[axis], out_stride = out_strides[axis];
  if (k < 0 || k > n) fail_usage(call.op.where, "k in [0, " + std::to_string(n) + "]", std::to_string(k), "Check the value of k");
  lanes[axis] = out_lanes[axis] = k > 0 ? 1 : 0;
  std::vector<int64_t> order(static_cast<size_t>(n));
  using T = decltype(load(x, 0));
  std::vector<T> lane(static_cast<size_t>(n));
  std::byte* at = indices.mutable_data();
  Walk to(out_lanes, out_strides);
  for (Walk from(lanes, strides); from; from.next(), to.next()) {
    for (int64_t i = 0; i < n; ++i) {
      check_budget();
      lane[static_cast<size_t>(i)] = load(x, from.offset() + i * stride);
    }
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
      const T u = lane[static_cast<size_t>(a)], v = lane[static_cast<size_t>(b)];
      if (largest ? larger(u, v) : larger(v, u)) return true;
      if (largest ? larger(v, u) : larger(u, v)) return false;
      return a < b;
    });
    for (int64_t i = 0; i < k; ++i) {
      copy_element(x, from.offset() + order[static_cast<size_t>(i)] * stride, values, to.offset() + i * out_stride);
      store_int(indices.dtype(), at, to.offset() + i * out_stride, order[static_cast<size_t>(i)]);
    }
  }
  return {values, indices};
}

HostValues top_any(const Call& call, size_t axis, int64_t k, bool largest) {
  const DType t = call.in(0).dtype();
  if (is_float(t)) return top(call, axis, k, largest, [](const Tensor& x, int64_t i) { return x.number(i); });
  if (t == DType::u64) return top(call, axis, k, largest, [](const Tensor& x, int64_t i) { return static_cast<uint64_t>(x.integer(i)); });
  return top(call, axis, k, largest, [](const Tensor& x, int64_t i) { return x.integer(i); });
}

std::vector<Type> top_type(const OpView& op, int64_t axis, const Dim& k, DType index) {
  Dims dims = op.in(0).dims;
  const Dim n = dims[static_cast<size_t>(axis)];
  if ((k.is_constant() && k.value() < 0) || (k.is_constant() && n.is_constant() && k.value() > n.value())) op.fail("k in [0, " + n.text() + "]", k.text());
  dims[static_cast<size_t>(axis)] = k;
  return {Type::tensor(op.in(0).dtype, dims), Type::tensor(index, dims)};
}

Work top_work(const OpView& op, std::span<const Type> results) {
  Work w;
  const double n = elements(op.in(0)), k = std::max(elements(results[0]), 2.0);
  w.compares = n * std::log2(k);
  add_traffic(op, results, w);
  return w;
}

// Order of XLA's sort: -NaN < -inf < ... < -0 < +0 < ... < inf < NaN, as integers.
int64_t total_order(const Tensor& x, int64_t i) {
  const DType t = x.dtype();
  uint64_t bits = 0;
  const int width = info(t).storage_bits;
  if (width < 8) bits = static_cast<uint64_t>(load_int(width == 2 ? DType::u2 : DType::u4, x.data(), i));
  else std::memcpy(&bits, x.data() + i * (width / 8), static_cast<size_t>(width / 8));
  if (t == DType::f8e8m0fnu) return static_cast<int64_t>(bits);  // no sign
  const uint64_t sign = uint64_t{1} << (info(t).bits - 1);
  const auto magnitude = static_cast<int64_t>(bits & (sign - 1));
  return bits & sign ? -1 - magnitude : magnitude;
}

}  // namespace

const OpDef topk{
    .name = "topk",
    .dialect = "bascule",
    .doc = "values and indices of the `k` largest (or smallest) elements along `axis`, best first; the lower index of equal elements first",
    .inputs = {{"operand", DTypes::reals | DTypes::bools}},
    .attrs = {{"axis", AttrKind::integer},
              {"k", AttrKind::dims},  // one element
              {"largest", AttrKind::flag, false, true},
              {"sorted", AttrKind::flag, false, true},
              {"dtype", AttrKind::dtype, false, DType::i64}},  // of the indices
    .type =
        [](const OpView& op) {
          const int64_t axis = require_axis(op, op.attrs.integer("axis"), op.in(0).rank(), "axis");
          const Dims k = op.attrs.dims("k");
          op.require(k.size() == 1, "one k", std::to_string(k.size()));
          op.require(is_int(op.attrs.dtype("dtype")), "an integer type of the indices", std::string(info(op.attrs.dtype("dtype")).name));
          return top_type(op, axis, k[0], op.attrs.dtype("dtype"));
        },
    .reference = [](const Call& call) { return top_any(call, static_cast<size_t>(call.op.attrs.integer("axis")), call.op.attrs.static_dims("k")[0], call.op.attrs.flag("largest")); },
    .work = top_work,
    .cases = {{"largest", {{4, 33}}, {{"axis", int64_t{1}}, {"k", Dims{5}}}},
              {"smallest_first_axis", {{33, 4}}, {{"axis", int64_t{0}}, {"k", Dims{3}}, {"largest", false}}},
              {"all", {{7}}, {{"axis", int64_t{0}}, {"k", Dims{7}}}},
              {"none", {{7}}, {{"axis", int64_t{0}}, {"k", Dims{0}}}},
              {.name = "ties", .shapes = {{40}}, .attrs = {{"axis", int64_t{0}}, {"k", Dims{9}}}, .dtypes = {DType::i8}, .low = -2, .high = 2}},
};
BASCULE_OP(topk);

const OpDef top_k{
    .name = "top_k",
    .dialect = "chlo",
    .doc = "values and i32 indices of the `k` largest elements along the last axis, largest first in the total order of floats",
    .inputs = {{"operand", DTypes::reals | DTypes::bools}},
    .attrs = {{"k", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          if (op.in(0).rank() == 0) op.fail("an operand of rank 1 or more", op.in(0).text());
          return top_type(op, static_cast<int64_t>(op.in(0).rank()) - 1, op.attrs.integer("k"), DType::i32);
        },
    .reference =
        [](const Call& call) {
          const size_t axis = call.in(0).rank() - 1;
          const int64_t k = call.op.attrs.integer("k");
          return is_float(call.in(0).dtype()) ? top(call, axis, k, true, total_order) : top_any(call, axis, k, true);
        },
    .work = top_work,
    .cases = {{"rows", {{4, 33}}, {{"k", int64_t{5}}}}},
};
BASCULE_OP(top_k);

}  // namespace bascule::ops
