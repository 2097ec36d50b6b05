// device/chip/map_neuron_regions.cc — elementwise regions, perhaps ending in a fold: rows on partitions as their operands already lie, one instruction
// for each scalar operator, folds along the free dimension.
#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {
namespace {

constexpr int64_t kTileColumns = 2048;  // long beside the start of an instruction, short beside the scratchpad

using loops::Op;

// The expression of a region: numbers of spec values -> terms.
Expression expression_of(const std::vector<loops::Instruction>& code, const std::vector<int32_t>& before, std::vector<int32_t>& terms, Expression x) {
  terms = before;
  for (const loops::Instruction& i : code) {
    Term t;
    t.dtype = i.dtype;
    t.fn = i.op;
    switch (i.op) {
      case Op::load:
        t.leaf = Term::operand;
        t.index = i.index;
        break;
      case Op::constant:
        t.leaf = Term::number;
        t.value = is_float(i.dtype) ? i.number : static_cast<double>(i.integer);
        break;
      case Op::iota:
        t.leaf = Term::iota;
        t.index = i.index;
        break;
      case Op::accumulator: t.leaf = Term::anchor; break;
      default:
        t.a = i.a >= 0 ? terms[static_cast<size_t>(i.a)] : -1;
        t.b = i.b >= 0 ? terms[static_cast<size_t>(i.b)] : -1;
        t.c = i.c >= 0 ? terms[static_cast<size_t>(i.c)] : -1;
    }
    terms.push_back(static_cast<int32_t>(x.terms.size()));
    x.terms.push_back(t);
  }
  return x;
}

}  // namespace

void Mapper::fill_result(const Step& s, double value) {
  const int32_t out = item_of(s.result);
  item(out).main = main_for(out);
  fill_main(item(out).main, item(out).total, value);
}

// A dense buffer in main memory filled from a row of the scratchpad.
void Mapper::fill_main(int32_t main, int64_t total, double value) {
  const int64_t columns = std::min<int64_t>(total, 4096);
  const DType t = emit_.buffer(main).dtype;
  const int32_t row = scratch(t, 1, columns);
  fill(source(row, 1, columns), value);
  for (int64_t at = 0; at < total; at += columns) {
    const int64_t n = std::min(columns, total - at);
    Pattern in, out;
    in.buffer = row;
    in.add(1, columns), in.add(n, 1);
    out.buffer = main;
    out.offset = at;
    out.add(1, n), out.add(n, 1);
    transfer(out, in, kStores);
  }
}

// One region. Operand 0: the result, then what is read, then a count for each iota: it takes no part in placement, its strides say what it grows by.
// Axes: P of the result, R folded.
class Mapper::Region {
 public:
  Region(Mapper& mapper, const Step& step) : m_(mapper), s_(step), spec_(step.spec) {}
  bool place() { return nest() && best_placement() && expressions(); }
  void run();

 private:
  bool nest();
  std::vector<Placement> tries() const;
  std::optional<double> cost(const Nest& placed, Placement p, int part) const;
  bool best_placement();
  bool expressions();
  bool single(int axis) const;
  Box block_size() const;
  std::vector<Box> slices(const Box& whole, const Box& step, const std::vector<int>& axes) const;
  std::vector<int> free_and_part() const;
  bool in_pieces(size_t operand) const;
  void tile(const Box& box, const Place& yp);
  void fold_tile(const Box& box, const Source& to, int64_t row0);
  void fold_initial(const Source& sum);
  Source compact(DType t, const std::vector<int>& axes, const Box& box, int64_t row0) const;
  Expression counted(const Box& box, const std::vector<int>& free) const;
  void evaluate_body(const Source& out, const Box& box, const std::vector<int>& free, int64_t row0);
  Source operand(const Term& t, const Box& box, const std::vector<int>& free, int64_t row0) const;
  int64_t rows(const Box& box) const { return axis_ < 0 ? 1 : box.size[static_cast<size_t>(axis_)]; }
  DType sum_type() const { return is_float(spec_.reductions[0].dtype) ? DType::f32 : spec_.reductions[0].dtype; }
  Operand& result() { return n_.operands[0]; }

  Mapper& m_;
  const Step& s_;
  const loops::KernelSpec& spec_;
  Nest n_;
  size_t first_iota_ = 0;     // operand
  std::optional<Box> piece_;  // sizes, if folded axes are cut
  bool folds_ = false;
  int axis_ = -1;  // on partitions
  std::vector<int> free_, folded_;
  Expression body_, tail_;
  bool direct_ = false;  // folded as it lies
  std::vector<Place> places_;
};

