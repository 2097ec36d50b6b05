// ops/slice.cc — a part of a tensor at fixed bounds.
#include "ops/rules.h"

namespace bascule::ops {
namespace {

const MovementRule rule = [](const OpView& op, const Type&) {
  const std::vector<int64_t> strides = strides_of(static_dims(op.in(0)));
  const std::vector<int64_t> start = op.attrs.static_dims("start_indices");
  const Ints step = op.attrs.ints("strides");
  return [=](std::span<const int64_t> index) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += (start[d] + index[d] * step[d]) * strides[d];
    return Source{0, at};
  };
};

}  // namespace

const OpDef slice{
    .name = "slice",
    .doc = "y[i] = x[start_indices + i * strides], up to limit_indices, which is left out",
    .inputs = {{"operand"}},
    .attrs = {{"start_indices", AttrKind::dims}, {"limit_indices", AttrKind::dims}, {"strides", AttrKind::ints}},
    .type =
        [](const OpView& op) {
          const Type& x = op.in(0);
          const Dims start = op.attrs.dims("start_indices"), limit = op.attrs.dims("limit_indices");
          const Ints& strides = op.attrs.ints("strides");
          if (start.size() != x.rank() || limit.size() != x.rank() || strides.size() != x.rank())
            op.fail("start_indices, limit_indices and strides for each axis of " + x.text(), std::to_string(start.size()) + ", " + std::to_string(limit.size()) + " and " + std::to_string(strides.size()), "C2");
          Type t = x;
          const auto at_most = [](const Dim& a, const Dim& b) {  // also true while it cannot be decided
            const auto gap = (b - a).constant();
            return !gap || *gap >= 0;
          };
          for (size_t d = 0; d < x.rank(); ++d) {
            const bool inside = at_most(0, start[d]) && at_most(start[d], limit[d]) && at_most(limit[d], x.dims[d]);
            if (!inside) op.fail("0 <= start <= limit <= extent on axis " + std::to_string(d), start[d].text() + ", " + limit[d].text() + " of " + x.text(), "C3");
            if (strides[d] <= 0) op.fail("strides above 0", std::to_string(strides[d]), "C4");
            t.dims[d] = Dim::ceil_div(limit[d] - start[d], strides[d]);
          }
          return std::vector<Type>{t};
        },
    .reference = movement(rule),
    .symbolic = symbolic_movement(rule),
    .work = no_arithmetic(),
    .cases = {{"middle", {{5, 7}}, {{"start_indices", Dims{1, 2}}, {"limit_indices", Dims{4, 7}}, {"strides", Ints{1, 2}}}},
              {"scalar", {{}}, {{"start_indices", Dims{}}, {"limit_indices", Dims{}}, {"strides", Ints{}}}},
              {"nothing", {{5}}, {{"start_indices", Dims{5}}, {"limit_indices", Dims{5}}, {"strides", Ints{1}}}},
              {"ragged", {{7, 129}}, {{"start_indices", Dims{0, 1}}, {"limit_indices", Dims{7, 128}}, {"strides", Ints{3, 5}}}, {DType::f64}},
              {"packed", {{9}}, {{"start_indices", Dims{1}}, {"limit_indices", Dims{8}}, {"strides", Ints{2}}}, {DType::i4}}},
};
BASCULE_OP(slice);

}  // namespace bascule::ops
