// import/onnx/math.cc — ONNX arithmetic, logic, comparison, matrix products and einsum.
#include <algorithm>
#include <functional>
#include <limits>
#include <map>

#include "import/onnx/broadcast.h"

namespace bascule::onnx {
namespace {

// ---------------------------------------------------------------------------------------------------- einsum
// An operand of an einsum and the label of each of its axes. Ellipsis axes have labels of their own, aligned to the right.
struct Term {
  Value x;
  std::vector<int> labels;
};

constexpr int kEllipsisLabel = 1000;  // label of the last ellipsis axis; the one before is one less

// "ab...c" -> labels; `ellipsis` is how many axes "..." stands for, -1 when not allowed to be known.
std::vector<int> parse_term(NodeContext& n, const std::string& text, int64_t ellipsis) {
  std::vector<int> labels;
  bool seen = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      labels.push_back(c);
    } else if (text.compare(i, 3, "...") == 0 && !seen) {
      for (int64_t e = ellipsis; e-- > 0;) labels.push_back(kEllipsisLabel - static_cast<int>(e));
      seen = true;
      i += 2;
    } else {
      n.fail("an einsum term of letters with at most one '...'", "'" + escaped(text) + "'");
    }
  }
  return labels;
}

// One axis per label: repeated labels become the diagonal. y = sum over the second axis of where(i == j, x, 0).
Term take_diagonals(Builder& b, Term t) {
  for (size_t i = 0; i < t.labels.size(); ++i)
    for (size_t j = t.labels.size(); --j > i;) {
      if (t.labels[i] != t.labels[j]) continue;
      if (!(b.dim(t.x, static_cast<int64_t>(i)) == b.dim(t.x, static_cast<int64_t>(j))) && b.dim(t.x, static_cast<int64_t>(i)).is_constant() &&
          b.dim(t.x, static_cast<int64_t>(j)).is_constant())
        b.fail("equal extents of a repeated label", b.type(t.x).text());
      const Dims d = b.dims(t.x);
      const Value same = b.compare(b.iota(DType::i32, d, static_cast<int64_t>(i)), b.iota(DType::i32, d, static_cast<int64_t>(j)), "EQ");
      t.x = b.sum(b.select(same, t.x, 0), {static_cast<int64_t>(j)}, false);
      t.labels.erase(t.labels.begin() + static_cast<int64_t>(j));
    }
  return t;
}

Term sum_out(Builder& b, Term t, const std::function<bool(int)>& keep) {
  Ints axes;
  std::vector<int> left;
  for (size_t i = 0; i < t.labels.size(); ++i) {
    if (keep(t.labels[i])) left.push_back(t.labels[i]);
    else axes.push_back(static_cast<int64_t>(i));
  }
  if (axes.empty()) return t;
  return {b.sum(t.x, axes, false), left};
}

// Axes of extent 1 whose label has another extent in `other` stretch: they are dropped.
Term drop_stretched(Builder& b, Term t, const Term& other) {
  Ints axes;
  for (size_t i = t.labels.size(); i-- > 0;) {
    const auto at = std::find(other.labels.begin(), other.labels.end(), t.labels[i]);
    if (at == other.labels.end() || !b.dim(t.x, static_cast<int64_t>(i)).is(1) || b.dim(other.x, at - other.labels.begin()).is(1)) continue;
    axes.push_back(static_cast<int64_t>(i));
    t.labels.erase(t.labels.begin() + static_cast<int64_t>(i));
  }
  if (!axes.empty()) t.x = b.squeeze(t.x, axes);
  return t;
}

Term contract(Builder& b, Term l, Term r, const std::function<bool(int)>& keep) {
  const auto in = [](const Term& t, int label) { return std::find(t.labels.begin(), t.labels.end(), label) != t.labels.end(); };
  l = sum_out(b, std::move(l), [&](int label) { return keep(label) || in(r, label); });
  r = sum_out(b, std::move(r), [&](int label) { return keep(label) || in(l, label); });
  const Term l0 = l;
  l = drop_stretched(b, std::move(l), r);
  r = drop_stretched(b, std::move(r), l0);
  // A label summed here that only one side still has (the other stretched it) is summed there.
  l = sum_out(b, std::move(l), [&](int label) { return keep(label) || in(r, label); });
  r = sum_out(b, std::move(r), [&](int label) { return keep(label) || in(l, label); });
  Ints l_batch, r_batch, l_contract, r_contract;
  std::vector<int> labels;
  for (size_t i = 0; i < l.labels.size(); ++i) {
    const auto at = std::find(r.labels.begin(), r.labels.end(), l.labels[i]);
    if (at == r.labels.end()) continue;
    const bool batch = keep(l.labels[i]);
    (batch ? l_batch : l_contract).push_back(static_cast<int64_t>(i));
    (batch ? r_batch : r_contract).push_back(at - r.labels.begin());
    if (batch) labels.push_back(l.labels[i]);
  }
  for (const int label : l.labels)
    if (!in(r, label)) labels.push_back(label);
  for (const int label : r.labels)
    if (!in(l, label)) labels.push_back(label);
  return {b.dot_general(l.x, r.x, l_batch, r_batch, l_contract, r_contract), labels};
}

