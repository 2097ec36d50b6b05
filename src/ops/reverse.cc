// ops/reverse.cc — order of elements reversed along some axes.
#include "ops/rules.h"

namespace bascule::ops {
namespace {

const MovementRule rule = [](const OpView& op, const Type&) {
  const std::vector<int64_t> dims = static_dims(op.in(0));
  const std::vector<int64_t> strides = strides_of(dims);
  std::vector<bool> turned(dims.size(), false);
  for (const int64_t a : op.attrs.ints("dimensions")) turned[static_cast<size_t>(a)] = true;
  return [=](std::span<const int64_t> index) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += (turned[d] ? dims[d] - 1 - index[d] : index[d]) * strides[d];
    return Source{0, at};
  };
};

}  // namespace

const OpDef reverse{
    .name = "reverse",
    .doc = "y[i] = x[j], j[d] = extent[d] - 1 - i[d] for d in `dimensions`, else i[d]",
    .inputs = {{"operand"}},
    .attrs = {{"dimensions", AttrKind::ints}},
    .type =
        [](const OpView& op) {
          require_axes(op, op.attrs.ints("dimensions"), op.in(0).rank(), "dimensions", "C2, C3");
          return std::vector<Type>{op.in(0)};
        },
    .reference = movement(rule),
    .symbolic = symbolic_movement(rule),
    .work = no_arithmetic(),
    .cases = {{"rows", {{2, 3}}, {{"dimensions", Ints{0}}}},
              {"both", {{7, 129}}, {{"dimensions", Ints{1, 0}}}},
              {"scalar", {{}}, {{"dimensions", Ints{}}}},
              {"empty", {{0, 3}}, {{"dimensions", Ints{0}}}},
              {"packed", {{3, 3}}, {{"dimensions", Ints{1}}}, {DType::i4}}},
};
BASCULE_OP(reverse);

}  // namespace bascule::ops
