// ops/exponential_minus_one.cc — e^x - 1 without cancellation, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {
namespace {

// expm1(a + bi) = (expm1(a) cos b - 2 sin^2(b/2)) + i e^a sin b
std::complex<double> expm1(std::complex<double> x) {
  const double a = x.real(), b = x.imag();
  if (b == 0) return {std::expm1(a), b};
  const double s = std::sin(b / 2);
  return {std::expm1(a) * std::cos(b) - 2 * s * s, std::exp(a) * std::sin(b)};
}

}  // namespace

const OpDef exponential_minus_one{
    .name = "exponential_minus_one",
    .doc = "y = e^x - 1, accurate near 0",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::expm1(x); }, .complexes = expm1}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes),
};
BASCULE_OP(exponential_minus_one);

}  // namespace bascule::ops
