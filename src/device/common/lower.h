// device/common/lower.h — a fused region, or one contraction, of a graph whose sizes are bound as a KernelSpec of loops.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "loops/spec.h"
#include "passes/fuse.h"

namespace bascule::device {

// Where the elements of a value lie: element i at offset + sum_k i[k] * strides[k], in elements.
struct Layout {
  std::vector<int64_t> strides;
  int64_t offset = 0;
};
Layout dense_layout(const std::vector<int64_t>& dims);

struct LoweredRegion {
  loops::KernelSpec spec;
  std::vector<Value> operands;  // the value behind each operand; the last is the result
};

// The elementwise operator as one scalar operator, if it is one: not iota, clamp (two), or a form that no loop has.
std::optional<loops::Op> scalar_op(const Graph& g, const Node& n);
// Why an elementwise operator, or a reduction, has no loops; "" if it has. Types may be symbolic.
std::string no_loops(const Graph& g, const Node& n);

// layout: of a value that the region reads; the result is dense. nullopt, with the reason, when an operator has no scalar form.
std::optional<LoweredRegion> lower(const Graph& g, const passes::Region& region, const std::function<Layout(Value)>& layout, std::string& why);

// dot_general as loops M, N in parallel and K reduced: what the device dump shows and the loop interpreter runs.
std::optional<LoweredRegion> lower_contraction(const Graph& g, const Node& n, const std::function<Layout(Value)>& layout);

}  // namespace bascule::device
