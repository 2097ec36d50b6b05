// passes/raise.cc — composites in place of what exporters write out: softmax, gelu (both forms), silu, hard_swish, rotary_embedding, attention
// with masks and grouped heads; layer_norm and rms_norm are in raise_norm.cc. The node that ends a pattern is replaced; what only it used dies in dce.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "graph/op_def.h"
#include "passes/match.h"
#include "passes/pipeline.h"
#include "passes/raise.h"

namespace bascule::passes {
namespace {

bool near(std::optional<double> x, double want) { return x && std::abs(*x - want) <= 1e-4 * std::abs(want); }

// x * c or x / c with a number c: the value and the factor. Otherwise v and 1.
struct Scaled {
  Value of;
  double factor = 1;
};
Scaled scaled(const Graph& g, Value v) {
  Scaled s{v};
  for (int depth = 0; depth < 4; ++depth) {
    const Node* n = g.producer(s.of);
    if (!n || n->inputs.size() != 2 || !(g.type(n->inputs[0]) == g.type(s.of))) break;
    if (n->op->name == "multiply") {
      if (const auto c = splat_of(g, n->inputs[1])) s = {n->inputs[0], s.factor * *c};
      else if (const auto d = splat_of(g, n->inputs[0]); d && g.type(n->inputs[1]) == g.type(s.of)) s = {n->inputs[1], s.factor * *d};
      else break;
    } else if (n->op->name == "divide") {
      const auto c = splat_of(g, n->inputs[1]);
      if (!c || *c == 0) break;
      s = {n->inputs[0], s.factor / *c};
    } else {
      break;
    }
  }
  return s;
}

// The single reduction over one axis behind v's broadcast, if it is by `body`.
const Node* row_fold(const Graph& g, Value v, std::string_view body, int64_t axis) {
  const Value stat = unbroadcast(g, v);
  const Node* n = made_by(g, stat, "reduce");
  if (!n || n->inputs.size() != 2 || reduction_body(*n->regions[0]) != body || n->attrs.ints("dimensions") != Ints{axis}) return nullptr;
  return repeats_along(g, v, stat, {axis}, g.type(v).rank()) ? n : nullptr;
}

// exp(x - max x) / sum exp(x - max x) along the last axis.
Value softmax(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  if (n.op->name != "divide" || g.type(n.outputs[0]).rank() == 0) return kNoValue;
  const int64_t axis = static_cast<int64_t>(g.type(n.outputs[0]).rank()) - 1;
  const Node* e = made_by(g, n.inputs[0], "exponential");
  const Node* sum = row_fold(g, n.inputs[1], "add", axis);
  if (!e || !sum || sum->inputs[0] != n.inputs[0] || splat_of(g, sum->inputs[1]) != 0.0) return kNoValue;
  const auto shifted = operands(g, e->inputs[0], "subtract");
  if (!shifted) return kNoValue;
  const Node* top = row_fold(g, shifted->b, "maximum", axis);
  if (!top || top->inputs[0] != shifted->a || !(g.type(shifted->a) == g.type(n.outputs[0]))) return kNoValue;
  return r.builder().op("softmax", {r(shifted->a)}, {{"axis", axis}});
}

// Factors of a product of values and numbers, flattened.
void factors(const Graph& g, Value v, const Type& t, std::vector<Value>& values, double& number, int depth) {
  if (const auto c = splat_of(g, v)) {
    number *= *c;
    return;
  }
  const Node* n = g.producer(v);
  if (n && depth < 4 && g.type(v) == t) {
    if (n->op->name == "multiply") {
      factors(g, n->inputs[0], t, values, number, depth + 1);
      factors(g, n->inputs[1], t, values, number, depth + 1);
      return;
    }
    if (n->op->name == "divide")
      if (const auto c = splat_of(g, n->inputs[1]); c && *c != 0) {
        number /= *c;
        factors(g, n->inputs[0], t, values, number, depth + 1);
        return;
      }
  }
  values.push_back(v);
}

// 1 + f: the value f.
Value one_plus(const Graph& g, Value v) {
  const auto sum = operands(g, v, "add");
  if (!sum) return kNoValue;
  if (splat_of(g, sum->b) == 1.0) return sum->a;
  return splat_of(g, sum->a) == 1.0 ? sum->b : kNoValue;
}

// sqrt(2/pi) (x + 0.044715 x^3), however the cube is written.
bool is_tanh_argument(const Graph& g, Value v, Value x) {
  const Scaled outer = scaled(g, v);
  if (!near(outer.factor, std::sqrt(2 / std::numbers::pi))) return false;
  const auto sum = operands(g, outer.of, "add");
  if (!sum) return false;
  const Value cubic = sum->a == x ? sum->b : sum->b == x ? sum->a : kNoValue;
  if (!cubic) return false;
  std::vector<Value> values;
  double number = 1;
  factors(g, cubic, g.type(x), values, number, 0);
  return near(number, 0.044715) && values == std::vector<Value>(3, x);
}

// number * gate = clip(x/6 + 1/2, 0, 1), however the sixth is spread over slope, limits and product.
bool is_hard_sigmoid(const Graph& g, Value gate, double number, Value x) {
  const Node* c = made_by(g, gate, "clamp");
  const auto line = c ? operands(g, c->inputs[1], "add") : std::nullopt;
  if (!line || splat_of(g, c->inputs[0]) != 0.0) return false;
  const auto high = splat_of(g, c->inputs[2]);
  const bool swapped = splat_of(g, line->a).has_value();
  const auto offset = splat_of(g, swapped ? line->a : line->b);
  const Scaled slope = scaled(g, swapped ? line->b : line->a);
  return high && offset && slope.of == x && near(number * *high, 1) && near(number * slope.factor, 1.0 / 6) && near(number * *offset, 0.5);
}

// x/2 (1 + erf(x / sqrt 2)), x/2 (1 + tanh(...)), x logistic(x), x clip(x/6 + 1/2, 0, 1): products in any order.
Value activation(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  if (n.op->name != "multiply" && n.op->name != "divide") return kNoValue;
  const Type& t = g.type(n.outputs[0]);
  if (!is_float(t.dtype)) return kNoValue;
  std::vector<Value> values;
  double number = 1;
  factors(g, n.outputs[0], t, values, number, 0);
  if (values.size() != 2) return kNoValue;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Value x = values[side], gate = values[1 - side];
    if (!(g.type(x) == t) || !(g.type(gate) == t)) continue;
    if (const Node* s = made_by(g, gate, "logistic"); s && s->inputs[0] == x && number == 1.0) return r.builder().op("silu", {r(x)});
    if (is_hard_sigmoid(g, gate, number, x)) return r.builder().op("hard_swish", {r(x)});
    const Value f = one_plus(g, gate);
    if (!f || !near(number, 0.5)) continue;
    if (const Node* e = made_by(g, f, "erf")) {
      const Scaled s = scaled(g, e->inputs[0]);
      if (s.of == x && near(s.factor, 1 / std::numbers::sqrt2)) return r.builder().op("gelu", {r(x)}, {{"approximate", "none"}});
    }
    if (const Node* h = made_by(g, f, "tanh"))
      if (is_tanh_argument(g, h->inputs[0], x)) return r.builder().op("gelu", {r(x)}, {{"approximate", "tanh"}});
  }
  return kNoValue;
}

// Keys or values repeated for groups of heads: [B, G, T, D] before the repetition, else v.
Value ungrouped(Rewriter& r, Value v) {
  const Graph& g = r.old();
  const Node* merge = made_by(g, v, "reshape");
  const Node* repeat = merge ? made_by(g, merge->inputs[0], "broadcast_in_dim") : nullptr;
  if (!repeat) return r(v);
  const Dims &wide = g.type(repeat->outputs[0]).dims, &out = g.type(v).dims, &in = g.type(repeat->inputs[0]).dims;
  const Ints& axes = repeat->attrs.ints("broadcast_dimensions");
  if (wide.size() != 5 || out.size() != 4 || !(wide[0] == out[0]) || !(wide[3] == out[2]) || !(wide[4] == out[3]) || !(wide[1] * wide[2] == out[1])) return r(v);
  // Only axis 2 is new or stretched.
  size_t k = 0;
  for (size_t a = 0; a < 5; ++a) {
    const bool given = k < axes.size() && axes[k] == static_cast<int64_t>(a);
    if (a == 2 ? given && !in[k].is(1) : !given || !(in[k] == wide[a])) return r(v);
    k += given;
  }
  return r.builder().reshape(r(repeat->inputs[0]), {wide[0], wide[1], wide[3], wide[4]});
}

// softmax(scale q k^T + bias) v on [B, H, S, D].
Value attention(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  if (n.op->name != "dot_general" || g.type(n.outputs[0]).rank() != 4 || n.inputs.size() != 2) return kNoValue;
  const auto axes = [](const Node& d, int64_t lhs, int64_t rhs) {
    return d.attrs.ints("lhs_batching_dimensions") == Ints{0, 1} && d.attrs.ints("rhs_batching_dimensions") == Ints{0, 1} && d.attrs.ints("lhs_contracting_dimensions") == Ints{lhs} &&
           d.attrs.ints("rhs_contracting_dimensions") == Ints{rhs};
  };
  const DType t = g.type(n.outputs[0]).dtype;
  const Node* p = made_by(g, n.inputs[0], "softmax");
  if (!p || p->attrs.integer("axis") != 3 || !axes(n, 3, 2) || g.type(n.inputs[1]).dtype != t || g.type(n.inputs[0]).dtype != t) return kNoValue;
  Value scores = p->inputs[0], bias = kNoValue;
  Scaled s = scaled(g, scores);
  const Node* product = made_by(g, s.of, "dot_general");
  if (!product) {
    const auto sum = operands(g, scores, "add");
    if (!sum) return kNoValue;
    for (const bool turned : {false, true}) {
      s = scaled(g, turned ? sum->b : sum->a);
      product = made_by(g, s.of, "dot_general");
      bias = turned ? sum->a : sum->b;
      if (product) break;
    }
  }
  if (!product || g.type(product->outputs[0]).dtype != t || g.type(product->inputs[0]).dtype != t || g.type(product->inputs[1]).dtype != t) return kNoValue;
  const bool transposed = axes(*product, 3, 2);
  if (!transposed && !axes(*product, 3, 3)) return kNoValue;
  if (bias && (g.type(bias).dtype != t || g.type(bias).rank() != 4)) return kNoValue;
  const Scaled q = scaled(g, product->inputs[0]), k = scaled(g, product->inputs[1]);
  double scale = s.factor * q.factor * k.factor;
  if (!std::isfinite(scale)) return kNoValue;
  Builder& b = r.builder();
  Value keys;
  if (!transposed) {
    keys = ungrouped(r, k.of);
  } else if (const Node* turn = made_by(g, k.of, "transpose"); turn && turn->attrs.ints("permutation") == Ints{0, 1, 3, 2}) {
    const Scaled inner = scaled(g, turn->inputs[0]);
    scale *= inner.factor;
    keys = ungrouped(r, inner.of);
  } else {
    keys = b.transpose(r(k.of), {0, 1, 3, 2});
  }
  Value values = ungrouped(r, n.inputs[1]);
  if (!(b.dim(keys, 1) == b.dim(values, 1))) {  // repeated in one, not seen so in the other
    values = r(n.inputs[1]);
    if (!(b.dim(keys, 1) == b.dim(values, 1))) return kNoValue;
  }
  if (!(b.dim(keys, 0) == b.dim(values, 0)) || !(b.dim(keys, 2) == b.dim(values, 2))) return kNoValue;
  Values in{r(q.of), keys, values};
  if (bias) in.push_back(r(bias));
  const Value y = b.op("attention", in, {{"scale", scale}});
  return b.type(y) == g.type(n.outputs[0]) ? y : kNoValue;
}

// v before it was broadcast along leading axes, as NumPy aligns them.
Value narrow(const Graph& g, Value v) {
  for (;;) {
    const Node* n = made_by(g, v, "broadcast_in_dim");
    if (!n) return v;
    const Ints& axes = n->attrs.ints("broadcast_dimensions");
    for (size_t k = 0; k < axes.size(); ++k)
      if (axes[k] != static_cast<int64_t>(g.type(v).rank() - axes.size() + k)) return v;
    if (axes.empty()) return v;
    v = n->inputs[0];
  }
}

// Whether v is sine or cosine (perhaps times a number) of angles that stand twice along the last axis.
bool doubled_angles(const Graph& g, Value v, std::string_view function) {
  for (int depth = 0; depth < 8; ++depth) {
    const Node* n = g.producer(v);
    if (!n || g.type(v).rank() == 0) return false;
    const std::string_view name = n->op->name;
    if (name == function) {
      const Node* cat = made_by(g, n->inputs[0], "concatenate");
      return cat && cat->inputs.size() == 2 && cat->inputs[0] == cat->inputs[1] && cat->attrs.integer("dimension") == static_cast<int64_t>(g.type(v).rank()) - 1;
    }
    if (name == "multiply") {
      const Scaled s = scaled(g, v);
      if (s.of == v) return false;
      v = s.of;
    } else if (name == "convert" || name == "reshape") {
      if (g.type(n->inputs[0]).rank() == 0 || !(g.type(n->inputs[0]).dims.back() == g.type(v).dims.back())) return false;
      v = n->inputs[0];
    } else {
      return false;
    }
  }
  return false;
}

// x cos + concatenate(-x[h:], x[:h]) sin, the angles standing twice: rotation of the halves.
Value rotary(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  const Type& t = g.type(n.outputs[0]);
  if (n.op->name != "add" || t.rank() < 2 || !is_float(t.dtype)) return kNoValue;
  const auto R = t.dims.back().constant();
  if (!R || *R % 2 != 0 || *R == 0) return kNoValue;
  const int64_t last = static_cast<int64_t>(t.rank()) - 1, half = *R / 2;
  const auto half_of = [&](Value v, Value x, bool upper) {
    const Node* s = made_by(g, v, "slice");
    if (!s || s->inputs[0] != x) return false;
    const Dims low = s->attrs.dims("start_indices"), high = s->attrs.dims("limit_indices");
    for (size_t k = 0; k < low.size(); ++k) {
      const bool along = static_cast<int64_t>(k) == last;
      if (!low[k].is(along && upper ? half : 0) || !(high[k] == (along ? Dim(upper ? *R : half) : t.dims[k])) || s->attrs.ints("strides")[k] != 1) return false;
    }
    return true;
  };
  for (const bool turned : {false, true}) {
    const auto straight = operands(g, n.inputs[turned ? 1 : 0], "multiply"), crossed = operands(g, n.inputs[turned ? 0 : 1], "multiply");
    if (!straight || !crossed) return kNoValue;
    for (const int order : {0, 1, 2, 3}) {
      const Value x = order & 1 ? straight->b : straight->a, c = order & 1 ? straight->a : straight->b;
      const Value cat = order & 2 ? crossed->b : crossed->a, s = order & 2 ? crossed->a : crossed->b;
      const Node* both = made_by(g, cat, "concatenate");
      if (!both || both->inputs.size() != 2 || both->attrs.integer("dimension") != last || !(g.type(x) == t)) continue;
      const Node* minus = made_by(g, both->inputs[0], "negate");
      if (!minus || !half_of(minus->inputs[0], x, true) || !half_of(both->inputs[1], x, false)) continue;
      const Value cosines = narrow(g, c), sines = narrow(g, s);
      if (!doubled_angles(g, cosines, "cosine") || !doubled_angles(g, sines, "sine")) continue;
      Builder& b = r.builder();
      return b.op("rotary_embedding", {r(x), b.slice_axis(r(cosines), -1, 0, half), b.slice_axis(r(sines), -1, 0, half)});
    }
  }
  return kNoValue;
}

bool apply(Graph& g, Value (*pattern)(Rewriter&, const Node&)) {
  return rewrite(g, [pattern](Rewriter& r, const Node& n) {
    if (n.outputs.size() != 1 || n.inputs.empty() || n.op->host || n.op->control) return false;
    for (const Value v : n.inputs)
      if (v && (!r.old().type(v).is_tensor() || !r.old().type(v).ranked)) return false;
    const Value v = pattern(r, n);
    if (!v || !(r.builder().type(v) == r.old().type(n.outputs[0]))) return false;
    r.replace(n, {v});
    return true;
  });
}

bool raise(Graph& g, const PassOptions&) {
  bool any = false;
  for (const auto pattern : {softmax, plain_norm, spread_norm, norm_of_rows, affine_norm, affine_norm, activation, rotary, attention}) any |= apply(g, pattern);
  return any;
}

[[maybe_unused]] const bool registered = register_pass({"raise", "composites in place of softmax, layer_norm, rms_norm, gelu, silu, hard_swish, rotary_embedding and attention written out", raise});

}  // namespace
}  // namespace bascule::passes
