// ops/constant.cc — a tensor known before the run.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef constant{
    .name = "constant",
    .doc = "the tensor in `value`",
    .attrs = {{"value", AttrKind::tensor}},
    .type = [](const OpView& op) { return std::vector<Type>{Type::tensor(op.attrs.tensor("value").dtype(), to_dims(op.attrs.tensor("value").dims()))}; },
    .reference = [](const Call& call) { return one(call.op.attrs.tensor("value")); },
    .work = no_arithmetic(),
    .cases = {{.name = "matrix", .attrs = {{"value", Tensor::from_doubles(DType::f32, {2, 2}, std::vector<double>{1, 2, 3, 4})}}}},
};
BASCULE_OP(constant);

}  // namespace bascule::ops
