// device/chip/map_neuron_rows.cc — softmax and norms: rows on partitions, statistics along the free dimension, a few passes over each tile. Rows too long
// for the scratchpad come in pieces, once for each pass.
#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

using loops::Op;

namespace {
constexpr int64_t kPiece = 2048;  // elements of a piece of a long row
}

// One number a row: out = fn(in * scale + immediate), each a column.
void Mapper::small(const Source& out, Op fn, const Source& in, double scale, double immediate, const Source* factor, WorkClass work) {
  Call c;
  c.op = Opcode::activate;
  c.fn = fn;
  c.work = work;
  c.out = out;
  c.in[0] = in;
  if (factor) c.in[2] = *factor;
  c.scale = scale;
  c.immediate = immediate;
  emit(c);
}

// Rows of one step. Operand 0: the result, 1: x, then scale and bias if there are, then the epilogue's. Axes: P of rows, R along them.
class Mapper::Rows {
 public:
  Rows(Mapper& mapper, const Step& step);
  bool place();
  void run();
  bool turns() const;
  void run_turned();

 private:
  // A tile's expression, grown term by term with the tensors behind its leaves, and numbers of its rows, each a column.
  struct Tile {
    Expression e;
    std::vector<Source> leaves;
    Source x;
    int32_t numbers = -1;
    int64_t count = 0, first = 0;  // rows, from this partition on
    int32_t add(const Term& t);
    int32_t leaf(Source from, DType dtype);
    int32_t apply(Op fn, int32_t a, int32_t b);
    int32_t continued(const Expression& tail, int32_t anchor, const std::function<int32_t(const Term&)>& operand);
  };
  void tile(const Box& box, const Place& yp, const std::vector<Place>& held);
  void finish(Tile& t, int32_t r, const Source& to, const std::function<Source(size_t)>& operand);
  void long_tile(Target& out, const Box& box);
  void statistics(Tile& t, const std::vector<Box>& pieces, const std::function<void(const Box&)>& load);
  void add_to(const Tile& t, int64_t sum, int64_t x, double weight);
  struct Turned;
  Turned normalised(const Box& box, const Place& xp);
  void turn(const Turned& rows, const Place& yp, const Source* scale, const Source* bias);
  Source column(const Tile& t, int64_t at, int64_t columns = 1) const { return m_.source(t.numbers, t.count, columns, at, t.first); }
  Source spread(const Tile& t, int64_t at) const;
  Source like_row(const Tile& t, DType dtype) const;
  int32_t layer_norm(Tile& t);
  int32_t centred(Tile& t);
  int32_t rms_norm(Tile& t);
  int32_t softmax(Tile& t);
  void inverse_root(const Tile& t);
  void squares(const Tile& t, int64_t sum);
  Source exponentials(const Tile& t, DType dtype, int64_t sum);
  void scale_of_softmax(const Tile& t);

  Mapper& m_;
  const Step& s_;
  Nest n_;
  int64_t row_ = 1;   // elements of one
  size_t views_ = 0;  // operands before the epilogue's
  int part_ = -1;     // axis on partitions
  Expression tail_;
};

Mapper::Rows::Rows(Mapper& mapper, const Step& step) : m_(mapper), s_(step), tail_(mapper.expression(step)) {
  for (size_t a = 0; a < s_.axes.size(); ++a) {
    n_.extents.push_back(s_.axes[a]);
    n_.tags.push_back(a < s_.row_axis ? 'P' : 'R');
    if (a >= s_.row_axis) row_ *= s_.axes[a];
  }
  n_.operands.push_back(m_.result(s_));
  for (const View& v : s_.views)
    if (v.value) n_.operands.push_back(m_.operand(v));
  views_ = n_.operands.size();
  for (const View& v : s_.epilogue_operands) n_.operands.push_back(m_.operand(v));
  n_.merge();
}

