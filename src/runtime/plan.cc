// runtime/plan.cc — placement and execution of a graph's parts. Moves values between host and device; computes nothing itself.
#include "runtime/plan.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/deadline.h"
#include "base/error.h"
#include "base/threads.h"
#include "graph/evaluate.h"
#include "passes/pipeline.h"
#include "runtime/per_shape.h"

namespace bascule::runtime {
namespace {

constexpr size_t kMostPlans = 256;

std::string describe(const Node& n) {
  std::string where(n.op->name);
  if (n.origin) where += " of " + bascule::text(n.origin);
  if (!n.location.empty()) where = n.location + ": " + where;
  return where;
}

bool device_type(const Type& t) { return t.is_tensor() && t.ranked && !is_string(t.dtype); }

// Regions as the runtime runs them: with symbols of the enclosing graph.
class PlanContext : public EvalContext {
 public:
  PlanContext(Run& run, const Bindings& symbols, Accumulate mode) : run_(run), symbols_(symbols) { accumulate = mode; }
  HostValues call(const std::shared_ptr<const Graph>& region, const HostValues& args) override {
    check_budget();
    return run_.plans.region(region)->run(run_, args, symbols_);
  }
  HostValues specialize(const std::shared_ptr<const Specialization>& s, const HostValues& args, const std::string&) override {
    return run_.plans.specialized(s, args)->run(run_, args, {});
  }

