// ops/negate.cc — -x, elementwise.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef negate{
    .name = "negate",
    .doc = "y = -x (integers wrap)",
    .inputs = {{"operand", DTypes::numbers}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return -x; },
                                   .ints = [](int64_t x, DType) { return static_cast<int64_t>(0 - static_cast<uint64_t>(x)); },
                                   .complexes = [](std::complex<double> x) { return -x; }}),
    .symbolic = symbolic_unary([](const Dim& x) { return Dim(0) - x; }),
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::numbers),
};
BASCULE_OP(negate);

}  // namespace bascule::ops
