// bench/chip_accuracy/mapped.h — models and single products, mapped to a chip for timing.
#pragma once
#include <string>

#include "device/chip/map.h"
#include "device/chip/timing.h"

namespace bascule::bench {

// A model file with shapes "name=1x128;other=4x8", optimised and bound.
Graph bound_model(const std::string& path, const std::string& shapes);
// Encoder of BERT-base without embedding and pooler: bf16, 12 layers of 768, 12 heads, 3,072 wide; softmax in f32.
Graph bert_encoder(int64_t batch, int64_t sequence);
// y[m, n] = x[m, k] w[k, n] (+ bias), a chain of `count` with n = k when count > 1. Weights are absent: their type is enough to time them.
Graph linear_chain(int64_t m, int64_t k, int64_t n, DType t, int count, bool bias);

// On one core or as the options say.
device::chip::Program mapped(const device::chip::Chip& chip, const Graph& bound, const device::chip::MapOptions& options);

}  // namespace bascule::bench