Value einsum(NodeContext& n, Builder& b, std::string equation) {
  std::erase(equation, ' ');
  const size_t arrow = equation.find("->");
  const std::string left = equation.substr(0, arrow);
  std::vector<std::string> texts(1);
  for (const char c : left) {
    if (c == ',') texts.emplace_back();
    else texts.back() += c;
  }
  if (texts.size() != n.inputs())
    n.fail(std::to_string(n.inputs()) + " terms in the einsum equation, one for each operand", "'" + escaped(equation) + "'");
  std::vector<Term> terms;
  int64_t ellipsis = 0;
  std::map<int, int> count;
  for (size_t i = 0; i < texts.size(); ++i) {
    const Value x = n.in(i);
    const bool dots = texts[i].find("...") != std::string::npos;
    const int64_t letters = static_cast<int64_t>(texts[i].size()) - (dots ? 3 : 0);
    const int64_t rest = b.rank(x) - letters;
    if (rest < 0 || (!dots && rest != 0))
      n.fail("term '" + escaped(texts[i]) + "' with one label for each axis of " + b.type(x).text(), std::to_string(letters) + " labels");
    terms.push_back({x, parse_term(n, texts[i], rest)});
    if (dots) ellipsis = std::max(ellipsis, rest);
    for (const int label : terms.back().labels) ++count[label];
  }
  std::vector<int> out;
  if (arrow != std::string::npos) {
    out = parse_term(n, equation.substr(arrow + 2), ellipsis);
  } else {
    for (int64_t e = ellipsis; e-- > 0;) out.push_back(kEllipsisLabel - static_cast<int>(e));
    for (const auto& [label, uses] : count)
      if (label < 256 && uses == 1) out.push_back(label);
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (!count.contains(out[i])) n.fail("output labels that occur in an operand", "'" + escaped(equation) + "'");
    if (std::find(out.begin(), out.begin() + static_cast<int64_t>(i), out[i]) != out.begin() + static_cast<int64_t>(i))
      n.fail("each output label once", "'" + escaped(equation) + "'");
  }
  const auto in_output = [&](int label) { return std::find(out.begin(), out.end(), label) != out.end(); };
  for (Term& t : terms) t = take_diagonals(b, std::move(t));
  Term result = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) {
    const auto keep = [&](int label) {
      if (in_output(label)) return true;
      for (size_t j = i + 1; j < terms.size(); ++j)
        if (std::find(terms[j].labels.begin(), terms[j].labels.end(), label) != terms[j].labels.end()) return true;
      return false;
    };
    result = contract(b, std::move(result), terms[i], keep);
  }
  result = sum_out(b, std::move(result), in_output);
  Ints order;
  for (const int label : out) order.push_back(std::find(result.labels.begin(), result.labels.end(), label) - result.labels.begin());
  return b.transpose(result.x, order);
}

// ---------------------------------------------------------------------------------------------------- helpers
Value sign_of(Builder& b, Value x) {
  if (is_unsigned_int(b.dtype(x))) return b.minimum(x, 1);
  return b.unary("sign", x);
}

Value pow_values(Builder& b, Value x, Value y) {
  const DType t = b.dtype(x), u = b.dtype(y);
  if (t == u) return b.power(x, y);
  DType wide = DType::i64;
  if (is_float(t)) wide = is_float(u) && info(u).bits > info(t).bits ? u : t;
  else if (is_float(u)) wide = DType::f64;
  return b.convert(b.power(b.convert(x, wide), b.convert(y, wide)), t);
}

// A - floor(A / B) * B: the sign of B.
Value floor_mod(Builder& b, Value x, Value y) {
  const DType t = b.dtype(x);
  const Value r = b.remainder(x, y);
  if (is_unsigned_int(t)) return r;
  const Value zero = b.compare(r, 0, "EQ"), differ = b.compare(b.compare(r, 0, "LT"), b.compare(y, 0, "LT"), "NE");
  const Value shifted = b.select(b.logical_and(differ, b.logical_not(zero)), b.add(r, y), r);
  if (!is_float(t)) return shifted;
  return b.select(zero, b.select(b.compare(y, 0, "LT"), b.constant_like(-0.0, t), b.constant_like(0.0, t)), shifted);
}

