// loops/interpret.cc — see interpret.h.
#include "loops/interpret.h"

#include <cmath>
#include <numbers>

#include "base/budget.h"
#include "base/error.h"

namespace bascule::loops {
namespace {

double float_op(Op op, double a, double b) {
  switch (op) {
    case Op::add: return a + b;
    case Op::subtract: return a - b;
    case Op::multiply: return a * b;
    case Op::divide: return a / b;
    case Op::maximum: return std::isnan(a) || std::isnan(b) ? NAN : std::fmax(a, b);
    case Op::minimum: return std::isnan(a) || std::isnan(b) ? NAN : std::fmin(a, b);
    case Op::remainder: return std::fmod(a, b);
    case Op::power: return std::pow(a, b);
    case Op::atan2: return std::atan2(a, b);
    case Op::negate: return -a;
    case Op::abs: return std::fabs(a);
    case Op::sign: return std::isnan(a) || a == 0 ? a : a > 0 ? 1 : -1;
    case Op::exponential: return std::exp(a);
    case Op::exponential_minus_one: return std::expm1(a);
    case Op::log: return std::log(a);
    case Op::log_plus_one: return std::log1p(a);
    case Op::sqrt: return std::sqrt(a);
    case Op::rsqrt: return 1 / std::sqrt(a);
    case Op::cbrt: return std::cbrt(a);
    case Op::tanh: return std::tanh(a);
    case Op::logistic: return 1 / (1 + std::exp(-a));
    case Op::erf: return std::erf(a);
    case Op::gelu: return 0.5 * a * std::erfc(-a / std::numbers::sqrt2);
    case Op::gelu_tanh: return 0.5 * a * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (a + 0.044715 * a * a * a)));
    case Op::silu: return a / (1 + std::exp(-a));
    case Op::sine: return std::sin(a);
    case Op::cosine: return std::cos(a);
    case Op::tan: return std::tan(a);
    case Op::floor: return std::floor(a);
    case Op::ceil: return std::ceil(a);
    case Op::round_nearest_even: return std::nearbyint(a);
    case Op::round_nearest_afz: return std::round(a);
    default: break;
  }
  fail_internal(std::string("scalar ") + name(op), "an operator of floats", "another");
}

int64_t int_op(Op op, int64_t a, int64_t b, DType t) {
  const auto u = [](int64_t x) { return static_cast<uint64_t>(x); };
  switch (op) {
    case Op::add: return is_bool(t) ? (a | b) : static_cast<int64_t>(u(a) + u(b));
    case Op::subtract: return static_cast<int64_t>(u(a) - u(b));
    case Op::multiply: return is_bool(t) ? (a & b) : static_cast<int64_t>(u(a) * u(b));
    case Op::divide: return b == 0 ? -1 : b == -1 ? static_cast<int64_t>(0 - u(a)) : a / b;
    case Op::remainder: return b == 0 ? a : b == -1 ? 0 : a % b;
    case Op::maximum: return a > b ? a : b;
    case Op::minimum: return a < b ? a : b;
    case Op::bit_and: return a & b;
    case Op::bit_or: return a | b;
    case Op::bit_xor: return a ^ b;
    case Op::bit_not: return is_bool(t) ? !a : ~a;
    case Op::negate: return static_cast<int64_t>(0 - u(a));
    case Op::abs: return a < 0 ? static_cast<int64_t>(0 - u(a)) : a;
    case Op::sign: return (a > 0) - (a < 0);
    default: break;
  }
  fail_internal(std::string("scalar ") + name(op), "an operator of integers", "another");
}

bool compared(Op op, auto a, auto b) {
  switch (op) {
    case Op::equal: return a == b;
    case Op::not_equal: return a != b;
    case Op::less: return a < b;
    case Op::less_equal: return a <= b;
    case Op::greater: return a > b;
    default: return a >= b;
  }
}

int64_t wrapped(DType t, int64_t x) {
  std::byte cell[8];
  store_int(t, cell, 0, x);
  return load_int(t, cell, 0);
}

}  // namespace

Scalar apply(Op op, DType result, DType operand, Scalar a, Scalar b, Scalar c) {
  Scalar out;
  if (op == Op::select) return a.integer ? b : c;
  if (op >= Op::equal && op <= Op::greater_equal) {
    out.integer = is_float(operand) ? compared(op, a.number, b.number) : compared(op, a.integer, b.integer);
  } else if (op == Op::is_finite) {
    out.integer = std::isfinite(a.number);
  } else if (op == Op::convert) {
    std::byte cell[8];
    if (is_float(operand) && is_int(result)) {  // saturates, NaN is 0
      const double low = static_cast<double>(int_min(result)), high = result == DType::u64 ? 0x1p64 : static_cast<double>(int_max(result)), x = std::trunc(a.number);
      if (result == DType::u64) store_int(result, cell, 0, x >= high ? -1 : x > 0 ? static_cast<int64_t>(static_cast<uint64_t>(x)) : 0);
      else store_int(result, cell, 0, std::isnan(x) ? 0 : x <= low ? int_min(result) : x >= high ? int_max(result) : static_cast<int64_t>(x));
    } else if (is_float(operand)) {
      store_double(result, cell, 0, a.number);
    } else {
      store_int(result, cell, 0, a.integer);
    }
    if (is_float(result)) out.number = load_double(result, cell, 0);
    else out.integer = load_int(result, cell, 0);
  } else if (is_float(result)) {
    out.number = round_to(result, float_op(op, a.number, b.number));
  } else {
    out.integer = wrapped(result, int_op(op, a.integer, b.integer, result));
  }
  return out;
}

