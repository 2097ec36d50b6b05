// device/common/lower.cc — see lower.h.
#include "device/common/lower.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "graph/builder.h"
#include "graph/op_def.h"

namespace bascule::device {

using loops::Instruction;
using loops::KernelSpec;
using loops::Op;

Layout dense_layout(const std::vector<int64_t>& dims) {
  Layout l;
  l.strides.assign(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) l.strides[i - 1] = l.strides[i] * dims[i];
  return l;
}

namespace {

const std::map<std::string_view, Op>& scalar_ops() {
  static const std::map<std::string_view, Op> m = {
      {"add", Op::add}, {"subtract", Op::subtract}, {"multiply", Op::multiply}, {"divide", Op::divide}, {"maximum", Op::maximum}, {"minimum", Op::minimum},
      {"remainder", Op::remainder}, {"power", Op::power}, {"atan2", Op::atan2}, {"and", Op::bit_and}, {"or", Op::bit_or}, {"xor", Op::bit_xor},
      {"negate", Op::negate}, {"abs", Op::abs}, {"sign", Op::sign}, {"exponential", Op::exponential}, {"exponential_minus_one", Op::exponential_minus_one},
      {"log", Op::log}, {"log_plus_one", Op::log_plus_one}, {"sqrt", Op::sqrt}, {"rsqrt", Op::rsqrt}, {"cbrt", Op::cbrt}, {"tanh", Op::tanh},
      {"logistic", Op::logistic}, {"erf", Op::erf}, {"sine", Op::sine}, {"cosine", Op::cosine}, {"tan", Op::tan}, {"floor", Op::floor}, {"ceil", Op::ceil},
      {"round_nearest_even", Op::round_nearest_even}, {"round_nearest_afz", Op::round_nearest_afz}, {"not", Op::bit_not}, {"is_finite", Op::is_finite},
      {"select", Op::select}, {"convert", Op::convert}, {"silu", Op::silu}};
  return m;
}

Op comparison(const std::string& direction) {
  static const std::map<std::string_view, Op> m = {{"EQ", Op::equal}, {"NE", Op::not_equal}, {"LT", Op::less}, {"LE", Op::less_equal}, {"GT", Op::greater}, {"GE", Op::greater_equal}};
  return m.at(direction);
}

const std::map<std::string_view, Op>& fold_ops() {
  static const std::map<std::string_view, Op> m = {{"add", Op::add}, {"multiply", Op::multiply}, {"maximum", Op::maximum}, {"minimum", Op::minimum}, {"and", Op::bit_and}, {"or", Op::bit_or}};
  return m;
}

// A number that fills a (small) constant: one instruction instead of a load.
bool is_splat(const Tensor& t) {
  if (t.elements() < 1 || t.elements() > 4096) return false;
  if (!is_float(t.dtype()) && !is_int(t.dtype()) && !is_bool(t.dtype())) return false;
  for (int64_t i = 1; i < t.elements(); ++i)
    if (is_float(t.dtype()) ? t.number(i) != t.number(0) || std::signbit(t.number(i)) != std::signbit(t.number(0)) : t.integer(i) != t.integer(0)) return false;
  return t.elements() == 1 || !is_float(t.dtype()) || t.number(0) == t.number(0);
}

class Lowering {
 public:
  Lowering(const Graph& g, const std::function<Layout(Value)>& layout) : g_(g), layout_(layout) {}

