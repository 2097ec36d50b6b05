// ops/partition_id.cc — the number of this process' partition.
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef partition_id{
    .name = "partition_id",
    .doc = "the partition number of this process; 0 where there is one process",
    .random = true,  // differs between processes: not folded
    .type = [](const OpView&) { return std::vector<Type>{Type::tensor(DType::u32, {})}; },
    .reference =
        [](const Call& call) {
          const Collectives* c = collectives_of(call);
          return one(Tensor::scalar_int(DType::u32, c ? c->self().partition : 0));
        },
    .work = no_arithmetic(),
    .cases = {{.name = "alone"}},
};
BASCULE_OP(partition_id);

}  // namespace bascule::ops
