// ops/sort.cc — sorts lanes of one or more operands together by a comparator region; always stable.
#include <algorithm>
#include <numeric>

#include "base/budget.h"
#include "ops/scalar_region.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

int64_t axis_of(const OpView& op) {
  const int64_t axis = op.attrs.integer("dimension"), rank = static_cast<int64_t>(op.in(0).rank());
  if (axis < -rank || axis >= std::max<int64_t>(rank, 1)) op.fail("dimension in [" + std::to_string(-rank) + ", " + std::to_string(rank) + ")", std::to_string(axis), "C4");
  return axis < 0 ? axis + rank : axis;
}

std::vector<Type> sort_type(const OpView& op) {
  if (op.inputs.empty()) op.fail("at least one operand", "none", "C1");
  std::vector<DType> arguments;
  std::vector<Type> out;
  for (const Type& t : op.inputs) {
    require_same_dims(op, op.in(0), t, "C3");
    arguments.push_back(t.dtype);
    arguments.push_back(t.dtype);
    out.push_back(t);
  }
  axis_of(op);
  const std::vector<DType> types = require_scalar_region(op, 0, arguments, 1, "C5");
  op.require(is_bool(types[0]), "a comparator that returns i1", std::string(info(types[0]).name), "C5");
  return out;
}

// Merge sort: safe for comparators that contradict themselves, where library sorts are not.
template <class Less>
void merge_sort(std::vector<int64_t>& v, Less less) {
  std::vector<int64_t> other(v.size());
  for (size_t width = 1; width < v.size(); width *= 2) {
    for (size_t low = 0; low < v.size(); low += 2 * width) {
      const size_t middle = std::min(low + width, v.size()), high = std::min(low + 2 * width, v.size());
      size_t a = low, b = middle;
      for (size_t k = low; k < high; ++k) other[k] = b == high || (a < middle && !less(v[b], v[a])) ? v[a++] : v[b++];
    }
    v.swap(other);
  }
}

HostValues sort_reference(const Call& call) {
  const size_t n = call.inputs.size();
  const auto& dims = call.in(0).dims();
  std::vector<Tensor> out;
  for (size_t i = 0; i < n; ++i) out.push_back(call.in(i));
  if (dims.empty()) return {out.begin(), out.end()};
  const auto axis = static_cast<size_t>(axis_of(call.op));
  std::vector<int64_t> strides = strides_of(dims), lane_dims = dims;
  const int64_t length = dims[axis], stride = strides[axis];
  lane_dims[axis] = length > 0 ? 1 : 0;
  ScalarRegion comparator(call, 0);
  std::vector<std::vector<Scalar>> lane(n, std::vector<Scalar>(static_cast<size_t>(length)));
  std::vector<Scalar> arguments(2 * n);
  std::vector<int64_t> order(static_cast<size_t>(length));
  for (Walk w(lane_dims, strides); w; w.next()) {
    for (size_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < length; ++k) lane[i][static_cast<size_t>(k)] = load_scalar(call.in(i).dtype(), call.in(i).data(), w.offset() + k * stride);
    std::iota(order.begin(), order.end(), 0);
    merge_sort(order, [&](int64_t a, int64_t b) {
      for (size_t i = 0; i < n; ++i) {
        arguments[2 * i] = lane[i][static_cast<size_t>(a)];
        arguments[2 * i + 1] = lane[i][static_cast<size_t>(b)];
      }
      Scalar less;
      comparator(arguments, {&less, 1});
      return less.integer != 0;
    });
    for (size_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < length; ++k) copy_element(call.in(i), w.offset() + order[static_cast<size_t>(k)] * stride, out[i], w.offset() + k * stride);
  }
  return {out.begin(), out.end()};
}

std::shared_ptr<const Graph> comparator(std::vector<DType> types, std::string_view direction) {
  Builder b("comparator");
  std::vector<Value> v;
  for (const DType t : types) {
    v.push_back(b.input(Type::tensor(t, {})));
    v.push_back(b.input(Type::tensor(t, {})));
  }
  return std::make_shared<const Graph>(b.finish({b.compare(v[0], v[1], direction)}));
}
Case sorted(std::string_view name, std::vector<int64_t> dims, int64_t axis, DType t, std::string_view direction) {
  return {.name = name, .build = [=](Builder& b) { return b.ops("sort", {b.input(Type::tensor(t, to_dims(dims)))}, {{"dimension", axis}}, {comparator({t}, direction)}); }};
}

}  // namespace

const OpDef sort{
    .name = "sort",
    .doc = "the operands with each lane along `dimension` in the order of comparator(lhs0, rhs0, lhs1, rhs1, ...); equal elements keep theirs",
    .inputs = {{"inputs", DTypes::tensors, kVariadic}},
    .attrs = {{"dimension", AttrKind::integer, false, int64_t{-1}}, {"is_stable", AttrKind::flag, false, false}},
    .regions = 1,
    .type = sort_type,
    .reference = sort_reference,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          double length = op.in(0).rank() == 0 ? 1 : static_cast<double>(op.in(0).dims[static_cast<size_t>(axis_of(op))].value()), levels = 0;
          for (double width = 1; width < length; width *= 2) ++levels;
          w.compares = elements(op.in(0)) * levels * static_cast<double>(op.regions[0]->nodes.size());
          add_traffic(op, results, w);
          return w;
        },
    .cases = {sorted("ascending", {4, 9}, 1, DType::f32, "LT"), sorted("descending", {9, 4}, 0, DType::f32, "GT"), sorted("integers", {33}, 0, DType::i32, "LT"), sorted("empty", {3, 0}, 1, DType::f32, "LT"),
              {.name = "with_index",
               .build =
                   [](Builder& b) {
                     const Value x = b.input(Type::tensor(DType::f32, {3, 17}));
                     return b.ops("sort", {x, b.iota(DType::i32, {3, 17}, 1)}, {{"dimension", int64_t{1}}, {"is_stable", true}}, {comparator({DType::f32, DType::i32}, "LT")});
                   }}},
};
BASCULE_OP(sort);

}  // namespace bascule::ops
