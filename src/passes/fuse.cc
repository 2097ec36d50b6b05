// passes/fuse.cc — see fuse.h. A node joins the region of its only users, so a region has one result and no path leaves it and comes back.
#include "passes/fuse.h"

#include <algorithm>
#include <set>

#include "graph/builder.h"
#include "graph/op_def.h"
#include "passes/rewrite.h"

namespace bascule::passes {
namespace {

constexpr size_t kMostNodes = 48;  // of a region: registers of a block program stay in the first-level cache

const std::set<std::string_view>& elementwise_names() {
  static const std::set<std::string_view> names = {
      "add", "subtract", "multiply", "divide", "maximum", "minimum", "remainder", "power", "atan2", "and", "or", "xor", "negate", "abs", "sign",
      "exponential", "exponential_minus_one", "log", "log_plus_one", "sqrt", "rsqrt", "cbrt", "tanh", "logistic", "erf", "sine", "cosine", "tan",
      "floor", "ceil", "round_nearest_even", "round_nearest_afz", "not", "is_finite", "compare", "select", "clamp", "convert", "iota", "gelu", "silu"};
  return names;
}

bool folds(const Node& n) { return n.op->name == "reduce" && n.inputs.size() == 2 && !reduction_body(*n.regions[0]).empty(); }

}  // namespace

bool is_elementwise(const Node& n) { return elementwise_names().contains(n.op->name); }

std::vector<Region> fuse(const Graph& g, const std::vector<bool>& taken) {
  const auto users = users_of(g);
  std::vector<int32_t> root(g.nodes.size(), -1);  // the last node of the region that a node is in
  std::vector<size_t> size(g.nodes.size(), 0);
  for (size_t k = g.nodes.size(); k-- > 0;) {
    const Node& n = g.nodes[k];
    if (n.op->name == "constant" || (!taken.empty() && taken[k])) continue;
    root[k] = static_cast<int32_t>(k);
    size[k] = 1;
    if (!is_elementwise(n)) continue;
    const Value out = n.outputs[0];
    const auto& u = users[static_cast<size_t>(out.id)];
    if (u.empty() || u[0] < 0) continue;
    const int32_t joined = root[static_cast<size_t>(u[0])];
    bool fits = joined >= 0 && size[static_cast<size_t>(joined)] < kMostNodes;
    for (const int32_t user : u) {
      if (!fits || user < 0) {
        fits = false;
        break;
      }
      const Node& m = g.nodes[static_cast<size_t>(user)];
      fits = root[static_cast<size_t>(user)] == joined && (is_elementwise(m) ? g.type(m.outputs[0]).dims == g.type(out).dims : folds(m) && m.inputs[0] == out);
    }
    if (!fits) continue;
    root[k] = joined;
    ++size[static_cast<size_t>(joined)];
  }
  std::vector<std::vector<int32_t>> members(g.nodes.size());
  for (size_t k = 0; k < g.nodes.size(); ++k)
    if (root[k] >= 0) members[static_cast<size_t>(root[k])].push_back(static_cast<int32_t>(k));
  std::vector<Region> out;
  for (auto& m : members)
    if (!m.empty()) out.push_back({std::move(m)});
  return out;
}

}  // namespace bascule::passes
