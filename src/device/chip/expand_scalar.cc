// device/chip/expand_scalar.cc — functions of elements that no engine has, by those that engines have: inverse and hyperbolic functions, shifts, powers of
// integers, bits of integers, casts that wrap or saturate; and operators that only name what is there.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/chip/expand_rules.h"
#include "device/common/lower.h"
#include "graph/op_def.h"
#include "passes/match.h"

namespace bascule::device::chip {
namespace {

DType type_of(const Graph& g, Value v) { return g.type(v).dtype; }
std::string refuse_none(const Graph&, const Node&) { return ""; }

std::string refuse_reals(const Graph& g, const Node& n) { return is_float(type_of(g, n.inputs[0])) ? "" : "numbers that are no floats"; }

// Polynomials as exact as f32.
std::string refuse_wide(const Graph& g, const Node& n) { return is_float(type_of(g, n.inputs[0])) && info(type_of(g, n.inputs[0])).bits <= 32 ? "" : "numbers wider than f32"; }

constexpr double kLn2 = 0.6931471805599453;
constexpr double kFar = 1e9;  // beyond it x * x + 1 rounds to x * x, and may overflow

// sum_k coefficients[k] * x^(n - 1 - k)
Value polynomial(Builder& b, Value x, std::initializer_list<double> coefficients) {
  Value y;
  for (const double c : coefficients) y = y ? b.add(b.multiply(y, x), c) : b.full(b.dims(x), b.dtype(x), c);
  return y;
}

Value root_of_one_minus_square(Builder& b, Value x) { return b.sqrt(b.multiply(b.subtract(1, x), b.add(x, 1))); }

// asinh(|x|) = log1p(a + a^2 / (1 + sqrt(a^2 + 1))), log(a) + log 2 far out
Value asinh(Builder& b, Value x) {
  const Value a = b.abs(x), square = b.multiply(a, a);
  const Value near = b.unary("log_plus_one", b.add(a, b.divide(square, b.add(b.sqrt(b.add(square, 1)), 1))));
  return b.multiply(b.unary("sign", x), b.select(b.compare(a, kFar, "GT"), b.add(b.log(a), kLn2), near));
}

// acosh(x) = log1p(t + sqrt(2 t + t^2)), t = x - 1
Value acosh(Builder& b, Value x) {
  const Value t = b.subtract(x, 1);
  const Value near = b.unary("log_plus_one", b.add(t, b.sqrt(b.multiply(t, b.add(t, 2)))));
  return b.select(b.compare(x, kFar, "GT"), b.add(b.log(x), kLn2), near);
}

// sinh(x) = (e + e / (e + 1)) / 2, e = expm1(x); in halves far out, where e overflows before sinh does
Value sinh(Builder& b, Value x) {
  const Value a = b.abs(x), e = b.unary("exponential_minus_one", a), half = b.exp(b.multiply(a, 0.5));
  const Value near = b.multiply(b.add(e, b.divide(e, b.add(e, 1))), 0.5);
  return b.multiply(b.unary("sign", x), b.select(b.compare(a, 20, "GT"), b.multiply(b.multiply(half, 0.5), half), near));
}

Value cosh(Builder& b, Value x) {
  const Value up = b.exp(b.multiply(x, 0.5)), down = b.exp(b.multiply(x, -0.5));
  return b.add(b.multiply(b.multiply(up, 0.5), up), b.multiply(b.multiply(down, 0.5), down));
}

// 1 - erf(x) near 0, exp(-x^2) / |x| times a polynomial of 1 / x^2 beyond (Cephes, erfcf)
Value erfc(Builder& b, Value x) {
  const Value a = b.maximum(b.abs(x), 1), q = b.divide(1, a), y = b.multiply(q, q);
  const Value p = polynomial(b, y, {2.326819970068386e-2, -1.387039388740657e-1, 3.687424674597105e-1, -5.824733027278666e-1, 6.210004621745983e-1, -4.944515323274145e-1,
                                    3.404879937665872e-1, -2.741127028184656e-1, 5.638259427386472e-1});
  const Value r = polynomial(b, y, {-1.047766399936249e+1, 1.297719955372516e+1, -7.495518717768503e+0, 2.921019019210786e+0, -1.015265279202700e+0, 4.218463358204948e-1,
                                    -2.820767439740514e-1, 5.641895067754075e-1});
  const Value tail = b.multiply(b.multiply(b.exp(b.negate(b.multiply(a, a))), q), b.select(b.compare(a, 2, "LT"), p, r));
  const Value far = b.select(b.compare(x, 0, "LT"), b.subtract(2, tail), tail);
  return b.select(b.compare(b.abs(x), 1, "LT"), b.subtract(1, b.erf(x)), far);
}

// x times a polynomial of w = -log(1 - x^2) (Giles, "Approximating the erfinv function")
Value erf_inv(Builder& b, Value x) {
  const Value w = b.negate(b.unary("log_plus_one", b.negate(b.multiply(x, x))));
  const Value near = polynomial(b, b.subtract(w, 2.5), {2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941});
  const Value far = polynomial(b, b.subtract(b.sqrt(w), 3), {-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682});
  const Value y = b.multiply(b.select(b.compare(w, 5, "LT"), near, far), x);
  return b.select(b.compare(b.abs(x), 1, "EQ"), b.multiply(x, std::numeric_limits<double>::infinity()), y);
}

Values apply_function(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const DType t = type_of(r.old(), n.inputs[0]);
  const bool narrow = info(t).bits < 32;  // constants and steps in between in f32
  const Value x = narrow ? b.convert(r(n.inputs[0]), DType::f32) : r(n.inputs[0]);
  const std::string_view name = n.op->name;
  Value y;
  if (name == "asin") y = b.op("atan2", {x, root_of_one_minus_square(b, x)});
  else if (name == "acos") y = b.op("atan2", {root_of_one_minus_square(b, x), x});
  else if (name == "atan") y = b.binary("atan2", x, 1);
  else if (name == "asinh") y = asinh(b, x);
  else if (name == "acosh") y = acosh(b, x);
  else if (name == "atanh") y = b.multiply(b.subtract(b.unary("log_plus_one", x), b.unary("log_plus_one", b.negate(x))), 0.5);
  else if (name == "sinh") y = sinh(b, x);
  else if (name == "cosh") y = cosh(b, x);
  else if (name == "erfc") y = erfc(b, x);
  else y = erf_inv(b, x);
  return {b.convert(y, t)};
}

Values apply_infinite(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (!float_info(b.dtype(x)).has_inf) return {b.full(b.dims(x), DType::i1, 0)};
  if (n.op->name == "is_inf") return {b.compare(b.abs(x), kInfinity, "EQ")};
  return {b.compare(x, n.op->name == "is_pos_inf" ? kInfinity : -kInfinity, "EQ")};
}

// Of real numbers.
Values apply_part(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]);
  return {n.op->name == "imag" ? b.full(b.dims(x), b.dtype(x), 0) : x};
}

