// passes/raise_norm.cc — layer_norm and rms_norm in place of the statistics that exporters write out (raise.cc runs these patterns).
// The variance may be written mean((x - mean x)^2), mean(x^2) - mean(x)^2, or the latter kept from falling below 0.
#include <algorithm>
#include <numeric>

#include "graph/op_def.h"
#include "passes/match.h"
#include "passes/raise.h"

namespace bascule::passes {
namespace {

bool contains(const Ints& axes, int64_t a) { return std::ranges::find(axes, a) != axes.end(); }

// The axes of a norm over `axes` of x: all from the first on, where only extents of 1 are missing there; else as they are.
Ints row_axes(const Type& x, const Ints& axes) {
  const auto rank = static_cast<int64_t>(x.rank());
  const auto one = [&](int64_t a) { return x.dims[static_cast<size_t>(a)].is(1); };
  int64_t first = axes.front();
  for (const int64_t a : axes)
    if (one(first)) first = a;
  for (int64_t a = first; a < rank; ++a)
    if (!contains(axes, a) && !one(a)) return axes;
  Ints out(static_cast<size_t>(rank - first));
  std::iota(out.begin(), out.end(), first);
  return out;
}

// v, of x's rank, repeats a value along all axes but `axes`: that value, its extents those of `axes` in their order (extents of 1 aside).
Value row_operand(const Graph& g, Value v, const Type& x, const Ints& axes) {
  if (g.type(v).rank() != x.rank()) return kNoValue;
  const auto covers = [&](const Ints& map) {
    int64_t last = -1;
    for (size_t a = 0; a < map.size(); ++a) {
      const bool wanted = contains(axes, static_cast<int64_t>(a)) && !x.dims[a].is(1);
      if (wanted != (map[a] != -1) || (wanted && map[a] <= last)) return false;
      last = std::max(last, map[a]);
    }
    return last >= 0;
  };
  Value out = kNoValue, u = v;
  for (int depth = 0; depth < 8; ++depth) {
    const auto map = axis_map(g, v, u);
    if (!map) break;
    if (covers(*map)) out = u;
    const Node* n = g.producer(u);
    if (!n || (n->op->name != "broadcast_in_dim" && n->op->name != "reshape")) break;
    u = n->inputs[0];
  }
  return out;
}

// The second moment of the rows of a value: of x about its mean, or of x about 0.
struct Moment {
  Value of;
  Ints axes;
  bool about_mean = false;
};

// A moment under a root: v = rsqrt(moment + epsilon), 1 / sqrt(...) (inverse), or sqrt(...).
struct Root {
  Moment moment;
  double epsilon = 0;
  Value stat;  // the root itself, before it was broadcast
  bool inverse = true;
};

// v = root, or root * scale with a scale of x's rows.
struct Factor {
  Root root;
  Value scale;
};

// The norm over a root's axes, between transposes where they are not the trailing ones.
Value norm(Rewriter& r, std::string_view name, const Factor& f, Value bias = kNoValue) {
  const Type& x = r.old().type(f.root.moment.of);
  const Ints rows = row_axes(x, f.root.moment.axes);
  Ints permutation;
  for (int64_t a = 0; a < static_cast<int64_t>(x.rank()); ++a)
    if (!contains(rows, a)) permutation.push_back(a);
  const auto axis = static_cast<int64_t>(permutation.size());
  permutation.insert(permutation.end(), rows.begin(), rows.end());
  Ints back(permutation.size());
  for (size_t k = 0; k < permutation.size(); ++k) back[static_cast<size_t>(permutation[k])] = static_cast<int64_t>(k);
  Dims extents;
  for (const int64_t a : rows) extents.push_back(x.dims[static_cast<size_t>(a)]);
  Builder& b = r.builder();
  const auto vector = [&](Value v) { return v ? b.reshape(r(v), extents) : kNoValue; };
  Values in{b.transpose(r(f.root.moment.of), permutation), vector(f.scale)};
  if (name == "layer_norm") in.push_back(vector(bias));
  return b.transpose(b.op(name, in, {{"axis", axis}, {"epsilon", f.root.epsilon}}), back);
}

// v, of x's dims, is y - mean(y): y and the axes.
std::optional<Mean> centred(const Graph& g, Value v) {
  const auto difference = operands(g, v, "subtract");
  if (!difference || !(g.type(difference->a) == g.type(v))) return std::nullopt;
  const auto mean = mean_of(g, difference->b);
  if (!mean || mean->of != difference->a || !repeats_along(g, difference->b, unbroadcast(g, difference->b), mean->axes, g.type(v).rank())) return std::nullopt;
  return mean;
}

// The factor of v = u * u, of v's own type.
Value squared(const Graph& g, Value v) {
  const auto square = operands(g, v, "multiply");
  return square && square->a == square->b ? square->a : kNoValue;
}

struct Term {
  Value v;
  bool minus = false;
};

// Sums and differences, flattened.
void add_terms(const Graph& g, Value v, bool minus, std::vector<Term>& out, int depth = 0) {
  const Node* n = g.producer(v);
  const std::string_view name = n && depth < 4 ? n->op->name : std::string_view();
  if (name == "negate") return add_terms(g, n->inputs[0], !minus, out, depth + 1);
  if (name != "add" && name != "subtract") return out.push_back({v, minus});
  add_terms(g, n->inputs[0], minus, out, depth + 1);
  add_terms(g, n->inputs[1], minus != (name == "subtract"), out, depth + 1);
}

// mean(d^2)
std::optional<Moment> mean_square(const Graph& g, Value v) {
  const auto mean = mean_of(g, v);
  const Value d = mean ? squared(g, mean->of) : kNoValue;
  if (!d) return std::nullopt;
  if (const auto c = centred(g, d); c && c->axes == mean->axes) return Moment{c->of, c->axes, true};
  return Moment{d, mean->axes, false};
}

// mean(x^2) - mean(x)^2
std::optional<Moment> difference_of_squares(const Graph& g, const std::vector<Term>& terms) {
  if (terms.size() != 2 || terms[0].minus == terms[1].minus) return std::nullopt;
  const auto plus = mean_square(g, terms[terms[0].minus ? 1 : 0].v);
  const Value m = squared(g, unbroadcast(g, terms[terms[0].minus ? 0 : 1].v));
  const auto mean = m ? mean_of(g, m) : std::nullopt;
  if (!plus || plus->about_mean || !mean || mean->of != plus->of || mean->axes != plus->axes) return std::nullopt;
  return Moment{plus->of, plus->axes, true};
}

std::optional<Moment> moment(const Graph& g, const std::vector<Term>& terms) {
  if (terms.size() != 1) return difference_of_squares(g, terms);
  if (terms[0].minus) return std::nullopt;
  if (auto m = mean_square(g, terms[0].v)) return m;
  const auto above = operands(g, unbroadcast(g, terms[0].v), "maximum");  // rounding may put a difference of squares below 0
  if (!above) return std::nullopt;
  std::vector<Term> inner;
  if (splat_of(g, above->a) == 0.0) add_terms(g, above->b, false, inner);
  else if (splat_of(g, above->b) == 0.0) add_terms(g, above->a, false, inner);
  return difference_of_squares(g, inner);
}

std::optional<Root> root_of(const Graph& g, Value v) {
  Root out;
  out.stat = unbroadcast(g, v);
  const Node* n = g.producer(out.stat);
  if (!n) return std::nullopt;
  Value under;
  if (n->op->name == "rsqrt") {
    under = n->inputs[0];
  } else if (n->op->name == "sqrt") {
    under = n->inputs[0];
    out.inverse = false;
  } else if (n->op->name == "divide" && splat_of(g, n->inputs[0]) == 1.0) {
    const Node* s = made_by(g, unbroadcast(g, n->inputs[1]), "sqrt");
    if (!s) return std::nullopt;
    under = s->inputs[0];
  } else {
    return std::nullopt;
  }
  std::vector<Term> terms;
  add_terms(g, unbroadcast(g, under), false, terms);
  const auto number = std::find_if(terms.begin(), terms.end(), [&](const Term& t) { return splat_of(g, t.v).has_value(); });
  if (number == terms.end() || number->minus) return std::nullopt;
  out.epsilon = *splat_of(g, number->v);
  terms.erase(number);
  auto m = moment(g, terms);
  if (!m || !repeats_along(g, v, out.stat, m->axes, g.type(m->of).rank())) return std::nullopt;
  out.moment = std::move(*m);
  return out;
}

std::optional<Factor> factor_of(const Graph& g, Value v, const Type& x) {
  if (auto root = root_of(g, v)) return Factor{std::move(*root), kNoValue};
  const auto product = operands(g, v, "multiply");
  if (!product || !(g.type(v) == x)) return std::nullopt;
  for (const bool turned : {false, true}) {
    auto root = root_of(g, turned ? product->b : product->a);
    const Value scale = root && root->inverse ? row_operand(g, turned ? product->a : product->b, x, row_axes(x, root->moment.axes)) : kNoValue;
    if (scale) return Factor{std::move(*root), scale};
  }
  return std::nullopt;
}

// Factors of a product of statistics of rows (and a scale), flattened; a mean is one, however it is divided.
struct Product {
  bool minus = false;
  Values factors;
  Values spread;  // products that were broadcast on the way
};

void add_factors(const Graph& g, Value v, Product& out, int depth = 0) {
  const Value inner = unbroadcast(g, v);
  const Node* n = depth < 4 && !mean_of(g, inner) ? g.producer(inner) : nullptr;
  if (!n || (n->op->name != "multiply" && n->op->name != "negate")) return out.factors.push_back(v);
  if (inner != v) out.spread.push_back(v);
  if (n->op->name == "negate") out.minus = !out.minus;
  for (const Value in : n->inputs) add_factors(g, in, out, depth + 1);
}

// Whether a term is -mean(x) * f.
bool is_shift(const Graph& g, const Term& t, const Factor& f, const Type& x) {
  const Moment& m = f.root.moment;
  Product all{.minus = t.minus, .factors = {}, .spread = {}};
  add_factors(g, t.v, all);
  const auto take = [&](auto fits) {
    const auto at = std::ranges::find_if(all.factors, fits);
    if (at == all.factors.end()) return false;
    all.factors.erase(at);
    return true;
  };
  const auto repeated = [&](Value v) { return repeats_along(g, v, unbroadcast(g, v), m.axes, x.rank()); };
  const bool mean = take([&](Value v) {
    const auto found = mean_of(g, v);
    return found && found->of == m.of && found->axes == m.axes && repeated(v);
  });
  const bool root = take([&](Value v) { return unbroadcast(g, v) == f.root.stat && repeated(v); });
  const bool scale = !f.scale || take([&](Value v) { return row_operand(g, v, x, row_axes(x, m.axes)) == f.scale; });
  return all.minus && mean && root && scale && all.factors.empty() && std::ranges::all_of(all.spread, repeated);
}

}  // namespace

Value plain_norm(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  const bool divides = n.op->name == "divide";
  if (!divides && n.op->name != "multiply") return kNoValue;
  const Type& t = g.type(n.outputs[0]);
  if (!is_float(t.dtype)) return kNoValue;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    if (divides && side == 1) break;
    const Value d = n.inputs[side];
    const auto f = g.type(d) == t ? factor_of(g, n.inputs[1 - side], t) : std::nullopt;
    if (!f || f->root.inverse == divides) continue;
    const Moment& m = f->root.moment;
    if (!m.about_mean && m.of == d) return norm(r, "rms_norm", *f);
    const auto c = m.about_mean ? centred(g, d) : std::nullopt;
    if (c && c->of == m.of && c->axes == m.axes) return norm(r, "layer_norm", *f);
  }
  return kNoValue;
}

