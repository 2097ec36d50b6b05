// ops/conj.cc — complex conjugate, elementwise.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef conj{
    .name = "conj",
    .dialect = "chlo",
    .doc = "y = real part - i imaginary part (a float: x)",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return x; }, .complexes = [](std::complex<double> x) { return std::conj(x); }}),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes),
};
BASCULE_OP(conj);

}  // namespace bascule::ops