// Where x lies, all axes of rows as one, the longest. No part of a row may be on partitions.
bool Mapper::Rows::place() {
  const Operand &y = n_.operands[0], &x = n_.operands[1];
  std::vector<Placement> tries;
  for (const Held& h : m_.item(x.item).local)
    if (x.strides == y.strides && x.total == y.total && x.offset == 0) tries.push_back(h.placement);
  int64_t inner = 0, joined = 1;
  for (size_t a = n_.extents.size(); a-- > 0;)
    if (n_.tags[a] == 'P') {
      const int64_t st = y.strides[a];
      if (inner == 0) inner = st;
      if (st == inner * joined) joined *= n_.extents[a];
    }
  if (inner > 0) tries.push_back({inner, joined});
  const auto whole_axes = static_cast<std::ptrdiff_t>(tries.size());
  for (size_t a = 0; a < n_.extents.size(); ++a)
    if (n_.tags[a] == 'P') tries.push_back({y.strides[a], n_.extents[a]});
  std::sort(tries.begin() + whole_axes, tries.end(), [](const Placement& a, const Placement& b) { return a.extent > b.extent; });
  tries.push_back({y.total, 1});
  for (const Placement& p : tries) {
    Nest trial = n_;
    trial.operands[0].placement = p;
    if (!fits(p, y.total) || p.replicated() || !m_.follow(trial, 0, 1, part_)) continue;
    if (part_ >= 0 && trial.tags[static_cast<size_t>(part_)] != 'P') continue;
    bool free_rows = true;
    for (size_t a = 0; a < trial.extents.size(); ++a)
      for (const Operand& o : trial.operands)
        if (trial.tags[a] == 'R' && o.digits[a].level == Level::part && o.digits[a].step != 0) free_rows = false;
    if (!free_rows) continue;
    n_ = std::move(trial);
    return true;
  }
  return false;
}

void Mapper::Rows::run() {
  const Operand &y = n_.operands[0], &x = n_.operands[1];
  Target out = m_.target(y.item, y.placement);
  if (row_ * 4 > m_.capacity_ / 4) {
    for (const Box& box : m_.row_boxes(n_, 0, m_.shape_of(out, y), n_.all(), m_.axes_of(n_, 'P'), part_)) long_tile(out, box);
    return;
  }
  const bool streamed = out.image >= 0 || m_.place_bytes(x.total, x.placement, m_.item(x.item).dtype) > m_.budget_ / 4;
  std::vector<Place> held;
  if (!streamed)
    for (size_t k = 1; k < n_.operands.size(); ++k) held.push_back(m_.hold_operand(n_.operands[k]));
  for (const Box& box : m_.row_boxes(n_, 0, m_.shape_of(out, y), n_.all(), m_.axes_of(n_, 'P'), part_)) {
    if (streamed) {
      held.clear();
      for (size_t k = 1; k < n_.operands.size(); ++k) held.push_back(m_.hold_operand(n_.operands[k], &box));
    }
    const Place yp = m_.target_block(out, y.item, y.placement, m_.window(y, box));
    tile(box, yp, held);
    m_.target_done(out, n_, 0, box, yp);
    m_.done();
  }
}

void Mapper::Rows::tile(const Box& box, const Place& yp, const std::vector<Place>& held) {
  const std::vector<int> rs = m_.axes_of(n_, 'R');
  const Operand& y = n_.operands[0];
  Tile t;
  t.count = part_ < 0 ? 1 : box.size[static_cast<size_t>(part_)];
  const Source to{pattern(y, yp, box, part_, rs, m_.pitch(yp), m_.partitions_, 0, t.count), m_.item(y.item).dtype, false, false};
  const int64_t row0 = to.pattern.offset / m_.pitch(yp);
  t.first = row0 % m_.partitions_;
  const auto operand = [&](size_t k) { return m_.leaf_source(n_.operands[k], held[k - 1], box, part_, rs, row0, t.count); };
  t.x = operand(1);
  if (s_.kind == Step::scan) return m_.scan_row(s_, to, t.x, [&](DType type) { return like_row(t, type); });
  t.numbers = m_.scratch(DType::f32, t.first + t.count, 8);
  int32_t r = s_.row_function == Step::layer_norm ? layer_norm(t) : s_.row_function == Step::rms_norm ? rms_norm(t) : softmax(t);
  finish(t, r, to, operand);
}

