// ops/complex.cc — complex numbers from real and imaginary parts, elementwise.
#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef complex_def{
    .name = "complex",
    .doc = "y = lhs + i rhs",
    .inputs = {{"lhs", DTypes(DType::f32) | DType::f64}, {"rhs", DTypes(DType::f32) | DType::f64}},
    .type = mapped_type([](DType t) { return t == DType::f64 ? DType::c128 : DType::c64; }),
    .reference =
        [](const Call& call) {
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < y.elements(); ++i) {
            check_budget();
            store_complex(y.dtype(), out, i, {call.in(0).number(i), call.in(1).number(i)});
          }
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = binary_cases(DTypes(DType::f32) | DType::f64),
};
BASCULE_OP(complex_def);

}  // namespace bascule::ops