Value gemm(NodeContext& n, Builder& b) {
  const Value a = n.in(0), w = n.in(1);
  if (b.rank(a) != 2 || b.rank(w) != 2) n.fail("A and B of rank 2", b.type(a).text() + " and " + b.type(w).text());
  Value y = b.dot_general(a, w, {}, {}, {n.flag("transA", false) ? 0 : 1}, {n.flag("transB", false) ? 1 : 0});
  const double alpha = n.number("alpha", 1.0), beta = n.number("beta", 1.0);
  const auto scaled = [&](Value x, double factor) {
    if (factor == 1) return x;
    const DType t = b.dtype(x);
    if (is_float(t)) return b.multiply(x, factor);
    return b.convert(b.multiply(b.convert(x, DType::f64), factor), t);
  };
  y = scaled(y, alpha);
  if (!n.has(2)) return y;
  const Value c = scaled(n.in(2), beta);
  if (b.rank(c) > 2) n.fail("C of rank 2 or less", b.type(c).text());
  return b.add(y, b.broadcast_to(c, b.dims(y)));
}

Value legacy(NodeContext& n, Builder& b, std::string_view op) {
  const Value y = legacy_operand(n, b, 1);
  return b.binary(op, n.in(0), y);
}

// A bound of Clip: a scalar, also when given as one element of rank 1.
Value bound(NodeContext& n, Builder& b, size_t i) {
  const Value v = n.in(i);
  if (b.rank(v) == 0) return v;
  if (b.rank(v) == 1 && !b.dim(v, 0).is(0)) return b.reshape(v, {});
  n.fail("a scalar bound", b.type(v).text());
}

Value clip(NodeContext& n, Builder& b) {
  const Value x = n.in(0);
  if (n.has(1) && n.has(2)) return b.clamp(bound(n, b, 1), x, bound(n, b, 2));
  if (n.has(1)) return b.maximum(x, bound(n, b, 1));
  return n.has(2) ? b.minimum(x, bound(n, b, 2)) : x;
}

Value shift(NodeContext& n, Builder& b) {
  const std::string direction = n.text("direction");
  if (direction != "LEFT" && direction != "RIGHT") n.fail("direction LEFT or RIGHT", "'" + escaped(direction) + "'");
  const Value x = n.in(0), y = n.in(1);
  if (direction == "LEFT") return b.binary("shift_left", x, y);
  return b.binary(is_signed_int(b.dtype(x)) ? "shift_right_arithmetic" : "shift_right_logical", x, y);
}

