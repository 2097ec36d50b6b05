// device/chip/map_neuron_expressions.cc — elementwise expressions over a tile with as few passes as the engines allow: multiply-add before a function,
// per-partition operands, tiles used again.
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

using loops::Op;

namespace {

constexpr int kMostDims = 5;

bool is_function(Op op) {
  switch (op) {
    case Op::exponential: case Op::exponential_minus_one: case Op::log: case Op::log_plus_one: case Op::cbrt: case Op::tanh: case Op::logistic: case Op::erf:
    case Op::sine: case Op::cosine: case Op::tan: case Op::gelu: case Op::gelu_tanh: case Op::silu: case Op::power: case Op::atan2: return true;
    default: return false;
  }
}
// Casts that need no instruction, as the engines' own type holds more. What has 8 bits or fewer is rounded to.
bool is_narrow(DType t) { return is_float(t) && info(t).bits <= 8; }
bool lossless(DType from, DType to) { return is_float(from) && is_float(to) && !is_narrow(to); }

}  // namespace

Expression Mapper::expression(const Step& s) const {
  Expression x;
  Term anchor;
  anchor.leaf = Term::anchor;
  anchor.dtype = s.anchor_type;
  x.terms.push_back(anchor);
  x.result = 0;
  std::vector<int32_t> of;  // the term of each epilogue instruction
  for (const Epilogue& e : s.epilogue) {
    Term t;
    t.fn = e.fn;
    t.dtype = e.dtype;
    int32_t* args[3] = {&t.a, &t.b, &t.c};
    const int32_t from[3] = {e.a, e.b, e.c};
    for (int k = 0; k < std::min(3, loops::arity(e.fn)); ++k) {
      const int32_t f = from[k];
      if (f >= 0) {
        *args[k] = of[static_cast<size_t>(f)];
        continue;
      }
      if (f == Epilogue::kAnchor) {
        *args[k] = 0;
        continue;
      }
      Term leaf;
      if (Epilogue::is_operand(f)) {
        leaf.leaf = Term::operand;
        leaf.index = static_cast<int32_t>(Epilogue::operand(f));
        leaf.dtype = graph_.type(s.epilogue_operands[Epilogue::operand(f)].value).dtype;
      } else {
        leaf.leaf = Term::number;
        leaf.value = e.number;
        leaf.dtype = e.dtype;
      }
      *args[k] = static_cast<int32_t>(x.terms.size());
      x.terms.push_back(leaf);
    }
    if (e.fn == Op::constant) {
      t.leaf = Term::number;
      t.value = e.number;
    }
    of.push_back(static_cast<int32_t>(x.terms.size()));
    x.terms.push_back(t);
    x.result = of.back();
  }
  return x;
}

namespace {

// A term's value on its way: source * (factor or scale) + (bias or shift), not computed yet unless plain.
struct Pending {
  bool number = false;
  double value = 0;
  Source source, bias, factor;
  double scale = 1, shift = 0;
  int32_t tile = -1;  // index of the temporary that holds the source
  bool plain() const { return scale == 1 && shift == 0 && !biased() && !scaled(); }
  bool biased() const { return bias.pattern.buffer >= 0; }
  bool scaled() const { return factor.pattern.buffer >= 0; }
  bool per_row() const { return !number && plain() && source.column; }
  bool tensor() const { return !number && !source.column; }
};

}  // namespace

class Mapper::Evaluation {
 public:
  Evaluation(Mapper& mapper, const Expression& x, const Source& out, const std::function<Source(const Term&)>& leaf, const Source* in_place)
      : m_(mapper), x_(x), out_(out), leaf_(leaf), in_place_(in_place), row0_(out.pattern.offset / mapper.emit_.buffer(out.pattern.buffer).row_elements) {
    if (in_place) tiles_.push_back({*in_place, 0});
    values_.resize(x.terms.size());
  }
  void run();

