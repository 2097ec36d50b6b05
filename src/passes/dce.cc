// passes/dce.cc — dead code. Afterwards every node has an effect or a result that is used. Graph inputs stay.
#include <set>

#include "graph/op_def.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace bascule::passes {
namespace {

// Symbols that each node's results are the first to have: only running it tells their sizes.
std::vector<std::set<std::string>> introduced(const Graph& g) {
  std::set<std::string> seen;
  for (const Value v : g.inputs) add_symbols(g.type(v), seen);
  std::vector<std::set<std::string>> out(g.nodes.size());
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    std::set<std::string> own;
    for (const Value v : g.nodes[i].outputs) add_symbols(g.type(v), own);
    for (const std::string& s : own)
      if (seen.insert(s).second) out[i].insert(s);
  }
  return out;
}

// Symbols that a node computes with, apart from those of its operands.
void add_used_symbols(const Node& n, std::set<std::string>& into) {
  for (const auto& [name, a] : n.attrs)
    if (const auto* dims = std::get_if<Dims>(&a))
      for (const Dim& d : *dims) d.add_symbols(into);
  for (const auto& r : n.regions)
    for (const std::string& s : r->symbols()) into.insert(s);
}

bool dce(Graph& g, const PassOptions&) {
  const std::vector<std::set<std::string>> makes = introduced(g);
  std::set<std::string> used;
  std::vector<bool> live(g.values.size(), false);
  for (const Value v : g.outputs) live[static_cast<size_t>(v.id)] = true;
  std::vector<bool> keep(g.nodes.size(), false);
  bool changed = false;
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const Node& n = g.nodes[i];
    // A specialised part may hold anything; unused, it computes nothing that anyone sees.
    keep[i] = n.op->effect && !n.specialization;
    for (const Value v : n.outputs) keep[i] = keep[i] || live[static_cast<size_t>(v.id)];
    // The size of a result may be all that is asked of it: NonZero, then Shape.
    for (const std::string& s : makes[i]) keep[i] = keep[i] || used.count(s) != 0;
    if (!keep[i]) {
      changed = true;
      continue;
    }
    for (const Value v : n.inputs)
      if (v) live[static_cast<size_t>(v.id)] = true;
    add_used_symbols(n, used);
  }
  if (!changed) return false;
  Rewriter r(g);
  for (size_t i = 0; i < g.nodes.size(); ++i)
    if (keep[i]) r.copy(g.nodes[i]);
  g = r.finish();
  return true;
}

[[maybe_unused]] const bool registered = register_pass({"dce", "every node has an effect or a used result", dce});

}  // namespace
}  // namespace bascule::passes
