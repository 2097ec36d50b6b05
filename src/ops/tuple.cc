// ops/tuple.cc — several values as one.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef tuple{
    .name = "tuple",
    .doc = "the tuple of the operands",
    .inputs = {{"val", DTypes::any, kVariadicHost}},
    .host = true,
    .type = [](const OpView& op) { return std::vector<Type>{Type::tuple({op.inputs.begin(), op.inputs.end()})}; },
    .reference = [](const Call& call) { return HostValues{HostValue::tuple({call.inputs.begin(), call.inputs.end()})}; },
    .work = no_arithmetic(),
    .cases = {{"two", {{2}, {}}}},
};
BASCULE_OP(tuple);

}  // namespace bascule::ops
