// inspect/summary.cc — one walk over the nodes, regions included.
#include "inspect/summary.h"

#include <algorithm>

#include "base/error.h"
#include "graph/builder.h"

namespace bascule::inspect {
namespace {

// 0 for what is no tensor or has no static size.
int64_t bytes_of(const Type& t) {
  if (!t.is_static()) return 0;
  const int64_t elements = element_count(*constants(t.dims));
  return std::max<int64_t>(0, t.dtype == DType::string ? elements * static_cast<int64_t>(sizeof(std::string)) : storage_bytes(t.dtype, elements));
}

bool is_constant(const Node& n) { return n.op->name == "constant" || n.op->name == "absent"; }

class Walk {
 public:
  explicit Walk(Summary& s) : s_(s) {}

  void graph(const Graph& g) {
    for (const Node& n : g.nodes) {
      if (n.origin)
        for (const std::string& name : *n.origin)
          if (named_.insert(name).second) ++s_.source_operators[name.substr(0, name.find(' '))];
      if (is_constant(n)) {
        constant(g, n);
        continue;
      }
      ++s_.operators[std::string(n.op->name)];
      if (n.specialization) {
        ++specialized_;
        continue;
      }
      if (n.op->control && !n.regions.empty()) ++control_;
      if (n.op->control)
        for (const auto& region : n.regions) graph(*region);
      for (const Value v : n.outputs)
        if (g.type(v).is_tensor() && !g.type(v).is_static()) ++unsized_;
      s_.work += work_of(g, n);
    }
  }

  void finish() {
    if (control_) s_.notes.push_back(std::to_string(control_) + " control operators: each branch and one iteration of each loop are counted");
    if (specialized_) s_.notes.push_back(std::to_string(specialized_) + " parts depend on values of the run; their work is not counted");
    if (unsized_) s_.notes.push_back(std::to_string(unsized_) + " values have sizes that only a run can tell; their bytes are not counted");
    if (s_.absent_parameters)
      s_.notes.push_back(std::to_string(s_.absent_parameters) + " parameters stand in a file that is not there; the model can be inspected, not run");
  }

 private:
  void constant(const Graph& g, const Node& n) {
    const Type& t = g.type(n.outputs[0]);
    if (!t.is_static()) return;
    const int64_t elements = element_count(*constants(t.dims));
    s_.parameters += elements;
    s_.parameter_bytes += bytes_of(t);
    if (n.op->name == "absent") s_.absent_parameters += elements;
  }

  Summary& s_;
  std::set<std::string> named_;
  int64_t control_ = 0, specialized_ = 0, unsized_ = 0;
};

int64_t peak_bytes(const Graph& g) {
  std::vector<size_t> last(g.values.size(), 0);
  for (size_t i = 0; i < g.nodes.size(); ++i)
    for (const Value v : g.nodes[i].inputs)
      if (v) last[static_cast<size_t>(v.id)] = i;
  for (const Value v : g.outputs)
    if (v) last[static_cast<size_t>(v.id)] = g.nodes.size();
  int64_t now = 0, peak = 0;
  for (const Value v : g.inputs) now += bytes_of(g.type(v));
  peak = now;
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    const Node& n = g.nodes[i];
    if (is_constant(n)) continue;
    for (const Value v : n.outputs) now += bytes_of(g.type(v));
    peak = std::max(peak, now);
    std::set<Value> gone;
    for (const Value v : n.inputs)
      if (v && last[static_cast<size_t>(v.id)] == i && (!g.producer(v) || !is_constant(*g.producer(v)))) gone.insert(v);
    for (const Value v : gone) now -= bytes_of(g.type(v));
  }
  return peak;
}

}  // namespace

Work work_of(const Graph& graph, const Node& node) {
  std::vector<Type> types, results;
  for (const Value v : node.inputs) types.push_back(v ? graph.type(v) : absent_type());
  for (const Value v : node.outputs) results.push_back(graph.type(v));
  const auto is_open = [](const Type& t) { return t.is_tensor() && !t.is_static(); };
  if (std::any_of(types.begin(), types.end(), is_open) || std::any_of(results.begin(), results.end(), is_open)) return {};
  const std::span<const Type> all(types);
  const size_t operands = node.operands();
  const OpView view{*node.op, node.attrs, all.first(operands), node.regions, all.subspan(operands), std::string(node.op->name), ErrorKind::internal};
  if (node.op->work) return node.op->work(view, results);
  Work work;
  if (!node.op->decompose) return work;
  Builder b;
  b.fold = false;
  Values values;
  for (size_t i = 0; i < operands; ++i) values.push_back(node.inputs[i] ? b.input(types[i]) : kNoValue);
  try {
    node.op->decompose(b, view, values);
  } catch (const Error&) {  // an operand that must be a constant is only a type here
    return work;
  }
  for (const Node& inner : b.graph().nodes)
    if (!is_constant(inner)) work += work_of(b.graph(), inner);
  return work;
}

Summary summarize(const Graph& graph, const Bindings& symbols) {
  Bindings all = symbols;
  for (const std::string& s : graph.symbols()) all.emplace(s, 1);
  const Graph bound = substitute(graph, all);
  Summary s;
  Walk walk(s);
  walk.graph(bound);
  walk.finish();
  s.peak_activation_bytes = peak_bytes(bound);
  return s;
}

}  // namespace bascule::inspect