// Scale, bias and epilogue of the normalised rows `r`.
void Mapper::Rows::finish(Tile& t, int32_t r, const Source& to, const std::function<Source(size_t)>& operand) {
  if (s_.row_function == Step::layer_norm || s_.row_function == Step::rms_norm) {
    size_t k = 2;
    for (const auto& [view, fn] : {std::pair{size_t{1}, Op::multiply}, std::pair{size_t{2}, Op::add}})
      if (s_.views.size() > view && s_.views[view].value) r = t.apply(fn, r, t.leaf(operand(k), m_.operand_type(n_.operands[k]))), ++k;
  }
  t.e.result = t.continued(tail_, r, [&](const Term& term) { return t.leaf(operand(views_ + static_cast<size_t>(term.index)), term.dtype); });
  m_.evaluate(t.e, to, [&](const Term& term) { return t.leaves[static_cast<size_t>(term.index)]; }, nullptr);
}

// Columns of `numbers`: 0..3 as the functions below leave them, 4..7 for the moment, from 8 on mean and variance of each piece.
void Mapper::Rows::long_tile(Target& out, const Box& box) {
  const std::vector<int> rs = m_.axes_of(n_, 'R');
  const Operand& y = n_.operands[0];
  const std::vector<Box> pieces = m_.boxes(box, rs, kPiece, [](int) { return false; });
  Tile t;
  t.count = part_ < 0 ? 1 : box.size[static_cast<size_t>(part_)];
  const int64_t row0 = origin(y, m_.shape_of(out, y), box, m_.partitions_).q;
  t.first = row0 % m_.partitions_;
  t.numbers = m_.scratch(DType::f32, t.first + t.count, 8 + 2 * static_cast<int64_t>(pieces.size()));
  std::vector<int32_t> kept = std::exchange(m_.temporaries_, {});
  const auto operand = [&](size_t k, const Box& piece) {
    return m_.leaf_source(n_.operands[k], m_.hold_operand(n_.operands[k], &piece), piece, part_, rs, row0, t.count);
  };
  statistics(t, pieces, [&](const Box& piece) {
    m_.done();
    t.x = operand(1, piece);
  });
  for (const Box& piece : pieces) {
    m_.done();
    t.e = {};
    t.leaves.clear();
    t.x = operand(1, piece);
    const Place yp = m_.target_block(out, y.item, y.placement, m_.window(y, piece));
    const Source to{pattern(y, yp, piece, part_, rs, m_.pitch(yp), m_.partitions_, 0, t.count), m_.item(y.item).dtype, false, false};
    int32_t r = -1;
    switch (s_.row_function) {
      case Step::layer_norm: r = centred(t); break;
      case Step::rms_norm: r = t.apply(Op::multiply, t.leaf(t.x, t.x.dtype), t.leaf(spread(t, 2), DType::f32)); break;
      case Step::softmax: r = t.apply(Op::multiply, t.leaf(exponentials(t, DType::f32, 4), DType::f32), t.leaf(spread(t, 3), DType::f32)); break;
      case Step::log_softmax: r = t.apply(Op::add, t.leaf(t.x, t.x.dtype), t.leaf(spread(t, 4), DType::f32)); break;
    }
    finish(t, r, to, [&](size_t k) { return operand(k, piece); });
    m_.target_done(out, n_, 0, piece, yp);
  }
  m_.temporaries_.insert(m_.temporaries_.end(), kept.begin(), kept.end());
  m_.done();
}

