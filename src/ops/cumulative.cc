// ops/cumulative.cc — running sums, products, maxima and minima along an axis.
#include "base/budget.h"
#include "ops/scalar_region.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

// The element that `body` leaves as it is: what an exclusive scan starts from.
Scalar neutral(std::string_view body, DType t) {
  if (body == "add") return {};
  if (body == "multiply") return {1, 0, 1};
  const bool maximum = body == "maximum";
  if (is_float(t)) {
    const FloatInfo f = float_info(t);
    const double edge = f.has_inf ? HUGE_VAL : f.largest;
    return {maximum ? -edge : edge, 0, 0};
  }
  return {0, 0, maximum ? int_min(t) : int_max(t)};
}

HostValues cumulative_reference(const Call& call) {
  const Tensor& x = call.in(0);
  Tensor y = call.result();
  const DType t = x.dtype();
  const std::string& body = call.op.attrs.text("body");
  const bool exclusive = call.op.attrs.flag("exclusive"), reverse = call.op.attrs.flag("reverse");
  const auto axis = static_cast<size_t>(call.op.attrs.integer("axis"));
  const Binary* f = binary_function(OpRegistry::get(body));
  if (!f || (is_float(t) ? !f->floats : is_complex(t) ? !f->complexes : !f->ints)) fail_unsupported(call.op.where, "an element type that '" + body + "' is defined for", std::string(info(t).name), "Convert the operand");
  const bool each = call.context.accumulate == Accumulate::element;
  std::vector<int64_t> lanes = x.dims();
  const std::vector<int64_t> strides = strides_of(lanes);
  const int64_t n = lanes[axis], stride = strides[axis];
  lanes[axis] = n > 0 ? 1 : 0;
  std::byte* out = y.mutable_data();
  for (Walk lane(lanes, strides); lane; lane.next()) {
    Scalar sum = neutral(body, t);
    for (int64_t k = 0; k < n; ++k) {
      check_budget();
      const int64_t at = lane.offset() + (reverse ? n - 1 - k : k) * stride;
      const Scalar v = load_scalar(t, x.data(), at);
      if (exclusive) store_scalar(t, out, at, sum);
      if (k == 0) {
        sum = v;
      } else if (is_float(t)) {
        sum.real = f->floats(sum.real, v.real);
      } else if (is_complex(t)) {
        const auto z = f->complexes({sum.real, sum.imaginary}, {v.real, v.imaginary});
        sum = {z.real(), z.imag(), 0};
      } else {
        sum.integer = f->ints(sum.integer, v.integer, t);
      }
      if (each || !(is_float(t) || is_complex(t))) sum = rounded(t, sum);
      if (!exclusive) store_scalar(t, out, at, sum);
    }
  }
  return one(std::move(y));
}

}  // namespace

const OpDef cumulative{
    .name = "cumulative",
    .dialect = "bascule",
    .doc = "y[.., i, ..] = body folded over x[.., 0..i, ..] along `axis` (exclusive: without i; reverse: from the end); body add, multiply, maximum or minimum",
    .inputs = {{"operand", DTypes::tensors}},
    .attrs = {{"body", AttrKind::text, false, std::string("add")}, {"axis", AttrKind::integer}, {"exclusive", AttrKind::flag, false, false}, {"reverse", AttrKind::flag, false, false}},
    .type =
        [](const OpView& op) {
          require_axis(op, op.attrs.integer("axis"), op.in(0).rank(), "axis");
          const std::string& body = op.attrs.text("body");
          op.require(body == "add" || body == "multiply" || body == "maximum" || body == "minimum", "body add, multiply, maximum or minimum", "'" + escaped(body) + "'");
          return std::vector<Type>{op.in(0)};
        },
    .reference = cumulative_reference,
    .symbolic = [](const OpView& op, std::span<const Dims* const> in, const Type&) -> std::optional<Dims> {
      if (!in[0] || op.in(0).rank() != 1 || op.attrs.flag("reverse") || op.attrs.flag("exclusive")) return std::nullopt;
      const std::string& body = op.attrs.text("body");
      if (body != "add" && body != "multiply") return std::nullopt;
      Dims out;
      for (const Dim& d : *in[0]) out.push_back(out.empty() ? d : body == "add" ? out.back() + d : out.back() * d);
      return out;
    },
    .work = per_element({.adds = 1}),
    .cases = {{"rows", {{4, 7}}, {{"axis", int64_t{1}}}},
              {"columns_exclusive", {{4, 7}}, {{"axis", int64_t{0}}, {"exclusive", true}}},
              {"reversed", {{4, 7}}, {{"axis", int64_t{1}}, {"reverse", true}}},
              {"products", {{3, 5}}, {{"axis", int64_t{1}}, {"body", std::string("multiply")}, {"exclusive", true}, {"reverse", true}}},
              {"maxima", {{3, 5}}, {{"axis", int64_t{1}}, {"body", std::string("maximum")}}},
              {"empty", {{3, 0}}, {{"axis", int64_t{1}}}},
              {.name = "integers", .shapes = {{3, 5}}, .attrs = {{"axis", int64_t{0}}}, .dtypes = {DType::i32}, .low = -9, .high = 9}},
};
BASCULE_OP(cumulative);

}  // namespace bascule::ops
