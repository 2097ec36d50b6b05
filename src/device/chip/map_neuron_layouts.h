// device/chip/map_neuron_layouts.h — where the elements of a value lie on the partitions of a scratchpad, and the access patterns that follow. Pure
// arithmetic: emits nothing.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "base/dtype.h"
#include "device/chip/program.h"

namespace bascule::device::chip::neuron {

// Element e (dense, row-major number) of a value is e = (outer * extent + q) * inner + i: q runs over the partitions, tile after tile of them; outer
// and i lie along the free dimension. extent 0: replicated, every partition holds all elements.
struct Placement {
  int64_t inner = 1, extent = 0;
  bool replicated() const { return extent == 0; }
  friend bool operator==(const Placement&, const Placement&) = default;
};
inline int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

inline constexpr Placement kReplicated{1, 0};
bool fits(Placement p, int64_t total);  // whether `total` elements divide so

enum class Level : int8_t { inner, part, outer };
// One strided axis in a placement: it steps `step` places of one level.
struct Digit {
  int64_t extent = 1, step = 0;
  Level level = Level::inner;
};
// The digits of an axis, outermost first; false when the axis does not fall into whole digits.
bool split(int64_t extent, int64_t stride, int64_t total, Placement p, std::vector<Digit>& out);

// A physical copy of a value, or of the part of it with these tiles, outers and inners.
struct Place {
  int32_t buffer = -1;
  bool temporary = false;  // made for one block of work
  bool in_main = false;    // an image [extent, outers * inners] in main memory
  int64_t tile0 = 0, outer0 = 0, outers = 1, inner0 = 0, inners = 1;
};

// What an instruction touches, before it is cut to the dimensions that an access may have.
struct Pattern {
  static constexpr int kMost = 12;
  int32_t buffer = -1, rank = 0;
  int64_t offset = 0;
  std::array<int64_t, kMost> sizes{}, strides{};
  void add(int64_t size, int64_t stride) {
    sizes[static_cast<size_t>(rank)] = size;
    strides[static_cast<size_t>(rank++)] = stride;
  }
};

// An operand of a step over the step's axes.
struct Operand {
  int32_t item = -1;
  int64_t total = 1;  // elements of the item
  Placement placement;
  std::vector<int64_t> strides;
  int64_t offset = 0;
  std::vector<Digit> digits;  // of each axis, after Nest::refine
  bool placed = true;         // false: only strides matter (a weight laid out as the step likes)
};

inline constexpr int kMostAxes = 12;
struct Box {
  std::array<int64_t, kMostAxes> start{}, size{};
};

// The axes of a step with all that runs over them. Axes are of one kind (tag) each.
struct Nest {
  std::vector<int64_t> extents;
  std::vector<char> tags;
  std::vector<Operand> operands;

  void merge();   // drops axes of one, joins neighbours of one tag that all operands run through alike
  bool refine();  // splits axes until each is one digit of every placed operand; false: some operand cannot be
  Box all() const;
  int part_axis(size_t operand) const;  // the axis that runs over its partitions step by step; -1: none
};

// The first place of the operand in the box: partition row q and free column within `at`.
struct Origin0 {
  int64_t q = 0, column = 0;
};
Origin0 origin(const Operand& o, const Place& at, const Box& box, int64_t partitions);
// Free stride of one step along an axis; -1 when it is none (it runs over partitions).
int64_t free_stride(const Digit& d, const Place& at, int64_t partitions);
// [rows of `part`, free axes in this order]; part -1: one row, or `rows` of a replicated operand from partition row0. pitch: row_elements of the buffer.
Pattern pattern(const Operand& o, const Place& at, const Box& box, int part, const std::vector<int>& free, int64_t pitch, int64_t partitions,
                int64_t row0, int64_t rows);

// The accesses of one instruction, cut alike: neighbours joined; the outermost free dimensions beyond what an access holds are looped over.
// calls: f(accesses) for each piece.
struct Cut {
  std::vector<std::array<Access, 5>> pieces;
};
Cut cut(const std::array<Pattern, 5>& patterns, int most_dims);

}  // namespace bascule::device::chip::neuron
