// device/chip/map_neuron_windows.cc — pooling and other folds over windows, on the engine that folds along the free dimensions.
#include <algorithm>

#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
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
void Mapper::window_step(const Step& s) {
  if (s.initial != neutral(s.fold) || s.fold == loops::Op::load) return host_step(s);
  const Operand oy = result(s), ox = operand(s.views[0]);
  std::vector<int64_t> xe;
  for (const WindowAxis& w : s.windows) {
    if (w.base > 1) return host_step(s);
    xe.push_back(w.in);
  }
  const int part = window_rows(s);
  if (part < 0) return host_step(s);
  const auto p = static_cast<size_t>(part);
  Nest y, x;
  y.extents = s.axes;
  y.tags.assign(s.axes.size(), 'S');
  y.operands = {oy};
  for (const View& v : s.epilogue_operands) y.operands.push_back(operand(v));
  y.operands[0].placement = {std::max<int64_t>(oy.strides[p], 1), s.axes[p]};
  x.extents = xe;
  x.tags.assign(xe.size(), 'S');
  x.operands = {ox};
  x.operands[0].placement = {std::max<int64_t>(ox.strides[p], 1), xe[p]};
  int found = -1;
  if (!fits(y.operands[0].placement, oy.total) || !follow(y, 0, 1, found) || y.extents.size() != s.axes.size() || (found != part && s.axes[p] > 1)) return host_step(s);
  if (!fits(x.operands[0].placement, ox.total) || !x.refine() || x.extents.size() != xe.size() || (x.part_axis(0) != part && xe[p] > 1)) return host_step(s);
  const DType type = item(ox.item).dtype;
  Target out = target(oy.item, y.operands[0].placement);
  const bool streamed = out.image >= 0 || place_bytes(ox.total, x.operands[0].placement, type) > budget_ * 2 / 5;
  choice(streamed ? "blocks of the first axis" : "whole");
  // blocks: one step of the first axis, and lines of the first windowed one
  std::vector<int> windowed, plain;
  for (size_t a = 0; a < s.axes.size(); ++a) {
    if (static_cast<int>(a) == part) continue;
    (s.windows[a].plain() ? plain : windowed).push_back(static_cast<int>(a));
  }
  std::vector<Box> blocks{y.all()};
  if (streamed) {
    std::vector<int> loops_over = plain;
    if (!windowed.empty()) loops_over.push_back(windowed[0]);
    int64_t lines = 16;
    blocks = boxes(y, y.all(), loops_over, lines, [&](int a) { return s.windows[static_cast<size_t>(a)].plain(); });
  }
  const Expression expr = expression(s);
  for (const Box& block : blocks) {
    Place xp;
    if (streamed) {
      Box xb = x.all();
      for (size_t a = 0; a < s.axes.size(); ++a) {
        const WindowAxis& w = s.windows[a];
        const int64_t low = std::clamp<int64_t>(block.start[a] * w.stride - w.low, 0, w.in - 1);
        const int64_t high = std::clamp<int64_t>((block.start[a] + block.size[a] - 1) * w.stride - w.low + (w.taps - 1) * w.dilation, 0, w.in - 1);
        xb.start[a] = low;
        xb.size[a] = high - low + 1;
      }
      const Window win = window(x.operands[0], xb);
      xp = hold(ox.item, x.operands[0].placement, type, &win);
    } else {
      xp = hold(ox.item, x.operands[0].placement, type);
    }
    const Place yp = target_block(out, oy.item, y.operands[0].placement, window(y.operands[0], block));
    std::vector<Place> ep;
    for (size_t e = 1; e < y.operands.size(); ++e) ep.push_back(hold_operand(y.operands[e], &block));
    // outputs of an axis with the same taps inside: [start, count, first tap, taps]
    std::vector<std::vector<std::array<int64_t, 4>>> spans(windowed.size());
    for (size_t k = 0; k < windowed.size(); ++k) {
      const auto a = static_cast<size_t>(windowed[k]);
      const WindowAxis& w = s.windows[a];
      for (int64_t o = block.start[a]; o < block.start[a] + block.size[a]; ++o) {
        const int64_t start = o * w.stride - w.low;
        const int64_t t0 = start >= 0 ? 0 : ceil_div(-start, w.dilation), t1 = std::min(w.taps - 1, floor_div(w.in - 1 - start, w.dilation));
        if (!spans[k].empty() && spans[k].back()[2] == t0 && spans[k].back()[3] == t1 - t0 + 1) ++spans[k].back()[1];
        else spans[k].push_back({o, 1, t0, t1 - t0 + 1});
      }
    }
    for (const Box& rows_box : row_boxes(y, 0, yp, block, plain, part)) {
      const int64_t rows = rows_box.size[p];
      Box at = rows_box;
      std::vector<int64_t> first_tap(windowed.size()), tap_count(windowed.size());
      const std::function<void(size_t)> loop = [&](size_t k) {
        if (k < windowed.size()) {
          const auto a = static_cast<size_t>(windowed[k]);
          // two axes with their taps fill an access: more are taken one output at a time; long ones in pieces
          for (const auto& span : spans[k]) {
            int64_t step = k + 2 < windowed.size() ? 1 : span[1];
            if (k + 2 >= windowed.size()) {
              int64_t each = 1;
              for (size_t j = k; j < windowed.size(); ++j) each *= s.windows[static_cast<size_t>(windowed[j])].taps * (j > k ? s.axes[static_cast<size_t>(windowed[j])] : 1);
              step = std::clamp<int64_t>(16384 / std::max<int64_t>(each, 1), 1, span[1]);
            }
            for (int64_t o = 0; o < span[1]; o += step) {
              at.start[a] = span[0] + o;
              at.size[a] = std::min(step, span[1] - o);
              first_tap[k] = span[2];
              tap_count[k] = span[3];
              loop(k + 1);
            }
          }
          at.start[a] = rows_box.start[a];
          at.size[a] = rows_box.size[a];
          return;
        }
        const Source to{pattern(y.operands[0], yp, at, part, windowed, pitch(yp), partitions_, 0, rows), emit_.buffer(yp.buffer).dtype, false, false};
        const bool empty = std::any_of(tap_count.begin(), tap_count.end(), [](int64_t n) { return n <= 0; });
        Box xb = x.all();
        for (size_t a = 0; a < s.axes.size(); ++a) xb.start[a] = at.start[a], xb.size[a] = at.size[a];
        Source in;
        if (!empty) {
          for (size_t j = 0; j < windowed.size(); ++j) {
            const auto a = static_cast<size_t>(windowed[j]);
            xb.start[a] = at.start[a] * s.windows[a].stride - s.windows[a].low + first_tap[j] * s.windows[a].dilation;
            xb.size[a] = 1;
          }
          in.pattern = pattern(x.operands[0], xp, xb, part, {}, pitch(xp), partitions_, 0, rows);
          in.dtype = type;
          const auto stride_of = [&](int a) { return free_stride(x.operands[0].digits[static_cast<size_t>(a)], xp, partitions_); };
          for (const int a : windowed) in.pattern.add(at.size[static_cast<size_t>(a)], at.size[static_cast<size_t>(a)] > 1 ? stride_of(a) * s.windows[static_cast<size_t>(a)].stride : 0);
          for (size_t j = 0; j < windowed.size(); ++j) in.pattern.add(tap_count[j], tap_count[j] > 1 ? stride_of(windowed[j]) * s.windows[static_cast<size_t>(windowed[j])].dilation : 0);
        }
        Source sum = to;
        if (!s.epilogue.empty() || empty) {
          int64_t columns = 1;
          for (const int a : windowed) columns *= at.size[static_cast<size_t>(a)];
          const int64_t row0 = to.pattern.offset / pitch(yp) % partitions_;
          sum.dtype = DType::f32;
          sum.pattern = {};
          sum.pattern.buffer = scratch(DType::f32, row0 + rows, columns);
          sum.pattern.offset = row0 * columns;
          sum.pattern.add(rows, columns);
          for (const int a : windowed) {
            columns /= at.size[static_cast<size_t>(a)];
            sum.pattern.add(at.size[static_cast<size_t>(a)], columns);
          }
        }
        if (empty) {
          Call f;
          f.op = Opcode::fill;
          f.work = WorkClass::fill;
          f.out = sum;
          f.immediate = s.initial;
          emit(f);
        } else {
          fold(sum, in, static_cast<int>(windowed.size()), s.fold, false);
        }
        if (sum.pattern.buffer != to.pattern.buffer) {
          const int64_t row0 = to.pattern.offset / pitch(yp);
          evaluate(expr, to,
                   [&](const Term& t) {
                     if (t.leaf == Term::anchor) return sum;
                     return leaf_source(y.operands[static_cast<size_t>(t.index) + 1], ep[static_cast<size_t>(t.index)], at, part, windowed, row0, rows);
                   },
                   nullptr);
        }
      };
      loop(0);
    }
    target_done(out, oy.item, y.operands[0].placement, yp);
    done();
  }
}

}  // namespace bascule::device::chip::neuron
