// ops/log_plus_one.cc — ln(1 + x) without cancellation, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {
namespace {

// log1p(a + bi) = log1p(a (a + 2) + b^2) / 2 + i atan2(b, 1 + a); the first form loses nothing while |z| is small.
std::complex<double> log1p(std::complex<double> x) {
  const double a = x.real(), b = x.imag();
  const double size = std::hypot(1 + a, b);
  const double real = std::fabs(a) < 0.5 && std::fabs(b) < 0.5 ? 0.5 * std::log1p(std::fma(a, a + 2, b * b)) : std::log(size);
  return {real, std::atan2(b, 1 + a)};
}

}  // namespace

const OpDef log_plus_one{
    .name = "log_plus_one",
    .doc = "y = ln(1 + x), accurate near 0",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return std::log1p(x); }, .complexes = log1p}),
    .work = per_element({.transcendentals = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes, -0.9, 3),
};
BASCULE_OP(log_plus_one);

}  // namespace bascule::ops