// ---- integers

DType unsigned_of(DType t) {
  switch (info(t).bits) {
    case 2: return DType::u2;
    case 4: return DType::u4;
    case 8: return DType::u8;
    case 16: return DType::u16;
    case 32: return DType::u32;
    default: return DType::u64;
  }
}

std::string refuse_shift(const Graph& g, const Node& n) {
  const DType t = type_of(g, n.inputs[0]);
  if (info(t).bits < 8) return "shifts of packed integers";
  return info(t).bits == 64 && n.op->name == "shift_right_logical" ? "quotients of 64 bits without sign" : "";
}

DType signed_of(DType t) {
  switch (info(t).bits) {
    case 8: return DType::i8;
    case 16: return DType::i16;
    case 32: return DType::i32;
    default: return DType::i64;
  }
}

enum class Shift { left, logical, arithmetic };

// x moved by a constant number of bits, fewer than it has.
Value moved(Builder& b, Value x, Shift shift, int bits) {
  const double factor = std::ldexp(1.0, bits);
  if (shift == Shift::left) return b.multiply(x, factor);
  const Value quotient = b.divide(x, factor);  // toward zero
  if (shift == Shift::logical) return quotient;
  return b.subtract(quotient, b.convert(b.compare(x, b.multiply(quotient, factor), "LT"), b.dtype(x)));
}

