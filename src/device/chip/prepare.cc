// device/chip/prepare.cc — the passes before mapping, and whether a chip runs a node: both from what steps can be made of.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "device/chip/chip.h"
#include "device/chip/expand.h"
#include "device/chip/map.h"
#include "device/chip/step_maker.h"
#include "graph/builder.h"
#include "graph/evaluate.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

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

// What only weights decide is computed when the model is loaded: constants, or weights without values where a file is absent. Views stay views.
void settle_weights(Graph& g) {
  constexpr int64_t kMostElements = int64_t{1} << 26;  // evaluated in all; a reference takes some 50 ns each
  int64_t left = kMostElements;
  enum Kind : uint8_t { no, present, missing };
  std::vector<Kind> kind(g.values.size(), no);
  const auto of = [&](Value v) -> Kind& { return kind[static_cast<size_t>(v.id)]; };
  std::map<Value, Tensor> known;
  // The value of what only constants decide, through views; nullopt: too large in all, or an error of values, which belongs to the run.
  constexpr int kDeepest = 64;
  const std::function<std::optional<Tensor>(const Graph&, Value, int)> tensor = [&](const Graph& old, Value v, int depth) -> std::optional<Tensor> {
    if (const Tensor* c = old.constant(v)) return *c;
    if (depth > kDeepest) return std::nullopt;
    if (const auto at = known.find(v); at != known.end()) return at->second;
    const Node& n = *old.producer(v);
    int64_t elements = old.type(v).elements_count().value();
    HostValues in;
    for (const Value x : n.inputs) {
      if (!x) {
        in.push_back(HostValue::none());
        continue;
      }
      auto t = tensor(old, x, depth + 1);
      if (!t) return std::nullopt;
      elements += t->elements();
      in.emplace_back(std::move(*t));
    }
    constexpr int64_t kSmall = 65536;
    const int64_t made = old.type(v).elements_count().value();
    if (elements > left || (made > kSmall && made > elements - made)) return std::nullopt;  // never larger than what it is made of
    left -= elements;
    EvalContext context;
    try {
      return known[v] = evaluate(n, in, {}, context)[0].tensor();
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::internal) throw;
      return std::nullopt;
    }
  };
  passes::rewrite(g, [&](passes::Rewriter& r, const Node& n) {
    const std::string_view name = n.op->name;
    if (name == "constant" || name == "absent") {
      of(n.outputs[0]) = name == "constant" ? present : missing;
      return false;
    }
    if (n.inputs.empty() || n.op->random || n.op->effect || n.op->control || n.op->host || n.op->data_dependent || !n.op->reference ||
        n.specialization || n.outputs.size() != 1)
      return false;
    Kind all = present;
    for (const Value v : n.inputs)
      if (v && all != no) all = of(v) == no ? no : std::max(all, of(v));
    const Type& t = r.old().type(n.outputs[0]);
    if (all == no || !t.is_tensor() || !t.is_static() || is_string(t.dtype)) return false;
    of(n.outputs[0]) = all;
    const Node* before = r.old().producer(n.inputs[0]);
    const bool in_place = (name == "gather" && even_gather(r.old(), n)) || name == "transpose" || name == "slice" || name == "broadcast_in_dim" ||
                          (name == "reshape" && (before->op->name == "constant" || before->op->name == "absent" || before->op->name == "reshape"));
    if (in_place) return false;
    if (all == missing) {
      r.replace(n,
                {r.builder().op("absent", {},
                                {{"dtype", t.dtype}, {"dims", t.dims}, {"reason", std::string("computed from weights whose file is not there")}})});
      return true;
    }
    const auto made = tensor(r.old(), n.outputs[0], 0);
    if (!made) return false;
    r.replace(n, {r.builder().constant(*made)});
    return true;
  });
}

