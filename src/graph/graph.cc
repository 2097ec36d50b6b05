// graph/graph.cc — the node list, symbol substitution and the structural verifier.
#include "graph/graph.h"

#include <algorithm>

#include "base/error.h"
#include "graph/op_def.h"

namespace bascule {

Origin make_origin(std::vector<std::string> names) { return std::make_shared<const std::vector<std::string>>(std::move(names)); }

Origin merge_origins(const Origin& a, const Origin& b) {
  if (!a || a == b) return b;
  if (!b) return a;
  std::vector<std::string> names = *a;
  for (const std::string& n : *b)
    if (std::find(names.begin(), names.end(), n) == names.end()) names.push_back(n);
  return make_origin(std::move(names));
}

std::string text(const Origin& o) {
  std::string t;
  if (o)
    for (const std::string& n : *o) t += (t.empty() ? "" : " + ") + n;
  return t;
}

const Node* Graph::producer(Value v) const {
  if (!v || at(v).node < 0) return nullptr;
  return &nodes[static_cast<size_t>(at(v).node)];
}

const Tensor* Graph::constant(Value v) const {
  const Node* n = producer(v);
  if (!n || n->op->name != "constant") return nullptr;
  return &n->attrs.tensor("value");
}

std::optional<Dims> Graph::known(Value v) const {
  if (!v) return std::nullopt;
  if (at(v).known) return *at(v).known;
  const Tensor* t = constant(v);
  if (!t || t->elements() > kMostKnown || !(is_int(t->dtype()) || is_bool(t->dtype()))) return std::nullopt;
  const std::vector<int64_t> elements = t->ints();
  return Dims(elements.begin(), elements.end());
}

Value Graph::add_input(Type t, std::string input_name) {
  const Value v{static_cast<int32_t>(values.size())};
  values.push_back({std::move(t), std::move(input_name), -1, static_cast<int32_t>(inputs.size()), nullptr});
  inputs.push_back(v);
  return v;
}

int32_t Graph::add_node(Node n, std::vector<Type> result_types) {
  const auto index = static_cast<int32_t>(nodes.size());
  n.outputs.clear();
  for (size_t i = 0; i < result_types.size(); ++i) {
    n.outputs.push_back({static_cast<int32_t>(values.size())});
    values.push_back({std::move(result_types[i]), "", index, static_cast<int32_t>(i), nullptr});
  }
  nodes.push_back(std::move(n));
  return index;
}

std::vector<Type> Graph::input_types() const {
  std::vector<Type> t;
  for (const Value v : inputs) t.push_back(type(v));
  return t;
}
std::vector<Type> Graph::output_types() const {
  std::vector<Type> t;
  for (const Value v : outputs) t.push_back(type(v));
  return t;
}

std::set<std::string> Graph::symbols() const {
  std::set<std::string> out;
  for (const ValueInfo& v : values) add_symbols(v.type, out);
  for (const Node& n : nodes)
    for (const auto& [attr_name, a] : n.attrs)
      if (const auto* d = std::get_if<Dims>(&a))
        for (const Dim& x : *d) x.add_symbols(out);
  return out;
}

Attrs substitute(const Attrs& a, const Bindings& b) {
  Attrs out = a;
  for (const auto& [attr_name, value] : a)
    if (const auto* dims = std::get_if<Dims>(&value)) {
      Dims bound = *dims;
      for (Dim& d : bound) d = d.substitute(b);
      out.set(attr_name, std::move(bound));
    }
  return out;
}

Graph substitute(const Graph& g, const Bindings& b) {
  Graph out = g;
  for (ValueInfo& v : out.values) {
    try {
      v.type = substitute(v.type, b);
    } catch (const Error& e) {  // sizes that do not agree: say which node's
      if (v.node < 0 || e.problems().size() != 1) throw;
      const Node& n = out.nodes[static_cast<size_t>(v.node)];
      Problem p = e.problems()[0];
      p.where = std::string(n.op->name) + (n.origin ? " of " + text(n.origin) : "") + ", result " + v.type.text();
      throw Error(e.kind(), std::move(p));
    }
    if (v.known) {
      Dims bound = *v.known;
      for (Dim& d : bound) d = d.substitute(b);
      v.known = std::make_shared<const Dims>(std::move(bound));
    }
  }
  for (Node& n : out.nodes) {
    n.attrs = substitute(n.attrs, b);
    for (auto& region : n.regions) region = std::make_shared<const Graph>(substitute(*region, b));
  }
  return out;
}

void verify(const Graph& g, const std::string& after) {
  const auto broken = [&](const std::string& what) { fail_internal("verifier after " + after, "a well-formed graph", what); };
  std::vector<bool> defined(g.values.size(), false);
  for (const Value v : g.inputs) defined[static_cast<size_t>(v.id)] = true;
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& n = g.nodes[i];
    const std::string who = std::string(n.op->name) + " #" + std::to_string(i);
    std::vector<Type> operands, captured;
    for (size_t k = 0; k < n.inputs.size(); ++k) {
      const Value v = n.inputs[k];
      if (v && (static_cast<size_t>(v.id) >= g.values.size() || !defined[static_cast<size_t>(v.id)])) broken("value %" + std::to_string(v.id) + " used by " + who + " before its definition");
      (k < n.operands() ? operands : captured).push_back(v ? g.type(v) : absent_type());
    }
    if (n.op->name != "specialize") {
      Attrs attrs = n.attrs;
      const std::vector<Type> want = infer(*n.op, attrs, operands, n.regions, captured, who, ErrorKind::internal);
      if (want.size() != n.outputs.size()) broken(who + " has " + std::to_string(n.outputs.size()) + " results, its type rule gives " + std::to_string(want.size()));
      for (size_t k = 0; k < want.size(); ++k)
        if (!compatible(g.type(n.outputs[k]), want[k])) broken(who + " result has type " + g.type(n.outputs[k]).text() + ", its type rule gives " + want[k].text());
    }
    for (const auto& region : n.regions) verify(*region, after);
    for (const Value v : n.outputs) {
      if (g.at(v).node != static_cast<int32_t>(i)) broken("result of " + who + " names another producer");
      defined[static_cast<size_t>(v.id)] = true;
    }
  }
  for (const Value v : g.outputs)
    if (!v || !defined[static_cast<size_t>(v.id)]) broken("an output is not defined");
}

}  // namespace bascule