  std::optional<LoweredRegion> run(const passes::Region& region, std::string& why) {
    const Node& last = g_.nodes[static_cast<size_t>(region.nodes.back())];
    const bool folds = last.op->name == "reduce";
    const Value shaped = folds ? last.inputs[0] : last.outputs[0];
    const auto dims = constants(g_.type(shaped).dims);
    if (!dims) return std::nullopt;
    KernelSpec& s = out_.spec;
    for (size_t a = 0; a < dims->size(); ++a) s.axes.push_back({"n" + std::to_string(a), (*dims)[a], loops::Role::parallel});
    if (folds)
      for (const int64_t a : last.attrs.ints("dimensions")) s.axes[static_cast<size_t>(a)].role = loops::Role::reduction;
    for (const int32_t i : region.nodes) {
      const Node& n = g_.nodes[static_cast<size_t>(i)];
      if (folds && &n == &last) break;
      if (!node(n, why)) return std::nullopt;
    }
    int32_t result = -1;
    if (folds) {
      if (!fold(last, why)) return std::nullopt;
      Instruction read;
      read.op = Op::accumulator;
      read.dtype = g_.type(last.outputs[0]).dtype;
      s.epilogue.push_back(read);
      result = static_cast<int32_t>(s.body.size() + s.epilogue.size()) - 1;
    } else {
      result = numbers_.at(last.outputs[0]);
    }
    const auto result_dims = constants(g_.type(last.outputs[0]).dims);
    const Layout dense = dense_layout(*result_dims);
    loops::Operand o;
    o.dtype = g_.type(last.outputs[0]).dtype;
    o.output = true;
    size_t kept = 0;
    for (size_t a = 0; a < dims->size(); ++a) o.strides.push_back(s.axes[a].role == loops::Role::reduction ? 0 : dense.strides[kept++]);
    s.operands.push_back(std::move(o));
    out_.operands.push_back(last.outputs[0]);
    s.stores.push_back({static_cast<int32_t>(s.operands.size()) - 1, result});
    return std::move(out_);
  }

 private:
  int32_t push(Instruction i) {
    out_.spec.body.push_back(i);
    return static_cast<int32_t>(out_.spec.body.size()) - 1;
  }

  static void set_constant(Instruction& i, const Tensor& t) {
    if (is_float(t.dtype())) i.number = t.number(0);
    else i.integer = t.integer(0);
  }

  // The number of a value that the region reads: made inside, a scalar constant, or a load.
  int32_t read(Value v) {
    if (const auto at = numbers_.find(v); at != numbers_.end()) return at->second;
    const Type& t = g_.type(v);
    Instruction i;
    i.dtype = t.dtype;
    Value number = v;  // a number behind broadcasts is no load
    while (const Node* n = g_.producer(number)) {
      if (n->op->name != "broadcast_in_dim" && n->op->name != "reshape") break;
      number = n->inputs[0];
    }
    const Tensor* c = g_.constant(number);
    if (c && is_splat(*c) && (is_float(t.dtype) || is_int(t.dtype) || is_bool(t.dtype))) {
      i.op = Op::constant;
      set_constant(i, *c);
      return numbers_[v] = push(i);
    }
    const Layout l = layout_(v);
    loops::Operand o;
    o.dtype = t.dtype;
    o.offset = l.offset;
    o.strides = t.rank() == 0 ? std::vector<int64_t>(out_.spec.axes.size(), 0) : l.strides;
    i.op = Op::load;
    i.index = static_cast<int32_t>(out_.spec.operands.size());
    out_.spec.operands.push_back(std::move(o));
    out_.operands.push_back(v);
    return numbers_[v] = push(i);
  }

  bool node(const Node& n, std::string& why) {
    why = no_loops(g_, n);
    if (!why.empty()) return false;
    Instruction i;
    i.dtype = g_.type(n.outputs[0]).dtype;
    const std::string_view name = n.op->name;
    if (name == "iota") {
      i.op = Op::iota;
      i.index = static_cast<int32_t>(n.attrs.integer("iota_dimension"));
    } else if (name == "clamp") {
      Instruction low;
      low.op = Op::maximum;
      low.dtype = i.dtype;
      low.a = read(n.inputs[1]);
      low.b = read(n.inputs[0]);
      i.op = Op::minimum;
      i.b = read(n.inputs[2]);
      i.a = push(low);
    } else {
      i.op = *scalar_op(g_, n);
      const int count = loops::arity(i.op);
      if (count > 0) i.a = read(n.inputs[0]);
      if (count > 1) i.b = read(n.inputs[1]);
      if (count > 2) i.c = read(n.inputs[2]);
    }
    numbers_[n.outputs[0]] = push(i);
    return true;
  }