// column sum += weight * column x
void Mapper::Rows::add_to(const Tile& t, int64_t sum, int64_t x, double weight) {
  Call c;
  c.op = Opcode::activate;
  c.fn = Op::load;
  c.work = WorkClass::arith;
  c.out = c.in[1] = column(t, sum);
  c.in[0] = column(t, x);
  c.scale = weight;
  m_.emit(c);
}

// What the whole row gives, from its pieces. load: makes t.x the piece.
void Mapper::Rows::statistics(Tile& t, const std::vector<Box>& pieces, const std::function<void(const Box&)>& load) {
  const auto share = [&](const Box& piece) {
    int64_t n = 1;
    for (const int a : m_.axes_of(n_, 'R')) n *= piece.size[static_cast<size_t>(a)];
    return static_cast<double>(n) / static_cast<double>(row_);
  };
  const auto clear = [&](int64_t at) { m_.fill(column(t, at), 0); };
  switch (s_.row_function) {
    case Step::layer_norm: {  // mean = sum w_i m_i, variance = sum w_i (v_i + (m_i - mean)^2)
      clear(0), clear(1);
      for (size_t i = 0; i < pieces.size(); ++i) {
        load(pieces[i]);
        const auto at = 8 + 2 * static_cast<int64_t>(i);
        Call c;
        c.op = Opcode::stats;
        c.work = WorkClass::stats;
        c.out = column(t, at, 2);
        c.in[0] = t.x;
        m_.emit_stats(c);
        add_to(t, 0, at, share(pieces[i]));
      }
      for (size_t i = 0; i < pieces.size(); ++i) {
        const auto at = 8 + 2 * static_cast<int64_t>(i);
        add_to(t, at, 0, -1);
        m_.small(column(t, 4), Op::power, column(t, at), 1, 2, nullptr, WorkClass::transcendental);
        add_to(t, at + 1, 4, 1);
        add_to(t, 1, at + 1, share(pieces[i]));
      }
      inverse_root(t);
      return;
    }
    case Step::rms_norm:
      clear(0);
      for (const Box& piece : pieces) {
        load(piece);
        squares(t, 4);
        add_to(t, 0, 4, 1);
      }
      m_.small(column(t, 2), Op::rsqrt, column(t, 0), 1.0 / static_cast<double>(row_), s_.epsilon, nullptr, WorkClass::divide);
      return;
    case Step::softmax:
    case Step::log_softmax:
      for (size_t i = 0; i < pieces.size(); ++i) {
        load(pieces[i]);
        m_.fold(column(t, 0), t.x, 0, Op::maximum, i > 0);
      }
      m_.small(column(t, 1), Op::load, column(t, 0), -1, 0, nullptr, WorkClass::arith);
      clear(2);
      for (const Box& piece : pieces) {
        load(piece);
        exponentials(t, DType::f32, 4);
        add_to(t, 2, 4, 1);
      }
      scale_of_softmax(t);
      return;
  }
}

int32_t Mapper::Rows::Tile::add(const Term& t) {
  e.terms.push_back(t);
  return static_cast<int32_t>(e.terms.size()) - 1;
}

int32_t Mapper::Rows::Tile::leaf(Source from, DType dtype) {
  Term t;
  t.leaf = Term::operand;
  t.index = static_cast<int32_t>(leaves.size());
  t.dtype = dtype;
  leaves.push_back(std::move(from));
  return add(t);
}

int32_t Mapper::Rows::Tile::apply(Op fn, int32_t a, int32_t b) {
  Term t;
  t.fn = fn;
  t.dtype = DType::f32;
  t.a = a;
  t.b = b;
  return add(t);
}

// The epilogue goes on from `anchor`.
int32_t Mapper::Rows::Tile::continued(const Expression& tail, int32_t anchor, const std::function<int32_t(const Term&)>& operand) {
  std::vector<int32_t> number(tail.terms.size(), anchor);
  for (size_t k = 0; k < tail.terms.size(); ++k) {
    Term t = tail.terms[k];
    if (t.leaf == Term::anchor) continue;
    if (t.leaf == Term::operand) {
      number[k] = operand(t);
      continue;
    }
    for (int32_t* a : {&t.a, &t.b, &t.c})
      if (*a >= 0) *a = number[static_cast<size_t>(*a)];
    number[k] = add(t);
  }
  return number[static_cast<size_t>(tail.result)];
}