 private:
  struct Tile {
    Source source;
    int32_t users = 0;
  };
  // A term at work: its operands, and where its value is wanted (nullptr: anywhere).
  struct Work {
    size_t k = 0;
    const Term& t;
    int32_t arg[3];
    int arity = 0;
    bool floats = false;
    const Source* into = nullptr;
  };
  void find_wanted();
  void find_narrow();
  DType temp_type(size_t k) const;
  const Term& term(size_t k) const { return x_.terms[k]; }
  Pending& value(const Work& w, int i) { return values_[static_cast<size_t>(w.arg[i])]; }
  int32_t fresh(DType t);
  int32_t fill(DType t, double number);
  void drop(const Pending& p);
  void used(int32_t term);
  void settle(Pending& p, DType t, const Source* into = nullptr);
  void kept(Work& w, const Pending& p);
  static void affine(const Pending& p, Call& c);
  void take_leaf(size_t k);
  void count(size_t k);
  bool scale_and_shift(Work& w);
  bool beside_row(Work& w);
  void instruction(Work& w);
  void of_one(Work& w, Call& c);
  bool with_number(Work& w, Call& c);
  bool scaled_sum(Work& w, Call& c);
  void of_tensors(Work& w, Call& c);

  Mapper& m_;
  const Expression& x_;
  const Source& out_;
  const std::function<Source(const Term&)>& leaf_;
  const Source* in_place_;
  int64_t row0_;
  int32_t result_ = -1;
  std::vector<int32_t> real_, uses_;  // behind casts between floats, which cost nothing; how often each is read
  std::vector<char> wanted_, narrow_;
  std::vector<Tile> tiles_;
  std::vector<Pending> values_;
};

void Mapper::evaluate(const Expression& x, const Source& out, const std::function<Source(const Term&)>& leaf, const Source* in_place) {
  Evaluation(*this, x, out, leaf, in_place).run();
}

void Mapper::Evaluation::find_wanted() {
  const size_t n = x_.terms.size();
  real_.resize(n);
  uses_.assign(n, 0);
  wanted_.assign(n, 0);
  for (size_t k = 0; k < n; ++k) {
    const Term& t = term(k);
    real_[k] = static_cast<int32_t>(k);
    if (t.leaf != Term::none || t.fn != Op::convert) continue;
    const int32_t from = real_[static_cast<size_t>(t.a)];
    if (lossless(term(static_cast<size_t>(from)).dtype, t.dtype)) real_[k] = from;
  }
  result_ = real_[static_cast<size_t>(x_.result)];
  wanted_[static_cast<size_t>(result_)] = 1;
  for (size_t k = n; k-- > 0;) {
    const Term& t = term(k);
    if (!wanted_[k] || t.leaf != Term::none) continue;
    for (const int32_t a : {t.a, t.b, t.c})
      if (a >= 0) {
        const auto r = static_cast<size_t>(real_[static_cast<size_t>(a)]);
        wanted_[r] = 1;
        ++uses_[r];
      }
  }
  ++uses_[static_cast<size_t>(result_)];
}

// Between steps and within them, numbers are kept as the chip stores them where that makes two-tensor work faster: only what stays among sums and
// products of values so stored.
void Mapper::Evaluation::find_narrow() {
  const size_t n = x_.terms.size();
  narrow_.assign(n, 0);
  if (out_.accumulator || !is_float(out_.dtype) || info(out_.dtype).storage_bits > 16 || out_.dtype != m_.activation_) return;
  const auto linear = [&](size_t k) {
    const Op fn = term(k).fn;
    return term(k).leaf == Term::none && (fn == Op::add || fn == Op::subtract || fn == Op::multiply);
  };
  const auto operands = [&](size_t k, auto then) {
    for (const int32_t a : {term(k).a, term(k).b, term(k).c})
      if (a >= 0) then(narrow_[static_cast<size_t>(real_[static_cast<size_t>(a)])]);
  };
  for (size_t k = 0; k < n; ++k) {
    const Term& t = term(k);
    if (t.leaf == Term::number) narrow_[k] = 1;
    else if (t.leaf == Term::operand) narrow_[k] = is_float(t.dtype) ? 1 : 0;
    else if (t.leaf == Term::none) {
      narrow_[k] = linear(k) ? 1 : 0;
      operands(k, [&](char of) { narrow_[k] = narrow_[k] && of; });
    }
  }
  for (size_t k = n; k-- > 0;)  // and nothing but such work reads it
    if (wanted_[k] && !linear(k) && term(k).leaf == Term::none) operands(k, [](char& of) { of = 0; });
}

DType Mapper::Evaluation::temp_type(size_t k) const {
  if (!is_float(term(k).dtype) || is_narrow(term(k).dtype)) return term(k).dtype;
  return narrow_[k] && !in_place_ ? out_.dtype : DType::f32;
}

