// ops/broadcast_in_dim.cc — operand axis k becomes result axis broadcast_dimensions[k]; an extent of 1 stretches.
#include "ops/rules.h"

namespace bascule::ops {
namespace {

const MovementRule rule = [](const OpView& op, const Type&) {
  const std::vector<int64_t> in = static_dims(op.in(0));
  const std::vector<int64_t> strides = strides_of(in);
  const Ints axes = op.attrs.ints("broadcast_dimensions");
  return [in, strides, axes](std::span<const int64_t> index) {
    int64_t at = 0;
    for (size_t k = 0; k < in.size(); ++k)
      if (in[k] != 1) at += index[static_cast<size_t>(axes[k])] * strides[k];
    return Source{0, at};
  };
};

}  // namespace

const OpDef broadcast_in_dim{
    .name = "broadcast_in_dim",
    .doc = "y[i] = x[j], j[k] = i[broadcast_dimensions[k]], or 0 where x has extent 1",
    .inputs = {{"operand"}},
    .attrs = {{"dims", AttrKind::dims}, {"broadcast_dimensions", AttrKind::ints}},
    .type =
        [](const OpView& op) {
          const Type out = Type::tensor(op.in(0).dtype, op.attrs.dims("dims"));
          for (const Dim& d : out.dims) op.require(!d.is_constant() || d.value() >= 0, "dims of 0 or more", out.text());
          const Ints& axes = op.attrs.ints("broadcast_dimensions");
          if (axes.size() != op.in(0).rank()) op.fail("one of broadcast_dimensions for each operand axis", std::to_string(axes.size()) + " for " + op.in(0).text(), "C2");
          require_axes(op, axes, out.rank(), "broadcast_dimensions", "C3, C4");
          for (size_t k = 0; k < axes.size(); ++k) {
            const Dim &from = op.in(0).dims[k], &to = out.dims[static_cast<size_t>(axes[k])];
            if (from.is_constant() && to.is_constant() && !from.is(1) && !(from == to)) op.fail("operand extents of 1 or the result's", op.in(0).text() + " to " + out.text(), "C5");
          }
          return std::vector<Type>{out};
        },
    .reference = movement(rule),
    .symbolic = symbolic_movement(rule),
    .work = no_arithmetic(),
    .cases = {{"row", {{3}}, {{"dims", Dims{2, 3}}, {"broadcast_dimensions", Ints{1}}}},
              {"scalar", {{}}, {{"dims", Dims{2, 3}}, {"broadcast_dimensions", Ints{}}}},
              {"stretch", {{2, 1}}, {{"dims", Dims{2, 5}}, {"broadcast_dimensions", Ints{0, 1}}}},
              {"empty", {{1}}, {{"dims", Dims{0, 1}}, {"broadcast_dimensions", Ints{1}}}}},
};
BASCULE_OP(broadcast_in_dim);

}  // namespace bascule::ops
