// passes/legalize.cc — composites that a device does not take whole become their decompositions.
#include "base/error.h"
#include "graph/op_def.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace bascule::passes {
namespace {

bool legalize(Graph& g, const PassOptions& options) {
  if (!options.keeps) return false;
  bool any = false;
  constexpr int kMostRounds = 8;  // a decomposition may hold composites
  for (int round = 0; round < kMostRounds; ++round) {
    const bool changed = rewrite(g, [&](Rewriter& r, const Node& n) {
      if (!n.op->decompose || n.op->host || n.op->control || options.keeps(r.old(), n)) return false;
      std::vector<Type> types;
      Values operands;
      for (const Value v : n.inputs) {
        operands.push_back(r(v));
        types.push_back(v ? r.old().type(v) : absent_type());
      }
      Attrs attrs = n.attrs;
      const std::span<const Type> all(types);
      const std::string where = std::string(n.op->name) + (n.origin ? " of " + text(n.origin) : "");
      infer(*n.op, attrs, all.first(n.operands()), n.regions, all.subspan(n.operands()), where, ErrorKind::internal);
      const OpView view{*n.op, attrs, all.first(n.operands()), n.regions, all.subspan(n.operands()), where, ErrorKind::internal};
      const Values results = n.op->decompose(r.builder(), view, operands);
      if (results.size() != n.outputs.size()) fail_internal("decomposition of " + where, std::to_string(n.outputs.size()) + " results", std::to_string(results.size()));
      r.replace(n, results);
      return true;
    });
    if (!changed) break;
    any = true;
  }
  return any;
}

[[maybe_unused]] const bool registered = register_pass({"legalize", "only composites that the device takes", legalize});

}  // namespace
}  // namespace bascule::passes
