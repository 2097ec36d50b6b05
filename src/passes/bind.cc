// passes/bind.cc — see bind.h.
#include "passes/bind.h"

#include "graph/op_def.h"

namespace bascule::passes {

Graph bind(const Graph& g, const Bindings& sizes) {
  Graph bound = substitute(g, sizes);
  for (const Node& n : bound.nodes) {
    if (n.specialization) continue;
    std::vector<Type> types;
    for (const Value v : n.inputs) types.push_back(v ? bound.type(v) : absent_type());
    const std::span<const Type> all(types);
    const std::string where = std::string(n.op->name) + (n.origin ? " of " + text(n.origin) : "");
    Attrs attrs = n.attrs;
    const std::vector<Type> want = infer(*n.op, attrs, all.first(n.operands()), n.regions, all.subspan(n.operands()), where, ErrorKind::usage);
    for (size_t k = 0; k < n.outputs.size() && k < want.size(); ++k)
      if (!compatible(bound.type(n.outputs[k]), want[k])) fail_usage(where, "a result of type " + bound.type(n.outputs[k]).text(), want[k].text(), "Check the shapes of the inputs");
  }
  return bound;
}

}  // namespace bascule::passes