bool Mapper::Region::nest() {
  std::vector<int64_t> iota_axes;
  for (const auto& i : spec_.body)
    if (i.op == Op::iota) iota_axes.push_back(i.index);
  for (const auto& i : spec_.epilogue)
    if (i.op == Op::iota) return false;
  for (const auto& a : spec_.axes) {
    const bool red = a.role == loops::Role::reduction;
    folds_ |= red || !spec_.reductions.empty();
    n_.extents.push_back(a.extent);
    n_.tags.push_back(red ? 'R' : 'P');
  }
  if (spec_.reductions.size() > 1 || spec_.stores.size() != 1) return false;
  const auto add = [&](size_t k) {
    Operand o;
    o.item = m_.item_of(s_.spec_values[k]);
    o.total = m_.item(o.item).total;
    o.strides = spec_.operands[k].strides;
    o.offset = spec_.operands[k].offset;
    n_.operands.push_back(o);
  };
  const size_t loads = spec_.operands.size() - 1;
  add(loads);
  for (size_t k = 0; k < loads; ++k) add(k);
  first_iota_ = n_.operands.size();
  for (const int64_t a : iota_axes) {
    Operand o;
    o.placed = false;
    o.strides.assign(n_.extents.size(), 0);
    o.strides[static_cast<size_t>(a)] = 1;
    n_.operands.push_back(o);
  }
  for (const Operand& o : n_.operands)
    for (const int64_t st : o.strides)
      if (st < 0) return false;
  n_.merge();
  return true;
}

// Where operands lie already, what readers wish, rows of the result's own dimensions.
std::vector<Placement> Mapper::Region::tries() const {
  const Operand& y = n_.operands[0];
  std::vector<Placement> out;
  for (size_t k = 1; k < first_iota_; ++k) {
    const Operand& o = n_.operands[k];
    for (const Held& h : m_.item(o.item).local) {
      if (h.placement.replicated()) continue;
      if (o.strides == y.strides && o.total == y.total && o.offset == 0) {
        out.push_back(h.placement);
        continue;
      }
      for (size_t a = 0; a < n_.extents.size(); ++a)  // the same rows, other columns
        if (n_.tags[a] == 'P' && o.strides[a] == h.placement.inner && n_.extents[a] <= h.placement.extent) out.push_back({y.strides[a], n_.extents[a]});
    }
  }
  if (const auto w = m_.wish(m_.item(y.item), m_.now_)) out.push_back(*w);
  if (const auto dims = constants(m_.graph_.type(s_.result).dims); dims && !dims->empty() && y.total > 0) {
    int64_t inner = 1;
    for (size_t a = dims->size(); a-- > 1;) {
      inner *= (*dims)[a];
      out.push_back({inner, y.total / inner});
    }
    out.push_back({1, y.total});
  }
  for (size_t a = 0; a < n_.extents.size(); ++a)
    if (n_.tags[a] == 'P' && y.strides[a] > 0) out.push_back({y.strides[a], n_.extents[a]});
  out.push_back({y.total, 1});
  return out;
}

// About the cycles of a placement: passes over the result, and what must be laid out anew. None: an engine could not begin at its rows.
std::optional<double> Mapper::Region::cost(const Nest& placed, Placement p, int part) const {
  constexpr double kRelayCycles = 300;
  constexpr int64_t kMostTurned = 1 << 14;
  double cycles = static_cast<double>(m_.place_bytes(n_.operands[0].total, p, DType::i8)) * static_cast<double>(1 + spec_.body.size());
  const int64_t partitions = m_.partitions_, rows = part < 0 ? 1 : placed.extents[static_cast<size_t>(part)];
  const int64_t begins = rows <= partitions / 4 ? partitions / 4 : rows <= partitions / 2 ? partitions / 2 : partitions;
  for (size_t k = 0; k < first_iota_; ++k) {
    const Operand& o = placed.operands[k];
    const Item& it = m_.item(o.item);
    for (size_t a = 0; a < placed.extents.size(); ++a) {
      const Digit& d = o.digits[a];
      if (placed.extents[a] > 1 && static_cast<int>(a) != part && d.level == Level::part && d.step % partitions != 0)
        if (placed.tags[a] == 'R' || d.step % begins != 0) return std::nullopt;  // blocks of rows that begin elsewhere
    }
    const auto elements = static_cast<double>(o.total);
    const bool turnable = o.placement.extent <= kMostTurned;
    const bool leaves = k == 0 && m_.place_bytes(o.total, p, it.dtype) > m_.budget_ * 2 / 5;  // to main memory
    if (leaves && o.placement.inner == 1 && o.placement.extent > 1 && !turnable) cycles += elements / 128.0 * 1000;
    if (k == 0) continue;
    const bool here = it.weight || std::any_of(it.local.begin(), it.local.end(), [&](const Held& h) { return h.placement == o.placement; });
    // from main memory: in long pieces, turned, or element by element
    const bool scattered = o.placement.inner == 1 && o.placement.extent > 1 && o.total > 2048;
    if (!here && it.local.empty()) cycles += elements / 128.0 * (!scattered ? 1 : turnable ? 8 : 1000);
    else if (!here) cycles += elements / 128.0 * (o.placement.replicated() ? 16 : 3) + kRelayCycles;
    if (o.placement.replicated()) cycles += elements;
  }
  return cycles;
}

