// ops/all_reduce.cc — elementwise fold of the operands of all processes of a group; each gets the result.
#include "base/error.h"
#include "ops/process_groups.h"
#include "ops/scalar_region.h"

namespace bascule::ops {

const OpDef all_reduce{
    .name = "all_reduce",
    .doc = "y[i] = fold of x_0[i] .. x_n[i] of the group by the region",
    .inputs = {{"operands", DTypes::tensors, kVariadic}},
    .attrs = {{"replica_groups", AttrKind::tensor},
              {"channel_id", AttrKind::integer, false, int64_t{0}},
              {"channel_type", AttrKind::integer, false, int64_t{0}},
              {"use_global_device_ids", AttrKind::flag, false, false}},
    .regions = 1,
    .type =
        [](const OpView& op) {
          op.require(!op.inputs.empty(), "an operand or more", "none");
          require_groups(op, "C1, C3");
          const DType t = op.in(0).dtype;
          const DType r = require_scalar_region(op, 0, {t, t}, 1, "C5")[0];
          std::vector<Type> out(op.inputs.begin(), op.inputs.end());
          for (Type& o : out) {
            op.require(o.dtype == t, "operands of one element type", o.text(), "C5");
            o.dtype = r;
          }
          return out;
        },
    .reference =
        [](const Call& call) {
          const auto group = group_of(call, grouping_of(call.op, true));
          if (group.empty())
            fail_usage(call.op.where, "this process in one of the groups", "in none", "Run the program on the processes it was made for");
          const auto given = gather_values(call, group, HostValues(call.inputs.begin(), call.inputs.end()));
          HostValues out;
          for (size_t k = 0; k < call.inputs.size(); ++k) {
            std::vector<const Tensor*> x;
            for (const HostValues& g : given) x.push_back(&g[k].tensor());
            out.emplace_back(fold_elements(call, x, call.results[k]));
          }
          return out;
        },
    .work = per_element({.adds = 1}),
    .cases = {{.name = "alone",
               .build =
                   [](Builder& b) {
                     const Value x = b.input(Type::tensor(DType::f32, {2, 3}));
                     return b.ops("all_reduce", {x}, {{"replica_groups", Tensor::from_ints(DType::i64, {1, 1}, std::vector<int64_t>{0})}},
                                  {Builder::scalar_region("add", DType::f32)});
                   }}},
};
BASCULE_OP(all_reduce);

}  // namespace bascule::ops
