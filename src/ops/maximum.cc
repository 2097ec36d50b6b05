// ops/maximum.cc — the larger of two, elementwise.
#include "ops/ordering.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef maximum{
    .name = "maximum",
    .doc = "y = max(a, b) (NaN if either is; +0 above -0; i1: or; complex: by real, then imaginary part)",
    .inputs = {{"lhs", DTypes::tensors}, {"rhs", DTypes::tensors}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.floats = max_floats, .ints = max_ints, .complexes = max_complexes}),
    .symbolic = symbolic_binary([](const Dim& a, const Dim& b) -> std::optional<Dim> { return Dim::max(a, b); }),
    .work = per_element({.compares = 1}),
    .cases = binary_cases(DTypes::tensors),
};
BASCULE_OP(maximum);

}  // namespace bascule::ops
