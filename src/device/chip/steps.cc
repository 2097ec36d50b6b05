// device/chip/steps.cc — make_steps: places every value, makes a step of each anchor, then of the regions and moves that remain.
#include <algorithm>
#include <set>

#include "device/chip/step_maker.h"
#include "graph/op_def.h"
#include "passes/match.h"
#include "passes/rewrite.h"

namespace bascule::device::chip {
namespace {

constexpr size_t kMostMembers = 64;  // nodes that an anchor takes along

bool is_number(const Graph& g, Value v, double& number) {
  const auto x = passes::splat_of(g, v);
  if (x) number = *x;
  return x.has_value();
}

}  // namespace

StepMaker::StepMaker(const Graph& g) : g_(g), users_(passes::users_of(g)), taken_(g.nodes.size(), false) {
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
    if (g_.type(v).is_tensor() && g_.type(v).ranked) placed_[static_cast<size_t>(v.id)] = {v, dense_layout(constants(g_.type(v).dims).value_or(Extents(g_.type(v).rank(), 0)))};
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

void StepMaker::take_epilogue(Step& s, Path& path) {
  struct Member {
    int32_t number = Epilogue::kAnchor;
    size_t path = 0;
  };
  std::vector<Path> paths{path};
  std::map<Value, Member> members;
  std::map<Value, size_t> uses_left;
  std::set<int32_t> next;
  size_t open = 0;  // members that something outside uses
  const auto join = [&](Value v, Member m) {
    members[v] = m;
    const auto& u = users_[static_cast<size_t>(v.id)];
    uses_left[v] = u.size();
    open += !u.empty();
    for (const int32_t user : u)
      if (user >= 0) next.insert(user);
  };
  const auto used = [&](Value v) {
    if (--uses_left[v] == 0) --open;
  };
  std::vector<Epilogue> code;
  std::vector<View> operands;
  std::vector<int32_t> joined;
  struct Commit {
    size_t code = 0, operands = 0, nodes = 0;
    Value result;
    size_t path = 0;
  } done;
  join(s.result, {});
  while (!next.empty() && joined.size() < kMostMembers) {
    const int32_t i = *next.begin();
    next.erase(next.begin());
    const Node& n = node(i);
    if (taken_[static_cast<size_t>(i)] || n.outputs.size() != 1 || element_count(dims(n.outputs[0])) == 0) continue;
    if (kind_[static_cast<size_t>(i)].kind == NodeKind::view) {
      const auto hop = as_hop(g_, n);
      if (!hop) continue;
      const Member from = members.at(n.inputs[0]);
      paths.push_back(paths[from.path]);
      paths.back().push_back(*hop);
      joined.push_back(i);
      used(n.inputs[0]);
      join(n.outputs[0], {from.number, paths.size() - 1});
      continue;
    }
    if (kind_[static_cast<size_t>(i)].kind != NodeKind::elementwise || n.op->name == "iota") continue;
    std::optional<size_t> way;
    bool fits = true;
    for (const Value v : n.inputs) {
      const auto at = members.find(v);
      if (at == members.end()) continue;
      fits = fits && (!way || *way == at->second.path) && g_.type(v).dims == g_.type(n.outputs[0]).dims;
      way = at->second.path;
    }
    if (!fits || !way) continue;
    std::vector<Epilogue> more;
    std::vector<View> read;
    const auto operand = [&](Value v, Epilogue& e) -> std::optional<int32_t> {
      if (const auto at = members.find(v); at != members.end()) return at->second.number;
      double number = 0;
      bool has_number = false;
      for (const int32_t x : {e.a, e.b, e.c}) has_number = has_number || x == Epilogue::kNumber;
      if (!has_number && is_number(g_, v, number)) {
        e.number = number;
        return Epilogue::kNumber;
      }
      const View& p = placed(v);
      const auto layout = g_.type(v).rank() == 0 ? std::optional(Layout{Extents(s.axes.size(), 0), p.layout.offset}) : back(p.layout, paths[*way]);
      if (!layout) return std::nullopt;
      read.push_back({p.value, *layout});
      return Epilogue::kOperand - static_cast<int32_t>(operands.size() + read.size() - 1);
    };
    const auto emit = [&](loops::Op fn, const std::vector<Value>& in, std::optional<int32_t> first = std::nullopt) {
      Epilogue e;
      e.fn = fn;
      e.dtype = g_.type(n.outputs[0]).dtype;
      int32_t Epilogue::*const slots[] = {&Epilogue::a, &Epilogue::b, &Epilogue::c};
      for (const auto slot : slots) e.*slot = 0;
      size_t at = 0;
      if (first) e.*slots[at++] = *first;
      for (const Value v : in) {
        const auto x = operand(v, e);
        fits = fits && x;
        e.*slots[at++] = x.value_or(0);
      }
      more.push_back(e);
      return static_cast<int32_t>(code.size() + more.size()) - 1;
    };
    if (n.op->name == "clamp") emit(loops::Op::minimum, {n.inputs[2]}, emit(loops::Op::maximum, {n.inputs[1], n.inputs[0]}));
    else emit(*scalar_op(g_, n), n.inputs);
    if (!fits) continue;
    code.insert(code.end(), more.begin(), more.end());
    operands.insert(operands.end(), read.begin(), read.end());
    joined.push_back(i);
    for (const Value v : n.inputs)
      if (members.contains(v)) used(v);
    join(n.outputs[0], {static_cast<int32_t>(code.size()) - 1, *way});
    if (open == 1 && uses_left[n.outputs[0]] > 0 && back(dense_layout(dims(n.outputs[0])), paths[*way])) done = {code.size(), operands.size(), joined.size(), n.outputs[0], *way};
  }
  if (!done.result) return;
  code.resize(done.code);
  operands.resize(done.operands);
  joined.resize(done.nodes);
  for (const int32_t i : joined) taken_[static_cast<size_t>(i)] = true;
  s.nodes.insert(s.nodes.end(), joined.begin(), joined.end());
  s.epilogue = std::move(code);
  s.epilogue_operands = std::move(operands);
  s.result = done.result;
  path = paths[done.path];
}

// A transpose and the reshape that then needs a copy, or a view that is a graph output, become the order in which the result is written.
void StepMaker::sink(Step& s, Path& path) {
  Value v = s.result;
  Layout layout = dense_layout(dims(v));
  Path way = path;
  std::vector<int32_t> pending;
  while (users_[static_cast<size_t>(v.id)].size() == 1) {
    const int32_t user = users_[static_cast<size_t>(v.id)][0];
    if (user < 0 || taken_[static_cast<size_t>(user)] || kind_[static_cast<size_t>(user)].kind != NodeKind::view) break;
    const auto hop = as_hop(g_, node(user));
    if (!hop || element_count(hop->to) == 0) break;
    way.push_back(*hop);
    pending.push_back(user);
    v = node(user).outputs[0];
    const auto seen = along(layout, {*hop});
    const auto& u = users_[static_cast<size_t>(v.id)];
    const bool must = !seen || (u.size() == 1 && u[0] < 0);
    layout = seen ? *seen : dense_layout(hop->to);
    if (!must) continue;
    if (!back(dense_layout(hop->to), way)) break;
    layout = dense_layout(hop->to);
    for (const int32_t i : pending) taken_[static_cast<size_t>(i)] = true;
    s.nodes.insert(s.nodes.end(), pending.begin(), pending.end());
    pending.clear();
    s.result = v;
    path = way;
    placed_[static_cast<size_t>(v.id)] = {v, layout};
  }
  s.out = *back(dense_layout(dims(s.result)), path);
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
    for (size_t i = 0; i < g_.nodes.size(); ++i) left_out[i] = taken_[i] || (kind_[i].kind != NodeKind::elementwise && kind_[i].kind != NodeKind::fold);
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

namespace {

// The epilogue of a region becomes instructions of its loops, after its result.
void append_epilogue(const Graph& g, Step& s) {
  loops::KernelSpec& spec = s.spec;
  const loops::Operand result = spec.operands.back();
  spec.operands.pop_back();
  s.spec_values.pop_back();
  const size_t first_operand = spec.operands.size();
  for (const View& v : s.epilogue_operands) {
    loops::Operand o;
    o.dtype = g.type(v.value).dtype;
    o.offset = v.layout.offset;
    size_t kept = 0;
    for (const loops::Axis& a : spec.axes) o.strides.push_back(a.role == loops::Role::reduction ? 0 : v.layout.strides[kept++]);
    spec.operands.push_back(std::move(o));
    s.spec_values.push_back(v.value);
  }
  auto& code = spec.reductions.empty() ? spec.body : spec.epilogue;
  const auto base = static_cast<int32_t>(&code == &spec.body ? 0 : spec.body.size());
  const auto push = [&](loops::Instruction i) {
    code.push_back(i);
    return base + static_cast<int32_t>(code.size()) - 1;
  };
  int32_t last = spec.stores[0].value;
  const int32_t anchor = last;
  std::vector<int32_t> made;
  for (const Epilogue& e : s.epilogue) {
    loops::Instruction i;
    i.op = e.fn;
    i.dtype = e.dtype;
    const int32_t slots[] = {e.a, e.b, e.c};
    int32_t in[3] = {-1, -1, -1};
    DType beside = e.dtype;  // of an operand that is no number
    for (int k = 0; k < loops::arity(e.fn); ++k) {
      const int32_t x = slots[k];
      if (x == Epilogue::kNumber) continue;
      if (Epilogue::is_operand(x)) {
        loops::Instruction load;
        load.index = static_cast<int32_t>(first_operand + Epilogue::operand(x));
        load.dtype = spec.operands[first_operand + Epilogue::operand(x)].dtype;
        in[k] = push(load);
      } else {
        in[k] = x == Epilogue::kAnchor ? anchor : made[static_cast<size_t>(x)];
      }
      if (e.fn != loops::Op::select || k > 0) beside = code[static_cast<size_t>(in[k] - base)].dtype;
    }
    for (int k = 0; k < loops::arity(e.fn); ++k) {
      if (slots[k] != Epilogue::kNumber) continue;
      loops::Instruction number;
      number.op = loops::Op::constant;
      number.dtype = e.fn >= loops::Op::equal && e.fn <= loops::Op::greater_equal ? beside : e.dtype;
      number.number = e.number;
      number.integer = static_cast<int64_t>(e.number);
      in[k] = push(number);
    }
    i.a = in[0];
    i.b = in[1];
    i.c = in[2];
    last = push(i);
    made.push_back(last);
  }
  spec.operands.push_back(result);
  s.spec_values.push_back(s.result);
  spec.stores[0] = {static_cast<int32_t>(spec.operands.size()) - 1, last};
  spec.operands.back().dtype = s.epilogue.back().dtype;
  s.epilogue.clear();
  s.epilogue_operands.clear();
}

}  // namespace

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

std::vector<Step> make_steps(const Graph& graph) { return StepMaker(graph).run(); }

}  // namespace bascule::device::chip
