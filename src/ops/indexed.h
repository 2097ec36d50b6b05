// ops/indexed.h — the dimension numbers that gather and scatter share: which axes of the windows come from indices, from batches, from offsets.
#pragma once
#include "ops/rules.h"

namespace bascule::ops {

// `full`: gather's result or scatter's updates. Its axes are window_dims (offsets inside a window) and the rest (positions in the index tensor).
struct Indexed {
  Ints window_dims, collapsed, operand_batching, indices_batching, index_map;
  int64_t index_vector_dim = 0;
  Dims window;  // extent of a window on each operand axis

  // The specification's labels of its checks, as they are numbered for each operator.
  struct Labels {
    std::string_view rank, index_vector, index_map_size, window_order, window_range, collapsed_unique, collapsed_order, collapsed_range, batching_order, batching_range, indices_unique, indices_range,
        indices_vector, batching_size, batching_extent, index_map_unique, index_map_range;
  };
  void check(const OpView& op, const Type& operand, const Type& indices, size_t full_rank, const Labels& labels) const;
  bool is_window_axis(size_t full_axis) const;
  // Axes of the index tensor that are positions (all but index_vector_dim), in order.
  Ints position_axes(size_t indices_rank) const;
};

enum class OutOfBounds { error, clamp, drop };
OutOfBounds out_of_bounds(const OpView& op);

// Concrete index arithmetic: an index into `full` -> the window's start, from the index tensor, and the element's offset from it.
class Locator {
 public:
  Locator(const Indexed& g, const std::vector<int64_t>& operand_dims, const std::vector<int64_t>& indices_dims, size_t full_rank);
  // start[d], offset[d] for each operand axis d; `index_element(i)` reads element i of the index tensor.
  template <class ReadIndex>
  void locate(std::span<const int64_t> full, ReadIndex index_element, std::vector<int64_t>& start, std::vector<int64_t>& offset) const {
    int64_t base = 0;
    for (size_t i = 0; i < position_axes_.size(); ++i) base += full[position_axes_[i]] * position_strides_[i];
    std::fill(start.begin(), start.end(), 0);
    std::fill(offset.begin(), offset.end(), 0);
    for (size_t k = 0; k < map_.size(); ++k) start[map_[k]] = index_element(base + static_cast<int64_t>(k) * vector_stride_);
    for (const auto& [axis, from] : batching_) offset[axis] = full[from];
    for (const auto& [axis, from] : offsets_) offset[axis] = full[from];
  }

 private:
  std::vector<size_t> position_axes_;         // axes of `full`
  std::vector<int64_t> position_strides_;     // of the index tensor
  int64_t vector_stride_ = 0;
  std::vector<size_t> map_;                   // operand axis of each index component
  std::vector<std::pair<size_t, size_t>> batching_, offsets_;  // operand axis, axis of `full`
};

}  // namespace bascule::ops