  bool fold(const Node& n, std::string& why) {
    why = no_loops(g_, n);
    if (!why.empty()) return false;
    loops::Reduction r;
    r.dtype = g_.type(n.outputs[0]).dtype;
    const Tensor* start = g_.constant(n.inputs[1]);
    r.fold = fold_ops().at(reduction_body(*n.regions[0]));
    if (is_bool(r.dtype)) r.fold = r.fold == Op::add || r.fold == Op::maximum ? Op::bit_or : r.fold == Op::multiply || r.fold == Op::minimum ? Op::bit_and : r.fold;
    if (is_float(r.dtype)) r.initial_number = start->number(0);
    else r.initial_integer = start->integer(0);
    r.value = read(n.inputs[0]);
    out_.spec.reductions.push_back(r);
    return true;
  }

  const Graph& g_;
  const std::function<Layout(Value)>& layout_;
  LoweredRegion out_;
  std::map<Value, int32_t> numbers_;
};

}  // namespace

std::optional<Op> scalar_op(const Graph& g, const Node& n) {
  const std::string_view name = n.op->name;
  if (name == "compare") return n.attrs.has("compare_type") && n.attrs.text("compare_type") == "TOTALORDER" ? std::nullopt : std::optional(comparison(n.attrs.text("comparison_direction")));
  if (name == "gelu") return n.attrs.has("approximate") && n.attrs.text("approximate") == "tanh" ? Op::gelu_tanh : Op::gelu;
  const auto at = scalar_ops().find(name);
  if (at == scalar_ops().end()) return std::nullopt;
  if (at->second == Op::convert && is_float(g.type(n.inputs[0]).dtype) && !is_float(g.type(n.outputs[0]).dtype) && n.attrs.has("overflow") && n.attrs.text("overflow") == "wrap") return std::nullopt;
  if (at->second == Op::convert && info(g.type(n.outputs[0]).dtype).bits <= 8 && is_float(g.type(n.outputs[0]).dtype)) {
    const bool saturates = (n.attrs.has("saturate") && n.attrs.flag("saturate")) || (n.attrs.has("overflow") && n.attrs.text("overflow") == "saturate");
    if (saturates || (n.attrs.has("round_mode") && n.attrs.text("round_mode") != "nearest")) return std::nullopt;
  }
  return at->second;
}

std::string no_loops(const Graph& g, const Node& n) {
  const std::string_view name = n.op->name;
  if (name == "iota" || name == "clamp") return "";
  if (name == "reduce") {
    if (n.inputs.size() != 2) return "a reduction of several values at once";
    const DType t = g.type(n.outputs[0]).dtype;
    const Tensor* start = g.constant(n.inputs[1]);
    if (!fold_ops().contains(reduction_body(*n.regions[0])) || !start || start->elements() != 1 || g.type(n.inputs[0]).dtype != t) return "a reduction that is not a plain fold from a constant";
    if (!is_float(t) && !is_int(t) && !is_bool(t)) return "a reduction of " + std::string(info(t).name);
    return "";
  }
  if (scalar_op(g, n)) return "";
  if (name == "compare") return "compare by total order";
  if (name == "convert") return "a conversion that wraps, or saturates in 8 bits";
  return "'" + std::string(name) + "' has no scalar form";
}

std::optional<LoweredRegion> lower(const Graph& g, const passes::Region& region, const std::function<Layout(Value)>& layout, std::string& why) {
  return Lowering(g, layout).run(region, why);
}

std::optional<LoweredRegion> lower_contraction(const Graph& g, const Node& n, const std::function<Layout(Value)>& layout) {
  const Ints &lb = n.attrs.ints("lhs_batching_dimensions"), &rb = n.attrs.ints("rhs_batching_dimensions");
  const Ints &lc = n.attrs.ints("lhs_contracting_dimensions"), &rc = n.attrs.ints("rhs_contracting_dimensions");
  const auto l = constants(g.type(n.inputs[0]).dims), r = constants(g.type(n.inputs[1]).dims), out = constants(g.type(n.outputs[0]).dims);
  if (!l || !r || !out) return std::nullopt;
  const Layout ll = layout(n.inputs[0]), rl = layout(n.inputs[1]), ol = dense_layout(*out);
  LoweredRegion lowered;
  KernelSpec& s = lowered.spec;
  loops::Operand a, b, c;
  a.dtype = g.type(n.inputs[0]).dtype;
  b.dtype = g.type(n.inputs[1]).dtype;
  c.dtype = g.type(n.outputs[0]).dtype;
  a.offset = ll.offset;
  b.offset = rl.offset;
  c.output = true;
  const auto axis = [&](std::string name, int64_t extent, loops::Role role, int64_t sa, int64_t sb, int64_t sc) {
    s.axes.push_back({std::move(name), extent, role});
    a.strides.push_back(sa);
    b.strides.push_back(sb);
    c.strides.push_back(sc);
  };
  size_t at = 0;
  const auto in = [](const Ints& list, size_t x) { return std::find(list.begin(), list.end(), static_cast<int64_t>(x)) != list.end(); };
  for (size_t k = 0; k < lb.size(); ++k, ++at) axis("B" + std::to_string(k), (*out)[at], loops::Role::parallel, ll.strides[static_cast<size_t>(lb[k])], rl.strides[static_cast<size_t>(rb[k])], ol.strides[at]);
  for (size_t k = 0; k < l->size(); ++k)
    if (!in(lb, k) && !in(lc, k)) axis("M" + std::to_string(k), (*l)[k], loops::Role::parallel, ll.strides[k], 0, ol.strides[at]), ++at;
  for (size_t k = 0; k < r->size(); ++k)
    if (!in(rb, k) && !in(rc, k)) axis("N" + std::to_string(k), (*r)[k], loops::Role::parallel, 0, rl.strides[k], ol.strides[at]), ++at;
  for (size_t k = 0; k < lc.size(); ++k) axis("K" + std::to_string(k), (*l)[static_cast<size_t>(lc[k])], loops::Role::reduction, ll.strides[static_cast<size_t>(lc[k])], rl.strides[static_cast<size_t>(rc[k])], 0);
  const DType t = c.dtype;
  const auto load = [&](int32_t operand, DType from) {
    Instruction i;
    i.op = Op::load;
    i.dtype = from;
    i.index = operand;
    s.body.push_back(i);
    auto v = static_cast<int32_t>(s.body.size()) - 1;
    if (from == t) return v;
    Instruction cast;
    cast.op = Op::convert;
    cast.dtype = t;
    cast.a = v;
    s.body.push_back(cast);
    return v + 1;
  };
  Instruction product;
  product.op = Op::multiply;
  product.dtype = t;
  product.a = load(0, a.dtype);
  product.b = load(1, b.dtype);
  s.body.push_back(product);
  loops::Reduction sum;
  sum.dtype = t;
  sum.value = static_cast<int32_t>(s.body.size()) - 1;
  s.reductions.push_back(sum);
  if (lc.empty()) axis("K", 1, loops::Role::reduction, 0, 0, 0);
  Instruction total;
  total.op = Op::accumulator;
  total.dtype = t;
  s.epilogue.push_back(total);
  s.operands = {a, b, c};
  s.stores.push_back({2, static_cast<int32_t>(s.body.size())});
  lowered.operands = {n.inputs[0], n.inputs[1], n.outputs[0]};
  return lowered;
}

}  // namespace bascule::device
