// ops/random.h — the generator behind random operators: the same numbers on every machine for one seed.
#pragma once
#include <optional>
#include <random>

#include "ops/rules.h"

namespace bascule::ops {

// Mersenne Twister 19937, drawn as numpy.random.RandomState(seed) draws: a seed means the same numbers there.
class Random {
 public:
  explicit Random(std::optional<int64_t> seed) : engine_(seed ? static_cast<uint32_t>(*seed) : std::random_device{}()) {}
  double uniform() {  // [0, 1): 27 and 26 bits over 2^53
    const auto high = static_cast<double>(engine_() >> 5), low = static_cast<double>(engine_() >> 6);
    return (high * 0x1p26 + low) * 0x1p-53;
  }
  double normal();  // mean 0, variance 1

 private:
  std::mt19937 engine_;
  std::optional<double> spare_;
};

std::optional<int64_t> seed_of(const Attrs& attrs);  // the integer attribute "seed"

// Of random_uniform and random_normal: a float tensor of `dims`, `dtype`; each element from draw(random, first, second), the attributes of
// these names.
TypeRule drawn_type();
Reference drawn(std::string_view first, std::string_view second, double (*draw)(Random&, double, double));

}  // namespace bascule::ops
