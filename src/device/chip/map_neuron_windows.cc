// device/chip/map_neuron_windows.cc — pooling and other folds over windows, on the engine that folds along the free dimensions.
#include <algorithm>

#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

}  // namespace

// The axis of a window step that lies on partitions: where x lies already, else the longest after the first (images come one after the other).
int Mapper::window_rows(const Step& s) const {
  const Item& it = items_[static_cast<size_t>(item_of(s.views[0].value))];
  int best = -1;
  for (size_t a = 0; a < s.axes.size(); ++a) {
    if (!s.windows[a].plain()) continue;
    const Placement p{s.views[0].layout.strides[a], s.axes[a]};
    for (const auto* copies : {&it.local, &it.images})
      for (const Held& h : *copies)
        if (h.placement == p && s.axes[a] > 1) return static_cast<int>(a);
    const bool longer = best < 0 || s.axes[a] > s.axes[static_cast<size_t>(best)];
    if (longer || (best == 0 && s.axes[a] >= partitions_ / 8)) best = static_cast<int>(a);
  }
  return best;
}

// Folds over windows: where a window lies inside, all of it at once; at the edges what is inside.
class Mapper::Pool {
 public:
  Pool(Mapper& mapper, const Step& step) : m_(mapper), s_(step), expr_(mapper.expression(step)) {}
  bool place();
  void run();

 private:
  // Outputs of an axis with the same taps inside.
  struct Span {
    int64_t start = 0, count = 0, first_tap = 0, taps = 0;
  };
  Box input_of(const Box& outputs) const;
  void block(const Box& outputs);
  std::vector<Span> spans(size_t axis, const Box& outputs) const;
  int64_t together(size_t k, int64_t most) const;
  void axis(size_t k, Box& at, std::vector<Span>& taps);
  void tile(const Box& at, const std::vector<Span>& taps);
  Source input(const Box& at, const std::vector<Span>& taps) const;

  Mapper& m_;
  const Step& s_;
  Expression expr_;
  Nest y_, x_;
  int part_ = -1;                     // axis on partitions
  std::vector<int> windowed_, plain_;  // the others
  DType type_ = DType::f32;
  // of a block
  Place xp_, yp_;
  std::vector<Place> ep_;
  std::vector<std::vector<Span>> spans_;  // of the windowed axes
};

bool Mapper::Pool::place() {
  if (s_.initial != m_.neutral(s_.fold) || s_.fold == loops::Op::load) return false;
  for (const WindowAxis& w : s_.windows) {
    if (w.base > 1) return false;
    x_.extents.push_back(w.in);
  }
  part_ = m_.window_rows(s_);
  if (part_ < 0) return false;
  const auto p = static_cast<size_t>(part_);
  y_.extents = s_.axes;
  y_.tags.assign(s_.axes.size(), 'S');
  y_.operands = {m_.result(s_)};
  for (const View& v : s_.epilogue_operands) y_.operands.push_back(m_.operand(v));
  x_.tags = y_.tags;
  x_.operands = {m_.operand(s_.views[0])};
  Operand &oy = y_.operands[0], &ox = x_.operands[0];
  oy.placement = {std::max<int64_t>(oy.strides[p], 1), s_.axes[p]};
  ox.placement = {std::max<int64_t>(ox.strides[p], 1), x_.extents[p]};
  int found = -1;
  if (!fits(oy.placement, oy.total) || !m_.follow(y_, 0, 1, found) || y_.extents.size() != s_.axes.size() || (found != part_ && s_.axes[p] > 1)) return false;
  if (!fits(ox.placement, ox.total) || !x_.refine() || x_.extents.size() != s_.axes.size() || (x_.part_axis(0) != part_ && x_.extents[p] > 1)) return false;
  type_ = m_.item(ox.item).dtype;
  for (size_t a = 0; a < s_.axes.size(); ++a)
    if (static_cast<int>(a) != part_) (s_.windows[a].plain() ? plain_ : windowed_).push_back(static_cast<int>(a));
  return true;
}

void Mapper::Pool::run() {
  const Operand &oy = y_.operands[0], &ox = x_.operands[0];
  Target out = m_.target(oy.item, oy.placement);
  const bool streamed = out.image >= 0 || m_.place_bytes(ox.total, ox.placement, type_) > m_.budget_ * 2 / 5;
  m_.choice(streamed ? "blocks of the first axis" : "whole");
  std::vector<Box> blocks{y_.all()};
  if (streamed) {  // one step of each plain axis, and lines of the first windowed one
    constexpr int64_t kLines = 16;
    std::vector<int> over = plain_;
    if (!windowed_.empty()) over.push_back(windowed_[0]);
    blocks = m_.boxes(y_.all(), over, kLines, [&](int a) { return s_.windows[static_cast<size_t>(a)].plain(); });
  }
  for (const Box& outputs : blocks) {
    if (streamed) {
      const Window w = m_.window(ox, input_of(outputs));
      xp_ = m_.hold(ox.item, ox.placement, type_, &w);
    } else {
      xp_ = m_.hold(ox.item, ox.placement, type_);
    }
    yp_ = m_.target_block(out, oy.item, oy.placement, m_.window(oy, outputs));
    block(outputs);
    m_.target_done(out, y_, 0, outputs, yp_);
    m_.done();
  }
}

// The part of the input that a box of outputs reads.
Box Mapper::Pool::input_of(const Box& outputs) const {
  Box b = x_.all();
  for (size_t a = 0; a < s_.axes.size(); ++a) {
    const WindowAxis& w = s_.windows[a];
    const int64_t first = outputs.start[a] * w.stride - w.low, last = (outputs.start[a] + outputs.size[a] - 1) * w.stride - w.low + (w.taps - 1) * w.dilation;
    b.start[a] = std::clamp<int64_t>(first, 0, w.in - 1);
    b.size[a] = std::clamp<int64_t>(last, 0, w.in - 1) - b.start[a] + 1;
  }
  return b;
}

