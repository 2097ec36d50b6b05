// device/chip/steps.cc — make_steps: places every value, makes a step of each anchor, then of the regions and moves that remain.
#include <algorithm>

#include "device/chip/step_maker.h"
#include "graph/op_def.h"
#include "passes/rewrite.h"

namespace bascule::device::chip {
StepMaker::StepMaker(const Graph& g, bool attention_epilogue) : g_(g), attention_epilogue_(attention_epilogue), users_(passes::users_of(g)), taken_(g.nodes.size(), false) {
  for (const ValueInfo& v : g.values) {  // strides are products of extents
    const auto d = v.type.is_tensor() && v.type.ranked ? constants(v.type.dims) : std::nullopt;
    if (d && element_count(*d) < 0) fail_capacity("steps of " + g.name, "values of fewer than 2^63 elements", v.type.text(), "Use smaller inputs");
  }
  for (const Node& n : g.nodes) kind_.push_back(classify(g, n));
  place_all();
}

Extents StepMaker::dims(Value v) const {
  auto d = constants(g_.type(v).dims);
  if (!d) fail_internal("steps of " + g_.name, "sizes that are bound", g_.type(v).text());
  return std::move(*d);
}

void StepMaker::place_all() {
  placed_.resize(g_.values.size());
  const auto itself = [&](Value v) {
    if (g_.type(v).is_tensor() && g_.type(v).ranked)
      placed_[static_cast<size_t>(v.id)] = {v, dense_layout(constants(g_.type(v).dims).value_or(Extents(g_.type(v).rank(), 0)))};
  };
  for (const Value v : g_.inputs) itself(v);
  for (size_t i = 0; i < g_.nodes.size(); ++i) {
    const Node& n = g_.nodes[i];
    for (const Value v : n.outputs) itself(v);
    if (kind_[i].kind != NodeKind::view) continue;
    const View& x = placed(n.inputs[0]);
    const Extents in = dims(n.inputs[0]), out = dims(n.outputs[0]);
    View y{x.value, {Extents(out.size(), 0), x.layout.offset}};
    const std::string_view name = n.op->name;
    if (element_count(out) == 0) continue;
    if (name == "broadcast_in_dim") {
      const Ints& axes = n.attrs.ints("broadcast_dimensions");
      for (size_t k = 0; k < in.size(); ++k) y.layout.strides[static_cast<size_t>(axes[k])] = in[k] == 1 ? 0 : x.layout.strides[k];
    } else if (name == "transpose") {
      y.layout = permuted(x.layout, n.attrs.ints("permutation"));
    } else if (name == "slice") {
      y.layout = x.layout;
      const auto start = n.attrs.static_dims("start_indices");
      const Ints strides = n.attrs.has("strides") ? n.attrs.ints("strides") : Ints();
      for (size_t k = 0; k < in.size(); ++k) {
        y.layout.offset += start[k] * y.layout.strides[k];
        if (k < strides.size()) y.layout.strides[k] *= strides[k];
      }
    } else if (name == "gather") {
      const auto even = even_gather(g_, n);
      for (size_t d = 0; d < in.size(); ++d) {
        y.layout.offset += (*even)[d].start * x.layout.strides[d];
        for (size_t a = 0; a < out.size(); ++a) y.layout.strides[a] += (*even)[d].step[a] * x.layout.strides[d];
      }
    } else if (name == "reshape") {
      auto l = reshaped(x.layout, in, out);
      if (!l) continue;  // a copy: itself
      y.layout = std::move(*l);
    } else {
      y.layout = x.layout;
    }
    // What ranks exchange lies dense, all of it: else the view is copied.
    const auto& users = users_[static_cast<size_t>(n.outputs[0].id)];
    const bool exchanged = std::any_of(users.begin(), users.end(), [&](int32_t u) { return u >= 0 && kind_[static_cast<size_t>(u)].kind == NodeKind::collective; });
    if (exchanged && (!is_dense(y.layout, out) || y.layout.offset != 0 || g_.type(y.value).elements_count().value() != element_count(out))) continue;
    placed_[static_cast<size_t>(n.outputs[0].id)] = std::move(y);
  }
}

View StepMaker::view_of(Value v, const Ints& permutation) const { return {placed(v).value, permuted(placed(v).layout, permutation)}; }

View StepMaker::aligned(Value v, size_t rank) const {
  if (!v) return {};
  const Extents d = dims(v);
  View out{placed(v).value, {Extents(rank, 0), placed(v).layout.offset}};
  for (size_t a = 0; a < d.size(); ++a)
    if (d[a] != 1) out.layout.strides[rank - d.size() + a] = placed(v).layout.strides[a];
  return out;
}

Step StepMaker::begin(Step::Kind kind, int32_t i) const {
  Step s;
  s.kind = kind;
  s.anchor = i;
  s.nodes = {i};
  s.result = node(i).outputs[0];
  s.anchor_type = g_.type(s.result).dtype;
  return s;
}

void StepMaker::add(Step s) {
  for (const int32_t i : s.nodes) taken_[static_cast<size_t>(i)] = true;
  if (s.results.empty()) s.results = {s.result};
  steps_.push_back(std::move(s));
}

void StepMaker::finish(Step& s, Path path) {
  taken_[static_cast<size_t>(s.anchor)] = true;
  take_epilogue(s, path);
  sink(s, path);
}

void StepMaker::host(int32_t i, std::string reason) {
  Step s = begin(Step::host, i);
  s.results = node(i).outputs;
  for (const Value v : node(i).inputs) s.views.push_back(v ? placed(v) : View{});
  s.reason = std::string(node(i).op->name) + ": " + std::move(reason) + "; runs on the host";
  add(std::move(s));
}

void StepMaker::regions() {
  std::vector<bool> left_out(g_.nodes.size());
  const auto rest = [&] {
    for (size_t i = 0; i < g_.nodes.size(); ++i)
      left_out[i] = taken_[i] || (kind_[i].kind != NodeKind::elementwise && kind_[i].kind != NodeKind::fold);
    return passes::fuse(g_, left_out);
  };
  // Folds first: they take along the elementwise work on their results, which may leave other regions to be cut anew.
  for (bool again = true; again;) {
    again = false;
    for (const passes::Region& r : rest()) {
      if (kind_[static_cast<size_t>(r.nodes.back())].kind != NodeKind::fold) continue;
      const bool whole = std::none_of(r.nodes.begin(), r.nodes.end(), [&](int32_t i) { return taken_[static_cast<size_t>(i)]; });
      if (whole) region(r);
      else again = true;
    }
  }
  for (const passes::Region& r : rest()) region(r);
}

void StepMaker::region(const passes::Region& r) {
  const Node& last = node(r.nodes.back());
  Step s;
  s.kind = Step::region;
  s.nodes = r.nodes;
  s.result = last.outputs[0];
  s.anchor_type = g_.type(s.result).dtype;
  s.axes = dims(s.result);
  if (element_count(s.axes) == 0) {
    s.kind = Step::move;
    s.out = dense_layout(s.axes);
    add(std::move(s));
    return;
  }
  std::string why;
  const std::function<Layout(Value)> layout = [this](Value v) { return placed(v).layout; };
  auto lowered = lower(g_, r, layout, why);
  if (!lowered) {
    if (r.nodes.size() > 1)
      for (const int32_t i : r.nodes) region({{i}});
    else host(r.nodes[0], why);
    return;
  }
  for (const int32_t i : s.nodes) taken_[static_cast<size_t>(i)] = true;
  Path path;
  const bool folds = kind_[static_cast<size_t>(r.nodes.back())].kind == NodeKind::fold;
  if (folds) take_epilogue(s, path);
  sink(s, path);
  s.spec = std::move(lowered->spec);
  s.spec_values = std::move(lowered->operands);
  for (Value& v : s.spec_values)
    if (&v != &s.spec_values.back()) v = placed(v).value;
  s.spec_values.back() = s.result;
  if (!s.epilogue.empty()) append_epilogue(g_, s);
  loops::Operand& result = s.spec.operands.back();
  size_t kept = 0;
  for (size_t a = 0; a < s.spec.axes.size(); ++a) result.strides[a] = s.spec.axes[a].role == loops::Role::reduction ? 0 : s.out.strides[kept++];
  s.spec = loops::collapsed(s.spec);
  add(std::move(s));
}

// Graph outputs that are views of something else are copied.
void StepMaker::outputs() {
  for (const Value v : g_.outputs) {
    const int32_t i = g_.at(v).node;
    const bool exists = i >= 0 && kind_[static_cast<size_t>(i)].kind == NodeKind::view && !taken_[static_cast<size_t>(i)];
    if (exists && !(placed(v).value == v)) {
      copy(i, v, placed(v), dims(v));
      placed_[static_cast<size_t>(v.id)] = {v, dense_layout(dims(v))};
    }
  }
}

std::vector<Step> StepMaker::run() {
  for (size_t i = 0; i < g_.nodes.size(); ++i)
    if (!taken_[i]) anchor(static_cast<int32_t>(i));
  regions();
  outputs();
  for (size_t i = 0; i < g_.nodes.size(); ++i) {  // reshapes that no layout expresses
    const Node& n = g_.nodes[i];
    if (taken_[i] || kind_[i].kind != NodeKind::view || !(placed(n.outputs[0]).value == n.outputs[0])) continue;
    if (users_[static_cast<size_t>(n.outputs[0].id)].empty()) continue;
    copy(static_cast<int32_t>(i), n.outputs[0], placed(n.inputs[0]), dims(n.inputs[0]));
  }
  std::stable_sort(steps_.begin(), steps_.end(), [](const Step& a, const Step& b) { return a.nodes.back() < b.nodes.back(); });
  return std::move(steps_);
}

std::vector<Value> host_operands(const Graph& g, const Step& s, const std::set<Value>& made) {
  std::vector<Value> all;
  std::set<Value> seen;
  for (const int32_t n : s.nodes)
    for (const Value v : g.nodes[static_cast<size_t>(n)].outputs) seen.insert(v);
  const auto add = [&](auto& self, Value v) -> void {
    if (!v || !seen.insert(v).second) return;
    const Node* p = g.producer(v);
    if (!p || is_weight(g, v) || made.contains(v)) {
      if (g.type(v).is_tensor()) all.push_back(v);
      return;
    }
    for (const Value x : p->inputs) self(self, x);
  };
  for (const int32_t n : s.nodes)
    for (const Value v : g.nodes[static_cast<size_t>(n)].inputs) add(add, v);
  return all;
}

std::vector<Step> make_steps(const Graph& graph, bool attention_epilogue) { return StepMaker(graph, attention_epilogue).run(); }

}  // namespace bascule::device::chip
