// ops/real.cc — real part, elementwise.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef real{
    .name = "real",
    .doc = "y = real part of x (a float: x)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = mapped_type(real_of),
    .reference = elementwise(Unary{.floats = [](double x) { return x; }, .complexes = [](std::complex<double> x) -> std::complex<double> { return x.real(); }}),
    .work = no_arithmetic(),
    .cases = unary_cases(DTypes::floats | DTypes::complexes),
};
BASCULE_OP(real);

}  // namespace bascule::ops
