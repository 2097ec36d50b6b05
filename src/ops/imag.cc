// ops/imag.cc — imaginary part, elementwise.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef imag{
    .name = "imag",
    .doc = "y = imaginary part of x (a float: 0)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = mapped_type(real_of),
    .reference = elementwise(Unary{.floats = [](double) { return 0.0; }, .complexes = [](std::complex<double> x) -> std::complex<double> { return x.imag(); }}),
    .work = no_arithmetic(),
    .cases = unary_cases(DTypes::floats | DTypes::complexes),
};
BASCULE_OP(imag);

}  // namespace bascule::ops
