// ops/abs.cc — magnitude, elementwise; of complex numbers a real one.
#include <cmath>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef abs{
    .name = "abs",
    .doc = "y = |x| (the smallest integer stays; complex: sqrt(re^2 + im^2))",
    .inputs = {{"operand", DTypes::signed_ints | DTypes::floats | DTypes::complexes}},
    .type = mapped_type(real_of),
    .reference = elementwise(Unary{.floats = [](double x) { return std::fabs(x); },
                                   .ints = [](int64_t x, DType) { return x < 0 ? static_cast<int64_t>(0 - static_cast<uint64_t>(x)) : x; },
                                   .complexes = [](std::complex<double> x) -> std::complex<double> { return std::hypot(x.real(), x.imag()); }}),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::signed_ints | DTypes::floats | DTypes::complexes),
};
BASCULE_OP(abs);

}  // namespace bascule::ops
