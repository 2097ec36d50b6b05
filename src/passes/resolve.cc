// passes/resolve.cc — rebuilds a graph node by node with types inferred anew; a region is inlined on the values it is given.
#include "passes/resolve.h"

#include <map>

#include "base/budget.h"
#include "base/error.h"
#include "graph/builder.h"
#include "graph/op_def.h"

namespace bascule::passes {
namespace {

bool decides(const Node& n) { return n.op->control || n.specialization; }

class Resolver {
 public:
  explicit Resolver(const Graph& g) : b_(g.name) { b_.blame = ErrorKind::usage; }

  Graph run(const Graph& g, const std::map<std::string, Tensor>& fixed) {
    Values args;
    for (const Value v : g.inputs) {
      args.push_back(b_.input(g.type(v), g.at(v).name));
      b_.graph().at(args.back()).known = g.at(v).known;
    }
    for (size_t i = 0; i < args.size(); ++i)
      if (const auto it = fixed.find(g.at(g.inputs[i]).name); it != fixed.end()) {
        args[i] = b_.constant(it->second);
        changed_ = true;
      }
    Values outputs = inlined(g, args);
    return b_.finish(std::move(outputs), g.output_names);
  }
  bool changed() const { return changed_; }

 private:
  // The results of `g` on these values of the graph being built.
  Values inlined(const Graph& g, const Values& args) {
    std::vector<Value> map(g.values.size());
    for (size_t i = 0; i < args.size(); ++i) {
      map[static_cast<size_t>(g.inputs[i].id)] = args[i];
      bind(g.type(g.inputs[i]), args[i]);
    }
    for (const Node& n : g.nodes) {
      check_budget();
      Values in;
      for (const Value v : n.inputs) in.push_back(v ? map[static_cast<size_t>(v.id)] : kNoValue);
      b_.origin = n.origin;
      b_.location = n.location;
      b_.where = std::string(n.op->name) + (n.origin ? " of " + text(n.origin) : "");
      const Values out = node(g, n, in);
      for (size_t i = 0; i < n.outputs.size(); ++i) {
        const Value old = n.outputs[i];
        map[static_cast<size_t>(old.id)] = out[i];
        if (!out[i]) continue;
        bind(g.type(old), out[i]);
        if (ValueInfo& v = b_.graph().at(out[i]); v.name.empty()) v.name = g.at(old).name;
      }
    }
    Values results;
    for (const Value v : g.outputs) results.push_back(map[static_cast<size_t>(v.id)]);
    return results;
  }

  Values node(const Graph& g, const Node& n, const Values& in) {
    if (n.op->name == "constant" || n.op->name == "absent") return literal(n);
    if (decides(n)) {
      if (auto out = decided(n, in)) {
        changed_ = true;
        return *out;
      }
    }
    const auto operands = in.begin() + static_cast<std::ptrdiff_t>(n.operands());
    if (n.specialization) {
      std::vector<Type> types;
      for (const Value v : n.outputs) types.push_back(substitute(g.type(v), symbols_));
      return b_.specialize(n.specialization, in, std::move(types));
    }
    std::vector<std::shared_ptr<const Graph>> regions;
    for (const auto& r : n.regions) regions.push_back(bound(r));
    return b_.ops(n.op->name, Values(in.begin(), operands), substitute(n.attrs, symbols_), std::move(regions), Values(operands, in.end()));
  }

  // Weights once, however often a region that holds them is inlined.
  Values literal(const Node& n) {
    if (const auto at = literals_.find(&n); at != literals_.end()) return at->second;
    return literals_[&n] = b_.ops(n.op->name, {}, substitute(n.attrs, symbols_));
  }

  std::shared_ptr<const Graph> bound(const std::shared_ptr<const Graph>& r) {
    if (symbols_.empty() || r->symbols().empty()) return r;
    return std::make_shared<const Graph>(substitute(*r, symbols_));
  }

  std::optional<int64_t> number(Value v) const {
    const Tensor* t = v ? b_.constant(v) : nullptr;
    return t && t->elements() == 1 && !is_string(t->dtype()) ? std::optional(t->integer(0)) : std::nullopt;
  }

  std::optional<Values> decided(const Node& n, const Values& in) {
    const auto operands = in.begin() + static_cast<std::ptrdiff_t>(n.operands());
    const Values captures(operands, in.end());
    if (n.specialization) return specialized(n, in);
    if (n.op->name == "if" || n.op->name == "case") {
      const auto chosen = number(in[0]);
      if (!chosen) return std::nullopt;
      const auto regions = static_cast<int64_t>(n.regions.size());
      const int64_t region = n.op->name == "if" ? (*chosen != 0 ? 0 : 1) : (*chosen >= 0 && *chosen < regions ? *chosen : regions - 1);
      return region_of(n, static_cast<size_t>(region), captures);
    }
    if (n.op->name == "while") return unrolled_while(n, Values(in.begin(), operands), captures);
    if (n.op->name == "loop" && !n.attrs.flag("as_sequence")) return unrolled_loop(n, Values(in.begin(), operands), captures);
    return std::nullopt;
  }

