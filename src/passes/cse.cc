// passes/cse.cc — common subexpressions: of two equal nodes on equal operands the first serves both.
#include <unordered_map>

#include "graph/op_def.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace bascule::passes {
namespace {

size_t mix(size_t h, size_t x) { return h * 1099511628211ull ^ x; }

bool same_constant(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.dims() != b.dims() || is_string(a.dtype())) return false;
  return a.data() == b.data() || (a.elements() <= 65536 && a.identical(b));
}

bool cse(Graph& g, const PassOptions&) {
  std::unordered_map<size_t, std::vector<std::pair<const Node*, Values>>> seen;  // by hash: the old node, its operands in the new graph
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    const OpDef& def = *n.op;
    if (def.name == "absent") return false;  // two weights without values are two weights
    if (def.random || def.effect || def.control || def.host || n.specialization) return false;
    if (def.name == "absent") return false;  // two weights of one type are still two
    const bool constant = def.name == "constant";
    Values in;
    size_t h = std::hash<std::string_view>()(def.name);
    for (const Value v : n.inputs) {
      in.push_back(r(v));
      h = mix(h, static_cast<size_t>(in.back().id + 1));
    }
    for (const Value v : n.outputs) h = mix(h, std::hash<std::string>()(r.old().type(v).text()));
    auto& bucket = seen[h];
    for (const auto& [other, operands] : bucket) {
      if (other->op != n.op || operands != in || other->regions != n.regions) continue;
      if (constant ? !same_constant(other->attrs.tensor("value"), n.attrs.tensor("value")) : !(other->attrs == n.attrs)) continue;
      Values results;
      bool same = other->outputs.size() == n.outputs.size();
      for (size_t i = 0; same && i < n.outputs.size(); ++i) {
        same = r.old().type(other->outputs[i]) == r.old().type(n.outputs[i]);
        results.push_back(r(other->outputs[i]));
      }
      if (!same) continue;
      r.replace(n, results);
      return true;
    }
    bucket.emplace_back(&n, std::move(in));
    return false;
  });
}

[[maybe_unused]] const bool registered = register_pass({"cse", "no two equal nodes on equal operands", cse});

}  // namespace
}  // namespace bascule::passes
