// passes/legalize.cc — composites that a device does not take whole become their decompositions.
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
      r.replace(n, r.decompose(n, n.op->decompose));
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
