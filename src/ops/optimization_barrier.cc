// ops/optimization_barrier.cc — its operands, unchanged; nothing moves across it.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef optimization_barrier{
    .name = "optimization_barrier",
    .doc = "results = operands; no operator moves across",
    .inputs = {{"operand", DTypes::any, kVariadicHost}},
    .type = [](const OpView& op) { return std::vector<Type>(op.inputs.begin(), op.inputs.end()); },
    .reference = [](const Call& call) { return HostValues(call.inputs.begin(), call.inputs.end()); },
    .work = no_arithmetic(),
    .cases = {{"two", {{2, 3}, {4}}}, {"scalar", {{}}}, {"empty", {{0, 3}}}},
};
BASCULE_OP(optimization_barrier);

}  // namespace bascule::ops
