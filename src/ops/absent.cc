// ops/absent.cc — a weight whose file is not there: its type is known, so the model can be inspected and timed, but it has no value.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef absent{
    .name = "absent",
    .dialect = "bascule",
    .doc = "a tensor of type `dtype`, `dims` without a value; `reason` says why",
    .attrs = {{"dtype", AttrKind::dtype}, {"dims", AttrKind::dims}, {"reason", AttrKind::text}},
    .effect = false,
    .type = [](const OpView& op) { return std::vector<Type>{Type::tensor(op.attrs.dtype("dtype"), op.attrs.dims("dims"))}; },
    .reference = [](const Call& call) -> HostValues { fail_usage(call.op.where, "the model's weights", call.op.attrs.text("reason"), "Put the weights file beside the model; without it a model can be inspected and timed, not run"); },
    .work = no_arithmetic(),
    .cases = {},
};
BASCULE_OP(absent);

}  // namespace bascule::ops
