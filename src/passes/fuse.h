// passes/fuse.h — groups nodes that one kernel can run: elementwise chains of one shape, and the reduction that ends one. Changes no graph: a
// device's compile asks for the regions and lowers each (device/common/lower.h).
#pragma once
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace bascule::passes {

struct Region {
  std::vector<int32_t> nodes;  // in order; the last one's result is the region's only one
};

// Whether the operator computes each result element from the elements at the same place of its operands (scalar operands repeat).
bool is_elementwise(const Node& n);

// A partition of all nodes but constants, in an order that respects data. taken: nodes that the caller runs otherwise, by index; they are left out.
std::vector<Region> fuse(const Graph& g, const std::vector<bool>& taken = {});

}  // namespace bascule::passes
