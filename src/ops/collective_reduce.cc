// ops/collective_reduce.cc — elementwise fold of the operands of a group, given to its first process; the others get zeros.
#include "base/error.h"
#include "ops/process_groups.h"
#include "ops/scalar_region.h"

namespace bascule::ops {

const OpDef collective_reduce{
    .name = "collective_reduce",
    .doc = "y[i] = fold of x_0[i] .. x_n[i] by the region on the first process of the group, 0 on the others",
    .inputs = {{"operands", DTypes::tensors, kVariadic}},
    .attrs = {{"replica_groups", AttrKind::tensor},
              {"channel_id", AttrKind::integer, false, int64_t{0}},
              {"channel_type", AttrKind::integer, false, int64_t{0}},
              {"use_global_device_ids", AttrKind::flag, false, false}},
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
          const Collectives* c = collectives_of(call);
          const auto group = group_of(call, grouping_of(call.op, true));
          HostValues out;
          if (group.empty()) {
            for (size_t k = 0; k < call.inputs.size(); ++k) out.emplace_back(call.result(k));
            return out;
          }
          const auto given = gather_values(call, group, HostValues(call.inputs.begin(), call.inputs.end()));
          const bool root = !c || group[0] == c->self();
          for (size_t k = 0; k < call.inputs.size(); ++k) {
            std::vector<const Tensor*> x;
            for (const HostValues& g : given) x.push_back(&g[k].tensor());
            out.emplace_back(root ? fold_elements(call, x, call.results[k]) : call.result(k));
          }
          return out;
        },
    .work = per_element({.adds = 1}),
    .cases = {{.name = "alone",
               .build =
                   [](Builder& b) {
                     const Value x = b.input(Type::tensor(DType::f32, {2, 3}));
                     return b.ops("collective_reduce", {x}, {{"replica_groups", Tensor::from_ints(DType::i64, {1, 1}, std::vector<int64_t>{0})}},
                                  {Builder::scalar_region("add", DType::f32)});
                   }}},
};
BASCULE_OP(collective_reduce);

}  // namespace bascule::ops
