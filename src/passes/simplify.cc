// passes/simplify.cc — no operator that does nothing, and one where two of a kind stood: transposes, reshapes, broadcasts, conversions, identities.
#include <numeric>

#include "graph/op_def.h"
#include "passes/match.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace bascule::passes {
namespace {

bool is_identity(const Ints& permutation) {
  for (size_t i = 0; i < permutation.size(); ++i)
    if (permutation[i] != static_cast<int64_t>(i)) return false;
  return true;
}

// The replacement of a node's single result, built on the new graph; kNoValue: none.
Value simpler(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  Builder& b = r.builder();
  const std::string_view name = n.op->name;
  if (n.outputs.size() != 1 || n.inputs.empty() || !n.inputs[0] || !g.type(n.outputs[0]).is_tensor()) return kNoValue;
  const Type &in = g.type(n.inputs[0]), &out = g.type(n.outputs[0]);
  const Value x = r(n.inputs[0]);
  // A replacement must have the same type: refined dims stay as they were.
  const bool same_type = in == out;
  if (name == "transpose") {
    if (is_identity(n.attrs.ints("permutation")) && same_type) return x;
    if (const Node* before = made_by(g, n.inputs[0], "transpose")) {
      Ints both;
      for (const int64_t a : n.attrs.ints("permutation")) both.push_back(before->attrs.ints("permutation")[static_cast<size_t>(a)]);
      if (is_identity(both)) return g.type(before->inputs[0]) == out ? r(before->inputs[0]) : kNoValue;
      return b.op("transpose", {r(before->inputs[0])}, {{"permutation", both}});
    }
    return kNoValue;
  }
  if (name == "reshape") {
    if (same_type) return x;
    if (const Node* before = made_by(g, n.inputs[0], "reshape")) {
      if (g.type(before->inputs[0]) == out) return r(before->inputs[0]);
      return b.op("reshape", {r(before->inputs[0])}, {{"dims", out.dims}});
    }
    return kNoValue;
  }
  if (name == "broadcast_in_dim") {
    if (same_type && is_identity(n.attrs.ints("broadcast_dimensions"))) return x;
    const Node* before = made_by(g, n.inputs[0], "broadcast_in_dim");
    if (!before) return kNoValue;
    Ints axes;
    for (const int64_t a : before->attrs.ints("broadcast_dimensions")) axes.push_back(n.attrs.ints("broadcast_dimensions")[static_cast<size_t>(a)]);
    return b.broadcast_in_dim(r(before->inputs[0]), out.dims, axes);
  }
  if (name == "convert") return same_type ? x : kNoValue;
  if (name == "slice" && same_type) {
    const Dims start = n.attrs.dims("start_indices");
    for (const Dim& d : start)
      if (!d.is(0)) return kNoValue;
    return n.attrs.dims("limit_indices") == in.dims ? x : kNoValue;
  }
  if (name == "concatenate" && n.inputs.size() == 1) return same_type ? x : kNoValue;
  if (name == "negate") {
    if (const Node* before = made_by(g, n.inputs[0], "negate"); before && g.type(before->inputs[0]) == out) return r(before->inputs[0]);
    return kNoValue;
  }
  if (n.inputs.size() != 2 || !n.inputs[1] || is_bool(out.dtype) || is_complex(out.dtype) || in.dtype != out.dtype || !(is_float(out.dtype) || is_int(out.dtype))) return kNoValue;
  const auto right = splat_of(g, n.inputs[1]), left = splat_of(g, n.inputs[0]);
  if (same_type) {
    if ((name == "multiply" || name == "divide" || name == "power") && right == 1.0) return x;
    if ((name == "add" || name == "subtract") && right == 0.0) return x;
  }
  if (g.type(n.inputs[1]) == out) {
    if (name == "multiply" && left == 1.0) return r(n.inputs[1]);
    if (name == "add" && left == 0.0) return r(n.inputs[1]);
  }
  if (name == "power" && is_float(out.dtype)) {
    if (right == 2.0) return b.multiply(x, x);
    if (right == 3.0) return b.multiply(b.multiply(x, x), x);
  }
  return kNoValue;
}

bool simplify(Graph& g, const PassOptions&) {
  bool any = false;
  for (int round = 0; round < 4; ++round) {
    const bool changed = rewrite(g, [](Rewriter& r, const Node& n) {
      const Value v = simpler(r, n);
      if (v) r.replace(n, {v});
      return static_cast<bool>(v);
    });
    if (!changed) break;
    any = true;
  }
  return any;
}

[[maybe_unused]] const bool registered = register_pass({"simplify", "no transposes, reshapes, broadcasts, conversions or arithmetic that do nothing or follow another of their kind", simplify});

}  // namespace
}  // namespace bascule::passes
