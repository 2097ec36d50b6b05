// ops/collective_broadcast.cc — the operands of one process of a group, on all of them.
#include "base/error.h"
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef collective_broadcast{
    .name = "collective_broadcast",
    .doc = "y = x of the first process of the group, or of process root[i] for operand i; 0 on a process in no group",
    .inputs = {{"operands", DTypes::tensors, kVariadic}},
    .attrs = with_groups({{"has_dynamic_root", AttrKind::flag, false, false}}, false),  // the last operand holds the root of each other one
    .type =
        [](const OpView& op) {
          require_groups(op, "C1, C2");
          std::vector<Type> out(op.inputs.begin(), op.inputs.end());
          if (op.attrs.flag("has_dynamic_root")) {
            op.require(out.size() > 1 && is_int(out.back().dtype) && out.back().rank() == 1 &&
                           (!out.back().dims[0].is_constant() || out.back().dims[0].is(static_cast<int64_t>(out.size()) - 1)),
                       "a last operand with one root for each other operand", out.empty() ? "none" : out.back().text());
            out.pop_back();
          }
          return out;
        },
    .reference =
        [](const Call& call) {
          const auto group = group_of(call, grouping_of(call.op, false));
          HostValues out;
          if (group.empty()) {
            for (size_t k = 0; k < call.results.size(); ++k) out.emplace_back(call.result(k));
            return out;
          }
          const auto given = gather_values(call, group);
          const bool dynamic = call.op.attrs.flag("has_dynamic_root");
          for (size_t k = 0; k < call.results.size(); ++k) {
            const int64_t root = dynamic ? call.inputs.back().tensor().integer(static_cast<int64_t>(k)) : 0;
            if (root < 0 || root >= static_cast<int64_t>(given.size()))
              fail_usage(call.op.where, "a root in [0, " + std::to_string(given.size()) + ")", std::to_string(root), "Give a process of the group");
            out.push_back(given[static_cast<size_t>(root)][k]);
          }
          return out;
        },
    .work = no_arithmetic(),
    .cases = {{.name = "alone", .shapes = {{2, 3}}, .attrs = {{"replica_groups", Tensor::from_ints(DType::i64, {1, 1}, std::vector<int64_t>{0})}}}},
};
BASCULE_OP(collective_broadcast);

}  // namespace bascule::ops