Value spread_norm(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  const Type& t = g.type(n.outputs[0]);
  if ((n.op->name != "add" && n.op->name != "subtract") || !is_float(t.dtype)) return kNoValue;
  std::vector<Term> terms;
  add_terms(g, n.outputs[0], false, terms);
  if (terms.size() < 2 || terms.size() > 3) return kNoValue;
  for (size_t k = 0; k < terms.size(); ++k) {
    const auto product = terms[k].minus ? std::nullopt : operands(g, terms[k].v, "multiply");
    if (!product) continue;
    for (const bool turned : {false, true}) {
      const Value x = turned ? product->b : product->a;
      const auto f = g.type(x) == t ? factor_of(g, turned ? product->a : product->b, t) : std::nullopt;
      if (!f || !f->root.inverse || !f->root.moment.about_mean || f->root.moment.of != x) continue;
      std::vector<Term> rest = terms;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(k));
      const auto shift = std::ranges::find_if(rest, [&](const Term& s) { return is_shift(g, s, *f, t); });
      if (shift == rest.end()) continue;
      rest.erase(shift);
      if (rest.empty()) return norm(r, "layer_norm", *f);
      const Value bias = rest[0].minus ? kNoValue : row_operand(g, rest[0].v, t, row_axes(t, f->root.moment.axes));
      if (bias) return norm(r, "layer_norm", *f, bias);
    }
  }
  return kNoValue;
}

