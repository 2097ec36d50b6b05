// ops/sign.cc — sign, elementwise.
#include <cmath>
#include <limits>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef sign{
    .name = "sign",
    .doc = "y = x < 0 ? -1 : x > 0 ? 1 : x (complex: x / |x|, 0 for 0); NaN for NaN",
    .inputs = {{"operand", DTypes::signed_ints | DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return x < 0 ? -1.0 : x > 0 ? 1.0 : x; },
                                   .ints = [](int64_t x, DType) -> int64_t { return (x > 0) - (x < 0); },
                                   .complexes = [](std::complex<double> x) -> std::complex<double> {
                                     constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
                                     if (std::isnan(x.real()) || std::isnan(x.imag())) return {kNaN, kNaN};
                                     if (x == 0.0) return 0.0;
                                     return x / std::hypot(x.real(), x.imag());
                                   }}),
    .work = per_element({.compares = 2}),
    .cases = unary_cases(DTypes::signed_ints | DTypes::floats | DTypes::complexes),
};
BASCULE_OP(sign);

}  // namespace bascule::ops
