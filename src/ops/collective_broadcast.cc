// ops/collective_broadcast.cc — the operand of a group's first process, on all of them.
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef collective_broadcast{
    .name = "collective_broadcast",
    .doc = "y = x of the first process of the group; 0 on a process in no group",
    .inputs = {{"operands", DTypes::tensors, kVariadic}},
    .attrs = {{"replica_groups", AttrKind::tensor}, {"channel_id", AttrKind::integer, false, int64_t{0}}, {"channel_type", AttrKind::integer, false, int64_t{0}}},
    .type =
        [](const OpView& op) {
          require_groups(op, "C1, C2");
          return std::vector<Type>(op.inputs.begin(), op.inputs.end());
        },
    .reference =
        [](const Call& call) {
          const auto group = group_of(call, grouping_of(call.op, false));
          HostValues out;
          if (group.empty()) {
            for (size_t k = 0; k < call.inputs.size(); ++k) out.emplace_back(call.result(k));
            return out;
          }
          return gather_values(call, group, HostValues(call.inputs.begin(), call.inputs.end()))[0];
        },
    .work = no_arithmetic(),
    .cases = {{.name = "alone", .shapes = {{2, 3}}, .attrs = {{"replica_groups", Tensor::from_ints(DType::i64, {1, 1}, std::vector<int64_t>{0})}}}},
};
BASCULE_OP(collective_broadcast);

}  // namespace bascule::ops
