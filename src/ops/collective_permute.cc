// ops/collective_permute.cc — each process gets the operand of the process that names it as target.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef collective_permute{
    .name = "collective_permute",
    .doc = "y = x of the process s with (s, this one) in source_target_pairs; 0 if there is none",
    .inputs = {{"operand", DTypes::tensors}},
    .attrs = {{"source_target_pairs", AttrKind::tensor},
              {"channel_id", AttrKind::integer, false, int64_t{0}},
              {"channel_type", AttrKind::integer, false, int64_t{0}}},
    .type =
        [](const OpView& op) {
          const Tensor& pairs = op.attrs.tensor("source_target_pairs");
          op.require(pairs.rank() == 2 && pairs.dim(1) == 2 && is_int(pairs.dtype()), "pairs of shape [n,2]", pairs.type_text(), "C1");
          std::set<int64_t> sources, targets;
          for (int64_t i = 0; i < pairs.dim(0); ++i)
            op.require(pairs.integer(2 * i) >= 0 && pairs.integer(2 * i + 1) >= 0 && sources.insert(pairs.integer(2 * i)).second &&
                           targets.insert(pairs.integer(2 * i + 1)).second,
                       "each source and each target once", "pair " + std::to_string(i), "C2, C3");
          return std::vector<Type>{op.in(0)};
        },
    .reference =
        [](const Call& call) {
          Collectives* c = collectives_of(call);
          const Tensor& pairs = call.op.attrs.tensor("source_target_pairs");
          const bool partitions = grouping_of(call.op, false) == Grouping::partitions;
          const Process self = c ? c->self() : Process{};
          const int64_t mine = partitions ? self.partition : self.replica;
          const int64_t count = !c ? 1 : partitions ? c->partitions() : c->replicas();
          std::set<int64_t> taking_part;
          int64_t source = -1;
          for (int64_t i = 0; i < pairs.dim(0); ++i) {
            taking_part.insert({pairs.integer(2 * i), pairs.integer(2 * i + 1)});
            if (pairs.integer(2 * i + 1) == mine) source = pairs.integer(2 * i);
          }
          if (!taking_part.empty() && *taking_part.rbegin() >= count)
            fail_usage(call.op.where, std::to_string(count) + " processes", "process " + std::to_string(*taking_part.rbegin()) + " in a pair",
                       "Run the program on the processes it was made for");
          if (!taking_part.count(mine)) return one(call.result());
          std::vector<Process> group;
          for (const int64_t id : taking_part) group.push_back(partitions ? Process{self.replica, id} : Process{id, self.partition});
          const auto given = gather_values(call, group);
          if (source < 0) return one(call.result());
          return HostValues{given[static_cast<size_t>(std::distance(taking_part.begin(), taking_part.find(source)))][0]};
        },
    .work = no_arithmetic(),
    .cases = {{.name = "alone",
               .shapes = {{2, 3}},
               .attrs = {{"source_target_pairs", Tensor::from_ints(DType::i64, {1, 2}, std::vector<int64_t>{0, 0})}}}},
};
BASCULE_OP(collective_permute);

}  // namespace bascule::ops
