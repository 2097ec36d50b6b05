// passes/rewrite.h — the frame of a pass: walks a graph once, copying or replacing nodes, into a new graph made with a Builder.
#pragma once
#include <functional>
#include <vector>

#include "graph/builder.h"
#include "graph/op_def.h"

namespace bascule::passes {

// Users of each value, by node index; graph outputs count as node -1.
std::vector<std::vector<int32_t>> users_of(const Graph& g);

class Rewriter {
 public:
  explicit Rewriter(const Graph& g);
  const Graph& old() const { return old_; }
  Builder& builder() { return builder_; }
  Value operator()(Value old) const { return old ? map_[static_cast<size_t>(old.id)] : kNoValue; }
  // The node as it was, on the new values. Types are not inferred again.
  void copy(const Node& n);
  // Results of the node by other operators, on the new values; its type is inferred for `by`.
  Values decompose(const Node& n, const Decompose& by);
  // New values for the results of a node of the old graph; names are kept.
  void replace(const Node& n, const Values& results);
  Graph finish();

 private:
  const Graph& old_;
  Builder builder_;
  std::vector<Value> map_;
};

// For each node in order: `f` replaces it and returns true, or returns false and it is copied. Whether any was replaced. Dead nodes stay: run dce.
bool rewrite(Graph& g, const std::function<bool(Rewriter&, const Node&)>& f);

}  // namespace bascule::passes
