// ops/minimum.cc — the smaller of two, elementwise.
#include "ops/ordering.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef minimum{
    .name = "minimum",
    .doc = "y = min(a, b) (NaN if either is; -0 below +0; i1: and; complex: by real, then imaginary part)",
    .inputs = {{"lhs", DTypes::tensors}, {"rhs", DTypes::tensors}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.floats = min_floats, .ints = min_ints, .complexes = min_complexes}),
    .symbolic = symbolic_binary([](const Dim& a, const Dim& b) -> std::optional<Dim> { return Dim::min(a, b); }),
    .work = per_element({.compares = 1}),
    .cases = binary_cases(DTypes::tensors),
};
BASCULE_OP(minimum);

}  // namespace bascule::ops