// A number of each row beside all elements of the row.
Source Mapper::Rows::spread(const Tile& t, int64_t at) const {
  Source c = column(t, at);
  c.column = true;
  c.pattern.rank = 1;
  for (int d = 1; d < t.x.pattern.rank; ++d) c.pattern.add(t.x.pattern.sizes[static_cast<size_t>(d)], 0);
  return c;
}

Source Mapper::Rows::like_row(const Tile& t, DType dtype) const {
  return m_.scratch_tile(dtype, t.count, {t.x.pattern.sizes.begin() + 1, t.x.pattern.sizes.begin() + t.x.pattern.rank}, t.first);
}

// (x - mean) * r as x * r + (-mean * r),  r = 1 / sqrt(variance + epsilon)
int32_t Mapper::Rows::layer_norm(Tile& t) {
  Call c;
  c.op = Opcode::stats;
  c.work = WorkClass::stats;
  c.out = column(t, 0, 2);
  c.in[0] = t.x;
  m_.emit_stats(c);
  inverse_root(t);
  return centred(t);
}

// r and -mean * r of the mean and variance.
void Mapper::Rows::inverse_root(const Tile& t) {
  m_.small(column(t, 2), Op::rsqrt, column(t, 1), 1, s_.epsilon, nullptr, WorkClass::divide);
  const Source inverse = column(t, 2);
  m_.small(column(t, 3), Op::negate, column(t, 0), 1, 0, &inverse, WorkClass::arith);
}

int32_t Mapper::Rows::centred(Tile& t) {
  const int32_t x = t.leaf(t.x, t.x.dtype);
  const int32_t scaled = t.apply(Op::multiply, x, t.leaf(spread(t, 2), DType::f32));
  return t.apply(Op::add, scaled, t.leaf(spread(t, 3), DType::f32));
}

void Mapper::Rows::squares(const Tile& t, int64_t sum) {
  Call c;
  c.op = Opcode::activate;
  c.fn = Op::power;
  c.work = WorkClass::transcendental;
  c.immediate = 2;
  c.in[0] = t.x;
  c.out = like_row(t, DType::f32);
  c.out2 = column(t, sum);
  m_.emit(c);
}

// x / sqrt(mean of x^2 + epsilon)
int32_t Mapper::Rows::rms_norm(Tile& t) {
  squares(t, 0);
  m_.small(column(t, 2), Op::rsqrt, column(t, 0), 1.0 / static_cast<double>(row_), s_.epsilon, nullptr, WorkClass::divide);
  const int32_t x = t.leaf(t.x, t.x.dtype);
  return t.apply(Op::multiply, x, t.leaf(spread(t, 2), DType::f32));
}

// exp(x - m), column 1 is -m, and their sum.
Source Mapper::Rows::exponentials(const Tile& t, DType dtype, int64_t sum) {
  Call c;
  c.op = Opcode::activate;
  c.fn = Op::exponential;
  c.work = WorkClass::transcendental;
  c.in[0] = t.x;
  c.in[1] = spread(t, 1);
  c.out = like_row(t, dtype);
  c.out2 = column(t, sum);
  m_.emit(c);
  return c.out;
}

// Of m and the sum of exponentials: column 3 = 1 / sum, or column 4 = -m - log sum.
void Mapper::Rows::scale_of_softmax(const Tile& t) {
  Call d;
  d.op = Opcode::map;
  if (s_.row_function == Step::softmax) {
    d.fn = Op::divide;
    d.work = WorkClass::divide;
    d.immediate = 1;
    d.in[1] = column(t, 2);
    d.out = column(t, 3);
  } else {
    m_.small(column(t, 3), Op::log, column(t, 2), 1, 0, nullptr, WorkClass::transcendental);
    d.fn = Op::subtract;
    d.work = WorkClass::arith2;
    d.in[0] = column(t, 1);
    d.in[1] = column(t, 3);
    d.out = column(t, 4);
  }
  m_.emit(d);
}

