// import/onnx/gradient.cc — ai.onnx.preview.training Gradient: reverse-mode differentiation of the graph built so far.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

// Sums g over the axes along which `x` was stretched to g's dims.
Value unstretched(Builder& b, Value g, Value x, const Ints& axes) {
  Ints added, ones;
  for (int64_t i = 0; i < b.rank(g); ++i) {
    const auto at = std::find(axes.begin(), axes.end(), i);
    if (at == axes.end()) added.push_back(i);
    else if (b.dim(x, at - axes.begin()).is(1) && !b.dim(g, i).is(1)) ones.push_back(i);
  }
  g = b.sum(g, ones, true);
  return b.reshape(b.sum(g, added, false), b.dims(x));
}

Ints free_axes(int64_t rank, const Ints& batch, const Ints& contract) {
  Ints out;
  for (int64_t i = 0; i < rank; ++i)
    if (std::find(batch.begin(), batch.end(), i) == batch.end() && std::find(contract.begin(), contract.end(), i) == contract.end()) out.push_back(i);
  return out;
}

// d(a . c)/da for dot_general: g [batch, a's free, c's free] . c over c's free axes. `mine_first`: a is the left operand.
Value product_gradient(Builder& b, Value g, Value a, Value c, const Ints& a_batch, const Ints& a_contract, const Ints& c_batch, const Ints& c_contract, bool mine_first) {
  const Ints a_free = free_axes(b.rank(a), a_batch, a_contract), c_free = free_axes(b.rank(c), c_batch, c_contract);
  const auto batches = static_cast<int64_t>(a_batch.size());
  Ints g_batch(a_batch.size()), g_contract(c_free.size());
  std::iota(g_batch.begin(), g_batch.end(), 0);
  std::iota(g_contract.begin(), g_contract.end(), batches + (mine_first ? static_cast<int64_t>(a_free.size()) : 0));
  const Value y = b.dot_general(g, c, g_batch, c_batch, g_contract, c_free, b.dtype(a));  // batch, a's free, c's contracted in rising order
  Ints order(static_cast<size_t>(b.rank(a)));
  for (size_t i = 0; i < a_batch.size(); ++i) order[static_cast<size_t>(a_batch[i])] = static_cast<int64_t>(i);
  for (size_t i = 0; i < a_free.size(); ++i) order[static_cast<size_t>(a_free[i])] = batches + static_cast<int64_t>(i);
  for (size_t i = 0; i < a_contract.size(); ++i) {
    const auto before = std::count_if(c_contract.begin(), c_contract.end(), [&](int64_t k) { return k < c_contract[i]; });
    order[static_cast<size_t>(a_contract[i])] = batches + static_cast<int64_t>(a_free.size()) + before;
  }
  return b.transpose(y, order);
}

// Gradients of a node's operands from that of its result; kNoValue where there is none.
Values operand_gradients(Builder& b, const Node& n, Value g) {
  const std::string_view op = n.op->name;
  const Value y = n.outputs[0], x = n.inputs.empty() ? kNoValue : n.inputs[0], z = n.inputs.size() > 1 ? n.inputs[1] : kNoValue;
  if (op == "add") return {g, g};
  if (op == "subtract") return {g, b.negate(g)};
  if (op == "multiply") return {b.multiply(g, z), b.multiply(g, x)};
  if (op == "divide") return {b.divide(g, z), b.negate(b.divide(b.multiply(g, y), z))};
  if (op == "power") return {b.multiply(b.multiply(g, z), b.power(x, b.subtract(z, 1))), b.multiply(b.multiply(g, y), b.log(x))};
  if (op == "maximum" || op == "minimum") {
    const Value first = b.compare(x, z, op == "maximum" ? "GE" : "LE");
    return {b.select(first, g, 0), b.select(first, 0, g)};
  }
  if (op == "negate") return {b.negate(g)};
  if (op == "abs") return {b.multiply(g, b.unary("sign", x))};
  if (op == "exponential") return {b.multiply(g, y)};
  if (op == "log") return {b.divide(g, x)};
  if (op == "tanh") return {b.multiply(g, b.subtract(1, b.multiply(y, y)))};
  if (op == "logistic") return {b.multiply(g, b.multiply(y, b.subtract(1, y)))};
  if (op == "sqrt") return {b.divide(g, b.multiply(y, 2))};
  if (op == "rsqrt") return {b.multiply(b.multiply(g, -0.5), b.multiply(y, b.multiply(y, y)))};
  if (op == "sine") return {b.multiply(g, b.cosine(x))};
  if (op == "cosine") return {b.negate(b.multiply(g, b.sine(x)))};
  if (op == "select") return {kNoValue, b.select(x, g, 0), b.select(x, 0, g)};
  if (op == "reshape") return {b.reshape(g, b.dims(x))};
  if (op == "convert" && is_float(b.dtype(x))) return {b.convert(g, b.dtype(x))};
  if (op == "transpose") {
    const Ints& order = n.attrs.ints("permutation");
    Ints back(order.size());
    for (size_t i = 0; i < order.size(); ++i) back[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
    return {b.transpose(g, back)};
  }
  if (op == "broadcast_in_dim") return {unstretched(b, g, x, n.attrs.ints("broadcast_dimensions"))};
  if (op == "reduce" && n.inputs.size() == 2 && reduction_body(*n.regions[0]) == "add") {
    Ints kept;
    const Ints& gone = n.attrs.ints("dimensions");
    for (int64_t i = 0; i < b.rank(x); ++i)
      if (std::find(gone.begin(), gone.end(), i) == gone.end()) kept.push_back(i);
    return {b.broadcast_in_dim(g, b.dims(x), kept), kNoValue};
  }
  if (op == "dot_general") {
    const Ints &lb = n.attrs.ints("lhs_batching_dimensions"), &rb = n.attrs.ints("rhs_batching_dimensions"), &lc = n.attrs.ints("lhs_contracting_dimensions"),
               &rc = n.attrs.ints("rhs_contracting_dimensions");
    return {product_gradient(b, g, x, z, lb, lc, rb, rc, true), product_gradient(b, g, z, x, rb, rc, lb, lc, false)};
  }
  b.unsupported("operators whose derivative Bascule knows between xs and y", std::string(op), "Differentiate in the framework and export the result");
}

Value named(NodeContext& n, Builder& b, const std::string& name) {
  const auto& values = b.graph().values;
  for (size_t i = values.size(); i-- > 0;)
    if (values[i].name == name) return Value{static_cast<int32_t>(i)};
  n.fail("a tensor of this graph as y", "'" + escaped(name) + "'");
}

}  // namespace