bool Mapper::Region::best_placement() {
  std::optional<Nest> chosen;
  double least = 0;
  std::vector<Placement> seen;
  for (const Placement& p : tries()) {
    if (!fits(p, result().total) || std::find(seen.begin(), seen.end(), p) != seen.end()) continue;
    seen.push_back(p);
    Nest placed = n_;
    placed.operands[0].placement = p;
    int part = -1;
    if (!m_.follow(placed, 0, 1, part, first_iota_)) continue;
    if (part >= 0 ? placed.tags[static_cast<size_t>(part)] != 'P' : p.extent != 1) continue;
    const std::optional<double> cycles = cost(placed, p, part);
    if (!cycles || (chosen && *cycles >= least)) continue;
    chosen = std::move(placed);
    axis_ = part;
    least = *cycles;
  }
  if (!chosen) return false;
  n_ = std::move(*chosen);
  folded_ = m_.axes_of(n_, 'R');
  for (const int a : m_.axes_of(n_, 'P'))
    if (a != axis_) free_.push_back(a);
  return true;
}

bool Mapper::Region::expressions() {
  std::vector<int32_t> terms, after;
  body_ = expression_of(spec_.body, {}, terms, {});
  if (spec_.reductions.empty()) {
    body_ = expression_of(spec_.epilogue, terms, after, body_);
    body_.result = after[static_cast<size_t>(spec_.stores[0].value)];
  } else {
    body_.result = terms[static_cast<size_t>(spec_.reductions[0].value)];
    // numbers of the body cannot be read after the fold: only accumulators
    tail_ = expression_of(spec_.epilogue, std::vector<int32_t>(spec_.body.size(), -1), after, {});
    for (const Term& t : tail_.terms) {
      const int arity = t.leaf == Term::none ? loops::arity(t.fn) : 0;
      if (t.leaf == Term::iota || (arity > 0 && t.a < 0) || (arity > 1 && t.b < 0) || (arity > 2 && t.c < 0)) return false;
    }
    tail_.result = after[static_cast<size_t>(spec_.stores[0].value)];
    if (tail_.result < 0) return false;
  }
  int next_iota = 0;
  for (Term& t : body_.terms)
    if (t.leaf == Term::iota) t.index = next_iota++;
  direct_ = body_.terms[static_cast<size_t>(body_.result)].leaf == Term::operand;
  return true;
}

// Whether an axis is taken step by step: rows that begin elsewhere, or all but the innermost axis of a count.
bool Mapper::Region::single(int axis) const {
  const auto a = static_cast<size_t>(axis);
  for (size_t k = 0; k < first_iota_; ++k)
    if (n_.operands[k].digits[a].level == Level::part && n_.operands[k].digits[a].step % m_.partitions_ != 0) return true;
  for (size_t k = first_iota_; k < n_.operands.size(); ++k)
    for (size_t b = a + 1; n_.operands[k].strides[a] != 0 && b < n_.extents.size(); ++b)
      if (n_.operands[k].strides[b] != 0 && n_.extents[b] > 1) return true;
  return false;
}

