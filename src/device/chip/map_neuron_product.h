// device/chip/map_neuron_product.h — a product on its way to instructions: laid out by map_neuron_products.cc, emitted by map_neuron_product_tiles.cc.
#pragma once
#include <optional>
#include <vector>

#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

// Operand 0: x, 1: f (features: a weight if there is one), 2: the result, 3...: of the epilogue.
struct Mapper::Product {
  Nest nest;
  bool weight = false;    // f is one
  bool features = false;  // f is stationary
  int k_axis = -1, out_axis = -1;
  std::vector<int> bs, ms, ns, ks;  // axes by tag
  Expression epilogue;
  // Pinned; 0 and none: as the mapper likes. n: features of a chunk or block, m: rows that share it.
  int64_t wanted_n = 0, wanted_m = 0;
  std::optional<bool> wanted_kept;
  // A weight lies as [chunk of features][row][tile of K][feature], so that a chunk is one transfer of contiguous rows.
  int64_t k_rows = 1, k_tiles = 1, chunk = 1, chunks = 1, chunk_columns = 1;
  bool keep = false;  // all chunks stay while the product runs
  int32_t weight_main = -1;
  std::vector<int32_t> pieces;
  // Blocks of rows or features, when an operand or the result is not whole in the scratchpad. With a weight: `together` blocks share each of its chunks, and
  // the result of a block leaves after `group` of them.
  Target out;
  std::vector<Box> blocks;
  bool streamed = false;
  int64_t together = 1, group = 1;
  bool ahead = false;      // there is room for a block of the next rows before these leave
  int64_t block_rows = 0;  // rows that share a chunk or block of features
  // Features of the last block, which the next one may share.
  Place kept;
  std::vector<int32_t> kept_buffers;
  Window kept_window;
  // Of a block.
  Place xp, fp, yp;
  std::vector<Place> ep;
  std::vector<Box> k_boxes;  // tiles of K, the same for every tile of the result
  int64_t over(const std::vector<int>& axes) const {
    int64_t n = 1;
    for (const int a : axes) n *= extent(a);
    return n;
  }
  int64_t extent(int axis) const { return nest.extents[static_cast<size_t>(axis)]; }
};

// A block of rows while chunks of the weight go by.
struct Mapper::RowBlock {
  Box box, group;  // all features; those whose result leaves together
  Place x, y;
  std::vector<Place> beside;
  std::vector<int32_t> owned, beside_owned;  // until the last chunk; until the result leaves
};

}  // namespace bascule::device::chip::neuron