Value norm_of_rows(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  const Node* inner = n.op->name == "reshape" ? g.producer(n.inputs[0]) : nullptr;
  if (!inner || inner->outputs[0] != n.inputs[0]) return kNoValue;
  std::string_view name = inner->op->name;
  int64_t axis = 0;
  if (name == "batch_norm_training") {
    if (splat_of(g, inner->inputs[1]) != 1.0 || splat_of(g, inner->inputs[2]) != 0.0) return kNoValue;
    Ints axes;
    const Type& x = g.type(inner->inputs[0]);
    for (int64_t a = 0; a < static_cast<int64_t>(x.rank()); ++a)
      if (a != inner->attrs.integer("feature_index")) axes.push_back(a);
    const Ints rows = axes.empty() ? axes : row_axes(x, axes);
    if (rows.empty() || rows.back() - rows.front() + 1 != static_cast<int64_t>(rows.size()) || rows.back() + 1 != static_cast<int64_t>(x.rank())) return kNoValue;
    axis = rows.front();
    name = "layer_norm";
  } else if (name == "layer_norm" || name == "rms_norm") {
    if (std::any_of(inner->inputs.begin() + 1, inner->inputs.end(), [](Value v) { return static_cast<bool>(v); })) return kNoValue;
    axis = inner->attrs.integer("axis");
  } else {
    return kNoValue;
  }
  const Node* before = made_by(g, inner->inputs[0], "reshape");
  if (!before || !(g.type(before->inputs[0]) == g.type(n.outputs[0]))) return kNoValue;
  const Dims &rows = g.type(inner->inputs[0]).dims, &x = g.type(before->inputs[0]).dims;
  const Dim wanted = product({rows.begin() + axis, rows.end()});
  Dim count = 1;
  for (size_t a = x.size(); a-- > 0;) {
    count = count * x[a];
    if (!(count == wanted)) continue;
    Values in{r(before->inputs[0]), kNoValue};
    if (name == "layer_norm") in.push_back(kNoValue);
    return r.builder().op(name, in, {{"axis", static_cast<int64_t>(a)}, {"epsilon", inner->attrs.number("epsilon")}});
  }
  return kNoValue;
}