// dy/dx for each x of xs; xs and zs are the node's operands, y a tensor computed from them before it.
ONNX_TRAINING_OP(Gradient, 1) {
  const Texts xs = n.texts("xs"), zs = n.texts("zs", Texts{});
  const Value y = named(n, b, n.text("y"));
  if (n.inputs() != xs.size() + zs.size()) n.fail("an operand for each name in xs and zs", std::to_string(n.inputs()) + " operands");
  for (size_t i = 0; i < n.inputs(); ++i) {
    const std::string& name = i < xs.size() ? xs[i] : zs[i - xs.size()];
    if (n.node.inputs[i] != name) n.unsupported("operands that are the tensors named in xs and zs", "'" + escaped(n.node.inputs[i]) + "' for '" + escaped(name) + "'", "Name the operands in xs and zs");
  }
  std::set<Value> varies;  // what depends on an x
  for (size_t i = 0; i < xs.size(); ++i) varies.insert(n.in(i));
  const std::set<Value> independent = varies;
  std::vector<Node> tape;  // copies: the graph grows while it is differentiated
  for (const Node& node : b.graph().nodes) {
    if (std::none_of(node.inputs.begin(), node.inputs.end(), [&](Value v) { return varies.contains(v); })) continue;
    if (std::any_of(node.outputs.begin(), node.outputs.end(), [&](Value v) { return independent.contains(v); })) continue;
    for (const Value v : node.outputs) varies.insert(v);
    tape.push_back(node);
  }
  std::map<Value, Value> gradient{{y, b.full(b.dims(y), b.dtype(y), 1)}};
  for (size_t i = tape.size(); i-- > 0;) {
    const Node& node = tape[i];
    const auto g = node.outputs.size() == 1 ? gradient.find(node.outputs[0]) : gradient.end();
    if (node.outputs.size() > 1 && std::any_of(node.outputs.begin(), node.outputs.end(), [&](Value v) { return gradient.contains(v); }))
      n.unsupported("operators with one result between xs and y", std::string(node.op->name), "Differentiate in the framework and export the result");
    if (g == gradient.end()) continue;
    const Values parts = operand_gradients(b, node, g->second);
    for (size_t k = 0; k < parts.size() && k < node.inputs.size(); ++k) {
      if (!parts[k] || !varies.contains(node.inputs[k])) continue;
      Value& sum = gradient[node.inputs[k]];
      sum = sum ? b.add(sum, parts[k]) : parts[k];
    }
  }
  Values out;
  for (size_t i = 0; i < xs.size(); ++i) {
    const Value x = n.in(i);
    const auto g = gradient.find(x);
    out.push_back(g != gradient.end() ? g->second : b.full(b.dims(x), b.dtype(x), 0));
  }
  return out;
}

}  // namespace bascule::onnx
