// ops/atan2.cc — angle of a point, elementwise.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {
namespace {

// -i log((x + i y) / sqrt(x^2 + y^2))
std::complex<double> atan2_complex(std::complex<double> y, std::complex<double> x) {
  const std::complex<double> i(0, 1);
  return -i * std::log((x + i * y) / std::sqrt(x * x + y * y));
}

}  // namespace

const OpDef atan2{
    .name = "atan2",
    .doc = "y = angle of the point (rhs, lhs), in (-pi, pi]",
    .inputs = {{"lhs", DTypes::floats | DTypes::complexes}, {"rhs", DTypes::floats | DTypes::complexes}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.floats = [](double a, double b) { return std::atan2(a, b); }, .complexes = atan2_complex}),
    .work = per_element({.transcendentals = 1}),
    .cases = binary_cases(DTypes::floats | DTypes::complexes),
};
BASCULE_OP(atan2);

}  // namespace bascule::ops
