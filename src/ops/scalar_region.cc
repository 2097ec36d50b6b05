// ops/scalar_region.cc — compiles regions of scalar operators; see the header for what is compiled and what is interpreted.
#include "ops/scalar_region.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/budget.h"

namespace bascule::ops {

Scalar load_scalar(DType t, const std::byte* p, int64_t i) {
  Scalar x;
  if (is_float(t)) {
    x.real = load_double(t, p, i);
  } else if (is_complex(t)) {
    const auto c = load_complex(t, p, i);
    x.real = c.real();
    x.imaginary = c.imag();
  } else {
    x.integer = load_int(t, p, i);
  }
  return x;
}

void store_scalar(DType t, std::byte* p, int64_t i, const Scalar& x) {
  if (is_float(t)) store_double(t, p, i, x.real);
  else if (is_complex(t)) store_complex(t, p, i, {x.real, x.imaginary});
  else store_int(t, p, i, x.integer);
}

Scalar rounded(DType t, const Scalar& x) {
  if (t == DType::f64 || t == DType::c128 || t == DType::i64 || t == DType::u64) return x;
  if (t == DType::f32) return {static_cast<double>(static_cast<float>(x.real)), 0, 0};
  if (is_float(t)) return {round_to(t, x.real), 0, 0};
  // Out of line: at -O2, g++ 12 turns the two conversions there and back into none.
  if (t == DType::c64) return {round_to(DType::f32, x.real), round_to(DType::f32, x.imaginary), 0};
  if (t == DType::i1) return {0, 0, x.integer != 0};
  const int spare = 64 - info(t).bits;
  if (is_unsigned_int(t)) return {0, 0, static_cast<int64_t>((static_cast<uint64_t>(x.integer) << spare) >> spare)};
  return {0, 0, static_cast<int64_t>(static_cast<uint64_t>(x.integer) << spare) >> spare};
}

namespace {

Scalar converted(DType from, DType to, const Scalar& x) {
  std::byte buffer[16] = {};
  if (is_complex(to)) return rounded(to, is_complex(from) ? x : Scalar{is_float(from) ? x.real : static_cast<double>(x.integer), 0, 0});
  if (is_float(from) || is_complex(from)) store_double(to, buffer, 0, x.real);
  else if (from == DType::u64 && x.integer < 0 && is_float(to)) store_double(to, buffer, 0, static_cast<double>(static_cast<uint64_t>(x.integer)));
  else store_int(to, buffer, 0, x.integer);
  return load_scalar(to, buffer, 0);
}

// -1, 0, 1, or 2 for unordered.
int order(DType t, bool total, const Scalar& a, const Scalar& b) {
  if (is_complex(t)) return a.real == b.real && a.imaginary == b.imaginary ? 0 : 2;
  if (t == DType::u64) {
    const auto x = static_cast<uint64_t>(a.integer), y = static_cast<uint64_t>(b.integer);
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (!is_float(t)) return a.integer < b.integer ? -1 : a.integer > b.integer ? 1 : 0;
  if (total) {  // -NaN < -inf < ... < -0 < +0 < ... < inf < NaN
    const auto key = [](double x) {
      int64_t bits;
      std::memcpy(&bits, &x, sizeof bits);
      return bits < 0 ? static_cast<int64_t>(~static_cast<uint64_t>(bits) | 0x8000000000000000u) : bits;
    };
    const int64_t x = key(a.real), y = key(b.real);
    return x < y ? -1 : x > y ? 1 : 0;
  }
  return a.real < b.real ? -1 : a.real > b.real ? 1 : a.real == b.real ? 0 : 2;
}

enum class Direction { eq, ne, lt, le, gt, ge };
bool holds(Direction d, int order) {
  switch (d) {
    case Direction::eq: return order == 0;
    case Direction::ne: return order != 0;
    case Direction::lt: return order == -1;
    case Direction::le: return order == -1 || order == 0;
    case Direction::gt: return order == 1;
    case Direction::ge: return order == 1 || order == 0;
  }
  return false;
}

struct Step {
  enum Kind { unary, binary, compare, select, clamp, convert, copy } kind;
  DType in, out;  // element types of the first operand that matters and of the result
  size_t a = 0, b = 0, c = 0, result = 0;
  Unary one = {};
  Binary two = {};
  Direction direction = Direction::eq;
  bool total = false;
  bool contracted = false;  // a complex product of f32 in the steps that XLA's cpu compiles it to: its expected values depend on them
};

}  // namespace

struct ScalarRegion::Program {
  std::vector<Scalar> slots;  // by value number: constants and captured scalars are filled in
  std::vector<Step> steps;
  std::vector<size_t> arguments, results;
  bool round = true;

