// ops/cases.h — from an operator's Case to a graph and seeded inputs. The operator tests, the device suite and the fuzzers share it.
#pragma once
#include <cstdint>

#include "graph/builder.h"

namespace bascule::ops {

struct CaseGraph {
  Graph graph;
  HostValues inputs;
};

// The case's own graph (`build`), or one node of the operator on inputs of the case's shapes; a shape of {-1} is an absent optional operand.
// Inputs are the case's own, or numbers in [low, high] from the seed. symbolic: every input extent above 1 becomes a symbol (equal
// extents share one); cases with their own `build` stay as they are.
CaseGraph make_case(const OpDef& def, const Case& c, uint64_t seed, bool symbolic = false);

// Numbers in [low, high], rounded to the element type; integers are rounded and kept inside the type. Strings are "s0", "s1" ...
Tensor random_tensor(DType t, std::vector<int64_t> dims, double low, double high, uint64_t& state);

// The graph with each node of `def` replaced by its decomposition, regions included only as they are.
Graph decomposed(const Graph& g, const OpDef& def);

}  // namespace bascule::ops
