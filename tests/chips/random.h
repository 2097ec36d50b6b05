// tests/chips/random.h — numbers for tests, the same on every machine.
#pragma once
#include <cstdint>
#include <vector>

#include "graph/tensor.h"

namespace bascule {

// f32 in [-scale, scale).
inline Tensor random(std::vector<int64_t> dims, uint32_t seed, double scale = 1) {
  Tensor t(DType::f32, std::move(dims));
  for (float& x : t.as_mutable<float>()) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>((static_cast<double>(seed >> 8) / 8388608.0 - 1) * scale);
  }
  return t;
}

}  // namespace bascule
