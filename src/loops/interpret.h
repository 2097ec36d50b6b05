// loops/interpret.h — runs a KernelSpec literally, point by point in double or int64: the middle step between references and kernels.
#pragma once
#include <span>

#include "loops/spec.h"

namespace bascule::loops {

// pointers[k]: element 0 of operand k. InternalError if spec.check() complains.
void interpret(const KernelSpec& spec, std::span<std::byte* const> pointers);

// One operator on scalars. Float types: doubles, rounded to the type; others: int64, wrapped.
struct Scalar {
  double number = 0;
  int64_t integer = 0;
};
Scalar apply(Op op, DType result, DType operand, Scalar a, Scalar b, Scalar c);

}  // namespace bascule::loops