Value affine_norm(Rewriter& r, const Node& n) {
  const Graph& g = r.old();
  const bool scale = n.op->name == "multiply";
  if (!scale && n.op->name != "add") return kNoValue;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Value y = n.inputs[side];
    const Node* turn = made_by(g, y, "transpose");
    const Node* norm = g.producer(turn ? turn->inputs[0] : y);
    if (!norm || !(g.type(y) == g.type(n.outputs[0]))) continue;
    const bool layer = norm->op->name == "layer_norm";
    if (!layer && (norm->op->name != "rms_norm" || !scale)) continue;
    if ((norm->inputs.size() > 1 && norm->inputs[1] && scale) || (layer && norm->inputs.size() > 2 && norm->inputs[2])) continue;
    const Type& x = g.type(norm->inputs[0]);
    Ints rows, from;
    for (int64_t a = 0; a < static_cast<int64_t>(x.rank()); ++a) {
      const int64_t source = turn ? turn->attrs.ints("permutation")[static_cast<size_t>(a)] : a;
      if (source < norm->attrs.integer("axis")) continue;
      rows.push_back(a);
      from.push_back(source);
    }
    const Value row = std::ranges::is_sorted(from) ? row_operand(g, n.inputs[1 - side], g.type(y), rows) : kNoValue;
    if (!row) continue;
    Builder& b = r.builder();
    const Value vector = b.reshape(r(row), {x.dims.begin() + norm->attrs.integer("axis"), x.dims.end()});
    Values in{r(norm->inputs[0]), scale ? vector : r(norm->inputs[1])};
    if (layer) in.push_back(scale ? kNoValue : vector);
    const Value out = b.op(norm->op->name, in, norm->attrs);
    return turn ? b.transpose(out, turn->attrs.ints("permutation")) : out;
  }
  return kNoValue;
}

}  // namespace bascule::passes