void Mapper::Region::run() {
  Target out = m_.target(result().item, result().placement);
  m_.choice("rows=" + std::to_string(result().placement.extent) + "/" + std::to_string(result().placement.inner));
  int64_t folded = 1;
  for (const int a : folded_) folded *= n_.extents[static_cast<size_t>(a)];
  const int64_t most = std::max<int64_t>(1, (direct_ ? 8 : 1) * kTileColumns / std::clamp<int64_t>(folded, 1, kTileColumns));
  bool streamed = out.image >= 0;
  for (size_t k = 1; k < first_iota_; ++k) {
    const Operand& o = n_.operands[k];
    streamed = streamed || m_.place_bytes(o.total, o.placement, m_.item(o.item).dtype) > m_.budget_ / 4;
  }
  const auto one = [&](int a) { return single(a); };
  std::vector<int> one_by_one;
  std::copy_if(free_.begin(), free_.end(), std::back_inserter(one_by_one), one);
  const Box step = streamed ? block_size() : n_.all();
  for (const int a : folded_)
    if (const auto k = static_cast<size_t>(a); step.size[k] < n_.extents[k]) piece_ = step;
  for (const Box& block : slices(n_.all(), step, free_and_part())) {
    places_.assign(first_iota_ - 1, Place{});
    for (size_t k = 1; k < first_iota_; ++k)
      if (!in_pieces(k)) places_[k - 1] = m_.hold_operand(n_.operands[k], streamed ? &block : nullptr);
    const std::vector<int32_t> held = std::exchange(m_.temporaries_, {});
    const Place yp = m_.target_block(out, result().item, result().placement, m_.window(result(), block));
    for (const Box& rows_box : m_.row_boxes(n_, 0, yp, block, one_by_one, axis_))
      for (const Box& box : m_.boxes(rows_box, free_, most, one)) {
        tile(box, yp);
        m_.done();
      }
    m_.temporaries_ = held;
    m_.target_done(out, n_, 0, block, yp);
    m_.done();
  }
}

// Sizes of blocks whose operands and results leave room for a tile's scratch. Cut along the result's outermost axis of a level, so that it lies in one
// piece; along folded axes when that is not enough.
Box Mapper::Region::block_size() const {
  const Operand& y = n_.operands[0];
  Box step = n_.all();
  const auto bytes = [&] {
    int64_t sum = 0;
    for (size_t k = 0; k < first_iota_; ++k) sum += m_.window_bytes(n_.operands[k].placement, m_.window(n_.operands[k], step), m_.item(n_.operands[k].item).dtype);
    return sum;
  };
  const auto half = [&](size_t a) {
    const int64_t unit = static_cast<int>(a) == axis_ ? m_.partitions_ : 1;
    return ((step.size[a] + 1) / 2 + unit - 1) / unit * unit;
  };
  const auto outermost = [&](size_t a) {
    if (y.digits[a].step == 0) return false;
    for (size_t b = 0; b < n_.extents.size(); ++b)
      if (y.digits[b].level == y.digits[a].level && y.digits[b].step > y.digits[a].step && step.size[b] > 1) return false;
    return true;
  };
  const auto folded = [&](size_t a) { return std::find(folded_.begin(), folded_.end(), static_cast<int>(a)) != folded_.end(); };
  const auto shrink = [&](const std::function<bool(size_t)>& may) {
    for (int64_t now = bytes(); now > m_.budget_ / 3;) {
      int best = -1;
      int64_t least = now;
      for (size_t a = 0; a < n_.extents.size(); ++a) {
        if (!may(a) || half(a) >= step.size[a]) continue;
        const int64_t whole = std::exchange(step.size[a], half(a));
        if (const int64_t cut = bytes(); cut < least) best = static_cast<int>(a), least = cut;
        step.size[a] = whole;
      }
      if (best < 0) return;
      step.size[static_cast<size_t>(best)] = half(static_cast<size_t>(best));
      now = least;
    }
  };
  shrink(outermost);
  shrink(folded);
  return step;
}

// A box in slices of these sizes along the axes, the outermost axis slowest.
std::vector<Box> Mapper::Region::slices(const Box& whole, const Box& step, const std::vector<int>& axes) const {
  std::vector<Box> out{whole};
  for (const int axis : axes) {
    const auto a = static_cast<size_t>(axis);
    if (step.size[a] >= whole.size[a]) continue;
    std::vector<Box> parts;
    for (Box b : out)
      for (int64_t i = 0; i < whole.size[a]; i += step.size[a]) {
        b.start[a] = whole.start[a] + i;
        b.size[a] = std::min(step.size[a], whole.size[a] - i);
        parts.push_back(b);
      }
    out = std::move(parts);
  }
  return out;
}