void Mapper::Pool::block(const Box& outputs) {
  ep_.clear();
  for (size_t e = 1; e < y_.operands.size(); ++e) ep_.push_back(m_.hold_operand(y_.operands[e], &outputs));
  spans_.clear();
  for (const int a : windowed_) spans_.push_back(spans(static_cast<size_t>(a), outputs));
  for (const Box& rows : m_.row_boxes(y_, 0, yp_, outputs, plain_, part_)) {
    Box at = rows;
    std::vector<Span> taps(windowed_.size());
    axis(0, at, taps);
  }
}

std::vector<Mapper::Pool::Span> Mapper::Pool::spans(size_t axis, const Box& outputs) const {
  const WindowAxis& w = s_.windows[axis];
  std::vector<Span> out;
  for (int64_t o = outputs.start[axis]; o < outputs.start[axis] + outputs.size[axis]; ++o) {
    const int64_t start = o * w.stride - w.low;
    const int64_t t0 = start >= 0 ? 0 : ceil_div(-start, w.dilation), t1 = std::min(w.taps - 1, floor_div(w.in - 1 - start, w.dilation));
    if (!out.empty() && out.back().first_tap == t0 && out.back().taps == t1 - t0 + 1) ++out.back().count;
    else out.push_back({o, 1, t0, t1 - t0 + 1});
  }
  return out;
}

// Outputs of windowed axis k at once: two axes with their taps fill an access, so others go one by one; long ones in pieces.
int64_t Mapper::Pool::together(size_t k, int64_t most) const {
  constexpr int64_t kElements = 16384;
  if (k + 2 < windowed_.size()) return 1;
  int64_t each = 1;
  for (size_t j = k; j < windowed_.size(); ++j) {
    const auto a = static_cast<size_t>(windowed_[j]);
    each *= s_.windows[a].taps * (j > k ? s_.axes[a] : 1);
  }
  return std::clamp<int64_t>(kElements / std::max<int64_t>(each, 1), 1, most);
}

void Mapper::Pool::axis(size_t k, Box& at, std::vector<Span>& taps) {
  if (k == windowed_.size()) return tile(at, taps);
  const auto a = static_cast<size_t>(windowed_[k]);
  for (const Span& span : spans_[k]) {
    const int64_t step = together(k, span.count);
    for (int64_t o = 0; o < span.count; o += step) {
      at.start[a] = span.start + o;
      at.size[a] = std::min(step, span.count - o);
      taps[k] = span;
      axis(k + 1, at, taps);
    }
  }
}

Source Mapper::Pool::input(const Box& at, const std::vector<Span>& taps) const {
  const Operand& ox = x_.operands[0];
  Box b = at;
  for (size_t j = 0; j < windowed_.size(); ++j) {
    const auto a = static_cast<size_t>(windowed_[j]);
    b.start[a] = at.start[a] * s_.windows[a].stride - s_.windows[a].low + taps[j].first_tap * s_.windows[a].dilation;
    b.size[a] = 1;
  }
  Source in;
  in.pattern = pattern(ox, xp_, b, part_, {}, m_.pitch(xp_), m_.partitions_, 0, at.size[static_cast<size_t>(part_)]);
  in.dtype = type_;
  const auto add = [&](int axis, int64_t count, int64_t steps) {
    in.pattern.add(count, count > 1 ? free_stride(ox.digits[static_cast<size_t>(axis)], xp_, m_.partitions_) * steps : 0);
  };
  for (const int a : windowed_) add(a, at.size[static_cast<size_t>(a)], s_.windows[static_cast<size_t>(a)].stride);
  for (size_t j = 0; j < windowed_.size(); ++j) add(windowed_[j], taps[j].taps, s_.windows[static_cast<size_t>(windowed_[j])].dilation);
  return in;
}

void Mapper::Pool::tile(const Box& at, const std::vector<Span>& taps) {
  const int64_t rows = at.size[static_cast<size_t>(part_)];
  const Source to{pattern(y_.operands[0], yp_, at, part_, windowed_, m_.pitch(yp_), m_.partitions_, 0, rows), m_.emit_.buffer(yp_.buffer).dtype, false, false};
  const int64_t row0 = to.pattern.offset / m_.pitch(yp_);
  const bool empty = std::any_of(taps.begin(), taps.end(), [](const Span& t) { return t.taps <= 0; });
  const bool apart = !s_.epilogue.empty() || empty;
  Source folded = to;
  if (apart) {
    std::vector<int64_t> sizes;
    for (const int a : windowed_) sizes.push_back(at.size[static_cast<size_t>(a)]);
    folded = m_.scratch_tile(DType::f32, rows, sizes, row0 % m_.partitions_);
  }
  if (empty) m_.fill(folded, s_.initial);
  else m_.fold(folded, input(at, taps), static_cast<int>(windowed_.size()), s_.fold, false);
  if (!apart) return;
  const auto leaf = [&](const Term& t) {
    if (t.leaf == Term::anchor) return folded;
    const auto e = static_cast<size_t>(t.index);
    return m_.leaf_source(y_.operands[e + 1], ep_[e], at, part_, windowed_, row0, rows);
  };
  m_.evaluate(expr_, to, leaf, nullptr);
}

void Mapper::window_step(const Step& s) {
  Pool p(*this, s);
  if (!p.place()) return host_step(s);
  p.run();
}

}  // namespace bascule::device::chip::neuron