// exp(x - m) / sum exp(x - m), or x - m - log sum exp(x - m),  m = max x
int32_t Mapper::Rows::softmax(Tile& t) {
  const bool log = s_.row_function == Step::log_softmax;
  m_.fold(column(t, 0), t.x, 0, Op::maximum, false);
  m_.small(column(t, 1), Op::load, column(t, 0), -1, 0, nullptr, WorkClass::arith);
  const Source powers = exponentials(t, log ? m_.activation_ : DType::f32, 2);
  scale_of_softmax(t);
  if (!log) return t.apply(Op::multiply, t.leaf(powers, DType::f32), t.leaf(spread(t, 3), DType::f32));
  return t.apply(Op::add, t.leaf(t.x, t.x.dtype), t.leaf(spread(t, 4), DType::f32));
}

// Whether all readers want the elements of a row on partitions: scale and bias are then one number a partition, and cost nothing where rows are turned.
bool Mapper::Rows::turns() const {
  const Operand &y = n_.operands[0], &x = n_.operands[1];
  const Item& out = m_.item(y.item);
  const Placement wanted{1, row_};
  if ((s_.row_function != Step::layer_norm && s_.row_function != Step::rms_norm) || !s_.epilogue.empty() || out.output || out.uses.empty() || part_ < 0 || row_ * 4 > m_.capacity_ / 4) return false;
  if (y.total % row_ != 0 || y.total == row_ || m_.place_bytes(y.total, wanted, out.dtype) > m_.budget_ / 4 || m_.place_bytes(x.total, x.placement, m_.item(x.item).dtype) > m_.budget_ / 4) return false;
  for (const int32_t step : out.uses) {
    const Step& reader = m_.steps_[static_cast<size_t>(step)];
    const auto w = m_.wish_of(reader, s_.result);
    if (!w && reader.kind == Step::contraction) continue;  // beside its result, which lies as the mapper likes
    if (!w || *w != wanted) return false;
  }
  int64_t along = 1;  // rows lie dense, in the result as in scale and bias
  for (size_t a = n_.extents.size(); a-- > 0;) {
    for (size_t k = 2; k < n_.operands.size(); ++k)
      if (n_.operands[k].strides[a] != (n_.tags[a] == 'R' ? along : 0) || n_.operands[k].total != row_ || n_.operands[k].offset != 0) return false;
    if (n_.tags[a] != 'R') {
      if (y.strides[a] % row_ != 0) return false;
      continue;
    }
    if (y.strides[a] != along) return false;
    along *= n_.extents[a];
  }
  return true;
}

// The normalised rows of a tile, not scaled yet: [rows from partition `first` on, elements], and where they belong.
struct Mapper::Rows::Turned {
  Source rows;
  int64_t first = 0, count = 0, place = 0, step = 1;  // rows of the result: place + i * step
};

Mapper::Rows::Turned Mapper::Rows::normalised(const Box& box, const Place& xp) {
  const Operand &y = n_.operands[0], &x = n_.operands[1];
  Turned out;
  Tile t;
  out.count = t.count = box.size[static_cast<size_t>(part_)];
  out.first = t.first = origin(x, xp, box, m_.partitions_).q % m_.partitions_;
  t.x = m_.leaf_source(x, xp, box, part_, m_.axes_of(n_, 'R'), t.first, t.count);
  t.numbers = m_.scratch(DType::f32, t.first + t.count, 8);
  t.e.result = s_.row_function == Step::layer_norm ? layer_norm(t) : rms_norm(t);
  out.rows = like_row(t, m_.activation_);
  m_.evaluate(t.e, out.rows, [&](const Term& term) { return t.leaves[static_cast<size_t>(term.index)]; }, nullptr);
  int64_t element = y.offset;
  for (size_t a = 0; a < n_.extents.size(); ++a) element += box.start[a] * y.strides[a];
  out.place = element / row_;
  out.step = y.strides[static_cast<size_t>(part_)] / row_;
  return out;
}

