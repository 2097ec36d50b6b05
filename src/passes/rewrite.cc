// passes/rewrite.cc — see rewrite.h.
#include "passes/rewrite.h"

#include "base/error.h"

namespace bascule::passes {

std::vector<std::vector<int32_t>> users_of(const Graph& g) {
  std::vector<std::vector<int32_t>> users(g.values.size());
  for (size_t i = 0; i < g.nodes.size(); ++i)
    for (const Value v : g.nodes[i].inputs)
      if (v) users[static_cast<size_t>(v.id)].push_back(static_cast<int32_t>(i));
  for (const Value v : g.outputs) users[static_cast<size_t>(v.id)].push_back(-1);
  return users;
}

Rewriter::Rewriter(const Graph& g) : old_(g), builder_(g.name), map_(g.values.size()) {
  builder_.blame = ErrorKind::internal;
  for (const Value v : g.inputs) {
    const Value fresh = builder_.input(g.type(v), g.at(v).name);
    builder_.graph().at(fresh).known = g.at(v).known;
    map_[static_cast<size_t>(v.id)] = fresh;
  }
}

void Rewriter::copy(const Node& n) {
  Node fresh = n;
  std::vector<Type> types;
  for (const Value v : n.outputs) types.push_back(old_.type(v));
  for (Value& v : fresh.inputs) {
    const Value was = v;
    v = (*this)(v);
    if (was && !v) fail_internal("rewrite of " + old_.name, "operands replaced before their use", std::string(n.op->name));
  }
  Graph& g = builder_.graph();
  const int32_t at = g.add_node(std::move(fresh), std::move(types));
  const std::vector<Value> outputs = g.nodes[static_cast<size_t>(at)].outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    map_[static_cast<size_t>(n.outputs[i].id)] = outputs[i];
    g.at(outputs[i]).name = old_.at(n.outputs[i]).name;
    g.at(outputs[i]).known = old_.at(n.outputs[i]).known;
  }
}

Values Rewriter::decompose(const Node& n, const Decompose& by) {
  std::vector<Type> types;
  Values operands;
  for (const Value v : n.inputs) {
    operands.push_back((*this)(v));
    types.push_back(v ? old_.type(v) : absent_type());
  }
  Attrs attrs = n.attrs;
  const std::span<const Type> all(types);
  const std::string where = std::string(n.op->name) + (n.origin ? " of " + text(n.origin) : "");
  infer(*n.op, attrs, all.first(n.operands()), n.regions, all.subspan(n.operands()), where, ErrorKind::internal);
  Values results = by(builder_, {*n.op, attrs, all.first(n.operands()), n.regions, all.subspan(n.operands()), where, ErrorKind::internal}, operands);
  if (results.size() != n.outputs.size()) fail_internal("decomposition of " + where, std::to_string(n.outputs.size()) + " results", std::to_string(results.size()));
  return results;
}

void Rewriter::replace(const Node& n, const Values& results) {
  for (size_t i = 0; i < results.size(); ++i) {
    map_[static_cast<size_t>(n.outputs[i].id)] = results[i];
    if (!results[i]) continue;
    ValueInfo& info = builder_.graph().at(results[i]);
    if (info.name.empty()) info.name = old_.at(n.outputs[i]).name;
  }
}

Graph Rewriter::finish() {
  Values outputs;
  for (const Value v : old_.outputs) outputs.push_back((*this)(v));
  return builder_.finish(std::move(outputs), old_.output_names);
}

bool rewrite(Graph& g, const std::function<bool(Rewriter&, const Node&)>& f) {
  Rewriter r(g);
  bool changed = false;
  for (const Node& n : g.nodes) {
    r.builder().origin = n.origin;
    r.builder().location = n.location;
    if (f(r, n)) changed = true;
    else r.copy(n);
  }
  if (changed) g = r.finish();
  return changed;
}

}  // namespace bascule::passes
