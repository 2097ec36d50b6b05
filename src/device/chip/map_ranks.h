// device/chip/map_ranks.h — one request over several cores or chips: the graph cut for ranks (passes/shard.h), the program of one of them. A rank is a
// core of a NeuronCore chip, a whole chip of the others (whose mapper splits steps over cores itself).
#pragma once
#include <memory>

#include "device/chip/map.h"
#include "passes/shard.h"

namespace bascule::device::chip {

struct Mapped {
  Program program;
  std::shared_ptr<const Graph> graph;  // of rank 0, its weights' types if there are others: theirs differ from it in weights alone
  passes::Shards plan;                 // ranks 1: nothing is cut
};

// Cores left open (0) and the kind of split are chosen by the timing model, the least latency first; `split`, or the line "ranks: cores=2 split=tensor"
// among the pinned choices, fixes them. `graph` is a prepared one.
// As map(); UsageError: more cores or chips than there are, a split that the graph does not allow. UnsupportedError: several chips without links.
Mapped map_ranks(const Chip& chip, const std::shared_ptr<const Graph>& graph, const MapOptions& options = {});

// "batch", "tensor"; nullopt: another word.
std::optional<passes::Split> split_from_name(const std::string& name);

}  // namespace bascule::device::chip
