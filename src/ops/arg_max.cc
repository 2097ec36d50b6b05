// ops/arg_max.cc — arg_max and arg_min: where the largest or smallest element of each lane stands. The axis stays with extent 1.
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

std::vector<Type> arg_type(const OpView& op) {
  const int64_t axis = require_axis(op, op.attrs.integer("axis"), op.in(0).rank(), "axis");
  const DType t = op.attrs.dtype("dtype");
  op.require(is_int(t), "an integer result type", std::string(info(t).name));
  Dims dims = op.in(0).dims;
  if (dims[static_cast<size_t>(axis)].is(0)) op.fail("an axis that is not empty", op.in(0).text());
  dims[static_cast<size_t>(axis)] = 1;
  return {Type::tensor(t, dims)};
}

// The first NaN of a lane wins, as in NumPy.
template <class Load, class Better>
Tensor find_best(const Call& call, Load load, Better better) {
  const Tensor& x = call.in(0);
  Tensor y = call.result();
  const bool last = call.op.attrs.flag("select_last");
  const auto axis = static_cast<size_t>(call.op.attrs.integer("axis"));
  std::vector<int64_t> lanes = x.dims();
  const std::vector<int64_t> strides = strides_of(lanes);
  const int64_t n = lanes[axis], stride = strides[axis];
  lanes[axis] = 1;
  std::byte* out = y.mutable_data();
  int64_t i = 0;
  for (Walk lane(lanes, strides); lane; lane.next(), ++i) {
    check_budget();
    int64_t best = 0;
    auto most = load(x, lane.offset());
    for (int64_t k = 1; k < n && most == most; ++k) {
      const auto v = load(x, lane.offset() + k * stride);
      if (better(v, most) || v != v || (last && v == most)) {
        best = k;
        most = v;
      }
    }
    store_int(y.dtype(), out, i, best);
  }
  return y;
}

template <bool kLargest>
HostValues arg_reference(const Call& call) {
  const auto better = [](auto a, auto b) { return kLargest ? a > b : a < b; };
  const DType t = call.in(0).dtype();
  if (is_float(t)) return one(find_best(call, [](const Tensor& x, int64_t i) { return x.number(i); }, better));
  if (t == DType::u64) return one(find_best(call, [](const Tensor& x, int64_t i) { return static_cast<uint64_t>(x.integer(i)); }, better));
  return one(find_best(call, [](const Tensor& x, int64_t i) { return x.integer(i); }, better));
}

template <bool kLargest>
OpDef definition(std::string_view name, std::string_view doc) {
  return {.name = name,
          .dialect = "bascule",
          .doc = doc,
          .inputs = {{"operand", DTypes::reals | DTypes::bools}},
          .attrs = {{"axis", AttrKind::integer}, {"select_last", AttrKind::flag, false, false}, {"dtype", AttrKind::dtype, false, DType::i64}},
          .type = arg_type,
          .reference = arg_reference<kLargest>,
          .work =
              [](const OpView& op, std::span<const Type> results) {
                Work w;
                w.compares = elements(op.in(0));
                add_traffic(op, results, w);
                return w;
              },
          .cases = {{"rows", {{4, 33}}, {{"axis", int64_t{1}}}},
                    {"columns", {{33, 4}}, {{"axis", int64_t{0}}, {"dtype", DType::i32}}},
                    {.name = "ties_first", .shapes = {{4, 33}}, .attrs = {{"axis", int64_t{1}}}, .dtypes = {DType::i8}, .low = -2, .high = 2},
                    {.name = "ties_last", .shapes = {{4, 33}}, .attrs = {{"axis", int64_t{1}}, {"select_last", true}}, .dtypes = {DType::i8}, .low = -2, .high = 2}}};
}

}  // namespace

const OpDef arg_max = definition<true>("arg_max", "y = index along `axis` of the largest element: the first, or the last if `select_last`");
BASCULE_OP(arg_max);
const OpDef arg_min = definition<false>("arg_min", "y = index along `axis` of the smallest element: the first, or the last if `select_last`");
BASCULE_OP(arg_min);

}  // namespace bascule::ops
