// ops/reduce_precision.cc — floats rounded as if held in fewer exponent and mantissa bits, elementwise.
#include <cmath>
#include <limits>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// v of type t rounded to `mantissa` bits to nearest even, then to the range of `exponent` bits: infinity above, zero for what would be
// subnormal.
double reduced(double v, DType t, int64_t exponent, int64_t mantissa) {
  if (std::isnan(v)) return mantissa > 0 ? v : std::copysign(std::numeric_limits<double>::infinity(), v);
  if (v == 0 || std::isinf(v)) return v;
  const FloatInfo f = float_info(t);
  const int own_mantissa = -std::ilogb(f.epsilon), own_exponent = info(t).bits - 1 - own_mantissa, lowest = std::ilogb(f.smallest_normal);
  double y = v;
  if (mantissa < own_mantissa) {
    const int unit = std::max(std::ilogb(v), lowest) - static_cast<int>(mantissa);
    y = std::ldexp(std::nearbyint(std::ldexp(v, -unit)), unit);
  }
  if (exponent < own_exponent && y != 0) {
    const int64_t bias = (int64_t{1} << (exponent - 1)) - 1;
    const int e = std::max(std::ilogb(y), lowest - 1);
    if (e > bias) return std::copysign(std::numeric_limits<double>::infinity(), v);
    if (e <= -bias) return std::copysign(0.0, v);
  }
  return y;
}

}  // namespace

const OpDef reduce_precision{
    .name = "reduce_precision",
    .doc = "y = x rounded to a float of exponent_bits and mantissa_bits, and back",
    .inputs = {{"operand", DTypes::floats}},
    .attrs = {{"exponent_bits", AttrKind::integer}, {"mantissa_bits", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          const int64_t e = op.attrs.integer("exponent_bits"), m = op.attrs.integer("mantissa_bits");
          op.require(e >= 1, "exponent_bits of 1 or more", std::to_string(e), "C2");
          op.require(m >= 0, "mantissa_bits of 0 or more", std::to_string(m), "C3");
          return std::vector<Type>{op.in(0)};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const int64_t e = call.op.attrs.integer("exponent_bits"), m = call.op.attrs.integer("mantissa_bits");
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < x.elements(); ++i) {
            check_budget();
            store_double(x.dtype(), out, i, reduced(x.number(i), x.dtype(), e, m));
          }
          return one(std::move(y));
        },
    .work = per_element({.adds = 1}),
    .cases = {{"as_bf16", {{2, 3}}, {{"exponent_bits", 8}, {"mantissa_bits", 7}}},
              {"as_f16", {{7, 129}}, {{"exponent_bits", 5}, {"mantissa_bits", 10}}, {}, -7e4, 7e4},
              {"no_mantissa", {{33}}, {{"exponent_bits", 5}, {"mantissa_bits", 0}}, {DType::f64}},
              {"scalar", {{}}, {{"exponent_bits", 3}, {"mantissa_bits", 2}}, {DType::bf16}},
              {"empty", {{0, 3}}, {{"exponent_bits", 5}, {"mantissa_bits", 2}}}},
};
BASCULE_OP(reduce_precision);

}  // namespace bascule::ops
