// ops/rules.cc — shared pieces of operator definitions. Plain loops, slow and right.
#include "ops/rules.h"

#include <algorithm>
#include <cstring>

#include "base/budget.h"
#include "base/error.h"

namespace bascule::ops {

void require_same_dims(const OpView& op, const Type& a, const Type& b, std::string_view label) {
  if (a.rank() != b.rank()) op.fail("operands of equal shapes", a.text() + " and " + b.text(), label);
  for (size_t i = 0; i < a.rank(); ++i)
    if (a.dims[i].is_constant() && b.dims[i].is_constant() && !(a.dims[i] == b.dims[i])) op.fail("operands of equal shapes", a.text() + " and " + b.text(), label);
}

int64_t require_axis(const OpView& op, int64_t axis, size_t rank, std::string_view what, std::string_view label) {
  if (axis < 0 || axis >= static_cast<int64_t>(rank)) op.fail(std::string(what) + " in [0, " + std::to_string(rank) + ")", std::to_string(axis), label);
  return axis;
}

void require_axes(const OpView& op, const Ints& axes, size_t rank, std::string_view what, std::string_view label) {
  std::vector<bool> seen(rank, false);
  for (const int64_t a : axes) {
    require_axis(op, a, rank, what, label);
    if (seen[static_cast<size_t>(a)]) op.fail("unique " + std::string(what), std::to_string(a) + " twice", label);
    seen[static_cast<size_t>(a)] = true;
  }
}

TypeRule same_as_input(size_t i) {
  return [i](const OpView& op) { return std::vector<Type>{op.in(i)}; };
}

namespace {
// The most specific of the operands' types: a constant dim wins over a symbolic one.
Type joined(const OpView& op) {
  Type t = op.in(0);
  for (size_t i = 1; i < op.inputs.size(); ++i) {
    const Type& u = op.in(i);
    if (u.dtype != t.dtype) op.fail("operands of one element type", t.text() + " and " + u.text(), "C1");
    require_same_dims(op, t, u, "C1");
    for (size_t d = 0; d < t.rank(); ++d)
      if (u.dims[d].is_constant()) t.dims[d] = u.dims[d];
  }
  return t;
}
}  // namespace

TypeRule elementwise_type() {
  return [](const OpView& op) { return std::vector<Type>{joined(op)}; };
}
TypeRule predicate_type() {
  return [](const OpView& op) {
    Type t = joined(op);
    t.dtype = DType::i1;
    return std::vector<Type>{t};
  };
}
TypeRule mapped_type(std::function<DType(DType)> map) {
  return [map = std::move(map)](const OpView& op) {
    Type t = joined(op);
    t.dtype = map(t.dtype);
    return std::vector<Type>{t};
  };
}

namespace {
[[noreturn]] void no_function(const Call& call, DType t) { fail_unsupported(call.op.where, "an element type that '" + std::string(call.op.def.name) + "' is defined for", std::string(info(t).name), "Convert the operand"); }

// Named, so that unary_function() finds `f` behind the std::function.
struct ElementwiseUnary {
  Unary f;
  HostValues operator()(const Call& call) const {
    const Tensor& x = call.in(0);
    Tensor y = call.result();
    const DType t = x.dtype(), r = y.dtype();
    if (t == DType::f32 && r == t && f.floats) {  // the common type without a look at the type of each element
      const std::span<const float> in = x.as<float>();
      const std::span<float> to = y.as_mutable<float>();
      for (size_t i = 0; i < in.size(); ++i) {
        check_budget();
        to[i] = static_cast<float>(f.floats(in[i]));
      }
      return one(std::move(y));
    }
    std::byte* out = y.mutable_data();
    for (int64_t i = 0; i < x.elements(); ++i) {
      check_budget();
      if (is_complex(t)) {
        if (!f.complexes) no_function(call, t);
        store_complex(r, out, i, f.complexes(x.complex(i)));
      } else if (is_float(t)) {
        if (!f.floats) no_function(call, t);
        store_double(r, out, i, f.floats(x.number(i)));
      } else {
        if (!f.ints) no_function(call, t);
        store_int(r, out, i, f.ints(x.integer(i), t));
      }
    }
    return one(std::move(y));
  }
};

struct ElementwiseBinary {
  Binary f;
  HostValues operator()(const Call& call) const {
    const Tensor &a = call.in(0), &b = call.in(1);
    Tensor y = call.result();
    const DType t = a.dtype(), r = y.dtype();
    if (t == DType::f32 && r == t && f.floats) {
      const std::span<const float> p = a.as<float>(), q = b.as<float>();
      const std::span<float> to = y.as_mutable<float>();
      for (size_t i = 0; i < to.size(); ++i) {
        check_budget();
        to[i] = static_cast<float>(f.floats(p[i], q[i]));
      }
      return one(std::move(y));
    }
    std::byte* out = y.mutable_data();
    for (int64_t i = 0; i < a.elements(); ++i) {
      check_budget();
      if (is_complex(t)) {
        if (!f.complexes) no_function(call, t);
        store_complex(r, out, i, f.complexes(a.complex(i), b.complex(i)));
      } else if (is_float(t)) {
        if (!f.floats) no_function(call, t);
        store_double(r, out, i, f.floats(a.number(i), b.number(i)));
      } else {
        if (!f.ints) no_function(call, t);
        store_int(r, out, i, f.ints(a.integer(i), b.integer(i), t));
      }
    }
    return one(std::move(y));
  }
};
}  // namespace

Reference elementwise(Unary f) { return ElementwiseUnary{f}; }
Reference elementwise(Binary f) { return ElementwiseBinary{f}; }
const Unary* unary_function(const OpDef& op) {
  const auto* e = op.reference.target<ElementwiseUnary>();
  return e ? &e->f : nullptr;
}
const Binary* binary_function(const OpDef& op) {
  const auto* e = op.reference.target<ElementwiseBinary>();
  return e ? &e->f : nullptr;
}

SymbolicRule symbolic_unary(Dim (*f)(const Dim&)) {
  return [f](const OpView&, std::span<const Dims* const> in, const Type&) -> std::optional<Dims> {
    if (!in[0]) return std::nullopt;
    Dims out;
    for (const Dim& d : *in[0]) out.push_back(f(d));
    return out;
  };
}
SymbolicRule symbolic_binary(std::optional<Dim> (*f)(const Dim&, const Dim&)) {
  return [f](const OpView&, std::span<const Dims* const> in, const Type&) -> std::optional<Dims> {
    if (!in[0] || !in[1] || in[0]->size() != in[1]->size()) return std::nullopt;
    Dims out;
    for (size_t i = 0; i < in[0]->size(); ++i) {
      auto d = f((*in[0])[i], (*in[1])[i]);
      if (!d) return std::nullopt;
      out.push_back(*d);
    }
    return out;
  };
}

void copy_element(const Tensor& from, int64_t i, Tensor& to, int64_t j) {
  const DType t = from.dtype();
  if (is_string(t)) {
    to.mutable_strings()[static_cast<size_t>(j)] = from.strings()[static_cast<size_t>(i)];
    return;
  }
  std::byte* out = to.mutable_data();
  const int bits = info(t).storage_bits;
  if (bits < 8) {
    if (is_float(t)) store_double(t, out, j, from.number(i));
    else store_int(t, out, j, from.integer(i));
    return;
  }
  const int64_t width = bits / 8;
  std::copy_n(from.data() + i * width, width, out + j * width);
}

std::vector<int64_t> strides_of(std::span<const int64_t> dims) {
  std::vector<int64_t> s(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) s[i - 1] = s[i] * dims[i];
  return s;
}
int64_t linear(std::span<const int64_t> index, std::span<const int64_t> strides) {
  int64_t at = 0;
  for (size_t i = 0; i < index.size(); ++i) at += index[i] * strides[i];
  return at;
}
void for_each_index(std::span<const int64_t> dims, const std::function<void(std::span<const int64_t>)>& f) {
  if (element_count(dims) <= 0) return;
  std::vector<int64_t> index(dims.size(), 0);
  for (;;) {
    check_budget();
    f(index);
    size_t a = dims.size();
    while (a > 0 && ++index[a - 1] == dims[a - 1]) index[--a] = 0;
    if (a == 0) return;
  }
}
std::vector<int64_t> static_dims(const Type& t) {
  auto d = constants(t.dims);
  if (!d) fail_internal("static_dims", "a static type", t.text());
  return *d;
}

Reference movement(MovementRule rule) {
  return [rule = std::move(rule)](const Call& call) {
    Tensor y = call.result();
    const auto source = rule(call.op, call.results[0]);
    int64_t j = 0;
    if (const int bits = info(y.dtype()).storage_bits; bits >= 8) {  // whole bytes: plain copies
      const int64_t width = bits / 8;
      std::vector<const std::byte*> from;
      for (size_t i = 0; i < call.inputs.size(); ++i) from.push_back(call.in(i).data());
      std::byte* to = y.mutable_data();
      for_each_index(y.dims(), [&](std::span<const int64_t> index) {
        const Source s = source(index);
        const std::byte* at = from[s.operand] + s.element * width;
        if (width == 4) std::memcpy(to, at, 4);  // a constant size is one move
        else if (width == 8) std::memcpy(to, at, 8);
        else std::memcpy(to, at, static_cast<size_t>(width));
        to += width;
      });
      return one(std::move(y));
    }
    for_each_index(y.dims(), [&](std::span<const int64_t> index) {
      const Source s = source(index);
      copy_element(call.in(s.operand), s.element, y, j++);
    });
    return one(std::move(y));
  };
}

SymbolicRule symbolic_movement(MovementRule rule) {
  return [rule = std::move(rule)](const OpView& op, std::span<const Dims* const> in, const Type& result) -> std::optional<Dims> {
    for (size_t i = 0; i < op.inputs.size(); ++i)
      if (!in[i] || !op.in(i).is_static()) return std::nullopt;
    for (const auto& [attr_name, a] : op.attrs)
      if (const auto* d = std::get_if<Dims>(&a); d && !constants(*d)) return std::nullopt;
    const auto source = rule(op, result);
    Dims out;
    for_each_index(static_dims(result), [&](std::span<const int64_t> index) {
      const Source s = source(index);
      out.push_back((*in[s.operand])[static_cast<size_t>(s.element)]);
    });
    return out;
  };
}

double elements(const Type& t) {
  if (!t.is_tensor()) return 0;
  return static_cast<double>(element_count(static_dims(t)));
}
double bytes(const Type& t) { return t.is_tensor() ? elements(t) * info(t.dtype).storage_bits / 8 : 0; }
void add_traffic(const OpView& op, std::span<const Type> results, Work& w) {
  for (const Type& t : op.inputs) w.bytes_read += bytes(t);
  for (const Type& t : results) w.bytes_written += bytes(t);
}
WorkRule per_element(Work each) {
  return [each](const OpView& op, std::span<const Type> results) {
    Work w;
    const double n = results.empty() ? 0 : elements(results[0]);
    w.multiply_adds = each.multiply_adds * n;
    w.adds = each.adds * n;
    w.divides = each.divides * n;
    w.transcendentals = each.transcendentals * n;
    w.compares = each.compares * n;
    add_traffic(op, results, w);
    return w;
  };
}
WorkRule no_arithmetic() {
  return [](const OpView& op, std::span<const Type> results) {
    Work w;
    add_traffic(op, results, w);
    return w;
  };
}

namespace {
std::vector<Case> elementwise_cases(size_t operands, DTypes types, double low, double high, std::vector<Case> more) {
  std::vector<Case> out;
  const auto add = [&](std::string_view name, std::vector<int64_t> dims, std::vector<DType> dtypes) {
    out.push_back({.name = name, .shapes = std::vector(operands, dims), .dtypes = std::move(dtypes), .low = low, .high = high});
  };
  add("small", {2, 3}, {});
  add("scalar", {}, {});
  add("empty", {0, 3}, {});
  add("ragged", {7, 129}, {});
  for (const DType t : {DType::i1, DType::i8, DType::i32, DType::i64, DType::u8, DType::u64, DType::bf16, DType::f16, DType::f64, DType::c64, DType::c128})
    if (types.has(t)) add(info(t).name, {3, 5}, std::vector(operands, t));
  for (Case& c : more) out.push_back(std::move(c));
  return out;
}
}  // namespace
std::vector<Case> unary_cases(DTypes types, double low, double high, std::vector<Case> more) { return elementwise_cases(1, types, low, high, std::move(more)); }
std::vector<Case> binary_cases(DTypes types, double low, double high, std::vector<Case> more) { return elementwise_cases(2, types, low, high, std::move(more)); }

}  // namespace bascule::ops
