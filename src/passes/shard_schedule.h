// passes/shard_schedule.h — from the ways of a plan to what a rank's graph holds: which forms of each value are needed, and how each is come by.
#pragma once
#include <vector>

#include "passes/shard_ways.h"

namespace bascule::passes {

struct ShardSchedule {
  struct Step {
    Part from, to;
  };
  std::vector<std::vector<Way>> nodes;    // the ways in which each node is done, none: nobody needs it
  std::vector<std::vector<Step>> values;  // forms of each value that are made of its others, in order: all_gather, all_reduce, the rank's slice
};

bool is_literal(const Node& n);  // constant or absent

// Follows what is needed from the outputs back. A broadcast, and what only constants decide, is done again in each form that is asked for rather
// than cut. Sets plan.collectives and plan.collective_bytes.
ShardSchedule schedule(const Graph& graph, const ShardRules& rules, Shards& plan);

}  // namespace bascule::passes
