// device/chip/map_neuron_convolution.h — a convolution on its way to instructions: see map_neuron_convolution.cc.
#pragma once
#include <utility>
#include <vector>

#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

// Outputs [first, first + count * step) of a box that tap t of an axis reaches, and where they read.
struct Reach {
  int64_t first = 0, count = 0, step = 1;  // outputs
  int64_t in = 0, in_step = 1;             // inputs
};

struct Taps {
  std::vector<int64_t> extents;
  int64_t count() const {
    int64_t n = 1;
    for (const int64_t e : extents) n *= e;
    return n;
  }
  std::vector<int64_t> at(int64_t index) const {
    std::vector<int64_t> r(extents.size());
    for (size_t k = extents.size(); k-- > 0;) {
      r[k] = index % extents[k];
      index /= extents[k];
    }
    return r;
  }
};

// What is multiplied: x itself, or x with the taps of its first axis on partitions.
struct Mapper::Convolution {
  explicit Convolution(const Step& step) : s(step) {}
  const Step& s;
  Nest y, x;                        // y: images, groups, channels, spatial axes; operand 0 the result, then the epilogue's. x: alike
  std::vector<WindowAxis> windows;  // as the moving operand sees them
  bool depthwise = false, packed = false;
  int out_axis = 2;
  Expression epilogue;
  int64_t rows = 0;  // of a K tile: input channels, or taps x channels
  int64_t row_tiles = 1;
  Taps taps;  // those that are accumulated
  int64_t chunk = 0, chunks = 1;
  bool keep = false;
  int32_t weight_main = -1;
  std::vector<int32_t> pieces;
  // Blocks: so many images and lines of the first spatial axis.
  bool streamed = false;
  int64_t images = 1, lines = 1;
  // Of a block.
  Place xp, yp;
  std::vector<Place> ep;
  int32_t packed_buffer = -1;
  int64_t packed_images = 0, packed_image0 = 0, packed_rows = 0, packed_row0 = 0;

  std::vector<int> moving_axes() const {  // images and spatial axes
    std::vector<int> axes{0};
    for (size_t k = 0; k < windows.size(); ++k) axes.push_back(static_cast<int>(3 + k));
    return axes;
  }
  std::vector<Reach> reached(const Box& at, int64_t tap) const;
  std::vector<std::pair<int64_t, std::vector<Reach>>> order(const Box& at, bool& covered) const;
};

}  // namespace bascule::device::chip::neuron
