// ops/transpose.cc — axes in another order.
#include "ops/rules.h"

namespace bascule::ops {
namespace {

const MovementRule rule = [](const OpView& op, const Type&) {
  const std::vector<int64_t> strides = strides_of(static_dims(op.in(0)));
  const Ints permutation = op.attrs.ints("permutation");
  return [strides, permutation](std::span<const int64_t> index) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * strides[static_cast<size_t>(permutation[d])];
    return Source{0, at};
  };
};

}  // namespace

const OpDef transpose{
    .name = "transpose",
    .doc = "y[i] = x[j], j[permutation[d]] = i[d]",
    .inputs = {{"operand"}},
    .attrs = {{"permutation", AttrKind::ints}},
    .type =
        [](const OpView& op) {
          const Ints& permutation = op.attrs.ints("permutation");
          if (permutation.size() != op.in(0).rank()) op.fail("a permutation of the axes of " + op.in(0).text(), std::to_string(permutation.size()) + " axes", "C2");
          require_axes(op, permutation, op.in(0).rank(), "permutation", "C2");
          Type t = op.in(0);
          for (size_t d = 0; d < t.rank(); ++d) t.dims[d] = op.in(0).dims[static_cast<size_t>(permutation[d])];
          return std::vector<Type>{t};
        },
    .reference = movement(rule),
    .symbolic = symbolic_movement(rule),
    .work = no_arithmetic(),
    .cases = {{"matrix", {{2, 3}}, {{"permutation", Ints{1, 0}}}},
              {"scalar", {{}}, {{"permutation", Ints{}}}},
              {"empty", {{0, 3}}, {{"permutation", Ints{1, 0}}}},
              {"rank4", {{2, 3, 4, 5}}, {{"permutation", Ints{0, 2, 3, 1}}}},
              {"ragged", {{7, 129}}, {{"permutation", Ints{1, 0}}}, {DType::bf16}},
              {"packed", {{3, 5}}, {{"permutation", Ints{1, 0}}}, {DType::i4}}},
};
BASCULE_OP(transpose);

}  // namespace bascule::ops
