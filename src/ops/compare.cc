// ops/compare.cc — comparison of two values, elementwise; the result is i1.
#include "ops/integer.h"
#include "ops/ordering.h"
#include "ops/rules.h"

#include "base/budget.h"

namespace bascule::ops {
namespace {

enum class Direction { eq, ne, lt, le, gt, ge };
std::optional<Direction> direction(std::string_view text) {
  constexpr std::string_view kNames[] = {"EQ", "NE", "LT", "LE", "GT", "GE"};
  for (int i = 0; i < 6; ++i)
    if (kNames[i] == text) return static_cast<Direction>(i);
  return std::nullopt;
}
bool holds(Direction d, bool less, bool equal, bool greater) {
  switch (d) {
    case Direction::eq: return equal;
    case Direction::ne: return !equal;
    case Direction::lt: return less;
    case Direction::le: return less || equal;
    case Direction::gt: return greater;
    case Direction::ge: return greater || equal;
  }
  return false;
}

std::vector<Type> type(const OpView& op) {
  const std::string& d = op.attrs.text("comparison_direction");
  op.require(direction(d).has_value(), "comparison_direction EQ, NE, LT, LE, GT or GE", "'" + escaped(d) + "'");
  const DType t = op.in(0).dtype;
  if (op.attrs.has("compare_type")) {
    const std::string& c = op.attrs.text("compare_type");
    if (c == "NOTYPE") return predicate_type()(op);
    const bool fits = is_signed_int(t) ? c == "SIGNED" : is_unsigned_int(t) || is_bool(t) ? c == "UNSIGNED" : is_float(t) ? c == "FLOAT" || c == "TOTALORDER" : c == "FLOAT";
    op.require(fits, "a compare_type that fits " + std::string(info(t).name), "'" + escaped(c) + "'", "C3");
  }
  return predicate_type()(op);
}

HostValues reference(const Call& call) {
  const Direction d = *direction(call.op.attrs.text("comparison_direction"));
  const bool total = call.op.attrs.has("compare_type") && call.op.attrs.text("compare_type") == "TOTALORDER";
  const Tensor &a = call.in(0), &b = call.in(1);
  const DType t = a.dtype();
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  for (int64_t i = 0; i < a.elements(); ++i) {
    check_budget();
    bool less, equal, greater;
    if (is_complex(t)) {  // by real part, then by imaginary part
      const std::complex<double> p = a.complex(i), q = b.complex(i);
      less = p.real() < q.real() || (p.real() == q.real() && p.imag() < q.imag());
      greater = p.real() > q.real() || (p.real() == q.real() && p.imag() > q.imag());
      equal = p == q;
    } else if (is_float(t)) {
      const double p = a.number(i), q = b.number(i);
      const int order = total ? total_order(p, q) : 0;
      less = total ? order < 0 : p < q;
      greater = total ? order > 0 : p > q;
      equal = total ? order == 0 : p == q;
    } else {
      const int64_t p = a.integer(i), q = b.integer(i);
      less = less_ints(p, q, t);
      greater = less_ints(q, p, t);
      equal = p == q;
    }
    store_int(DType::i1, out, i, holds(d, less, equal, greater));
  }
  return one(std::move(y));
}

// Decided where the difference of the two is constant.
std::optional<Dims> symbolic(const OpView& op, std::span<const Dims* const> in, const Type&) {
  if (!in[0] || !in[1] || in[0]->size() != in[1]->size()) return std::nullopt;
  const Direction d = *direction(op.attrs.text("comparison_direction"));
  Dims out;
  for (size_t i = 0; i < in[0]->size(); ++i) {
    const auto gap = ((*in[0])[i] - (*in[1])[i]).constant();
    if (!gap) return std::nullopt;
    out.push_back(holds(d, *gap < 0, *gap == 0, *gap > 0));
  }
  return out;
}

}  // namespace

const OpDef compare{
    .name = "compare",
    .doc = "y = a comparison_direction b; NaN is unequal to all, and in no order, unless compare_type is TOTALORDER",
    .inputs = {{"lhs", DTypes::tensors}, {"rhs", DTypes::tensors}},
    .attrs = {{"comparison_direction", AttrKind::text}, {.name = "compare_type", .kind = AttrKind::text, .required = false, .no_default = true}},
    .type = type,
    .reference = reference,
    .symbolic = symbolic,
    .work = per_element({.compares = 1}),
    .cases = {{"eq", {{2, 3}, {2, 3}}, {{"comparison_direction", "EQ"}}, {DType::i32, DType::i32}},
              {"ne", {{}, {}}, {{"comparison_direction", "NE"}}},
              {"lt", {{7, 129}, {7, 129}}, {{"comparison_direction", "LT"}}},
              {"le", {{0, 3}, {0, 3}}, {{"comparison_direction", "LE"}}},
              {"gt_total_order", {{3, 5}, {3, 5}}, {{"comparison_direction", "GT"}, {"compare_type", "TOTALORDER"}}},
              {"ge_u64", {{3, 5}, {3, 5}}, {{"comparison_direction", "GE"}, {"compare_type", "UNSIGNED"}}, {DType::u64, DType::u64}, 0, 3},
              {"eq_bf16", {{3, 5}, {3, 5}}, {{"comparison_direction", "EQ"}}, {DType::bf16, DType::bf16}},
              {"ne_bool", {{3, 5}, {3, 5}}, {{"comparison_direction", "NE"}}, {DType::i1, DType::i1}},
              {"eq_complex", {{3, 5}, {3, 5}}, {{"comparison_direction", "EQ"}}, {DType::c64, DType::c64}}},
};
BASCULE_OP(compare);

}  // namespace bascule::ops