// Element types: products in the matrix engine's types, floats of other types in the chip's default; all else in 32 bits at most.
std::string type_refusal(const Chip& chip, DType t, bool product) {
  const bool has_f64 = chip.matrix.passes.contains(DType::f64);
  if (t == DType::f64 && !has_f64) return "f64, for which the chip's file has no rate";
  if (is_complex(t)) return "complex numbers";
  if (!product || chip.matrix.passes.contains(t) || is_float(t)) return "";
  // Integers of 8 bits are exact in any float of the matrix engine with 8 bits of significand.
  if ((is_int(t) || is_bool(t)) && info(t).bits <= 8 && (chip.matrix.passes.contains(DType::bf16) || chip.matrix.passes.contains(DType::f16)))
    return "";
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

// The largest sum of |w| over the axes, for each index of the others.
double largest_sum(const Tensor& w, const Ints& axes) {
  std::vector<int64_t> kept = w.dims(), at(w.rank(), 0);
  for (const int64_t a : axes) kept[static_cast<size_t>(a)] = 1;
  const std::vector<int64_t> strides = dense_layout(kept).strides;
  std::vector<double> sums(static_cast<size_t>(std::max<int64_t>(element_count(kept), 1)));
  for (int64_t i = 0; i < w.elements(); ++i) {
    int64_t to = 0;
    for (size_t a = 0; a < at.size(); ++a) to += kept[a] == 1 ? 0 : at[a] * strides[a];
    sums[static_cast<size_t>(to)] += std::abs(static_cast<double>(w.integer(i)));
    for (size_t a = at.size(); a-- > 0 && ++at[a] == w.dim(a);) at[a] = 0;
  }
  return *std::max_element(sums.begin(), sums.end());
}

// Products of integers that are summed in f32: exact while no sum can pass 2^24.
std::string sum_refusal(const Chip& chip, const Graph& g, const Node& n) {
  const bool convolves = n.op->name == "convolution";
  if ((n.op->name != "dot_general" && !convolves) || !is_int(g.type(n.outputs[0]).dtype) || chip.matrix.passes.contains(DType::i8)) return "";
  Ints axes = convolves ? n.attrs.ints("kernel_spatial_dimensions") : n.attrs.ints("rhs_contracting_dimensions");
  if (convolves) axes.push_back(n.attrs.integer("kernel_input_feature_dimension"));
  const auto most = [](DType t) { return std::max(std::abs(static_cast<double>(int_min(t))), static_cast<double>(int_max(t))); };
  double terms = 1;
  for (const int64_t a : axes) terms *= static_cast<double>(g.type(n.inputs[1]).dims[static_cast<size_t>(a)].constant().value_or(1));
  const Tensor* w = g.constant(n.inputs[1]);
  const double sum = most(g.type(n.inputs[0]).dtype) * (w && w->elements() > 0 ? largest_sum(*w, axes) : terms * most(g.type(n.inputs[1]).dtype));
  return sum <= 16777216 ? "" : "sums of integers that may pass 2^24, in " + std::string(info(chip.arithmetic.accumulate).name);
}

// An instruction's immediate is an f32: integers that it cannot hold exactly.
bool has_long_integers(const Step& s) {
  const auto exact = [](double x) { return static_cast<double>(static_cast<float>(x)) == x; };
  for (const auto* list : {&s.spec.body, &s.spec.epilogue})
    for (const loops::Instruction& i : *list) {
      if (i.op != loops::Op::constant || is_float(i.dtype)) continue;
      const auto x = static_cast<double>(i.integer);
      if (!exact(x) || std::abs(x) >= 9.3e18 || (x < 9.2e18 && static_cast<int64_t>(x) != i.integer)) return true;
    }
  for (const Epilogue& e : s.epilogue)
    if (!is_float(e.dtype) && (e.a == Epilogue::kNumber || e.b == Epilogue::kNumber || e.c == Epilogue::kNumber) && !exact(e.number)) return true;
  return false;
}

// Whether no input of the model reaches v: known when sizes are bound.
bool from_constants(const Graph& g, Value v) {
  constexpr size_t kMostVisited = 256;
  std::vector<Value> open{v};
  std::set<Value> seen{v};
  while (!open.empty()) {
    const Node* n = g.producer(open.back());
    open.pop_back();
    if (!n || n->op->random || n->op->control || n->op->host || n->op->name == "absent" || seen.size() > kMostVisited) return false;
    for (const Value x : n->inputs)
      if (x && seen.insert(x).second) open.push_back(x);
  }
  return true;
}

// The operators that this one decomposes to are asked instead of it.
Support supports_at(const Chip& chip, const Graph& g, const Node& n, int depth) {
  if (cannot_expand(g, n).empty()) {
    const bool product = n.op->name == "lstm" || n.op->name == "gru" || n.op->name == "rnn";
    const std::string why = node_refusal(chip, g, n, product ? NodeKind::contraction : NodeKind::move);
    return why.empty() ? Support{} : Support::no(std::string(n.op->name) + ": " + why);
  }
  if (n.op->name == "gather" && from_constants(g, n.inputs[1])) return {};  // a view, most often, once sizes are bound
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
    Graph inner;
    try {
      inner = b.finish(n.op->decompose(b, view, operands));
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::internal) throw;
      return {};  // an operand that must be known is only a type here: compile decides
    }
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
  const passes::PassOptions options{.dump_folder = "", .keeps = kept};
  constexpr int kMostRounds = 3;  // starts of slices may be constants only after folding, and recurrent layers hold slices
  expand(g);
  passes::run_pipeline("device", g, options);
  for (int round = 0; round < kMostRounds && expand(g); ++round) passes::run_pipeline("device", g, options);
  settle_weights(g);
  passes::run_pass("dce", g);
  return g;
}

Support supports(const Chip& chip, const Graph& graph, const Node& node) { return supports_at(chip, graph, node, 0); }

std::string refusal(const Chip& chip, const Graph& graph, const Step& step) {
  if (step.kind == Step::host) return step.reason;
  const auto empty = [&](Value v) { return v && graph.type(v).elements_count().is(0); };
  for (const int32_t i : step.nodes) {
    const Node& n = graph.nodes[static_cast<size_t>(i)];
    // A fold over nothing: engines have no element to begin with.
    if (step.kind != Step::move && step.kind != Step::gather && step.kind != Step::scatter && !empty(step.result) && std::any_of(n.inputs.begin(), n.inputs.end(), empty))
      return std::string(n.op->name) + ": an operand without elements; runs on the host";
    std::string why = node_refusal(chip, graph, n, classify(graph, n).kind);
    if (why.empty()) why = sum_refusal(chip, graph, n);
    if (!why.empty()) return std::string(n.op->name) + ": " + why + "; runs on the host";
  }
  if (has_long_integers(step)) return "an integer constant of more than 24 bits; runs on the host";
  return "";
}

}  // namespace bascule::device::chip
