// graph/evaluate.h — runs references: one node, or a whole graph node by node. The slow, right interpreter under folding, tests and device/reference.
#pragma once
#include <functional>

#include "graph/op_def.h"

namespace bascule {

// One node on concrete inputs (operands, then captures). Type rules are checked again with the concrete types: UsageError on a mismatch.
HostValues evaluate(const Node& node, const HostValues& inputs, const Bindings& symbols, EvalContext& context);

// A whole graph. Symbols are bound from the inputs and, for data-dependent results, from the values as they appear.
// Values are dropped after their last use. watch, if given, sees every node's results.
using Watch = std::function<void(const Node&, const HostValues& results)>;
HostValues evaluate(const Graph& graph, const HostValues& inputs, EvalContext& context, const Watch& watch = nullptr, Bindings outer = {});

}  // namespace bascule