// y[element, row] = scale[element] * x[row, element] + bias[element], on the way out of the accumulator.
void Mapper::Rows::turn(const Turned& rows, const Place& yp, const Source* scale, const Source* bias) {
  const int64_t partitions = m_.partitions_;
  for (int64_t tile = 0; tile * partitions < row_; ++tile) {
    const int64_t elements = std::min(partitions, row_ - tile * partitions);
    const int32_t bank = m_.accumulator(m_.activation_, elements, rows.count);
    m_.transpose_block(m_.source(bank, elements, rows.count).pattern, m_.source(rows.rows.pattern.buffer, rows.count, elements, tile * partitions, rows.first).pattern);
    Call c;
    c.op = scale || bias ? Opcode::activate : Opcode::copy;
    c.work = scale || bias ? WorkClass::arith : WorkClass::copy;
    c.in[0] = m_.source(bank, elements, rows.count);
    const auto column = [&](const Source& all) {
      Source one = all;
      one.pattern.rank = 0;
      one.pattern.offset += tile * all.pattern.strides[1];
      one.pattern.add(elements, all.pattern.strides[0]);
      one.pattern.add(rows.count, 0);
      one.column = true;
      return one;
    };
    if (scale) c.in[2] = column(*scale);
    if (bias) c.in[1] = column(*bias);
    c.out.pattern.buffer = yp.buffer;
    c.out.pattern.offset = tile * yp.outers + rows.place;
    c.out.pattern.add(elements, m_.pitch(yp));
    c.out.pattern.add(rows.count, rows.step);
    c.out.dtype = m_.emit_.buffer(yp.buffer).dtype;
    m_.emit(c);
    m_.emit_.release(bank);
  }
}

void Mapper::Rows::run_turned() {
  const Operand &y = n_.operands[0], &x = n_.operands[1];
  const Placement wanted{1, row_};
  const Target out = m_.target(y.item, wanted);
  if (out.image >= 0) fail_internal("mapping a norm", "room for its result", "none");
  m_.choice("turned");
  const Place xp = m_.hold_operand(x);
  std::optional<Source> scale, bias;
  size_t k = 2;
  for (const auto& [view, to] : {std::pair{size_t{1}, &scale}, std::pair{size_t{2}, &bias}}) {
    if (s_.views.size() <= view || !s_.views[view].value) continue;
    const Place at = m_.hold(n_.operands[k++].item, wanted, DType::f32);
    *to = m_.source(at.buffer, std::min(m_.partitions_, row_), m_.pitch(at));
  }
  // each tile is turned while the next one is normalised
  Target rows_shape;
  rows_shape.image = 0;
  std::optional<Turned> before;
  std::vector<int32_t> used;
  const auto flush = [&] {
    if (before) turn(*before, out.place, scale ? &*scale : nullptr, bias ? &*bias : nullptr);
    for (const int32_t b : used) m_.emit_.release(b);
    used.clear();
  };
  for (const Box& box : m_.row_boxes(n_, 0, m_.shape_of(rows_shape, y), n_.all(), m_.axes_of(n_, 'P'), part_)) {
    const size_t held = m_.temporaries_.size();
    const Turned now = normalised(box, xp);
    std::vector<int32_t> mine(m_.temporaries_.begin() + static_cast<std::ptrdiff_t>(held), m_.temporaries_.end());
    m_.temporaries_.resize(held);
    flush();
    before = now;
    used = std::move(mine);
  }
  flush();
  m_.done();
}

void Mapper::rows(const Step& s) {
  Rows r(*this, s);
  if (!r.place()) return host_step(s);
  if (r.turns()) r.run_turned();
  else r.run();
}

}  // namespace bascule::device::chip::neuron