Values apply_shift(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const DType t = type_of(r.old(), n.inputs[0]);
  const int width = info(t).bits;
  const Shift shift = n.op->name == "shift_left" ? Shift::left : n.op->name == "shift_right_logical" ? Shift::logical : Shift::arithmetic;
  Value x = r(n.inputs[0]);
  const Value by = r(n.inputs[1]);
  if (shift == Shift::logical) x = b.convert(x, unsigned_of(t));
  if (shift == Shift::arithmetic) x = b.convert(x, signed_of(t));
  const DType work = b.dtype(x);
  if (const auto bits = passes::splat_of(r.old(), n.inputs[1])) {
    const bool all = *bits < 0 || *bits >= width;
    if (all && shift != Shift::arithmetic) return {b.full(b.dims(x), t, 0)};
    const int count = all ? width - 1 : static_cast<int>(*bits);
    if (count < width - 1 || is_unsigned_int(work)) return {b.convert(count == 0 ? x : moved(b, x, shift, count), t)};
    if (shift == Shift::arithmetic) return {b.convert(b.negate(b.convert(b.compare(x, 0, "LT"), work)), t)};
  }
  const Value beyond = b.logical_or(b.compare(by, 0, "LT"), b.compare(by, static_cast<double>(width - 1), "GT"));
  for (int bits = 1; bits < width; bits *= 2)
    x = b.select(b.compare(b.logical_and(by, static_cast<double>(bits)), 0, "NE"), moved(b, x, shift, bits), x);
  const Value limit = shift == Shift::arithmetic ? b.select(b.compare(b.convert(r(n.inputs[0]), work), 0, "LT"), b.full(b.dims(x), work, -1), 0) : b.full(b.dims(x), work, 0);
  return {b.convert(b.select(beyond, limit, x), t)};
}

std::string refuse_power(const Graph& g, const Node& n) {
  if (is_float(type_of(g, n.outputs[0]))) return std::string(kAsItIs);
  const auto k = passes::splat_of(g, n.inputs[1]);
  return k && *k >= 0 && *k <= 64 && is_int(type_of(g, n.inputs[0])) ? "" : "powers of integers to a computed or negative exponent";
}

Values apply_power(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  Value square = r(n.inputs[0]), y;
  for (auto k = static_cast<int64_t>(*passes::splat_of(r.old(), n.inputs[1])); k > 0; k /= 2) {
    if (k % 2) y = y ? b.multiply(y, square) : square;
    if (k > 1) square = b.multiply(square, square);
  }
  return {y ? y : b.full(b.dims(square), b.dtype(square), 1)};
}

std::string refuse_bits(const Graph& g, const Node& n) {
  const DType from = type_of(g, n.inputs[0]), to = type_of(g, n.outputs[0]);
  if (from == to) return "";
  if (!is_int(from) || !is_int(to)) return "the chip's engines do not see a float's bits";
  const int a = info(from).bits, b = info(to).bits;
  if (a == b) return "";
  const int most = std::max(a, b), least = std::min(a, b);
  return least >= 4 && most <= 32 && g.type(n.inputs[0]).ranked ? "" : "bits of integers this wide or narrow";
}