std::vector<int> Mapper::Region::free_and_part() const {
  std::vector<int> axes = free_;
  if (axis_ >= 0) axes.push_back(axis_);
  std::sort(axes.begin(), axes.end());
  return axes;
}

// Whether an operand is held a piece of the folded axes at a time.
bool Mapper::Region::in_pieces(size_t operand) const {
  return piece_ && std::any_of(folded_.begin(), folded_.end(), [&](int a) { return n_.operands[operand].strides[static_cast<size_t>(a)] != 0; });
}

Source Mapper::Region::operand(const Term& t, const Box& box, const std::vector<int>& free, int64_t row0) const {
  const auto k = static_cast<size_t>(t.index);
  return m_.leaf_source(n_.operands[k + 1], places_[k], box, axis_, free, row0, rows(box));
}

// The body with the iotas of a tile: where they start, and the axis of the tile that they count.
Expression Mapper::Region::counted(const Box& box, const std::vector<int>& free) const {
  Expression x = body_;
  for (Term& t : x.terms) {
    if (t.leaf != Term::iota) continue;
    const Operand& o = n_.operands[first_iota_ + static_cast<size_t>(t.index)];
    double start = 0;
    int along = -1;
    for (size_t a = 0; a < n_.extents.size(); ++a) {
      start += static_cast<double>(box.start[a] * o.strides[a]);
      if (o.strides[a] == 0 || box.size[a] == 1) continue;
      if (static_cast<int>(a) == axis_) along = 0;
      for (size_t f = 0; f < free.size(); ++f)
        if (free[f] == static_cast<int>(a)) along = static_cast<int>(f) + 1;
    }
    t.index = along;
    t.value = start;
  }
  return x;
}

void Mapper::Region::evaluate_body(const Source& out, const Box& box, const std::vector<int>& free, int64_t row0) {
  const auto leaf = [&](const Term& t) { return operand(t, box, free, row0); };
  if (first_iota_ < n_.operands.size()) m_.evaluate(counted(box, free), out, leaf, nullptr);
  else m_.evaluate(body_, out, leaf, nullptr);
}

void Mapper::Region::tile(const Box& box, const Place& yp) {
  const Source to{pattern(result(), yp, box, axis_, free_, m_.pitch(yp), m_.partitions_, 0, rows(box)), m_.item(result().item).dtype, false, false};
  const int64_t row0 = to.pattern.offset / m_.pitch(yp);
  if (folds_) fold_tile(box, to, row0);
  else evaluate_body(to, box, free_, row0);
}

Source Mapper::Region::compact(DType t, const std::vector<int>& axes, const Box& box, int64_t row0) const {
  std::vector<int64_t> sizes;
  for (const int a : axes) sizes.push_back(box.size[static_cast<size_t>(a)]);
  return m_.scratch_tile(t, rows(box), sizes, row0 % m_.partitions_);
}

void Mapper::Region::fold_tile(const Box& box, const Source& to, int64_t row0) {
  int64_t columns = 1;
  for (const int a : free_) columns *= box.size[static_cast<size_t>(a)];
  const Source sum = compact(sum_type(), free_, box, row0);
  std::vector<int> inner = free_;
  inner.insert(inner.end(), folded_.begin(), folded_.end());
  const int64_t most = std::max<int64_t>(1, (direct_ ? 16 : 1) * kTileColumns / std::max<int64_t>(columns, 1));
  bool first = true;
  for (const Box& piece : piece_ ? slices(box, *piece_, folded_) : std::vector<Box>{box}) {
    const size_t before = m_.temporaries_.size();
    for (size_t k = 1; k < first_iota_; ++k)
      if (in_pieces(k)) places_[k - 1] = m_.hold_operand(n_.operands[k], &piece);
    for (const Box& part : m_.boxes(piece, folded_, most, [&](int a) { return single(a); })) {
      Source from;
      if (direct_) {
        from = operand(body_.terms[static_cast<size_t>(body_.result)], part, inner, row0);
      } else {
        from = compact(sum_type(), inner, part, row0);
        evaluate_body(from, part, inner, row0);
      }
      m_.fold(sum, from, static_cast<int>(free_.size()), spec_.reductions[0].fold, !first);
      first = false;
    }
    if (piece_) m_.release_from(before);
  }
  fold_initial(sum);
  m_.evaluate(tail_, to, [&](const Term& t) { return t.leaf == Term::operand ? operand(t, box, free_, row0) : sum; }, nullptr);
}

