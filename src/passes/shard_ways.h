// passes/shard_ways.h — how ranks may share one node: for each operator, which dimensions of operands and results are split together.
#pragma once
#include <optional>
#include <unordered_map>
#include <vector>

#include "passes/shard.h"

namespace bascule::passes {

// Dimensions that are split together, -1 where an operand is needed whole, or has none.
struct Link {
  std::vector<int16_t> operands, results;
  int64_t units = 0;                // what must not be cut, if other than the extents: groups, heads of keys; 0: the extents
  std::optional<Part::Fold> folds;  // the results are terms of this fold
};

class ShardRules {
 public:
  ShardRules(const Graph& graph, int64_t ranks) : g_(graph), ranks_(ranks) {}
  int64_t ranks() const { return ranks_; }

  Way whole(const Node& n) const;
  // The way in which operand k, or result k, is `part`; nullopt if there is none. Of two ways, the one that leaves no terms.
  std::optional<Way> from_operand(const Node& n, size_t k, const Part& part) const;
  std::optional<Way> from_result(const Node& n, size_t k, const Part& part) const;
  // Ways of a product along the contracted dimension, or of any node along a link, in one block.
  const std::vector<Link>& links(const Node& n) const;
  std::optional<Way> along(const Node& n, const Link& link, int64_t blocks) const;

  // Whether ranks may have equal parts of v so.
  bool divides(Value v, const Part& part) const;
  std::vector<int64_t> local_dims(const Type& t, const Part& part) const;
  Type local_type(const Type& t, const Part& part) const;
  // The node's attributes on one rank.
  Attrs local_attrs(const Node& n, const Way& way) const;
  double bytes(Value v) const;

 private:
  std::optional<Way> linear(const Node& n, const Part& part) const;
  std::optional<Way> reshaped(const Node& n, bool forward, const Part& part) const;
  std::optional<Way> sliced(const Node& n, bool forward, const Part& part) const;
  std::optional<Way> joined(const Node& n, std::optional<size_t> operand, const Part& part) const;
  std::optional<Way> near_gather(const Node& n, const Part& part) const;
  std::optional<int64_t> extent(Value v, size_t dim) const;

  const Graph& g_;
  int64_t ranks_;
  mutable std::unordered_map<const Node*, std::vector<Link>> links_;
};

}  // namespace bascule::passes
