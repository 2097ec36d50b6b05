// device/chip/expand_rules.h — how expand works, for its own files: one rule for each operator that can be written with others.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/builder.h"
#include "passes/rewrite.h"

namespace bascule::device::chip {

struct ExpansionRule {
  std::string_view op;
  // "": `apply` replaces the node; kAsItIs: it needs none; else why it cannot. Types may be symbolic: what only sizes decide is then left open.
  std::string (*refuse)(const Graph&, const Node&);
  // All sizes are bound, refuse said "".
  Values (*apply)(passes::Rewriter&, const Node&);
};
inline constexpr std::string_view kAsItIs = "no expansion";

std::vector<ExpansionRule> index_rules();    // expand_index.cc: gathers, scatters, dynamic slices
std::vector<ExpansionRule> order_rules();    // expand_order.cc: sorts, largest elements and their positions, running folds
std::vector<ExpansionRule> scalar_rules();   // expand_scalar.cc: functions of elements
std::vector<ExpansionRule> fold_rules();     // expand_fold.cc: folds and windows with regions of their own
std::vector<ExpansionRule> resample_rules();  // expand_resample.cc: crops at computed coordinates
std::vector<ExpansionRule> product_rules();  // expand_product.cc: products of integers, of groups, of nothing

// ---- shared
// The rows of x along the axis that a rank-1 index of in-range positions names.
Value take_rows(Builder& b, Value x, Value index, int64_t axis);
// A scalar region on tensors of `dims`, element by element. `arguments` have these dims; the region captures nothing.
bool can_inline(const Graph& region, size_t arguments);
Values inline_region(Builder& b, const Graph& region, const Values& arguments, const Dims& dims);
// The extent of an axis, if it is known.
std::optional<int64_t> extent_of(const Graph& g, Value v, int64_t axis);
bool all_static(const Graph& g, const Node& n);

}  // namespace bascule::device::chip
