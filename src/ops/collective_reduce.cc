// ops/collective_reduce.cc — elementwise fold of the operands of a group, given to its first process; the others get zeros.
#include "ops/process_groups.h"
#include "ops/scalar_region.h"

namespace bascule::ops {

const OpDef collective_reduce{
    .name = "collective_reduce",
    .doc = "y[i] = fold of x_0[i] .. x_n[i] by the region on the first process of the group, 0 on the others",
    .inputs = {{"operands", DTypes::tensors, kVariadic}},
    .attrs = with_groups({}, true),
    .regions = 1,
    .type =
        [](const OpView& op) {
          op.require(!op.inputs.empty(), "an operand or more", "none");
          require_groups(op, "");
          const DType t = op.in(0).dtype;
          (void)require_scalar_region(op, 0, {t, t}, 1, "");
          return std::vector<Type>(op.inputs.begin(), op.inputs.end());
        },
    .reference =
        [](const Call& call) {
          const auto group = group_of(call, grouping_of(call.op, true));
          const auto given = group.empty() ? std::vector<HostValues>() : gather_values(call, group);
          const bool root = !group.empty() && place_in(call, group) == 0;
          HostValues out;
          for (size_t k = 0; k < call.inputs.size(); ++k) out.emplace_back(root ? fold_elements(call, given, k, call.results[k]) : call.result(k));
          return out;
        },
    .work = per_element({.adds = 1}),
    .cases = {alone("collective_reduce")},
};
BASCULE_OP(collective_reduce);

}  // namespace bascule::ops