// A tile that nothing uses any more, else a new one like the result.
int32_t Mapper::Evaluation::fresh(DType t) {
  for (size_t k = 0; k < tiles_.size(); ++k)
    if (tiles_[k].users == 0 && tiles_[k].source.dtype == t) return static_cast<int32_t>(k);
  std::vector<int64_t> sizes(out_.pattern.sizes.begin() + 1, out_.pattern.sizes.begin() + out_.pattern.rank);
  const int64_t rows = out_.pattern.sizes[0], first = out_.accumulator ? 0 : row0_ % m_.partitions_;
  tiles_.push_back({m_.scratch_tile(t, rows, sizes, first), 0});
  return static_cast<int32_t>(tiles_.size()) - 1;
}

// A tile of one number, with a user.
int32_t Mapper::Evaluation::fill(DType t, double number) {
  const int32_t tile = fresh(t);
  ++tiles_[static_cast<size_t>(tile)].users;
  m_.fill(tiles_[static_cast<size_t>(tile)].source, number);
  return tile;
}

void Mapper::Evaluation::drop(const Pending& p) {
  if (p.tile >= 0) --tiles_[static_cast<size_t>(p.tile)].users;
}

// One use of a term ends.
void Mapper::Evaluation::used(int32_t term) {
  if (--uses_[static_cast<size_t>(term)] == 0) drop(values_[static_cast<size_t>(term)]);
}

void Mapper::Evaluation::affine(const Pending& p, Call& c) {
  c.in[0] = p.source;
  c.in[1] = p.bias;
  c.in[2] = p.factor;
  c.scale = p.scale;
  if (!p.biased()) c.immediate = p.shift;
}

// Computes what is pending.
void Mapper::Evaluation::settle(Pending& p, DType t, const Source* into) {
  if (p.plain() && !into) return;
  Call c;
  c.op = p.plain() ? Opcode::copy : Opcode::activate;
  c.work = p.plain() ? WorkClass::copy : WorkClass::arith;
  affine(p, c);
  if (p.plain()) c.scale = 1, c.immediate = 0;
  drop(p);
  int32_t tile = -1;
  if (!into) tile = fresh(t);
  c.out = into ? *into : tiles_[static_cast<size_t>(tile)].source;
  m_.emit(c);
  p = {};
  p.source = c.out;
  p.tile = tile;
  if (tile >= 0) ++tiles_[static_cast<size_t>(tile)].users;
}

// `p` is the term's value, pending; computed if it is the result or read more than once.
void Mapper::Evaluation::kept(Work& w, const Pending& p) {
  if (p.tile >= 0) ++tiles_[static_cast<size_t>(p.tile)].users;
  values_[w.k] = p;
  for (int i = 0; i < w.arity; ++i)
    if (!values_[static_cast<size_t>(w.arg[i])].number) used(w.arg[i]);
  if (w.into || uses_[w.k] > 1) settle(values_[w.k], DType::f32, w.into);
}

void Mapper::Evaluation::take_leaf(size_t k) {
  const Term& t = term(k);
  Pending& v = values_[k];
  if (t.leaf == Term::number || (t.leaf == Term::iota && t.index < 0)) {
    v.number = true;
    v.value = t.value;
  } else if (t.leaf == Term::iota) {
    count(k);
  } else {
    v.source = leaf_(t);
    if (t.leaf == Term::anchor && in_place_) {
      v.tile = 0;
      ++tiles_[0].users;
    }
  }
}

void Mapper::Evaluation::count(size_t k) {
  const Term& t = term(k);
  const int32_t tile = fresh(temp_type(k));
  const Source whole = tiles_[static_cast<size_t>(tile)].source;
  Call c;
  c.op = Opcode::iota;
  c.work = WorkClass::fill;
  c.out = whole;
  c.out.pattern.rank = 0;
  const Pattern& p = whole.pattern;  // dimensions of one are left out, so that the counted one fits an access
  for (int d = 0; d < p.rank; ++d) {
    if (d == t.index) c.kept = static_cast<int8_t>(c.out.pattern.rank);
    if (d == 0 || p.sizes[static_cast<size_t>(d)] > 1) c.out.pattern.add(p.sizes[static_cast<size_t>(d)], p.strides[static_cast<size_t>(d)]);
  }
  if (c.out.pattern.rank > kMostDims) fail_internal("mapping a count", "at most five dimensions", std::to_string(c.out.pattern.rank));
  c.immediate = t.value;
  m_.emit_uncut(c);
  values_[k].source = whole;
  values_[k].tile = tile;
  tiles_[static_cast<size_t>(tile)].users++;
}

