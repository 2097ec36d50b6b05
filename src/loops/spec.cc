// loops/spec.cc — text, checks, merging of axes and the default schedule.
#include "loops/spec.h"

#include <algorithm>
#include <cstdio>

namespace bascule::loops {

const char* name(Op op) {
  switch (op) {
#define X(n) \
  case Op::n: return #n;
    BASCULE_SCALAR_OPS(X)
#undef X
  }
  return "?";
}

int arity(Op op) {
  switch (op) {
    case Op::load: case Op::constant: case Op::iota: case Op::accumulator: return 0;
    case Op::select: return 3;
    case Op::add: case Op::subtract: case Op::multiply: case Op::divide: case Op::maximum: case Op::minimum: case Op::remainder: case Op::power:
    case Op::atan2: case Op::bit_and: case Op::bit_or: case Op::bit_xor: case Op::equal: case Op::not_equal: case Op::less: case Op::less_equal:
    case Op::greater: case Op::greater_equal: return 2;
    default: return 1;
  }
}

namespace {
std::string number_text(const Instruction& i) {
  if (!is_float(i.dtype)) return std::to_string(i.integer);
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.9g", i.number);
  return buffer;
}
std::string instruction_text(const Instruction& i, int32_t at) {
  std::string t = "  v" + std::to_string(at) + ": " + std::string(info(i.dtype).name) + " = " + name(i.op);
  if (i.op == Op::load) return t + " o" + std::to_string(i.index);
  if (i.op == Op::iota || i.op == Op::accumulator) return t + ' ' + std::to_string(i.index);
  if (i.op == Op::constant) return t + ' ' + number_text(i);
  const int32_t from[] = {i.a, i.b, i.c};
  for (int k = 0; k < arity(i.op); ++k) t += (k ? ", v" : " v") + std::to_string(from[k]);
  return t;
}
}  // namespace

std::string KernelSpec::text() const {
  std::string t = "kernel(";
  for (size_t i = 0; i < axes.size(); ++i) t += (i ? ", " : "") + axes[i].name + (axes[i].role == Role::reduction ? " sum " : " in ") + std::to_string(axes[i].extent);
  t += ") {\n";
  for (size_t i = 0; i < operands.size(); ++i) {
    t += "  o" + std::to_string(i) + (operands[i].output ? ": out " : ": in ") + std::string(info(operands[i].dtype).name) + " [";
    for (size_t k = 0; k < operands[i].strides.size(); ++k) t += (k ? "," : "") + std::to_string(operands[i].strides[k]);
    t += "]" + (operands[i].offset ? " + " + std::to_string(operands[i].offset) : std::string()) + "\n";
  }
  int32_t at = 0;
  for (const Instruction& i : body) t += instruction_text(i, at++) + "\n";
  for (size_t i = 0; i < reductions.size(); ++i) t += "  fold " + std::to_string(i) + ": " + name(reductions[i].fold) + " v" + std::to_string(reductions[i].value) + "\n";
  for (const Instruction& i : epilogue) t += instruction_text(i, at++) + "\n";
  for (const Store& s : stores) t += "  store o" + std::to_string(s.operand) + " = v" + std::to_string(s.value) + "\n";
  return t + "}\n";
}

std::string KernelSpec::check() const {
  for (const Axis& a : axes)
    if (a.extent < 0) return "axis " + a.name + " of negative extent";
  for (const Operand& o : operands)
    if (o.strides.size() != axes.size()) return "an operand without a stride for each axis";
  bool reduces = false;
  for (const Axis& a : axes) reduces |= a.role == Role::reduction;
  if (reduces && reductions.empty()) return "a reduction axis and nothing to fold";
  const auto total = static_cast<int32_t>(body.size() + epilogue.size());
  for (int32_t at = 0; at < total; ++at) {
    const bool in_body = at < static_cast<int32_t>(body.size());
    const Instruction& i = in_body ? body[static_cast<size_t>(at)] : epilogue[static_cast<size_t>(at) - body.size()];
    const int32_t from[] = {i.a, i.b, i.c};
    for (int k = 0; k < arity(i.op); ++k) {
      if (from[k] < 0 || from[k] >= at) return "v" + std::to_string(at) + " reads a value that is not before it";
      if (!in_body && !reductions.empty() && from[k] < static_cast<int32_t>(body.size())) return "the epilogue reads a value of a reduced body";
    }
    const size_t limit = i.op == Op::load ? operands.size() : i.op == Op::iota ? axes.size() : i.op == Op::accumulator ? reductions.size() : 1;
    if (i.index < 0 || static_cast<size_t>(i.index) >= limit) return "v" + std::to_string(at) + " names index " + std::to_string(i.index);
    if (i.op == Op::accumulator && in_body) return "the body reads an accumulator";
  }
  for (const Reduction& r : reductions)
    if (r.value < 0 || r.value >= static_cast<int32_t>(body.size())) return "a reduction of no body value";
  for (const Store& s : stores)
    if (s.operand < 0 || static_cast<size_t>(s.operand) >= operands.size() || !operands[static_cast<size_t>(s.operand)].output || s.value < 0 || s.value >= total) return "a store out of range";
  return "";
}

KernelSpec collapsed(const KernelSpec& spec) {
  std::vector<bool> pinned(spec.axes.size(), false);
  for (const auto* list : {&spec.body, &spec.epilogue})
    for (const Instruction& i : *list)
      if (i.op == Op::iota) pinned[static_cast<size_t>(i.index)] = true;
  KernelSpec out = spec;
  out.axes.clear();
  for (Operand& o : out.operands) o.strides.clear();
  std::vector<int32_t> now(spec.axes.size(), 0);
  bool last_pinned = true;
  for (size_t a = 0; a < spec.axes.size(); ++a) {
    const Axis& axis = spec.axes[a];
    if (axis.extent == 1 && !pinned[a] && axis.role == Role::parallel) continue;
    bool merge = !out.axes.empty() && !pinned[a] && !last_pinned && out.axes.back().role == axis.role;
    for (size_t k = 0; merge && k < out.operands.size(); ++k) merge = out.operands[k].strides.back() == spec.operands[k].strides[a] * axis.extent;
    if (merge) {
      out.axes.back().extent *= axis.extent;
      for (size_t k = 0; k < out.operands.size(); ++k) out.operands[k].strides.back() = spec.operands[k].strides[a];
      continue;
    }
    now[a] = static_cast<int32_t>(out.axes.size());
    out.axes.push_back(axis);
    for (size_t k = 0; k < out.operands.size(); ++k) out.operands[k].strides.push_back(spec.operands[k].strides[a]);
    last_pinned = pinned[a];
  }
  for (auto* list : {&out.body, &out.epilogue})
    for (Instruction& i : *list)
      if (i.op == Op::iota) i.index = now[static_cast<size_t>(i.index)];
  return out;
}

std::string Schedule::text() const {
  std::string t = "schedule(block " + std::to_string(block) + ", grain " + std::to_string(grain) + ", order";
  for (const int32_t a : order) t += " " + std::to_string(a);
  return t + ")\n";
}

Schedule default_schedule(const KernelSpec& spec) {
  Schedule s;
  for (size_t a = 0; a < spec.axes.size(); ++a) s.order.push_back(static_cast<int32_t>(a));
  // A block of each live value stays in a 32 KiB first-level cache: 512 elements of 4 bytes are 2 KiB.
  const size_t values = spec.body.size() + spec.epilogue.size();
  s.block = values > 24 ? 256 : 512;
  return s;
}

}  // namespace bascule::loops