 private:
  Run& run_;
  const Bindings& symbols_;
};

// Symbols of a result that only the run knows.
void bind_result(const Type& declared, const HostValue& got, Bindings& symbols, const std::string& where) {
  if (!declared.is_tensor() || !declared.ranked || !got.is_tensor()) return;
  const auto& dims = got.tensor().dims();
  if (dims.size() != declared.dims.size()) fail_internal(where, declared.text(), got.tensor().type_text());
  for (size_t i = 0; i < dims.size(); ++i)
    if (const auto name = declared.dims[i].as_symbol()) symbols.try_emplace(*name, dims[i]);
}

void add_symbols(const Graph& g, const Node& n, std::set<std::string>& into) {
  for (const Value v : n.outputs)
    for (const Dim& d : g.type(v).dims) d.add_symbols(into);
  for (const auto& [name, a] : n.attrs)
    if (const auto* dims = std::get_if<Dims>(&a))
      for (const Dim& d : *dims) d.add_symbols(into);
  for (const auto& r : n.regions)
    for (const std::string& s : r->symbols()) into.insert(s);
}

// The part of `g` with these nodes (in order) as a graph of its own. in, out: values of `g`.
Graph extract(const Graph& g, const std::vector<int32_t>& nodes, const std::vector<Value>& in, const std::vector<Value>& out) {
  Graph part;
  part.name = g.name;
  std::vector<Value> map(g.values.size());
  for (const Value v : in) {
    map[static_cast<size_t>(v.id)] = part.add_input(g.type(v), g.at(v).name);
    part.at(part.inputs.back()).known = g.at(v).known;
  }
  for (const int32_t i : nodes) {
    Node n = g.nodes[static_cast<size_t>(i)];
    const std::vector<Value> old = n.outputs;
    std::vector<Type> types;
    for (const Value v : old) types.push_back(g.type(v));
    for (Value& v : n.inputs)
      if (v) v = map[static_cast<size_t>(v.id)];
    const int32_t at = part.add_node(std::move(n), std::move(types));
    for (size_t k = 0; k < old.size(); ++k) {
      const Value v = part.nodes[static_cast<size_t>(at)].outputs[k];
      map[static_cast<size_t>(old[k].id)] = v;
      part.at(v).name = g.at(old[k]).name;
      part.at(v).known = g.at(old[k]).known;
    }
  }
  for (const Value v : out) {
    part.outputs.push_back(map[static_cast<size_t>(v.id)]);
    part.output_names.push_back(g.at(v).name);
  }
  return part;
}

}  // namespace

Plan::Plan(std::shared_ptr<const Graph> graph, const device::Device& device, const device::Options& options) : graph_(std::move(graph)), device_(device), options_(options) {
  const Graph& g = *graph_;
  const size_t count = g.nodes.size();
  std::vector<int> phase(count, 0);
  std::vector<bool> on_device(count, false), constant(count, false);
  std::vector<std::string> reasons(count);
  std::map<std::string, int32_t, std::less<>> defined_by;  // data-dependent symbols
  std::set<std::string> seen;
  for (const Value v : g.inputs)
    for (const Dim& d : g.type(v).dims) d.add_symbols(seen);

  for (size_t i = 0; i < count; ++i) {
    const Node& n = g.nodes[i];
    constant[i] = n.op->name == "constant";
    bool host = n.op->host || n.op->control || n.op->data_dependent || n.specialization;
    if (!host) {
      for (const Value v : n.inputs) host |= v && !device_type(g.type(v));
      for (const Value v : n.outputs) host |= !device_type(g.type(v));
      if (!host) {
        if (const device::Support s = device.supports(g, n); !s) host = true, reasons[i] = s.reason;
      }
    }
    on_device[i] = !host;
    std::set<int32_t> needs;
    for (const Value v : n.inputs)
      if (v && g.at(v).node >= 0) needs.insert(g.at(v).node);
    std::set<std::string> symbols;
    add_symbols(g, n, symbols);
    for (const std::string& s : symbols) {
      if (const auto at = defined_by.find(s); at != defined_by.end()) needs.insert(at->second);
      else if (seen.insert(s).second && host) defined_by.emplace(s, static_cast<int32_t>(i));
    }
    for (const int32_t p : needs) {
      const auto k = static_cast<size_t>(p);
      if (constant[k]) continue;
      phase[i] = std::max(phase[i], on_device[k] == on_device[i] ? phase[k] : phase[k] + 1);
    }
  }

  std::vector<bool> used_outside(g.values.size(), false);  // outputs of the graph
  for (const Value v : g.outputs) used_outside[static_cast<size_t>(v.id)] = true;
  std::vector<std::vector<int32_t>> users(g.values.size());
  for (size_t i = 0; i < count; ++i)
    for (const Value v : g.nodes[i].inputs)
      if (v) users[static_cast<size_t>(v.id)].push_back(static_cast<int32_t>(i));

  const int phases = count ? *std::max_element(phase.begin(), phase.end()) + 1 : 0;
  for (int p = 0; p < phases; ++p) {
    std::vector<int32_t> nodes;
    std::set<int32_t> members;
    for (size_t i = 0; i < count; ++i) {
      if (phase[i] != p || constant[i]) continue;
      const auto id = static_cast<int32_t>(i);
      if (on_device[i]) {
        for (const Value v : g.nodes[i].inputs)
          if (v && g.at(v).node >= 0 && constant[static_cast<size_t>(g.at(v).node)] && members.insert(g.at(v).node).second) nodes.push_back(g.at(v).node);
        nodes.push_back(id);
        members.insert(id);
      } else {
        Step s;
        s.node = id;
        s.in = g.nodes[i].inputs;
        std::erase(s.in, kNoValue);
        s.out = g.nodes[i].outputs;
        s.reason = reasons[i];
        steps_.push_back(std::move(s));
      }
    }
    if (nodes.empty()) continue;
    Step s;
    std::set<Value> in, out;
    for (const int32_t i : nodes) {
      const Node& n = g.nodes[static_cast<size_t>(i)];
      for (const Value v : n.inputs)
        if (v && !members.contains(g.at(v).node) && in.insert(v).second) s.in.push_back(v);
      if (constant[static_cast<size_t>(i)]) continue;
      for (const Value v : n.outputs) {
        const auto& u = users[static_cast<size_t>(v.id)];
        const bool outside = used_outside[static_cast<size_t>(v.id)] || std::any_of(u.begin(), u.end(), [&](int32_t k) { return !members.contains(k); });
        if (outside && out.insert(v).second) s.out.push_back(v);
      }
    }
    if (s.out.empty()) continue;  // dead
    Graph part = extract(g, nodes, s.in, s.out);
    s.executable = device.info().symbolic || part.symbols().empty() ? device.compile(std::move(part), options) : compile_per_shape(device, std::move(part), options);
    steps_.push_back(std::move(s));
  }

  std::vector<size_t> last(g.values.size(), 0);
  for (size_t k = 0; k < steps_.size(); ++k)
    for (const Value v : steps_[k].in) last[static_cast<size_t>(v.id)] = k;
  drop_.resize(steps_.size());
  for (size_t k = 0; k < steps_.size(); ++k) {
    std::set<Value> ends(steps_[k].in.begin(), steps_[k].in.end());
    for (const Value v : ends)
      if (last[static_cast<size_t>(v.id)] == k && !used_outside[static_cast<size_t>(v.id)]) drop_[k].push_back(v);
  }
}

void Plan::run_node(const Node& n, Run& run, HostValues& values, Bindings& symbols) const {
  HostValues args;
  args.reserve(n.inputs.size());
  for (const Value v : n.inputs) {
    if (!v) args.push_back(HostValue::none());
    else if (const Tensor* t = graph_->constant(v)) args.emplace_back(*t);
    else args.push_back(values[static_cast<size_t>(v.id)]);
  }
  HostValues results;
  if (n.specialization || n.op->control) {
    PlanContext context(run, symbols, options_.accumulate);
    const std::string where = describe(n);
    if (n.specialization) {
      results = context.specialize(n.specialization, args, where);
    } else {
      // As evaluate(), but the regions keep their identity: a plan of a region is made once, not once for each binding.
      std::vector<Type> types;
      for (size_t i = 0; i < args.size(); ++i) types.push_back(n.inputs[i] ? Type::of(args[i]) : absent_type());
      const std::span<const Type> all(types);
      const Attrs attrs = substitute(n.attrs, symbols);
      std::vector<Type> declared;
      for (const Value v : n.outputs) declared.push_back(substitute(graph_->type(v), symbols));
      const OpView view{*n.op, attrs, all.first(n.operands()), n.regions, all.subspan(n.operands()), where, ErrorKind::usage};
      const std::span<const HostValue> given(args);
      results = n.op->reference(Call{view, given.first(n.operands()), given.subspan(n.operands()), declared, context, nullptr, nullptr});
    }
    if (results.size() != n.outputs.size()) fail_internal(where, std::to_string(n.outputs.size()) + " results", std::to_string(results.size()));
  } else {
    EvalContext context;
    context.accumulate = options_.accumulate;
    results = evaluate(n, args, symbols, context);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    bind_result(graph_->type(n.outputs[i]), results[i], symbols, describe(n));
    values[static_cast<size_t>(n.outputs[i].id)] = std::move(results[i]);
  }
}

HostValues Plan::run(Run& run, const HostValues& args, Bindings symbols) const {
  const Graph& g = *graph_;
  if (args.size() != g.inputs.size()) fail_internal("plan of " + g.name, std::to_string(g.inputs.size()) + " inputs", std::to_string(args.size()));
  HostValues values(g.values.size());
  for (size_t i = 0; i < args.size(); ++i) {
    const Value v = g.inputs[i];
    bind_symbols(g.type(v), Type::of(args[i]), symbols, "input '" + escaped(g.at(v).name) + "'");
    values[static_cast<size_t>(v.id)] = args[i];
  }
  for (size_t k = 0; k < steps_.size(); ++k) {
    check_deadline();
    const Step& s = steps_[k];
    if (s.node >= 0) {
      run_node(g.nodes[static_cast<size_t>(s.node)], run, values, symbols);
    } else {
      std::vector<device::Array> in, out(s.out.size());
      in.reserve(s.in.size());
      for (const Value v : s.in) {
        const Tensor& t = values[static_cast<size_t>(v.id)].tensor();
        bind_result(g.type(v), values[static_cast<size_t>(v.id)], symbols, g.name);
        in.push_back(device::to_device(device_, t));
      }
      device::Context context;
      context.budget = run.budget;
      context.threads = run.threads;
      s.executable->run(context, symbols, in, out).wait();
      for (size_t i = 0; i < out.size(); ++i) values[static_cast<size_t>(s.out[i].id)] = device::to_host(device_, out[i]);
    }
    for (const Value v : drop_[k]) values[static_cast<size_t>(v.id)] = HostValue();
  }
  HostValues results;
  for (const Value v : g.outputs) {
    if (const Tensor* t = g.constant(v)) results.emplace_back(*t);
    else results.push_back(values[static_cast<size_t>(v.id)]);
  }
  return results;
}

std::vector<device::Fallback> Plan::fallbacks() const {
  std::vector<device::Fallback> out;
  for (const Step& s : steps_) {
    if (s.node >= 0) {
      if (!s.reason.empty()) out.push_back({describe(graph_->nodes[static_cast<size_t>(s.node)]), s.reason});
      continue;
    }
    for (auto& f : s.executable->fallbacks()) out.push_back(std::move(f));
  }
  return out;
}

std::string Plan::text() const {
  std::string t;
  for (size_t k = 0; k < steps_.size(); ++k) {
    t += "// step " + std::to_string(k) + ": ";
    if (steps_[k].node >= 0) t += "host " + describe(graph_->nodes[static_cast<size_t>(steps_[k].node)]) + "\n";
    else t += device_.info().name + "\n" + steps_[k].executable->text();
  }
  return t;
}

std::shared_ptr<const Plan> PlanCache::find(const std::string& key) {
  const auto at = index_.find(key);
  if (at == index_.end()) return nullptr;
  order_.splice(order_.begin(), order_, at->second);
  return at->second->plan;
}

std::shared_ptr<const Plan> PlanCache::add(std::string key, std::shared_ptr<const void> owner, Graph g) {
  if (optimize_) passes::optimize(g, {});
  auto plan = std::make_shared<const Plan>(std::make_shared<const Graph>(std::move(g)), device_, options_);
  const std::lock_guard lock(mutex_);
  if (auto found = find(key)) return found;  // another thread was first
  order_.push_front({key, std::move(owner), plan});
  index_.emplace(std::move(key), order_.begin());
  if (order_.size() > kMostPlans) {
    index_.erase(order_.back().key);
    order_.pop_back();
  }
  return plan;
}

std::shared_ptr<const Plan> PlanCache::region(const std::shared_ptr<const Graph>& g) {
  std::string key = "region " + std::to_string(reinterpret_cast<uintptr_t>(g.get()));
  {
    const std::lock_guard lock(mutex_);
    if (auto found = find(key)) return found;
  }
  return add(std::move(key), g, *g);
}

namespace {
// Types, and the bytes of what is asked by value.
void add_key(std::string& key, const HostValue& v, bool by_value) {
  if (!v.is_tensor()) {
    key += '(' + std::to_string(static_cast<int>(v.kind()));
    if (v.kind() == HostValue::Kind::map) add_key(key, v.keys(), by_value);
    for (const HostValue& item : v.items()) add_key(key, item, by_value);
    key += ')';
    return;
  }
  key += ' ' + v.tensor().type_text();
  if (!by_value) return;
  if (is_string(v.tensor().dtype())) {
    for (const std::string& s : v.tensor().strings()) key += std::to_string(s.size()) + ':' + s;
    return;
  }
  key += '=';
  key.append(reinterpret_cast<const char*>(v.tensor().data()), static_cast<size_t>(v.tensor().bytes()));
}
}  // namespace

std::shared_ptr<const Plan> PlanCache::specialized(const std::shared_ptr<const Specialization>& s, const HostValues& args) {
  std::string key = "specialize " + std::to_string(reinterpret_cast<uintptr_t>(s.get()));
  std::vector<Type> types;
  std::vector<const HostValue*> values;
  for (size_t i = 0; i < args.size(); ++i) {
    types.push_back(Type::of(args[i]));
    values.push_back(s->needs_value(i) ? &args[i] : nullptr);
    add_key(key, args[i], values.back() != nullptr);
  }
  {
    const std::lock_guard lock(mutex_);
    if (auto found = find(key)) return found;
  }
  return add(std::move(key), s, s->instantiate(types, values));
}

std::vector<device::Fallback> PlanCache::fallbacks() const {
  const std::lock_guard lock(mutex_);
  std::vector<device::Fallback> out;
  for (const Entry& e : order_)
    for (auto& f : e.plan->fallbacks()) out.push_back(std::move(f));
  return out;
}

}  // namespace bascule::runtime
