// ops/cosh.cc — hyperbolic cosine, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {
namespace {

// Accumulate::element: e^(x + ln 1/2) + e^(ln 1/2 - x), each step rounded to f32 or wider, as CHLO decomposes it.
HostValues by_steps(const Call& call) {
  const Tensor& x = call.in(0);
  const DType t = x.dtype(), wide = info(t).bits < 32 ? DType::f32 : t;
  const auto r = [wide](double v) { return round_to(wide, v); };
  const double half = r(std::log(0.5));
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  for (int64_t i = 0; i < x.elements(); ++i) {
    const double v = x.number(i);
    store_double(t, out, i, r(r(std::exp(r(v + half))) + r(std::exp(r(half - v)))));
  }
  return one(std::move(y));
}

}  // namespace

const OpDef cosh{
    .name = "cosh",
    .dialect = "chlo",
    .doc = "y = (e^x + e^-x) / 2",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference =
        [exact = elementwise(Unary{.floats = [](double x) { return std::cosh(x); }, .complexes = [](std::complex<double> x) { return std::cosh(x); }})](const Call& call) {
          const bool steps = call.context.accumulate == Accumulate::element && is_float(call.in(0).dtype());
          return steps ? by_steps(call) : exact(call);
        },
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -3, 3),
};
BASCULE_OP(cosh);

}  // namespace bascule::ops
