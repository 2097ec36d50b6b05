// passes/shard_ways.h — how ranks may share one node: for each operator, which dimensions of operands and results are split together.
#pragma once
#include <optional>
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
  ShardRules(const Graph& graph, int64_t ranks);  // nodes that are asked about are the graph's
  int64_t ranks() const { return ranks_; }

  Way whole(const Node& n) const;
  // The way in which operand k, or result k, is `part`; nullopt if there is none. Of two ways, the one that leaves no terms.
  std::optional<Way> from_operand(const Node& n, size_t k, const Part& part) const;
  std::optional<Way> from_result(const Node& n, size_t k, const Part& part) const;
  const std::vector<Link>& links(const Node& n) const;
  std::optional<Way> along(const Node& n, const Link& link, int64_t blocks, bool filled = false) const;

  // Whether ranks may have parts of v so: equal ones, and all of them full unless they are `filled`.
  bool divides(Value v, const Part& part) const;
  std::vector<int64_t> local_dims(const Type& t, const Part& part) const;
  Type local_type(const Type& t, const Part& part) const;
  // The node's attributes on one rank.
  Attrs local_attrs(const Node& n, const Way& way) const;
  double bytes(Value v) const;
  // A graph input or output as the plan says: `dim` of it in parts, -1: whole.
  Part outside(Value v, int dim) const;

 private:
  std::optional<Way> linear(const Node& n, const Part& part) const;
  std::optional<Way> reshaped(const Node& n, bool forward, const Part& part) const;
  std::optional<Way> sliced(const Node& n, bool forward, const Part& part) const;
  std::optional<Way> joined(const Node& n, std::optional<size_t> operand, const Part& part) const;
  std::optional<Way> near_gather(const Node& n, const Part& part) const;
  std::optional<int64_t> extent(Value v, size_t dim) const;
  const std::optional<std::vector<int64_t>>& dims(Value v) const { return dims_[static_cast<size_t>(v.id)]; }

  const Graph& g_;
  int64_t ranks_;
  std::vector<std::optional<std::vector<int64_t>>> dims_;        // by value of numbers, where all are known and there are elements
  mutable std::vector<std::optional<std::vector<Link>>> links_;  // by node, once asked for
};

}  // namespace bascule::passes