  // nullptr if the region holds anything but elementwise operators on scalars.
  static std::unique_ptr<Program> compile(const Call& call, const Graph& g) {
    auto p = std::make_unique<Program>();
    p->slots.resize(g.values.size());
    for (const ValueInfo& v : g.values)
      if (!v.type.is_tensor() || !v.type.ranked || v.type.rank() != 0 || is_string(v.type.dtype)) return nullptr;
    const size_t blocks = g.inputs.size() - call.captures.size();
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      const auto slot = static_cast<size_t>(g.inputs[i].id);
      if (i < blocks) {
        p->arguments.push_back(slot);
      } else {
        const HostValue& captured = call.captures[i - blocks];
        if (!captured.is_tensor() || captured.tensor().elements() != 1) return nullptr;
        p->slots[slot] = load_scalar(captured.tensor().dtype(), captured.tensor().data(), 0);
      }
    }
    for (const Node& n : g.nodes) {
      if (n.outputs.size() != 1 || !n.regions.empty() || n.specialization) return nullptr;
      const auto result = static_cast<size_t>(n.outputs[0].id);
      if (n.op->name == "constant") {
        const Tensor& t = n.attrs.tensor("value");
        p->slots[result] = load_scalar(t.dtype(), t.data(), 0);
        continue;
      }
      if (n.inputs.empty() || n.inputs.size() > 3) return nullptr;
      for (const Value v : n.inputs)
        if (!v) return nullptr;
      const auto at = [&](size_t i) { return static_cast<size_t>(n.inputs[i].id); };
      Step s{Step::copy, g.type(n.inputs[0]).dtype, g.type(n.outputs[0]).dtype};
      s.result = result;
      s.a = at(0);
      if (n.inputs.size() > 1) s.b = at(1);
      if (n.inputs.size() > 2) s.c = at(2);
      if (const Unary* f = unary_function(*n.op); f && n.inputs.size() == 1) {
        if (is_float(s.in) ? !f->floats : is_complex(s.in) ? !f->complexes : !f->ints) return nullptr;
        if (is_float(s.in) != is_float(s.out) || is_complex(s.in) != is_complex(s.out)) return nullptr;
        s.kind = Step::unary;
        s.one = *f;
      } else if (const Binary* g2 = binary_function(*n.op); g2 && n.inputs.size() == 2) {
        if (is_float(s.in) ? !g2->floats : is_complex(s.in) ? !g2->complexes : !g2->ints) return nullptr;
        if (is_float(s.in) != is_float(s.out) || is_complex(s.in) != is_complex(s.out)) return nullptr;
        s.kind = Step::binary;
        s.two = *g2;
        s.contracted = s.in == DType::c64 && n.op->name == "multiply" && call.context.accumulate == Accumulate::element;
      } else if (n.op->name == "compare") {
        constexpr std::string_view kNames[] = {"EQ", "NE", "LT", "LE", "GT", "GE"};
        const auto* found = std::find(std::begin(kNames), std::end(kNames), n.attrs.text("comparison_direction"));
        if (found == std::end(kNames)) return nullptr;
        s.kind = Step::compare;
        s.direction = static_cast<Direction>(found - std::begin(kNames));
        s.total = n.attrs.has("compare_type") && n.attrs.text("compare_type") == "TOTALORDER";
      } else if (n.op->name == "select") {
        s.kind = Step::select;
      } else if (n.op->name == "clamp" && !is_complex(s.in)) {
        s.kind = Step::clamp;
      } else if (n.op->name == "convert") {
        s.kind = Step::convert;
      } else if (n.op->name != "reshape" && n.op->name != "broadcast_in_dim" && n.op->name != "optimization_barrier") {
        return nullptr;
      }
      p->steps.push_back(s);
    }
    for (const Value v : g.outputs) p->results.push_back(static_cast<size_t>(v.id));
    p->round = call.context.accumulate == Accumulate::element || p->steps.size() != 1;
    return p;
  }

