// ops/multiply.cc — product, elementwise; logical and for i1.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef multiply{
    .name = "multiply",
    .doc = "y = a * b (integers wrap; i1: and)",
    .inputs = {{"lhs", DTypes::tensors}, {"rhs", DTypes::tensors}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{
        .floats = [](double a, double b) { return a * b; },
        .ints = [](int64_t a, int64_t b, DType) { return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b)); },
        .complexes = [](std::complex<double> a, std::complex<double> b) { return a * b; }}),
    .symbolic = symbolic_binary([](const Dim& a, const Dim& b) -> std::optional<Dim> { return a * b; }),
    .work = per_element({.adds = 1}),
    .cases = binary_cases(DTypes::tensors, -2, 2, {{.name = "wraps", .shapes = {{5}, {5}}, .dtypes = {DType::i8, DType::i8}, .low = -128, .high = 127}}),
};
BASCULE_OP(multiply);

}  // namespace bascule::ops
