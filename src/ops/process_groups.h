// ops/process_groups.h — which processes a collective operator joins: replica_groups and channel_id as the specification reads them.
#pragma once
#include "graph/collectives.h"
#include "ops/rules.h"

namespace bascule::ops {

enum class Grouping { replicas, partitions, replicas_and_partitions, flattened };
// Of all_gather, all_reduce, reduce_scatter (both = true) and of all_to_all, collective_permute, collective_broadcast (both = false).
Grouping grouping_of(const OpView& op, bool both);

// The group of this process, in order; empty if it is in none. Alone without a CollectiveContext.
std::vector<Process> group_of(const Call& call, Grouping grouping);
// What each process of the group gave, this one's operands included.
std::vector<HostValues> gather_values(const Call& call, const std::vector<Process>& group, HostValues mine);
Collectives* collectives_of(const Call& call);  // nullptr: one process

// y[i] = region 0 folded over x_k[i], in the order of the group.
Tensor fold_elements(const Call& call, const std::vector<const Tensor*>& x, const Type& result);

// Checks replica_groups: rank 2, each id once, -1 only as padding.
void require_groups(const OpView& op, std::string_view label);

}  // namespace bascule::ops