  Values region_of(const Node& n, size_t r, Values args, const Values& captures = {}) {
    args.insert(args.end(), captures.begin(), captures.end());
    if (static_cast<int64_t>(b_.graph().nodes.size()) > kMostUnrolled)
      fail_unsupported(std::string(n.op->name) + (n.origin ? " of " + text(n.origin) : ""),
                       "loops that unroll to at most " + std::to_string(kMostUnrolled) + " operators", "more",
                       "Shorten the sequence with --shape, or weigh the loop's body as a model of its own");
    const Bindings outer = symbols_;  // symbols of one iteration mean nothing in the next
    Values out = inlined(*n.regions[r], args);
    symbols_ = outer;
    return out;
  }

  std::optional<Values> specialized(const Node& n, const Values& in) {
    std::vector<Type> types;
    std::vector<HostValue> values(in.size());
    std::vector<const HostValue*> given;
    for (size_t i = 0; i < in.size(); ++i) {
      if (!in[i]) {
        types.push_back(absent_type());
        given.push_back(nullptr);
        continue;
      }
      types.push_back(b_.type(in[i]));
      if (!types.back().is_static()) return std::nullopt;
      const Tensor* t = b_.constant(in[i]);
      if (n.specialization->needs_value(i) && !t) return std::nullopt;
      if (t) values[i] = *t;
      given.push_back(n.specialization->needs_value(i) ? &values[i] : nullptr);
    }
    graphs_.push_back(std::make_shared<const Graph>(n.specialization->instantiate(types, given)));
    return inlined(*graphs_.back(), in);
  }

  std::optional<Values> unrolled_while(const Node& n, Values state, const Values& captures) {
    for (;;) {
      const auto go = number(region_of(n, 0, state, captures)[0]);
      if (!go) return std::nullopt;
      if (*go == 0) return state;
      state = region_of(n, 1, state, captures);
    }
  }

  std::optional<Values> unrolled_loop(const Node& n, const Values& operands, const Values& captures) {
    const auto trips = operands[0] ? number(operands[0]) : INT64_MAX;
    std::optional<int64_t> go = operands[1] ? number(operands[1]) : 1;
    if (!trips || !go) return std::nullopt;
    const size_t carried = operands.size() - 2, stacked = n.outputs.size() - carried;
    Values state(operands.begin() + 2, operands.end());
    std::vector<Values> rows(stacked);
    for (int64_t i = 0; i < *trips && *go != 0; ++i) {
      Values args{b_.constant(Tensor::scalar_int(DType::i64, i)), b_.constant(Tensor::scalar_int(DType::i1, 1))};
      args.insert(args.end(), state.begin(), state.end());
      const Values out = region_of(n, 0, std::move(args), captures);
      go = number(out[0]);
      if (!go) return std::nullopt;
      state.assign(out.begin() + 1, out.begin() + 1 + static_cast<std::ptrdiff_t>(carried));
      for (size_t k = 0; k < stacked; ++k) {
        const Value row = out[1 + carried + k];
        if (!b_.type(row).is_static()) return std::nullopt;
        rows[k].push_back(b_.unsqueeze(row, {0}));
      }
    }
    for (const Values& r : rows) {
      if (r.empty()) return std::nullopt;  // no iteration tells the rows' sizes
      state.push_back(r.size() == 1 ? r[0] : b_.concatenate(r, 0));
    }
    return state;
  }

  // Symbols that the declared type of a value leaves open and the value now has.
  void bind(const Type& declared, Value v) {
    if (!v || !declared.is_tensor() || !declared.ranked) return;
    const Type& got = b_.type(v);
    if (!got.is_tensor() || !got.ranked || got.rank() != declared.rank()) return;
    for (size_t i = 0; i < declared.rank(); ++i)
      if (const auto name = declared.dims[i].as_symbol(); name && got.dims[i].is_constant()) symbols_.emplace(*name, got.dims[i].value());
  }

  Builder b_;
  Bindings symbols_;
  std::map<const Node*, Values> literals_;
  std::vector<std::shared_ptr<const Graph>> graphs_;  // keep the nodes that literals_ knows
  bool changed_ = false;
};

}  // namespace

bool resolve(Graph& g, const std::map<std::string, Tensor>& fixed) {
  bool any = !fixed.empty();
  for (const Node& n : g.nodes) any = any || decides(n);
  if (!any) return false;
  Resolver r(g);
  Graph out = r.run(g, fixed);
  if (!r.changed()) return false;
  g = std::move(out);
  return true;
}

}  // namespace bascule::passes