// Integers as parts of others: low bits first.
Values apply_bits(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]);
  const DType to = type_of(r.old(), n.outputs[0]);
  const int a = info(b.dtype(x)).bits, w = info(to).bits;
  if (a == w) return {b.convert(x, to)};
  if (a > w) {
    const Value whole = b.convert(b.convert(x, unsigned_of(b.dtype(x))), a < 32 ? DType::i32 : DType::u32);
    Values parts;
    for (int k = 0; k < a; k += w) {
      const Value part = k == 0 ? whole : b.divide(whole, std::ldexp(1.0, k));
      parts.push_back(b.unsqueeze(k + w < a ? b.logical_and(part, std::ldexp(1.0, w) - 1) : part, {b.rank(x)}));
    }
    return {b.convert(b.concatenate(parts, b.rank(x)), to)};
  }
  const int64_t axis = b.rank(x) - 1;
  const Value parts = b.convert(b.convert(x, unsigned_of(b.dtype(x))), DType::u32);
  Value whole;
  for (int k = 0; k < w; k += a) {
    Value part = b.squeeze(b.slice_axis(parts, axis, k / a, k / a + 1), {axis});
    if (k > 0) part = b.multiply(part, std::ldexp(1.0, k));
    whole = whole ? b.add(whole, part) : part;
  }
  return {b.convert(whole, to)};
}

// ---- casts

std::string refuse_convert(const Graph& g, const Node& n) {
  if (scalar_op(g, n)) return std::string(kAsItIs);
  const DType from = type_of(g, n.inputs[0]), to = type_of(g, n.outputs[0]);
  if (is_float(from) && is_int(to)) return "";
  const bool nearest = !n.attrs.has("round_mode") || n.attrs.text("round_mode") == "nearest";
  return is_float(to) && is_float(from) && nearest && to != DType::f8e8m0fnu ? "" : "a cast to " + std::string(info(to).name) + " of this rounding";
}

// To integers that wrap: by way of 64 bits. To narrow floats that saturate: clamped before.
Values apply_convert(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]);
  const DType to = type_of(r.old(), n.outputs[0]);
  if (is_int(to)) return {b.convert(b.convert(x, DType::i64), to)};
  const FloatInfo f = float_info(to);
  const Value wide = info(b.dtype(x)).bits < 32 ? b.convert(x, DType::f32) : x;
  return {b.convert(b.clamp(-f.largest, wide, f.largest), to)};
}

// ---- names

Values apply_identity(passes::Rewriter& r, const Node& n) {
  Values out;
  for (const Value v : n.inputs) out.push_back(r(v));
  return out;
}
std::string refuse_barrier(const Graph& g, const Node& n) {
  if (n.outputs.size() == 1) return std::string(kAsItIs);
  return std::all_of(n.inputs.begin(), n.inputs.end(), [&](Value v) { return g.type(v).is_tensor(); }) ? "" : "values that are no tensors";
}

Values apply_dimension_size(passes::Rewriter& r, const Node& n) {
  const Dim& d = r.old().type(n.inputs[0]).dims[static_cast<size_t>(n.attrs.integer("dimension"))];
  return {r.builder().constant(Tensor::scalar_int(DType::i32, d.value()))};
}

}  // namespace

std::vector<ExpansionRule> scalar_rules() {
  std::vector<ExpansionRule> rules;
  for (const char* name : {"asin", "acos", "atan", "asinh", "acosh", "atanh", "sinh", "cosh"}) rules.push_back({name, refuse_reals, apply_function});
  for (const char* name : {"erfc", "erf_inv"}) rules.push_back({name, refuse_wide, apply_function});
  for (const char* name : {"is_inf", "is_pos_inf", "is_neg_inf"}) rules.push_back({name, refuse_reals, apply_infinite});
  for (const char* name : {"real", "imag", "conj"}) rules.push_back({name, refuse_reals, apply_part});
  for (const char* name : {"shift_left", "shift_right_logical", "shift_right_arithmetic"}) rules.push_back({name, refuse_shift, apply_shift});
  rules.push_back({"power", refuse_power, apply_power});
  rules.push_back({"bitcast_convert", refuse_bits, apply_bits});
  rules.push_back({"convert", refuse_convert, apply_convert});
  rules.push_back({"optimization_barrier", refuse_barrier, apply_identity});
  rules.push_back({"get_dimension_size", refuse_none, apply_dimension_size});
  return rules;
}

}  // namespace bascule::device::chip