// A tensor with a number added or multiplied: only scale and shift change.
bool Mapper::Evaluation::scale_and_shift(Work& w) {
  const Op fn = w.t.fn;
  int tensor = -1;
  double number = 0;
  if (fn == Op::negate) {
    if (value(w, 0).number) return false;
    tensor = 0, number = -1;
  } else if (value(w, 1).number && !value(w, 0).number) {
    tensor = 0, number = value(w, 1).value;
  } else if (value(w, 0).number && !value(w, 1).number && fn != Op::divide) {
    tensor = 1, number = value(w, 0).value;
  } else {
    return false;
  }
  const bool multiplies = fn == Op::multiply || fn == Op::negate || fn == Op::divide;
  if (fn == Op::divide) number = 1 / number;
  const Pending& from = value(w, tensor);
  if (((multiplies || tensor == 1) && (from.biased() || from.scaled())) || (!multiplies && from.biased())) settle(value(w, tensor), DType::f32);
  Pending p = value(w, tensor);
  const auto times = [&](double f) { p.scale *= f, p.shift *= f; };
  if (multiplies) times(number);
  else if (fn == Op::add) p.shift += number;
  else if (tensor == 0) p.shift -= number;
  else times(-1), p.shift += number;
  kept(w, p);
  return true;
}

// A tensor with one number a partition added or multiplied.
bool Mapper::Evaluation::beside_row(Work& w) {
  if (w.t.fn != Op::add && w.t.fn != Op::multiply) return false;
  const int row = value(w, 1).per_row() && value(w, 0).tensor() ? 1 : value(w, 0).per_row() && value(w, 1).tensor() ? 0 : -1;
  if (row < 0) return false;
  const bool adds = w.t.fn == Op::add;
  const Pending& other = value(w, 1 - row);
  if (adds ? other.biased() || other.shift != 0 : !other.plain()) settle(value(w, 1 - row), DType::f32);
  Pending p = value(w, 1 - row);
  (adds ? p.bias : p.factor) = value(w, row).source;
  kept(w, p);
  return true;
}

void Mapper::Evaluation::of_one(Work& w, Call& c) {
  const Op fn = w.t.fn;
  if (fn == Op::convert) {
    settle(value(w, 0), DType::f32);
    c.op = Opcode::copy;
    c.work = WorkClass::copy;
    c.in[0] = value(w, 0).source;
    if (is_bool(w.t.dtype) && !is_bool(term(static_cast<size_t>(w.arg[0])).dtype)) {
      c.op = Opcode::map;
      c.fn = Op::not_equal;
      c.work = WorkClass::arith;
    }
    return;
  }
  c.work = is_function(fn) ? WorkClass::transcendental : is_root(fn) ? WorkClass::divide : WorkClass::arith;
  if (w.floats) {
    c.op = Opcode::activate;
    affine(value(w, 0), c);
  } else {
    c.in[0] = value(w, 0).source;
  }
}

// The larger or smaller of a tensor and a number.
bool Mapper::Evaluation::with_number(Work& w, Call& c) {
  if (w.arity != 2 || !w.floats || (w.t.fn != Op::maximum && w.t.fn != Op::minimum)) return false;
  if (!value(w, 0).number && !value(w, 1).number) return false;
  const int tensor = value(w, 0).number ? 1 : 0;
  Pending& p = value(w, tensor);
  if (p.shift != 0 && !p.biased()) settle(p, DType::f32);
  c.op = Opcode::activate;
  c.work = WorkClass::arith;
  affine(p, c);
  c.immediate = value(w, 1 - tensor).value;
  return true;
}

