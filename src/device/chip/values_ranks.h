// device/chip/values_ranks.h — inputs cut into the parts of ranks, and results joined from them. Moves host data only.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "graph/tensor.h"

namespace bascule::device::chip {

// Part `rank` of `ranks` equal ones along a dimension; the whole where dim < 0. UsageError: it does not divide.
Tensor part_of(const Tensor& t, int dim, int64_t rank, int64_t ranks);
// Equal parts one after the other along a dimension, up to `extent` if there is one; the first where dim < 0.
Tensor joined(std::span<const Tensor> parts, int dim, std::optional<int64_t> extent = std::nullopt);

}  // namespace bascule::device::chip
