// device/chip/map_neuron_relayout.cc — the same elements in another placement: copied by an engine, turned through the accumulator, or moved by DMA.
#include <algorithm>

#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

// From operand 0 of a nest over all elements to operand 1.
class Mapper::Relayout {
 public:
  Relayout(Mapper& mapper, Placement from_placement, const Place& from, Placement p, const Place& at, int64_t total);
  bool direct();  // false: these two do not divide alike, or could not be turned
  void run();

 private:
  void each(size_t depth, Box& box, const Box& within);
  void copy_box(const Box& box);
  void turn_box(const Box& box);
  int64_t turn_tile(Box tile, int64_t columns, int64_t most, int64_t rows);
  int64_t row(size_t operand, const Box& box) const { return origin(n_.operands[operand], operand == 0 ? from_ : at_, box, m_.partitions_).q % m_.partitions_; }

  Mapper& m_;
  Place from_, at_;
  DType type_in_, type_out_;
  Nest n_;
  int pa_ = -1, pb_ = -1;  // axes on partitions
  bool turn_ = false;
  int64_t tile_ = 1;  // columns of a turned block that lie on the partitions of one tile
  std::vector<int> looped_, free_;
};

Mapper::Relayout::Relayout(Mapper& mapper, Placement from_placement, const Place& from, Placement p, const Place& at, int64_t total)
    : m_(mapper), from_(from), at_(at), type_in_(mapper.emit_.buffer(from.buffer).dtype), type_out_(mapper.emit_.buffer(at.buffer).dtype) {
  n_.extents = {total, 1};  // the second for what lies on a single partition
  n_.tags = {'x', '1'};
  n_.operands.resize(2);
  n_.operands[0].placement = from_placement;
  n_.operands[1].placement = p;
  for (Operand& o : n_.operands) o.total = total, o.strides = {1, 0};
}

bool Mapper::Relayout::direct() {
  if (!n_.refine()) return false;
  const Operand &a = n_.operands[0], &b = n_.operands[1];
  const int axes = static_cast<int>(n_.extents.size());
  const auto lies_free = [&](int axis) {
    const auto k = static_cast<size_t>(axis);
    return std::pair{free_stride(a.digits[k], from_, m_.partitions_) >= 0, free_stride(b.digits[k], at_, m_.partitions_) >= 0};
  };
  pa_ = n_.part_axis(0), pb_ = n_.part_axis(1);
  tile_ = pa_ >= 0 ? m_.partitions_ : 1;
  const bool single = (pa_ < 0) != (pb_ < 0);
  if (pa_ < 0 && pb_ >= 0) pa_ = axes - 1;
  else if (pb_ < 0 && pa_ >= 0) pb_ = axes - 1;
  turn_ = pa_ >= 0 && pb_ >= 0 && pa_ != pb_;
  for (int k = 0; k < axes; ++k) {
    if (k == pa_ || k == pb_) continue;
    const auto [in_a, in_b] = lies_free(k);
    (in_a && in_b && !turn_ ? free_ : looped_).push_back(k);
  }
  if (single) {  // one column at a time is worth it for few of them
    constexpr int64_t kMostTurns = 64;
    int64_t turns = 0;
    for (const Box& box : m_.boxes_of(n_, 1, at_)) {
      int64_t columns = 1;
      for (const int k : looped_) columns *= box.size[static_cast<size_t>(k)];
      turns += columns;
    }
    if (turns > kMostTurns) return false;
  }
  return !turn_ || (m_.turns(type_in_) && lies_free(pb_).first && lies_free(pa_).second);
}

void Mapper::Relayout::run() {
  // axes by whole rows of partitions first, then those that lie free in both
  std::stable_partition(looped_.begin(), looped_.end(), [&](int k) {
    const auto u = static_cast<size_t>(k);
    return free_stride(n_.operands[0].digits[u], from_, m_.partitions_) < 0 || free_stride(n_.operands[1].digits[u], at_, m_.partitions_) < 0;
  });
  for (const Box& exact : m_.boxes_of(n_, 1, at_)) {
    Box box = exact;
    each(0, box, exact);
  }
}

void Mapper::Relayout::each(size_t depth, Box& box, const Box& within) {
  if (depth == looped_.size()) return turn_ ? turn_box(box) : copy_box(box);
  const auto k = static_cast<size_t>(looped_[depth]);
  for (int64_t i = 0; i < within.size[k]; ++i) {
    box.start[k] = within.start[k] + i;
    box.size[k] = 1;
    each(depth + 1, box, within);
  }
  box.start[k] = within.start[k];
  box.size[k] = within.size[k];
}

