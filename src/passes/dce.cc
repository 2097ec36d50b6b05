// passes/dce.cc — dead code. Afterwards every node has an effect or a result that is used. Graph inputs stay.
#include "graph/op_def.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace bascule::passes {
namespace {

bool dce(Graph& g, const PassOptions&) {
  std::vector<bool> live(g.values.size(), false);
  for (const Value v : g.outputs) live[static_cast<size_t>(v.id)] = true;
  std::vector<bool> keep(g.nodes.size(), false);
  bool changed = false;
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const Node& n = g.nodes[i];
    // A specialised part may hold anything; unused, it computes nothing that anyone sees.
    keep[i] = n.op->effect && !n.specialization;
    for (const Value v : n.outputs) keep[i] = keep[i] || live[static_cast<size_t>(v.id)];
    if (!keep[i]) {
      changed = true;
      continue;
    }
    for (const Value v : n.inputs)
      if (v) live[static_cast<size_t>(v.id)] = true;
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
