// passes/shard.h — one rank's graph of a model that several cores or chips run together: data parallel (each a part of the batch) or tensor
// parallel (each a part of the weights). plan_shards decides what every rank has of each value, shard writes the graph of one rank.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace bascule::passes {

enum class Split : uint8_t { batch, tensor };

// What one of R ranks has of a value.
//   whole  all of it
//   split  along `dim`, which is `blocks` equal blocks one after the other, the rank's share of each: block b of extent L holds the ranks'
//          shares [b*L + r*L/R, b*L + (r+1)*L/R). Joined products (q, k and v of one weight) split in 3 blocks, all else in 1.
//          filled: an extent E that ranks do not divide, in one block; the shares are ceil(E/R), and what the last ones have beyond the end is of
//          no meaning. Of columns that leave the model, a vocabulary most often.
//   partial  a term: the value is the fold of all ranks' terms
struct Part {
  enum Kind : uint8_t { whole, split, partial } kind = whole;
  enum Fold : uint8_t { add, maximum, minimum } fold = add;  // of partial
  int16_t dim = -1;
  int64_t blocks = 1;
  bool filled = false;
  static Part along(size_t dim, int64_t blocks = 1, bool filled = false) { return {split, add, static_cast<int16_t>(dim), blocks, filled}; }
  static Part terms(Fold fold) { return {partial, fold, -1, 1, false}; }
  friend bool operator==(const Part&, const Part&) = default;
};

// How the ranks share one node: what it takes of each operand and leaves of each result.
struct Way {
  std::vector<Part> operands, results;
  int16_t shift = -1;  // gather by constant indices: this component counts from the rank's first row
  friend bool operator==(const Way&, const Way&) = default;
};

// What a plan weighs: time as FLOPs of one rank.
struct ShardPrices {
  double flops_per_link_byte =
      160;  // sent by a rank. Chips have 300 to 2,000; less leans to splitting, which is what tensor parallelism is asked for
  double flops_per_weight_byte = 32;  // read by a rank
  double flops_per_collective = 2e7;  // its start, however small
};

struct Shards {
  int64_t ranks = 1;
  Split split = Split::batch;
  std::vector<int> inputs;   // of each graph input: the dimension of which every rank gets its part, in order of ranks; -1: the whole to each
  std::vector<int> outputs;  // of each graph output: the dimension along which the ranks' parts are concatenated, and cut at the output's extent
                             // where they were filled; -1: each rank has the whole
  std::vector<std::string> notes;  // what every rank does whole, and why
  int64_t collectives = 0;
  double collective_bytes = 0;  // sent by each rank: 2 (R-1)/R of what all_reduce folds, (R-1)/R of what all_gather makes (rings)
  std::vector<Way> ways;        // by node; empty for nodes that only constants decide: each rank makes what it needs of their results
};

// Sizes must be bound. batch: inputs whose leading dimension is the first input's are split there. tensor: inputs are whole, products of weights
// are split where `prices` say that it pays. An operator without a rule takes whole operands, so any graph can be split. UsageError: ranks < 1, a
// batch that ranks does not divide. UnsupportedError: a graph that holds collectives already.
Shards plan_shards(const Graph& graph, int64_t ranks, Split split, const ShardPrices& prices = {});

// types: weights whose part is no view of the whole one, and above 64 KiB, come without values (`absent`): enough to map and to time.
enum class ShardWeights : uint8_t { values, types };

// The graph of one rank; `graph` is the planned one. Nodes and values have the same numbers on every rank: constants and the starts of slices
// differ. Collectives join replicas 0 .. ranks - 1 in one group. Parts of weights that lie in one piece are views.
Graph shard(const Graph& graph, const Shards& plan, int64_t rank, ShardWeights weights = ShardWeights::values);

}  // namespace bascule::passes