// sum = fold(sum, initial), where that changes anything.
void Mapper::Region::fold_initial(const Source& sum) {
  const auto& r = spec_.reductions[0];
  if (is_float(r.dtype) ? r.initial_number == m_.neutral(r.fold) : r.initial_integer == m_.neutral_integer(r.fold, r.dtype)) return;
  Term anchor, number, both;
  anchor.leaf = Term::anchor;
  number.leaf = Term::number;
  number.value = is_float(r.dtype) ? r.initial_number : static_cast<double>(r.initial_integer);
  both.fn = r.fold;
  both.a = 0;
  both.b = 1;
  Expression x;
  x.terms = {anchor, number, both};
  for (Term& t : x.terms) t.dtype = r.dtype;
  x.result = 2;
  m_.evaluate(x, sum, [&](const Term&) { return sum; }, nullptr);
}

void Mapper::region(const Step& s) {
  Region r(*this, s);
  if (!r.place()) return host_step(s);
  r.run();
}

double Mapper::neutral(Op fold) const {
  switch (fold) {
    case Op::multiply: return 1;
    case Op::maximum: return -std::numeric_limits<double>::infinity();
    case Op::minimum: return std::numeric_limits<double>::infinity();
    default: return 0;
  }
}

int64_t Mapper::neutral_integer(Op fold, DType t) const {
  switch (fold) {
    case Op::multiply: return 1;
    case Op::maximum: return int_min(t);
    case Op::minimum: return int_max(t);
    case Op::bit_and: return is_bool(t) ? 1 : -1;
    default: return 0;
  }
}

// out[rows, kept...] (+)= fold of in over the dimensions after `kept_free`.
void Mapper::fold(const Source& out, const Source& in, int kept_free, Op op, bool accumulate) {
  // joined dimensions on each side of the cut, so that the access holds them
  const auto join = [](Pattern p, int from, int to) {  // dimensions [from, to) where they lie side by side
    for (int k = to - 1; k > from; --k) {
      const auto u = static_cast<size_t>(k);
      const bool one = p.sizes[u] == 1, alike = p.strides[u - 1] == p.strides[u] * p.sizes[u] || p.sizes[u - 1] == 1;
      if (!one && !alike) continue;
      if (!one) {
        p.strides[u - 1] = p.strides[u];
        p.sizes[u - 1] *= p.sizes[u];
      }
      for (int j = k; j + 1 < p.rank; ++j) p.sizes[static_cast<size_t>(j)] = p.sizes[static_cast<size_t>(j) + 1], p.strides[static_cast<size_t>(j)] = p.strides[static_cast<size_t>(j) + 1];
      --p.rank;
    }
    return p;
  };
  const int cut_at = 1 + kept_free;
  Pattern p = join(in.pattern, cut_at, in.pattern.rank);
  const int before = p.rank;
  p = join(p, 1, cut_at);
  int kept = cut_at - (before - p.rank);
  if (p.rank > Access::kMostDims) {  // the first dimension one by one
    const bool kept_one = kept_free > 0;
    if (kept_one && out.pattern.rank != cut_at) fail_internal("mapping a fold", "a result of " + std::to_string(cut_at) + " dimensions", std::to_string(out.pattern.rank));
    const auto without = [](Source s, int64_t i) {
      Pattern& q = s.pattern;
      q.offset += i * q.strides[1];
      for (int k = 1; k + 1 < q.rank; ++k) q.sizes[static_cast<size_t>(k)] = q.sizes[static_cast<size_t>(k) + 1], q.strides[static_cast<size_t>(k)] = q.strides[static_cast<size_t>(k) + 1];
      --q.rank;
      return s;
    };
    for (int64_t i = 0; i < in.pattern.sizes[1]; ++i)
      fold(kept_one ? without(out, i) : out, without(in, i), kept_one ? kept_free - 1 : 0, op, accumulate || (!kept_one && i > 0));
    return;
  }
  Call c;
  c.op = Opcode::reduce;
  c.fn = op;
  c.work = WorkClass::reduce;
  c.kept = static_cast<int8_t>(kept);
  c.accumulate = accumulate;
  c.out = out;
  c.out.pattern = join(out.pattern, 1, out.pattern.rank);
  c.in[0] = in;
  c.in[0].pattern = p;
  emit_uncut(c);
}

}  // namespace bascule::device::chip::neuron