// Rows stay rows: by an engine where it can take them, else by DMA.
void Mapper::Relayout::copy_box(const Box& box) {
  const auto k = static_cast<size_t>(std::max(pa_, 0));
  const int64_t begin = pa_ < 0 ? 0 : box.start[k], end = pa_ < 0 ? 1 : box.start[k] + box.size[k];
  for (int64_t i = begin; i < end;) {
    Box tile = box;
    if (pa_ >= 0) tile.start[k] = i, tile.size[k] = 1;
    const int64_t qa = row(0, tile), qb = row(1, tile);
    int64_t rows = std::min(end - i, m_.partitions_ - std::max(qa, qb));
    const int64_t legal = m_.legal_rows(qa, qb, rows);
    if (legal > 0) rows = legal;
    if (pa_ >= 0) tile.size[k] = rows;
    const Pattern in = pattern(n_.operands[0], from_, tile, pa_, free_, m_.pitch(from_), m_.partitions_, 0, rows);
    const Pattern out = pattern(n_.operands[1], at_, tile, pa_, free_, m_.pitch(at_), m_.partitions_, 0, rows);
    if (legal > 0) m_.copy({out, type_out_, false, false}, {in, type_in_, false, false});
    else m_.transfer(out, in, kLoads);
    i += rows;
  }
}

void Mapper::Relayout::turn_box(const Box& box) {
  const auto ka = static_cast<size_t>(pa_), kb = static_cast<size_t>(pb_);
  const int64_t most = m_.bank_columns() / tile_ * tile_;
  for (int64_t j = 0; j < box.size[kb];) {  // rows of the result
    Box tile = box;
    tile.start[kb] = box.start[kb] + j;
    tile.size[kb] = 1;
    tile.size[ka] = 1;
    const int64_t rows = std::min(box.size[kb] - j, m_.partitions_ - row(1, tile));
    tile.size[kb] = rows;
    for (int64_t i = 0; i < box.size[ka];) {
      tile.start[ka] = box.start[ka] + i;
      i += turn_tile(tile, std::min(box.size[ka] - i, most), most, rows);
    }
    j += rows;
  }
}

// Up to `columns` columns of some rows of the result, through a bank of `most`; how many. Where an engine cannot begin at the first of them, the tile is
// turned from its beginning.
int64_t Mapper::Relayout::turn_tile(Box tile, int64_t columns, int64_t most, int64_t rows) {
  const auto ka = static_cast<size_t>(pa_);
  const int64_t first = tile.start[ka], begin = row(0, tile), whole = std::min(columns, m_.partitions_ - begin);
  const int64_t lead = m_.legal_rows(begin, begin, whole) == whole ? 0 : begin;
  columns = std::min(columns, most - lead);
  const int32_t bank = m_.accumulator(type_in_, rows, lead + columns);
  for (int64_t c = 0; c < columns;) {
    tile.start[ka] = first + c;
    tile.size[ka] = 1;
    const int64_t extra = c == 0 ? lead : 0, here = std::min(columns - c, m_.partitions_ - row(0, tile));
    tile.size[ka] = here;
    Pattern in = pattern(n_.operands[0], from_, tile, pa_, {pb_}, m_.pitch(from_), m_.partitions_, 0, here);
    in.offset -= extra * m_.pitch(from_);
    in.sizes[0] += extra;
    m_.transpose_block(m_.source(bank, rows, here + extra, lead + c - extra).pattern, in);
    c += here;
  }
  tile.start[ka] = first;
  tile.size[ka] = columns;
  const Pattern out = pattern(n_.operands[1], at_, tile, pb_, {pa_}, m_.pitch(at_), m_.partitions_, 0, rows);
  const Source turned = m_.source(bank, rows, columns, lead);
  const int64_t to = row(1, tile);
  if (m_.legal_rows(to, to, rows) == rows) {
    m_.copy({out, type_out_, false, false}, turned);
  } else {
    const Source beside = m_.scratch_tile(type_out_, rows, {columns}, 0);
    m_.copy(beside, turned);
    m_.transfer(out, beside.pattern, kLoads);
  }
  m_.emit_.release(bank);
  return columns;
}

void Mapper::convert(Placement from_placement, const Place& from, Placement p, const Place& at, int64_t total) {
  Relayout r(*this, from_placement, from, p, at, total);
  if (r.direct()) return r.run();
  const DType type = emit_.buffer(from.buffer).dtype;
  const int32_t dense = main_room("relayout", type, total);
  store(from, from_placement, total, dense, false);
  const Placement lying = lying_of(p, total);
  if (lying == p || lying == from_placement || !load_turned(dense, false, lying, type, p, at, total)) load_dense(dense, total, p, at, kLoads);
  main_free(dense);
}

}  // namespace bascule::device::chip::neuron