void interpret(const KernelSpec& spec, std::span<std::byte* const> pointers) {
  if (const std::string wrong = spec.check(); !wrong.empty()) fail_internal("interpreter of loops", "a whole KernelSpec", wrong);
  std::vector<size_t> outer, inner;
  for (size_t a = 0; a < spec.axes.size(); ++a) (spec.axes[a].role == Role::parallel ? outer : inner).push_back(a);
  std::vector<int64_t> index(spec.axes.size(), 0);
  std::vector<Scalar> value(spec.body.size() + spec.epilogue.size()), accumulator(spec.reductions.size());
  const auto element = [&](size_t operand) {
    int64_t at = spec.operands[operand].offset;
    for (size_t a = 0; a < index.size(); ++a) at += index[a] * spec.operands[operand].strides[a];
    return at;
  };
  const auto type_of = [&](int32_t v) { return static_cast<size_t>(v) < spec.body.size() ? spec.body[static_cast<size_t>(v)].dtype : spec.epilogue[static_cast<size_t>(v) - spec.body.size()].dtype; };
  const auto run = [&](const std::vector<Instruction>& list, size_t base) {
    for (size_t k = 0; k < list.size(); ++k) {
      const Instruction& i = list[k];
      Scalar& out = value[base + k];
      if (i.op == Op::load) {
        const Operand& o = spec.operands[static_cast<size_t>(i.index)];
        const int64_t at = element(static_cast<size_t>(i.index));
        if (is_float(o.dtype)) out.number = load_double(o.dtype, pointers[static_cast<size_t>(i.index)], at);
        else out.integer = load_int(o.dtype, pointers[static_cast<size_t>(i.index)], at);
      } else if (i.op == Op::constant) {
        out = {i.number, i.integer};
      } else if (i.op == Op::iota) {
        out = {static_cast<double>(index[static_cast<size_t>(i.index)]), index[static_cast<size_t>(i.index)]};
      } else if (i.op == Op::accumulator) {
        out = accumulator[static_cast<size_t>(i.index)];
      } else {
        const auto get = [&](int32_t v) { return v < 0 ? Scalar{} : value[static_cast<size_t>(v)]; };
        out = apply(i.op, i.dtype, type_of(i.a), get(i.a), get(i.b), get(i.c));
      }
    }
  };
  // Visits the points of some axes in row-major order.
  const auto visit = [&](const std::vector<size_t>& axes, const auto& f) {
    for (const size_t a : axes)
      if (spec.axes[a].extent == 0) return;
    for (const size_t a : axes) index[a] = 0;
    for (;;) {
      check_budget();
      f();
      size_t k = axes.size();
      while (k > 0 && ++index[axes[k - 1]] == spec.axes[axes[k - 1]].extent) index[axes[--k]] = 0;
      if (k == 0) return;
    }
  };
  visit(outer, [&] {
    if (spec.reductions.empty()) {
      run(spec.body, 0);
    } else {
      for (size_t r = 0; r < accumulator.size(); ++r) accumulator[r] = {spec.reductions[r].initial_number, spec.reductions[r].initial_integer};
      visit(inner, [&] {
        run(spec.body, 0);
        for (size_t r = 0; r < accumulator.size(); ++r) {
          const Reduction& f = spec.reductions[r];
          const Scalar x = value[static_cast<size_t>(f.value)];
          // Sums of floats are kept in double: the oracle of any order of summation.
          if (is_float(f.dtype)) accumulator[r].number = float_op(f.fold, accumulator[r].number, x.number);
          else accumulator[r] = apply(f.fold, f.dtype, f.dtype, accumulator[r], x, {});
        }
      });
      for (size_t r = 0; r < accumulator.size(); ++r)
        if (is_float(spec.reductions[r].dtype)) accumulator[r].number = round_to(spec.reductions[r].dtype, accumulator[r].number);
      for (const size_t a : inner) index[a] = 0;
    }
    run(spec.epilogue, spec.body.size());
    for (const Store& s : spec.stores) {
      const auto o = static_cast<size_t>(s.operand);
      const DType t = spec.operands[o].dtype;
      if (is_float(t)) store_double(t, pointers[o], element(o), value[static_cast<size_t>(s.value)].number);
      else store_int(t, pointers[o], element(o), value[static_cast<size_t>(s.value)].integer);
    }
  });
}

}  // namespace bascule::loops
