// ops/concatenate.cc — operands one after the other along an axis.
#include "ops/rules.h"

namespace bascule::ops {
namespace {

const MovementRule rule = [](const OpView& op, const Type&) {
  const auto axis = static_cast<size_t>(op.attrs.integer("dimension"));
  std::vector<int64_t> starts, sizes;
  std::vector<std::vector<int64_t>> strides;
  int64_t at = 0;
  for (const Type& t : op.inputs) {
    const std::vector<int64_t> dims = static_dims(t);
    starts.push_back(at);
    sizes.push_back(dims[axis]);
    strides.push_back(strides_of(dims));
    at += dims[axis];
  }
  return [=](std::span<const int64_t> index) {
    size_t k = 0;
    while (index[axis] >= starts[k] + sizes[k]) ++k;
    return Source{k, linear(index, strides[k]) - starts[k] * strides[k][axis]};
  };
};

}  // namespace

const OpDef concatenate{
    .name = "concatenate",
    .doc = "y = operands one after the other along axis `dimension`",
    .inputs = {{"inputs", DTypes::any, kVariadic}},
    .attrs = {{"dimension", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          if (op.inputs.empty()) op.fail("one operand or more", "none", "C3");
          Type t = op.in(0);
          const auto axis = static_cast<size_t>(require_axis(op, op.attrs.integer("dimension"), t.rank(), "dimension", "C4"));
          for (size_t i = 1; i < op.inputs.size(); ++i) {
            const Type& u = op.in(i);
            if (u.dtype != t.dtype) op.fail("operands of one element type", t.text() + " and " + u.text(), "C1");
            if (u.rank() != t.rank()) op.fail("operands of one rank", t.text() + " and " + u.text(), "C2");
            for (size_t d = 0; d < t.rank(); ++d) {
              if (d == axis) continue;
              op.require_equal(t.dims[d], u.dims[d], "equal extents of axis " + std::to_string(d), "C2");
              if (u.dims[d].is_constant()) t.dims[d] = u.dims[d];
            }
            t.dims[axis] = t.dims[axis] + u.dims[axis];
          }
          return std::vector<Type>{t};
        },
    .reference = movement(rule),
    .symbolic = symbolic_movement(rule),
    .work = no_arithmetic(),
    .cases = {{"rows", {{2, 3}, {4, 3}}, {{"dimension", 0}}},
              {"columns", {{7, 129}, {7, 1}, {7, 2}}, {{"dimension", 1}}},
              {"one", {{2, 3}}, {{"dimension", 1}}},
              {"empty_part", {{2, 0}, {2, 3}}, {{"dimension", 1}}, {DType::i64, DType::i64}},
              {"packed", {{3, 3}, {3, 2}}, {{"dimension", 1}}, {DType::u4, DType::u4}}},
};
BASCULE_OP(concatenate);

}  // namespace bascule::ops
