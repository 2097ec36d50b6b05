// ops/specialize.cc — the rest of a model whose graph depends on types or values of the run; see Specialization in graph/graph.h.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef specialize{
    .name = "specialize",
    .dialect = "bascule",
    .doc = "results of a graph that is made when the operands are known",
    .inputs = {{"operands", DTypes::any, kVariadic}},
    .host = true,
    .control = true,
    .effect = true,
    .data_dependent = true,
    .type = [](const OpView& op) -> std::vector<Type> { op.fail("result types given by the builder", "none"); },
};
BASCULE_OP(specialize);

}  // namespace bascule::ops
