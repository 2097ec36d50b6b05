// ops/all_reduce.cc — elementwise fold of the operands of all processes of a group; each gets the result.
#include "ops/process_groups.h"
#include "ops/scalar_region.h"

namespace bascule::ops {

const OpDef all_reduce{
    .name = "all_reduce",
    .doc = "y[i] = fold of x_0[i] .. x_n[i] of the group by the region",
    .inputs = {{"operands", DTypes::tensors, kVariadic}},
    .attrs = with_groups({}, true),
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
          const auto given = gather_values(call, own_group(call));
          HostValues out;
          for (size_t k = 0; k < call.inputs.size(); ++k) out.emplace_back(fold_elements(call, given, k, call.results[k]));
          return out;
        },
    .work = per_element({.adds = 1}),
    .cases = {alone("all_reduce")},
};
BASCULE_OP(all_reduce);

}  // namespace bascule::ops