// scale * x + y in one pass when y is a plain tensor.
bool Mapper::Evaluation::scaled_sum(Work& w, Call& c) {
  if (w.arity != 2 || w.t.fn != Op::add || !w.floats) return false;
  const auto full = [&](int i) { return !value(w, i).number && value(w, i).plain(); };
  int scaled = -1;
  for (const int i : {0, 1}) {
    const Pending& p = value(w, i);
    if (!p.number && p.shift == 0 && p.scale != 1 && !p.biased() && !p.scaled() && full(1 - i)) scaled = i;
  }
  if (scaled < 0) return false;
  c.op = Opcode::activate;
  c.fn = Op::load;
  c.work = WorkClass::arith2;
  c.in[0] = value(w, scaled).source;
  c.scale = value(w, scaled).scale;
  c.in[1] = value(w, 1 - scaled).source;
  return true;
}

void Mapper::Evaluation::of_tensors(Work& w, Call& c) {
  int tensors = 0;
  for (int i = 0; i < w.arity; ++i) {
    if (value(w, i).number) {
      c.immediate = value(w, i).value;
      continue;
    }
    settle(value(w, i), temp_type(static_cast<size_t>(w.arg[i])));
    c.in[i] = value(w, i).source;
    if (!value(w, i).source.column) ++tensors;
  }
  if (w.arity == 3 && value(w, 1).number && value(w, 2).number && value(w, 1).value != value(w, 2).value) {  // select between numbers: the second is written first
    const int32_t tile = fill(temp_type(w.k), value(w, 2).value);
    c.in[2] = tiles_[static_cast<size_t>(tile)].source;
    c.immediate = value(w, 1).value;
    values_[w.k].tile = tile;  // released by instruction()
  }
  const Op fn = w.t.fn;
  c.work = w.arity == 3 ? WorkClass::select : fn == Op::divide ? WorkClass::divide : is_function(fn) ? WorkClass::transcendental : tensors > 1 ? WorkClass::arith2 : WorkClass::arith;
}

void Mapper::Evaluation::instruction(Work& w) {
  Call c;
  c.fn = w.t.fn;
  c.op = Opcode::map;
  const bool both_numbers = w.arity >= 1 && value(w, 0).number && (w.arity < 2 || value(w, 1).number);
  if (both_numbers && w.arity < 3) {  // a count over one element, most often: the first number is written out
    const int32_t tile = fill(temp_type(static_cast<size_t>(w.arg[0])), value(w, 0).value);
    value(w, 0) = {};
    value(w, 0).source = tiles_[static_cast<size_t>(tile)].source;
    value(w, 0).tile = tile;
  }
  if (w.arity == 1) of_one(w, c);
  else if (!with_number(w, c) && !scaled_sum(w, c)) of_tensors(w, c);
  const int32_t selected = values_[w.k].tile;
  for (int i = 0; i < w.arity; ++i) used(w.arg[i]);
  int32_t tile = -1;
  if (w.into) c.out = *w.into;
  else {
    tile = fresh(temp_type(w.k));
    c.out = tiles_[static_cast<size_t>(tile)].source;
    ++tiles_[static_cast<size_t>(tile)].users;
  }
  m_.emit(c);
  if (selected >= 0) --tiles_[static_cast<size_t>(selected)].users;
  values_[w.k] = {};
  values_[w.k].source = c.out;
  values_[w.k].tile = tile;
}

void Mapper::Evaluation::run() {
  find_wanted();
  find_narrow();
  for (size_t k = 0; k < x_.terms.size(); ++k) {
    if (!wanted_[k]) continue;
    const Term& t = term(k);
    if (t.leaf != Term::none) {
      take_leaf(k);
      continue;
    }
    Work w{k, t, {t.a, t.b, t.c}, loops::arity(t.fn), false, static_cast<int32_t>(k) == result_ ? &out_ : nullptr};
    for (int32_t& a : w.arg)
      if (a >= 0) a = real_[static_cast<size_t>(a)];
    w.floats = is_float(t.dtype) && is_float(term(static_cast<size_t>(w.arg[0])).dtype);
    const bool linear = t.fn == Op::add || t.fn == Op::subtract || t.fn == Op::multiply || t.fn == Op::negate || t.fn == Op::divide;
    if (w.floats && linear && (scale_and_shift(w) || beside_row(w))) continue;
    instruction(w);
  }
  const Pending& v = values_[static_cast<size_t>(result_)];
  if (v.number) m_.fill(out_, v.value);
  else if (term(static_cast<size_t>(result_)).leaf != Term::none) m_.copy(out_, v.source);
}

}  // namespace bascule::device::chip::neuron
