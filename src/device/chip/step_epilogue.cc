// device/chip/step_epilogue.cc — the elementwise work that a step takes along, and the trailing views that become its result's layout.
#include <algorithm>
#include <map>
#include <set>

#include "device/chip/step_maker.h"
#include "graph/op_def.h"
#include "passes/match.h"

namespace bascule::device::chip {
namespace {

constexpr size_t kMostMembers = 64;  // nodes that an anchor takes along

bool is_number(const Graph& g, Value v, double& number) {
  const auto x = passes::splat_of(g, v);
  if (x) number = *x;
  return x.has_value();
}

}  // namespace

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
      int32_t Epilogue::* const slots[] = {&Epilogue::a, &Epilogue::b, &Epilogue::c};
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
    if (open == 1 && uses_left[n.outputs[0]] > 0 && back(dense_layout(dims(n.outputs[0])), paths[*way]))
      done = {code.size(), operands.size(), joined.size(), n.outputs[0], *way};
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

}  // namespace bascule::device::chip
