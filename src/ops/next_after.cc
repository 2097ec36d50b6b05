// ops/next_after.cc — the neighbouring float toward another, elementwise.
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

double next_after_value(double x, double y, DType t) {
  if (t == DType::f64) return std::nextafter(x, y);
  if (t == DType::f32) return std::nextafter(static_cast<float>(x), static_cast<float>(y));
  if (std::isnan(x) || std::isnan(y)) return x + y;
  if (x == y) return y;
  const FloatInfo f = float_info(t);
  const double smallest = f.smallest_normal * f.epsilon;
  if (x == 0) return std::copysign(smallest, y);
  if (std::isinf(x)) return std::copysign(f.largest, x);
  const bool outward = (x > 0) == (y > x);
  int exponent;
  const double fraction = std::frexp(std::fabs(x), &exponent);
  const int floor_exponent = std::ilogb(f.smallest_normal);
  const int e = std::max(exponent - 1, floor_exponent);
  // just above a power of two the spacing below is half as wide
  const double step = std::ldexp(f.epsilon, !outward && fraction == 0.5 && e > floor_exponent ? e - 1 : e);
  const double next = std::fabs(x) + (outward ? step : -step);
  return std::copysign(next > f.largest ? HUGE_VAL : next, x);
}

}  // namespace

const OpDef next_after{
    .name = "next_after",
    .dialect = "chlo",
    .doc = "z = the float next to x toward y; y if they are equal",
    .inputs = {{"x", DTypes::floats}, {"y", DTypes::floats}},
    .type = elementwise_type(),
    .reference =
        [](const Call& call) {
          Tensor z = call.result();
          std::byte* out = z.mutable_data();
          for (int64_t i = 0; i < z.elements(); ++i) {
            check_budget();
            store_double(z.dtype(), out, i, next_after_value(call.in(0).number(i), call.in(1).number(i), z.dtype()));
          }
          return one(std::move(z));
        },
    .work = per_element({.adds = 2, .compares = 2}),
    .cases = binary_cases(DTypes::floats),
};
BASCULE_OP(next_after);

}  // namespace bascule::ops