  void run(const Step& s) {
    const Scalar &a = slots[s.a], &b = slots[s.b], &c = slots[s.c];
    Scalar y;
    switch (s.kind) {
      case Step::unary:
        if (is_float(s.in)) y.real = s.one.floats(a.real);
        else if (is_complex(s.in)) set(y, s.one.complexes({a.real, a.imaginary}));
        else y.integer = s.one.ints(a.integer, s.in);
        break;
      case Step::binary:
        if (is_float(s.in)) y.real = s.two.floats(a.real, b.real);
        else if (s.contracted) y = contracted_product(a, b);
        else if (is_complex(s.in)) set(y, s.two.complexes({a.real, a.imaginary}, {b.real, b.imaginary}));
        else y.integer = s.two.ints(a.integer, b.integer, s.in);
        break;
      case Step::compare: y.integer = holds(s.direction, order(s.in, s.total, a, b)); break;
      case Step::select: y = a.integer != 0 ? b : c; break;
      case Step::clamp: {  // min(max(x, low), high); NaN stays
        const DType t = s.out;
        const bool low = order(t, false, b, a) == -1;
        const Scalar& raised = low ? a : b;
        y = order(t, false, raised, c) == 1 ? c : raised;
        break;
      }
      case Step::convert: y = converted(s.in, s.out, a); break;
      case Step::copy: y = a; break;
    }
    if (round && (s.kind == Step::unary || s.kind == Step::binary)) y = rounded(s.out, y);
    else if (!is_float(s.out) && !is_complex(s.out)) y = rounded(s.out, y);  // integers always wrap
    slots[s.result] = y;
  }
  // (ar br - [ai bi]) + i (ai br + [ar bi]), brackets rounded to f32, the rest in one rounding
  static Scalar contracted_product(const Scalar& a, const Scalar& b) {
    const auto ar = static_cast<float>(a.real), ai = static_cast<float>(a.imaginary), br = static_cast<float>(b.real), bi = static_cast<float>(b.imaginary);
    const float ii = ai * bi, ri = ar * bi;
    return {std::fmaf(ar, br, -ii), std::fmaf(ai, br, ri), 0};
  }
  static void set(Scalar& y, std::complex<double> z) {
    y.real = z.real();
    y.imaginary = z.imag();
  }
};

ScalarRegion::ScalarRegion(const Call& call, size_t region) : call_(call), region_(region) {
  const Graph& g = *call.op.regions[region];
  for (size_t i = 0; i + call.captures.size() < g.inputs.size(); ++i) argument_types_.push_back(g.type(g.inputs[i]).dtype);
  for (const Value v : g.outputs) result_types_.push_back(g.type(v).dtype);
  program_ = Program::compile(call, g);
  if (program_ && program_->steps.size() == 1 && program_->arguments.size() == 2) {
    const Step& s = program_->steps[0];
    const bool plain = s.kind == Step::binary && is_float(s.in) && s.a == program_->arguments[0] && s.b == program_->arguments[1] && program_->results.size() == 1 && program_->results[0] == s.result;
    if (plain && (!program_->round || s.out == DType::f64)) float_fold_ = s.two.floats;
  }
}
ScalarRegion::~ScalarRegion() = default;

void ScalarRegion::operator()(std::span<const Scalar> arguments, std::span<Scalar> results) {
  check_budget();
  if (arguments.size() != argument_types_.size() || results.size() != result_types_.size()) fail_internal(call_.op.where, std::to_string(argument_types_.size()) + " region arguments", std::to_string(arguments.size()));
  if (program_) {
    for (size_t i = 0; i < arguments.size(); ++i) program_->slots[program_->arguments[i]] = arguments[i];
    for (const Step& s : program_->steps) program_->run(s);
    for (size_t i = 0; i < results.size(); ++i) results[i] = program_->slots[program_->results[i]];
    return;
  }
  HostValues args;
  for (size_t i = 0; i < arguments.size(); ++i) {
    Tensor t(argument_types_[i], {});
    store_scalar(argument_types_[i], t.mutable_data(), 0, arguments[i]);
    args.push_back(std::move(t));
  }
  const HostValues out = call_.run_region(region_, std::move(args));
  for (size_t i = 0; i < results.size(); ++i) {
    if (i >= out.size() || !out[i].is_tensor() || out[i].tensor().elements() != 1 || out[i].tensor().dtype() != result_types_[i]) fail_internal(call_.op.where, "scalar results of the region", "others");
    results[i] = load_scalar(result_types_[i], out[i].tensor().data(), 0);
  }
}

bool returns_arguments(const Graph& region, size_t first) {
  if (first + region.outputs.size() > region.inputs.size()) return false;
  for (size_t i = 0; i < region.outputs.size(); ++i)
    if (region.outputs[i] != region.inputs[first + i]) return false;
  return true;
}

std::vector<DType> require_scalar_region(const OpView& op, size_t region, const std::vector<DType>& arguments, size_t results, std::string_view label) {
  const Graph& g = *op.regions[region];
  const auto scalar = [](const Type& t) { return t.is_tensor() && t.ranked && t.rank() == 0; };
  const size_t blocks = g.inputs.size() - std::min(g.inputs.size(), op.captures.size());
  if (blocks != arguments.size()) op.fail("a region of " + std::to_string(arguments.size()) + " arguments", std::to_string(blocks), label);
  for (size_t i = 0; i < blocks; ++i) {
    const Type& t = g.type(g.inputs[i]);
    if (!scalar(t) || !promotable(arguments[i], t.dtype)) op.fail("region argument " + std::to_string(i) + " of type " + std::string(info(arguments[i]).name) + "[]", t.text(), label);
  }
  if (g.outputs.size() != results) op.fail("a region of " + std::to_string(results) + " results", std::to_string(g.outputs.size()), label);
  std::vector<DType> types;
  for (const Value v : g.outputs) {
    if (!scalar(g.type(v))) op.fail("region results of rank 0", g.type(v).text(), label);
    types.push_back(g.type(v).dtype);
  }
  return types;
}

bool promotable(DType from, DType to) {
  if (from == to) return true;
  if (is_bool(from) || is_bool(to) || is_string(from) || is_string(to)) return false;
  const bool same_kind = (is_signed_int(from) && is_signed_int(to)) || (is_unsigned_int(from) && is_unsigned_int(to)) || (is_float(from) && is_float(to)) || (is_complex(from) && is_complex(to));
  return same_kind && info(to).bits >= info(from).bits;
}

}  // namespace bascule::ops
