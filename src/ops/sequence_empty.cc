// ops/sequence_empty.cc — a sequence without items.
#include "ops/sequence.h"

namespace bascule::ops {

const OpDef sequence_empty{
    .name = "sequence_empty",
    .dialect = "bascule",
    .doc = "y = [], of tensors of type `dtype`",
    .attrs = {{"dtype", AttrKind::dtype}},
    .host = true,
    .type = [](const OpView& op) { return std::vector<Type>{Type::sequence(Type::unranked(op.attrs.dtype("dtype")))}; },
    .reference = [](const Call&) { return HostValues{HostValue::sequence({})}; },
};
BASCULE_OP(sequence_empty);

}  // namespace bascule::ops
