// device/chip/step_text.cc — steps as people read them.
#include <algorithm>
#include <cstdio>

#include "device/chip/step_maker.h"
#include "graph/op_def.h"

namespace bascule::device::chip {
namespace {

std::string list(const Extents& v) {
  std::string out;
  for (const int64_t x : v) out += (out.empty() ? "" : ",") + std::to_string(x);
  return "[" + out + "]";
}

std::string layout(const Layout& l) { return list(l.strides) + (l.offset ? "+" + std::to_string(l.offset) : ""); }

std::string value(const Graph& g, Value v) {
  if (!v) return "none";
  return "%" + std::to_string(v.id) + (is_weight(g, v) ? "w" : "") + ":" + g.type(v).text();
}

std::string view(const Graph& g, const View& v) { return v.value ? value(g, v.value) + layout(v.layout) : "none"; }

std::string number(double x) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.7g", x);
  return buffer;
}

std::string epilogue(const Graph& g, const Step& s) {
  std::string out;
  for (size_t k = 0; k < s.epilogue.size(); ++k) {
    const Epilogue& e = s.epilogue[k];
    out += "  e" + std::to_string(k) + " = " + loops::name(e.fn) + "." + std::string(info(e.dtype).name) + "(";
    const int32_t slots[] = {e.a, e.b, e.c};
    for (int i = 0; i < loops::arity(e.fn); ++i) {
      const int32_t x = slots[i];
      out += i ? ", " : "";
      if (x == Epilogue::kAnchor) out += "anchor";
      else if (x == Epilogue::kNumber) out += number(e.number);
      else if (Epilogue::is_operand(x)) out += view(g, s.epilogue_operands[Epilogue::operand(x)]);
      else out += "e" + std::to_string(x);
    }
    out += ")\n";
  }
  return out;
}

std::string windows(const Step& s) {
  std::string out;
  for (const WindowAxis& a : s.windows) {
    out += " " + std::to_string(a.in) + "->" + std::to_string(a.out);
    if (a.plain()) continue;
    out += "(taps " + std::to_string(a.taps) + " stride " + std::to_string(a.stride) + " low " + std::to_string(a.low);
    if (a.dilation != 1) out += " dilation " + std::to_string(a.dilation);
    if (a.base != 1) out += " base " + std::to_string(a.base);
    out += a.reversed ? " reversed)" : ")";
  }
  return out;
}

Work work_of(const Graph& graph, const Node& node) {
  if (!node.op->work) return {};
  std::vector<Type> types, results;
  for (const Value v : node.inputs) types.push_back(v ? graph.type(v) : absent_type());
  for (const Value v : node.outputs) results.push_back(graph.type(v));
  const auto closed = [](const Type& t) { return !t.is_tensor() || t.is_static(); };
  if (!std::all_of(types.begin(), types.end(), closed) || !std::all_of(results.begin(), results.end(), closed)) return {};
  const std::span<const Type> all(types);
  const size_t operands = node.operands();
  return node.op->work({*node.op, node.attrs, all.first(operands), node.regions, all.subspan(operands), std::string(node.op->name), ErrorKind::internal}, results);
}

}  // namespace

const char* name(Step::Kind kind) {
  switch (kind) {
    case Step::contraction: return "contraction";
    case Step::convolution: return "convolution";
    case Step::region: return "region";
    case Step::rows: return "rows";
    case Step::attention: return "attention";
    case Step::window: return "window";
    case Step::gather: return "gather";
    case Step::scatter: return "scatter";
    case Step::scan: return "scan";
    case Step::move: return "move";
    case Step::host: return "host";
    case Step::collective: return "collective";
  }
  return "?";
}

std::string step_name(const Graph& g, const Step& s) {
  std::string out;
  int more = 0;
  for (const int32_t i : s.nodes) {
    const std::string_view op = g.nodes[static_cast<size_t>(i)].op->name;
    if (s.nodes.size() > 1 && (op == "reshape" || op == "transpose" || op == "broadcast_in_dim") && i != s.anchor) continue;
    if (out.size() > 60) {
      ++more;
      continue;
    }
    out += (out.empty() ? "" : " + ") + std::string(op);
  }
  if (more) out += " + " + std::to_string(more) + " more";
  return out;
}

Work step_work(const Graph& g, const Step& s) {
  Work work;
  for (const int32_t n : s.nodes) work += work_of(g, g.nodes[static_cast<size_t>(n)]);
  return work;
}

Origin step_origin(const Graph& g, const Step& s) {
  Origin out;
  for (const int32_t i : s.nodes) out = merge_origins(out, g.nodes[static_cast<size_t>(i)].origin);
  return out;
}

std::string text(const Graph& g, const Step& s) {
  std::string out = std::string(name(s.kind)) + " " + value(g, s.result) + " = " + step_name(g, s);
  if (const Origin o = step_origin(g, s)) out += "  // " + bascule::text(o);
  out += "\n";
  if (s.kind == Step::host) return out + "  " + s.reason + "\n";
  if (s.kind != Step::region && !is_dense(s.out, s.axes)) out += "  written " + list(s.axes) + " at " + layout(s.out) + "\n";
  switch (s.kind) {
    case Step::contraction:
      out += "  B" + list(s.batch) + " M" + list(s.m) + " N" + list(s.n) + " K" + list(s.k) + "  lhs " + view(g, s.lhs) + "  rhs " + view(g, s.rhs) +
             "\n";
      break;
    case Step::convolution:
      out += "  images " + std::to_string(s.images) + " groups " + std::to_string(s.groups) + " channels " + std::to_string(s.in_channels) + "->" +
             std::to_string(s.out_channels) + windows(s) + "  x " + view(g, s.lhs) + "  w " + view(g, s.rhs) + "\n";
      break;
    case Step::region:
      out += s.spec.text();
      for (const Value v : s.spec_values) out += "  o " + value(g, v) + "\n";
      break;
    case Step::move:
      for (const Piece& p : s.pieces) out += "  piece " + list(p.extents) + " from " + view(g, p.from) + " to " + layout(p.to) + "\n";
      if (s.fill) out += "  filled with " + number(*s.fill) + "\n";
      break;
    case Step::window: out += "  " + std::string(loops::name(s.fold)) + " from " + number(s.initial) + windows(s) + "\n"; [[fallthrough]];
    default:
      out += "  axes " + list(s.axes);
      if (s.kind == Step::rows || s.kind == Step::gather) out += " row from axis " + std::to_string(s.row_axis);
      if (s.kind == Step::collective)
        out += " " + (s.fold == loops::Op::load ? "gathered along axis " + std::to_string(s.row_axis) : "folded by " + std::string(loops::name(s.fold))) + " over " +
               std::to_string(s.participants) + " ranks";
      if (s.kind == Step::attention)
        out += " keys " + std::to_string(s.keys) + " head size " + std::to_string(s.head_size) + " key heads " + std::to_string(s.kv_heads) +
               " scale " + number(s.scale) + (s.causal ? " causal" : "");
      out += "\n";
      for (const View& v : s.views) out += "  operand " + view(g, v) + "\n";
      break;
  }
  return out + epilogue(g, s);
}

}  // namespace bascule::device::chip
