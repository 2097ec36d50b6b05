// device/chip/prepare.cc — the passes before mapping, and whether a chip runs a node: both from what steps can be made of.
#include <algorithm>
#include <set>

#include "device/chip/chip.h"
#include "device/chip/map.h"
#include "device/chip/step_maker.h"
#include "graph/builder.h"
#include "passes/pipeline.h"

namespace bascule::device::chip {
namespace {

bool kept(const Graph& g, const Node& n) {
  static const std::set<std::string_view> whole = {"softmax", "log_softmax", "layer_norm", "rms_norm", "group_norm", "attention", "gelu", "silu"};
  if (!whole.contains(n.op->name)) return false;
  for (const Value v : n.inputs)
    if (v && !g.type(v).is_tensor()) return false;
  return true;
}

std::string types_text(const MatrixEngine& m) {
  std::string out;
  for (const auto& [t, pass] : m.passes) out += (out.empty() ? "" : " ") + std::string(info(t).name);
  return out;
}

// Element types: products in the matrix engine's types, floats of other types in the chip's default; all else in 32 bits at most.
std::string type_refusal(const Chip& chip, DType t, bool product) {
  const bool has_f64 = chip.matrix.passes.contains(DType::f64);
  if (t == DType::f64 && !has_f64) return "f64, the chip computes in 32 bits at most";
  if (is_complex(t)) return "complex numbers";
  if (!product || chip.matrix.passes.contains(t) || is_float(t)) return "";
  // Integers of 8 bits are exact in any float of the matrix engine with 8 bits of significand.
  if ((is_int(t) || is_bool(t)) && info(t).bits <= 8 && (chip.matrix.passes.contains(DType::bf16) || chip.matrix.passes.contains(DType::f16))) return "";
  return "products of " + std::string(info(t).name) + ", the matrix engine takes " + types_text(chip.matrix);
}

std::string node_refusal(const Chip& chip, const Graph& g, const Node& n, NodeKind kind) {
  const bool product = kind == NodeKind::contraction || kind == NodeKind::convolution || kind == NodeKind::attention;
  if (kind == NodeKind::view || kind == NodeKind::weight) return "";
  for (size_t k = 0; k < n.inputs.size(); ++k) {
    if (!n.inputs[k]) continue;
    const std::string why = type_refusal(chip, g.type(n.inputs[k]).dtype, product && k < 2);
    if (!why.empty()) return why;
  }
  for (const Value v : n.outputs) {
    const std::string why = type_refusal(chip, g.type(v).dtype, false);
    if (!why.empty()) return why;
  }
  return "";
}

// The operators that this one decomposes to are asked instead of it.
Support supports_at(const Chip& chip, const Graph& g, const Node& n, int depth) {
  constexpr int kDeepest = 8;
  if (n.op->decompose && !n.op->host && !n.op->control && !kept(g, n) && depth < kDeepest) {
    Builder b("decomposition");
    b.blame = ErrorKind::internal;
    b.where = std::string(n.op->name);
    Values operands;
    std::vector<Type> types;
    for (const Value v : n.inputs) {
      const Tensor* t = v ? g.constant(v) : nullptr;
      operands.push_back(!v ? kNoValue : t ? b.constant(*t) : b.input(g.type(v)));
      types.push_back(v ? g.type(v) : absent_type());
    }
    Attrs attrs = n.attrs;
    const std::span<const Type> all(types);
    infer(*n.op, attrs, all.first(n.operands()), n.regions, all.subspan(n.operands()), b.where, ErrorKind::internal);
    const OpView view{*n.op, attrs, all.first(n.operands()), n.regions, all.subspan(n.operands()), b.where, ErrorKind::internal};
    const Graph inner = b.finish(n.op->decompose(b, view, operands));
    for (const Node& m : inner.nodes)
      if (Support s = supports_at(chip, inner, m, depth + 1); !s) return s;
    return {};
  }
  const Classified c = classify(g, n);
  if (c.kind == NodeKind::host) return Support::no(std::string(n.op->name) + ": " + c.why);
  if (const std::string why = node_refusal(chip, g, n, c.kind); !why.empty()) return Support::no(std::string(n.op->name) + ": " + why);
  return {};
}

}  // namespace

Graph prepare(const Graph& bound) {
  Graph g = bound;
  passes::run_pipeline("device", g, {.dump_folder = "", .keeps = kept});
  return g;
}

Support supports(const Chip& chip, const Graph& graph, const Node& node) { return supports_at(chip, graph, node, 0); }

std::string refusal(const Chip& chip, const Graph& graph, const Step& step) {
  if (step.kind == Step::host) return step.reason;
  for (const int32_t i : step.nodes) {
    const Node& n = graph.nodes[static_cast<size_t>(i)];
    const std::string why = node_refusal(chip, graph, n, classify(graph, n).kind);
    if (!why.empty()) return std::string(n.op->name) + ": " + why + "; runs on the host";
  }
  return "";
}

}  // namespace bascule::device::chip
