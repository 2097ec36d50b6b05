// device/chip/expand.cc — operators that no engine does as they are, written with those that engines do: the table of rules; recurrent layers as their
// time steps.
#include "device/chip/expand.h"

#include <algorithm>
#include <unordered_map>

#include "device/chip/expand_rules.h"
#include "ops/recurrent.h"
#include "passes/rewrite.h"

namespace bascule::device::chip {
namespace {

std::string refuse_recurrent(const Graph& g, const Node& n) {
  const auto steps = extent_of(g, n.inputs[0], 0);
  return steps && *steps > kMostTimeSteps ? std::to_string(*steps) + " time steps, more than " + std::to_string(kMostTimeSteps) + " are not scheduled one by one" : "";
}

Values apply_recurrent(passes::Rewriter& r, const Node& n) {
  return r.decompose(n, [](Builder& b, const OpView& view, std::span<const Value> operands) { return *ops::recurrent_unrolled(b, view, operands, kMostTimeSteps); });
}

const ExpansionRule* rule_of(const Node& n) {
  static const std::unordered_map<std::string_view, ExpansionRule> rules = [] {
    std::unordered_map<std::string_view, ExpansionRule> all;
    for (const char* name : {"lstm", "gru", "rnn"}) all.insert({name, {name, refuse_recurrent, apply_recurrent}});
    for (const auto& list : {index_rules(), order_rules(), scalar_rules(), fold_rules(), resample_rules(), product_rules()})
      for (const ExpansionRule& rule : list) all.insert({rule.op, rule});
    return all;
  }();
  const auto at = rules.find(n.op->name);
  return at == rules.end() || n.specialization ? nullptr : &at->second;
}

}  // namespace

std::optional<int64_t> extent_of(const Graph& g, Value v, int64_t axis) {
  const Type& t = g.type(v);
  return t.is_tensor() && t.ranked ? t.dims[static_cast<size_t>(axis)].constant() : std::nullopt;
}

bool all_static(const Graph& g, const Node& n) {
  const auto bound = [&](Value v) { return !v || (g.type(v).is_tensor() && g.type(v).is_static()); };
  return std::all_of(n.inputs.begin(), n.inputs.end(), bound) && std::all_of(n.outputs.begin(), n.outputs.end(), bound);
}

bool expand(Graph& g) {
  return passes::rewrite(g, [&](passes::Rewriter& r, const Node& n) {
    const ExpansionRule* rule = rule_of(n);
    if (!rule || !all_static(g, n) || !rule->refuse(g, n).empty()) return false;
    r.replace(n, rule->apply(r, n));
    return true;
  });
}

std::string cannot_expand(const Graph& g, const Node& n) {
  const ExpansionRule* rule = rule_of(n);
  return rule ? rule->refuse(g, n) : std::string(kAsItIs);
}

}  // namespace bascule::device::chip
