// graph/evaluate.cc — the interpreter over references.
#include "graph/evaluate.h"

#include "base/budget.h"

namespace bascule {
namespace {

std::string describe(const Node& n) {
  std::string where(n.op->name);
  if (n.origin) where += " of " + text(n.origin);
  if (!n.location.empty()) where = n.location + ": " + where;
  return where;
}

// Symbols of data-dependent results become known from the value itself.
void bind_results(const Type& declared, const HostValue& got, Bindings& symbols, const std::string& where) {
  if (!declared.is_tensor() || !declared.ranked || !got.is_tensor()) return;
  bool open = false;
  for (const Dim& d : declared.dims) open |= !d.is_constant();
  if (!open) return;
  const auto& dims = got.tensor().dims();
  if (dims.size() != declared.dims.size()) fail_internal(where, declared.text(), got.tensor().type_text());
  for (size_t i = 0; i < dims.size(); ++i)
    if (const auto name = declared.dims[i].as_symbol()) symbols.try_emplace(*name, dims[i]);
}

}  // namespace

HostValues evaluate(const Node& node, const HostValues& inputs, const Bindings& symbols, EvalContext& context) {
  check_budget();
  const std::string where = describe(node);
  if (node.specialization) return context.specialize(node.specialization, inputs, where);
  if (!node.op->reference) fail_internal(where, "a reference implementation", "none");
  std::vector<Type> types;
  for (size_t i = 0; i < inputs.size(); ++i) types.push_back(node.inputs.empty() || node.inputs[i] ? Type::of(inputs[i]) : absent_type());
  const std::span<const Type> all(types);
  Attrs attrs = substitute(node.attrs, symbols);
  std::vector<std::shared_ptr<const Graph>> regions = node.regions;
  if (!symbols.empty())
    for (auto& r : regions)
      if (!r->symbols().empty()) r = std::make_shared<const Graph>(substitute(*r, symbols));
  const size_t operands = node.operands();
  const std::vector<Type> results = infer(*node.op, attrs, all.first(operands), regions, all.subspan(operands), where, ErrorKind::usage);
  const OpView view{*node.op, attrs, all.first(operands), regions, all.subspan(operands), where, ErrorKind::usage};
  const std::span<const HostValue> values(inputs);
  HostValues out = node.op->reference(Call{view, values.first(operands), values.subspan(operands), results, context, nullptr, nullptr});
  if (out.size() != results.size()) fail_internal(where, std::to_string(results.size()) + " results", std::to_string(out.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].is_tensor() || !results[i].is_tensor()) continue;
    const Type got = Type::of(out[i]);
    if (!compatible(got, results[i])) fail_internal(where, results[i].text(), got.text());
  }
  return out;
}

HostValues evaluate(const Graph& graph, const HostValues& inputs, EvalContext& context, const Watch& watch, Bindings symbols) {
  if (inputs.size() != graph.inputs.size()) fail_internal("evaluate " + graph.name, std::to_string(graph.inputs.size()) + " inputs", std::to_string(inputs.size()));
  HostValues value(graph.values.size());
  std::vector<int32_t> uses(graph.values.size(), 0);
  for (const Node& n : graph.nodes)
    for (const Value v : n.inputs)
      if (v) ++uses[static_cast<size_t>(v.id)];
  for (const Value v : graph.outputs) ++uses[static_cast<size_t>(v.id)];
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value v = graph.inputs[i];
    bind_symbols(graph.type(v), Type::of(inputs[i]), symbols, "input '" + escaped(graph.at(v).name) + "'");
    value[static_cast<size_t>(v.id)] = inputs[i];
  }
  for (const Node& n : graph.nodes) {
    HostValues args;
    args.reserve(n.inputs.size());
    for (const Value v : n.inputs) args.push_back(v ? value[static_cast<size_t>(v.id)] : HostValue::none());
    HostValues results = evaluate(n, args, symbols, context);
    if (watch) watch(n, results);
    for (const Value v : n.inputs)
      if (v && --uses[static_cast<size_t>(v.id)] == 0) value[static_cast<size_t>(v.id)] = HostValue();
    for (size_t i = 0; i < results.size(); ++i) {
      bind_results(graph.type(n.outputs[i]), results[i], symbols, describe(n));
      if (uses[static_cast<size_t>(n.outputs[i].id)] > 0) value[static_cast<size_t>(n.outputs[i].id)] = std::move(results[i]);
    }
  }
  HostValues out;
  for (const Value v : graph.outputs) out.push_back(value[static_cast<size_t>(v.id)]);
  return out;
}

}  // namespace bascule
