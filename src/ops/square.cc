// ops/square.cc — square, elementwise.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef square{
    .name = "square",
    .dialect = "chlo",
    .doc = "y = x^2",
    .inputs = {{"operand", DTypes::floats | DTypes::complexes}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.floats = [](double x) { return x * x; }, .complexes = [](std::complex<double> x) { return x * x; }}),
    .decompose = [](Builder& b, const OpView&, std::span<const Value> in) { return Values{b.multiply(in[0], in[0])}; },
    .work = per_element({.adds = 1}),
    .cases = unary_cases(DTypes::floats | DTypes::complexes),
};
BASCULE_OP(square);

}  // namespace bascule::ops
