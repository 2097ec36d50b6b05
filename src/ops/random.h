// ops/random.h — the generator behind random operators: the same numbers on every machine for one seed.
#pragma once
#include <optional>
#include <random>

#include "ops/rules.h"

namespace bascule::ops {

class Random {
 public:
  explicit Random(std::optional<int64_t> seed) : engine_(seed ? static_cast<uint64_t>(*seed) : (uint64_t{std::random_device{}()} << 32 | std::random_device{}())) {}
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }  // [0, 1)
  double normal();                                                            // mean 0, variance 1

 private:
  std::mt19937_64 engine_;
};

std::optional<int64_t> seed_of(const Attrs& attrs);  // the integer attribute "seed"

}  // namespace bascule::ops