Value compared(Builder& b, Value x, Value y, std::string_view direction) {
  if (is_string(b.dtype(x))) {
    const Dims out = b.broadcast_dims(b.dims(x), b.dims(y));
    return b.op("string_equal", {b.broadcast_to(x, out), b.broadcast_to(y, out)});
  }
  return b.compare(x, y, direction);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- one operand
#define BASCULE_UNARY(Name, Since, core) \
  ONNX_OP(Name, Since) {                 \
    n.ignore("consumed_inputs");         \
    return b.unary(core, n.in(0));       \
  }

ONNX_OP(Abs, 1) {
  n.ignore("consumed_inputs");
  const Value x = n.in(0);
  return is_unsigned_int(b.dtype(x)) ? x : b.abs(x);
}
BASCULE_UNARY(Acos, 7, "acos")
BASCULE_UNARY(Acosh, 9, "acosh")
BASCULE_UNARY(Asin, 7, "asin")
BASCULE_UNARY(Asinh, 9, "asinh")
BASCULE_UNARY(Atan, 7, "atan")
BASCULE_UNARY(Atanh, 9, "atanh")
BASCULE_UNARY(BitwiseNot, 18, "not")
BASCULE_UNARY(Ceil, 1, "ceil")
BASCULE_UNARY(Cos, 7, "cosine")
BASCULE_UNARY(Cosh, 9, "cosh")
ONNX_OP(Erf, 9) {
  const Value x = n.in(0);
  const DType t = b.dtype(x);
  return is_int(t) ? b.convert(b.erf(b.convert(x, DType::f64)), t) : b.erf(x);
}
BASCULE_UNARY(Exp, 1, "exponential")
BASCULE_UNARY(Floor, 1, "floor")
BASCULE_UNARY(Log, 1, "log")
BASCULE_UNARY(Neg, 1, "negate")
BASCULE_UNARY(Not, 1, "not")
BASCULE_UNARY(Round, 11, "round_nearest_even")
BASCULE_UNARY(Sin, 7, "sine")
BASCULE_UNARY(Sinh, 9, "sinh")
BASCULE_UNARY(Sqrt, 1, "sqrt")
BASCULE_UNARY(Tan, 7, "tan")
BASCULE_UNARY(Tanh, 1, "tanh")
BASCULE_UNARY(Det, 11, "determinant")
#undef BASCULE_UNARY
ONNX_OP(Reciprocal, 1) {
  n.ignore("consumed_inputs");
  return b.divide(1, n.in(0));
}
ONNX_OP(Sign, 9) { return sign_of(b, n.in(0)); }
ONNX_OP(IsNaN, 9) {
  const Value x = n.in(0);
  return b.compare(x, x, "NE");
}
ONNX_OP(IsInf, 10) {
  const Value x = n.in(0);
  const DType t = b.dtype(x);
  const bool negative = n.flag("detect_negative", true), positive = n.flag("detect_positive", true);
  if (!is_float(t)) n.fail("floats", b.type(x).text());
  if (!float_info(t).has_inf || (!negative && !positive)) return b.full(b.dims(x), DType::i1, 0);
  constexpr double kInf = std::numeric_limits<double>::infinity();
  if (negative && positive) return b.compare(b.abs(x), kInf, "EQ");
  return b.compare(x, positive ? kInf : -kInf, "EQ");
}

// ---------------------------------------------------------------------------------------------------- two operands
#define BASCULE_BINARY(Name, core)                \
  ONNX_OP(Name, 1) { return legacy(n, b, core); } \
  ONNX_OP(Name, 7) { return b.binary(core, n.in(0), n.in(1)); }
BASCULE_BINARY(Add, "add")
BASCULE_BINARY(Sub, "subtract")
BASCULE_BINARY(Mul, "multiply")
BASCULE_BINARY(Div, "divide")  // integers truncate toward zero
BASCULE_BINARY(And, "and")
BASCULE_BINARY(Or, "or")
BASCULE_BINARY(Xor, "xor")
#undef BASCULE_BINARY
ONNX_OP(BitwiseAnd, 18) { return b.logical_and(n.in(0), n.in(1)); }
ONNX_OP(BitwiseOr, 18) { return b.logical_or(n.in(0), n.in(1)); }
ONNX_OP(BitwiseXor, 18) { return b.logical_xor(n.in(0), n.in(1)); }
ONNX_OP(BitShift, 11) { return shift(n, b); }
ONNX_OP(Pow, 1) {
  const Value y = legacy_operand(n, b, 1);
  return pow_values(b, n.in(0), y);
}
ONNX_OP(Pow, 7) { return pow_values(b, n.in(0), n.in(1)); }
ONNX_OP(Mod, 10) {
  const Value x = n.in(0), y = n.in(1);
  const int64_t fmod = n.integer("fmod", 0);
  if (fmod != 0 && fmod != 1) n.fail("fmod 0 or 1", std::to_string(fmod));
  return fmod == 1 ? b.remainder(x, y) : floor_mod(b, x, y);
}

#define BASCULE_COMPARE(Name, direction)       \
  ONNX_OP(Name, 1) {                           \
    const Value y = legacy_operand(n, b, 1);   \
    return compared(b, n.in(0), y, direction); \
  }                                            \
  ONNX_OP(Name, 7) { return compared(b, n.in(0), n.in(1), direction); }
BASCULE_COMPARE(Equal, "EQ")
BASCULE_COMPARE(Greater, "GT")
BASCULE_COMPARE(Less, "LT")
#undef BASCULE_COMPARE
ONNX_OP(GreaterOrEqual, 12) { return b.compare(n.in(0), n.in(1), "GE"); }
ONNX_OP(LessOrEqual, 12) { return b.compare(n.in(0), n.in(1), "LE"); }

// ---------------------------------------------------------------------------------------------------- any number of operands
ONNX_OP(Max, 1) { return fold_operands(n, b, "maximum"); }
ONNX_OP(Min, 1) { return fold_operands(n, b, "minimum"); }
ONNX_OP(Sum, 1) { return fold_operands(n, b, "add"); }
ONNX_OP(Mean, 1) { return b.divide(fold_operands(n, b, "add"), static_cast<double>(n.inputs())); }

// ---------------------------------------------------------------------------------------------------- clip
ONNX_OP(Clip, 1) {
  n.ignore("consumed_inputs");
  const Value x = n.in(0);
  if (n.has_attr("min") && n.has_attr("max")) return b.clamp(n.number("min"), x, n.number("max"));
  if (n.has_attr("min")) return b.maximum(x, n.number("min"));
  return n.has_attr("max") ? b.minimum(x, n.number("max")) : x;
}
ONNX_OP(Clip, 11) { return clip(n, b); }

// ---------------------------------------------------------------------------------------------------- products
ONNX_OP(MatMul, 1) { return b.matmul(n.in(0), n.in(1)); }
ONNX_OP(Gemm, 1) {
  n.ignore("broadcast");  // C stretches to the result from version 7 on anyway; a file with broadcast = 0 has a C of the result's shape
  return gemm(n, b);
}
ONNX_OP(Gemm, 7) { return gemm(n, b); }
ONNX_OP(Einsum, 12) { return einsum(n, b, n.text("equation")); }

}  // namespace bascule::onnx
