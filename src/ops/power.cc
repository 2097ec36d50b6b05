// ops/power.cc — a to the power b, elementwise.
#include <cmath>

#include "ops/integer.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// e^(b ln a); a^0 = 1, and 0^b = 0 for a positive real part of b.
std::complex<double> power_complex(std::complex<double> a, std::complex<double> b) {
  if (b == 0.0) return 1.0;
  if (a == 0.0 && b.real() > 0) return 0.0;
  return std::pow(a, b);
}

}  // namespace

const OpDef power{
    .name = "power",
    .doc = "y = a^b (integers wrap; a negative exponent gives 0 but for a = 1, -1)",
    .inputs = {{"lhs", DTypes::numbers}, {"rhs", DTypes::numbers}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.floats = [](double a, double b) { return std::pow(a, b); },
                                    .ints = power_ints,
                                    .complexes = power_complex}),
    .work = per_element({.transcendentals = 1}),
    .cases = binary_cases(DTypes::numbers, 0.5, 3, {{.name = "signs", .shapes = {{32}, {32}}, .dtypes = {DType::i32, DType::i32}, .low = -3, .high = 3}}),
};
BASCULE_OP(power);

}  // namespace bascule::ops
