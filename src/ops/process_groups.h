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
// The group of all_gather, all_reduce and reduce_scatter; a process in none is a UsageError.
std::vector<Process> own_group(const Call& call);
int64_t place_in(const Call& call, const std::vector<Process>& group);  // of this process
// What each process of the group gave, this one's operands included.
std::vector<HostValues> gather_values(const Call& call, const std::vector<Process>& group);
Collectives* collectives_of(const Call& call);  // nullptr: one process

// y[i] = region 0 folded over x_j[i], the operands `index` of the group in its order.
Tensor fold_elements(const Call& call, const std::vector<HostValues>& given, size_t index, const Type& result);

// Checks replica_groups: rank 2, each id once, -1 only as padding.
void require_groups(const OpView& op, std::string_view label);
// An operator's attributes: its own, then those that name its groups; global_ids: use_global_device_ids too.
std::vector<AttrDef> with_groups(std::vector<AttrDef> own, bool global_ids);
// The operator with region `add` on one process.
Case alone(std::string_view op, Attrs own = {});

// send, outfeed: operands, then a token; the result is a token.
std::vector<Type> token_after_operands(const OpView& op);
// recv, infeed: a tensor of the declared type and a token. found: what came.
std::vector<Type> tensor_and_token(const OpView& op);
HostValues received(const Call& call, HostValues found, std::string_view remedy);

}  // namespace bascule::ops
