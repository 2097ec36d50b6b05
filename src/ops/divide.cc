// ops/divide.cc — quotient, elementwise; integers truncate toward zero.
#include "ops/integer.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef divide{
    .name = "divide",
    .doc = "y = a / b (integers: toward zero; x / 0 = -1 or the largest unsigned; smallest / -1 = smallest)",
    .inputs = {{"lhs", DTypes::numbers}, {"rhs", DTypes::numbers}},
    .type = elementwise_type(),
    .reference = elementwise(Binary{.floats = [](double a, double b) { return a / b; },
                                    .ints = divide_ints,
                                    .complexes = [](std::complex<double> a, std::complex<double> b) { return a / b; }}),
    .symbolic = symbolic_binary(truncated_quotient),
    .work = per_element({.divides = 1}),
    .cases = binary_cases(DTypes::numbers, 1, 5,
                          {{.name = "signs", .shapes = {{64}, {64}}, .dtypes = {DType::i8, DType::i8}, .low = -128, .high = 127},
                           {.name = "by_zero", .shapes = {{32}, {32}}, .dtypes = {DType::i32, DType::i32}, .low = -1, .high = 1},
                           {.name = "unsigned_by_zero", .shapes = {{32}, {32}}, .dtypes = {DType::u8, DType::u8}, .low = 0, .high = 3},
                           {.name = "infinities", .shapes = {{32}, {32}}, .dtypes = {DType::f16, DType::f16}, .low = -6e4, .high = 6e4}}),
};
BASCULE_OP(divide);

}  // namespace bascule::ops
