// device/chip/map_neuron_work.cc — single instructions: which engine takes them, and elementwise expressions over a tile with as few passes as the
// engines allow (multiply-add before a function, per-partition operands).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

using loops::Op;

namespace {

constexpr int kMostDims = 5;

Width width_of(int bits) { return bits <= 8 ? Width::bits8 : bits <= 16 ? Width::bits16 : Width::wide; }

bool is_function(Op op) {
  switch (op) {
    case Op::exponential: case Op::exponential_minus_one: case Op::log: case Op::log_plus_one: case Op::cbrt: case Op::tanh: case Op::logistic: case Op::erf:
    case Op::sine: case Op::cosine: case Op::tan: case Op::gelu: case Op::gelu_tanh: case Op::silu: case Op::power: case Op::atan2: return true;
    default: return false;
  }
}
bool is_root(Op op) { return op == Op::sqrt || op == Op::rsqrt; }

Access access_of(const Pattern& p) {
  Access a;
  a.buffer = p.buffer;
  a.offset = p.offset;
  a.rank = p.rank;
  for (size_t k = 0; k < static_cast<size_t>(p.rank); ++k) a.sizes[k] = static_cast<int32_t>(p.sizes[k]), a.strides[k] = p.strides[k];
  return a;
}

}  // namespace

int32_t Mapper::scratch(DType dtype, int64_t rows, int64_t columns) {
  const int32_t id = take("scratch", dtype, rows, columns);
  temporaries_.push_back(id);
  return id;
}

int32_t Mapper::accumulator(DType dtype, int64_t rows, int64_t columns) {
  const int32_t id = emit_.local(Role::accumulator, "sum", dtype, rows, columns);
  if (id < 0) fail_internal("mapping to chip:" + chip_.name, "room in the accumulator for " + std::to_string(columns) + " columns", "none");
  return id;
}

Source Mapper::source(int32_t buffer, int64_t rows, int64_t columns, int64_t column0, int64_t row0) const {
  const Buffer& b = emit_.buffer(buffer);
  Source s;
  s.pattern.buffer = buffer;
  s.pattern.offset = row0 * b.row_elements + column0;
  s.pattern.add(rows, b.row_elements);
  s.pattern.add(columns, 1);
  s.dtype = b.dtype;
  s.accumulator = b.memory == Role::accumulator;
  return s;
}

double Mapper::estimate(const Engine& e, WorkClass c, bool acc, Width w, int64_t n) const {
  if (acc && !(e.reads_accumulator && e.writes_accumulator)) return -1;
  const auto rate = e.rate(c, acc, w);
  if (!rate) return -1;
  return std::max(e.min_interval_cycles, e.startup_cycles + rate->extra_cycles + rate->cycles_per_element * static_cast<double>(n)) * 1e9 / e.clock_hz;
}

void Mapper::emit_uncut(const Call& c) { emit(c, true); }
void Mapper::emit(const Call& c) { emit(c, false); }

// On the engine that would be done first if engines shared all work so far evenly.
void Mapper::emit(const Call& c, bool uncut) {
  bool acc = false;
  int bits = 0;
  for (const Source* s : {&c.out, &c.in[0], &c.in[1], &c.in[2], &c.out2})
    if (s->pattern.buffer >= 0) {
      acc |= s->accumulator;
      bits = std::max(bits, info(s->dtype).storage_bits);
    }
  int64_t n = 1;
  const Pattern& longest = c.op == Opcode::reduce || c.op == Opcode::stats ? c.in[0].pattern : c.out.pattern;
  for (int k = 1; k < longest.rank; ++k) n *= longest.sizes[static_cast<size_t>(k)];
  Unit* best = nullptr;
  WorkClass work = c.work;
  double best_ns = 0, best_cost = 0;
  const auto consider = [&](WorkClass w, bool shared) {
    for (Unit& u : units_) {
      if (u.shares != shared) continue;
      const double ns = estimate(*u.engine, w, acc, width_of(bits), n);
      if (ns < 0 || (best && u.load_ns + ns >= best_ns)) continue;
      best = &u;
      best_ns = u.load_ns + ns;
      best_cost = ns;
      work = w;
    }
  };
  for (const bool shared : {false, true}) {
    if (best) break;
    consider(c.work, shared);
    if (c.work == WorkClass::divide && is_root(c.fn)) consider(WorkClass::transcendental, shared);
    if (c.work == WorkClass::copy) consider(WorkClass::arith, shared);
  }
  if (!best)
    fail_unsupported("chip:" + chip_.name + ": " + emit_.step().name, "an engine for work of class '" + std::string(name(c.work)) + "'" + (acc ? " on the accumulator" : ""),
                     "none in the chip file", "Run this part on the host");
  best->load_ns += best_cost;
  Instruction i;
  i.op = c.op;
  i.fn = c.fn;
  i.work = work;
  i.accumulate = c.accumulate;
  i.kept = c.kept;
  i.queue = best->queue;
  i.scale = static_cast<float>(c.scale);
  i.immediate = static_cast<float>(c.immediate);
  if (uncut) {
    i.out = access_of(c.out.pattern);
    for (size_t k = 0; k < 3; ++k)
      if (c.in[k].pattern.buffer >= 0) i.in[k] = access_of(c.in[k].pattern);
    emit_.emit(i);
    return;
  }
  Cut pieces;
  if (c.out2.pattern.buffer >= 0) {  // the sum is another shape
    pieces = cut({c.out.pattern, c.in[0].pattern, c.in[1].pattern, c.in[2].pattern, {}}, kMostDims);
    if (pieces.pieces.size() != 1) fail_internal("mapping a sum of results", "at most four free dimensions", "more");
    pieces.pieces[0][4] = access_of(c.out2.pattern);
  } else {
    pieces = cut({c.out.pattern, c.in[0].pattern, c.in[1].pattern, c.in[2].pattern, {}}, kMostDims);
  }
  for (const auto& a : pieces.pieces) {
    i.out = a[0];
    for (size_t k = 0; k < 3; ++k) i.in[k] = a[k + 1];
    i.out2 = a[4];
    emit_.emit(i);
  }
}

// Its free dimensions fold as one, whatever they are.
void Mapper::emit_stats(const Call& c) {
  Call d = c;
  const Cut one = cut({c.in[0].pattern, {}, {}, {}, {}}, kMostDims);
  if (one.pieces.size() != 1) fail_internal("mapping statistics of rows", "at most four free dimensions", "more");
  const Access a = one.pieces.front()[0];
  d.in[0].pattern.rank = a.rank;
  for (size_t k = 0; k < static_cast<size_t>(a.rank); ++k) d.in[0].pattern.sizes[k] = a.sizes[k], d.in[0].pattern.strides[k] = a.strides[k];
  emit_uncut(d);
}

void Mapper::copy(const Source& out, const Source& in) {
  Call c;
  c.op = Opcode::copy;
  c.work = WorkClass::copy;
  c.out = out;
  c.in[0] = in;
  emit(c);
}

void Mapper::transfer(const Pattern& out, const Pattern& in, Channel channel) {
  for (const auto& a : cut({out, in, {}, {}, {}}, kMostDims).pieces) {
    Instruction i;
    i.op = Opcode::copy;
    i.queue = emit_.dma(channel);
    i.out = a[0];
    i.in[0] = a[1];
    emit_.emit(i);
  }
}

void Mapper::transpose_block(const Pattern& out, const Pattern& in) {
  Instruction i;
  i.op = Opcode::transpose;
  i.work = WorkClass::transpose;
  i.queue = emit_.matrix();
  const Cut o = cut({out, {}, {}, {}, {}}, kMostDims), n = cut({in, {}, {}, {}, {}}, kMostDims);
  i.out = o.pieces.front()[0];
  i.in[0] = n.pieces.front()[0];
  emit_.emit(i);
}

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
  bool plain() const { return scale == 1 && shift == 0 && bias.pattern.buffer < 0 && factor.pattern.buffer < 0; }
};

bool lossless(DType from, DType to) { return is_float(from) && is_float(to); }

}  // namespace

void Mapper::evaluate(const Expression& x, const Source& out, const std::function<Source(const Term&)>& leaf, const Source* in_place) {
  const size_t n = x.terms.size();
  std::vector<int32_t> real(n);  // behind casts between floats, which cost nothing
  std::vector<int32_t> uses(n, 0);
  for (size_t k = 0; k < n; ++k) {
    const Term& t = x.terms[k];
    real[k] = static_cast<int32_t>(k);
    if (t.leaf == Term::none && t.fn == Op::convert && lossless(x.terms[static_cast<size_t>(real[static_cast<size_t>(t.a)])].dtype, t.dtype)) real[k] = real[static_cast<size_t>(t.a)];
  }
  std::vector<char> wanted(n, 0);
  const int32_t result = real[static_cast<size_t>(x.result)];
  wanted[static_cast<size_t>(result)] = 1;
  for (size_t k = n; k-- > 0;) {
    const Term& t = x.terms[k];
    if (!wanted[k] || t.leaf != Term::none) continue;
    for (const int32_t a : {t.a, t.b, t.c})
      if (a >= 0) {
        const auto r = static_cast<size_t>(real[static_cast<size_t>(a)]);
        wanted[r] = 1;
        ++uses[r];
      }
  }
  ++uses[static_cast<size_t>(result)];
  struct Tile {
    Source source;
    int32_t users = 0;
  };
  std::vector<Tile> tiles;
  if (in_place) tiles.push_back({*in_place, 0});
  std::vector<Pending> values(n);
  const int64_t row0 = out.pattern.offset / emit_.buffer(out.pattern.buffer).row_elements;
  const bool out_local = !out.accumulator;
  const auto fresh = [&](DType t) {
    for (size_t k = 0; k < tiles.size(); ++k)
      if (tiles[k].users == 0 && tiles[k].source.dtype == t) return static_cast<int32_t>(k);
    int64_t columns = 1;
    for (int k = 1; k < out.pattern.rank; ++k) columns *= out.pattern.sizes[static_cast<size_t>(k)];
    const int64_t first = out_local ? row0 % partitions_ : 0;
    Tile made;
    made.source.pattern.buffer = scratch(t, first + out.pattern.sizes[0], columns);
    made.source.pattern.offset = first * columns;
    made.source.pattern.add(out.pattern.sizes[0], columns);
    for (int k = 1; k < out.pattern.rank; ++k) {
      columns /= out.pattern.sizes[static_cast<size_t>(k)];
      made.source.pattern.add(out.pattern.sizes[static_cast<size_t>(k)], columns);
    }
    made.source.dtype = t;
    tiles.push_back(made);
    return static_cast<int32_t>(tiles.size()) - 1;
  };
  const auto drop = [&](const Pending& p) {
    if (p.tile >= 0) --tiles[static_cast<size_t>(p.tile)].users;
  };
  // one use of a term ends
  const auto used = [&](int32_t term) {
    if (--uses[static_cast<size_t>(term)] == 0) drop(values[static_cast<size_t>(term)]);
  };
  const auto affine = [&](const Pending& p, Call& c) {
    c.in[0] = p.source;
    c.in[1] = p.bias;
    c.in[2] = p.factor;
    c.scale = p.scale;
    if (p.bias.pattern.buffer < 0) c.immediate = p.shift;
  };
  const auto settle = [&](Pending& p, DType t, const Source* into) {  // computes what is pending
    if (p.plain() && !into) return;
    Call c;
    c.op = p.plain() ? Opcode::copy : Opcode::activate;
    c.work = p.plain() ? WorkClass::copy : WorkClass::arith;
    affine(p, c);
    if (p.plain()) c.scale = 1, c.immediate = 0;
    drop(p);
    int32_t tile = -1;
    if (!into) tile = fresh(t);
    c.out = into ? *into : tiles[static_cast<size_t>(tile)].source;
    emit(c);
    p = {};
    p.source = c.out;
    p.tile = tile;
    if (tile >= 0) ++tiles[static_cast<size_t>(tile)].users;
  };
  // Between steps and within them, numbers are kept as the chip stores them where that makes two-tensor work faster: only what stays among sums and
  // products of values so stored.
  std::vector<char> narrow(n, 0);
  const bool may_narrow = out_local && is_float(out.dtype) && info(out.dtype).storage_bits <= 16 && out.dtype == activation_;
  const auto linear = [&](size_t k) {
    const Op fn = x.terms[k].fn;
    return x.terms[k].leaf == Term::none && (fn == Op::add || fn == Op::subtract || fn == Op::multiply);
  };
  for (size_t k = 0; may_narrow && k < n; ++k) {
    const Term& t = x.terms[k];
    if (t.leaf == Term::number) narrow[k] = 1;
    else if (t.leaf == Term::operand) narrow[k] = is_float(t.dtype) ? 1 : 0;
    else if (t.leaf == Term::none) {
      narrow[k] = linear(k) ? 1 : 0;
      for (const int32_t a : {t.a, t.b, t.c})
        if (a >= 0) narrow[k] = narrow[k] && narrow[static_cast<size_t>(real[static_cast<size_t>(a)])];
    }
  }
  for (size_t k = n; may_narrow && k-- > 0;)  // and nothing but such work reads it
    if (wanted[k] && !linear(k) && x.terms[k].leaf == Term::none)
      for (const int32_t a : {x.terms[k].a, x.terms[k].b, x.terms[k].c})
        if (a >= 0) narrow[static_cast<size_t>(real[static_cast<size_t>(a)])] = 0;
  const auto temp_type = [&](size_t k) { return !is_float(x.terms[k].dtype) ? x.terms[k].dtype : narrow[k] && !in_place ? out.dtype : DType::f32; };
  for (size_t k = 0; k < n; ++k) {
    if (!wanted[k]) continue;
    const Term& t = x.terms[k];
    Pending& v = values[k];
    if (t.leaf == Term::number) {
      v.number = true;
      v.value = t.value;
      continue;
    }
    if (t.leaf == Term::iota) {
      if (t.index < 0) {
        v.number = true;
        v.value = t.value;
        continue;
      }
      const int32_t tile = fresh(temp_type(k));
      Call c;
      c.op = Opcode::iota;
      c.work = WorkClass::fill;
      c.out = tiles[static_cast<size_t>(tile)].source;
      // dimensions of one are left out, so that the counted one fits an access
      Pattern p = c.out.pattern;
      c.out.pattern.rank = 0;
      for (int d = 0; d < p.rank; ++d) {
        if (d == t.index) c.kept = static_cast<int8_t>(c.out.pattern.rank);
        if (d == 0 || p.sizes[static_cast<size_t>(d)] > 1) c.out.pattern.add(p.sizes[static_cast<size_t>(d)], p.strides[static_cast<size_t>(d)]);
      }
      if (c.out.pattern.rank > kMostDims) fail_internal("mapping a count", "at most five dimensions", std::to_string(c.out.pattern.rank));
      c.immediate = t.value;
      emit_uncut(c);
      c.out = tiles[static_cast<size_t>(tile)].source;
      v.source = c.out;
      v.tile = tile;
      tiles[static_cast<size_t>(tile)].users++;
      continue;
    }
    if (t.leaf != Term::none) {
      v.source = leaf(t);
      if (t.leaf == Term::anchor && in_place) {
        v.tile = 0;
        ++tiles[0].users;
      }
      continue;
    }
    const bool last = static_cast<int32_t>(k) == result;
    const Source* into = last ? &out : nullptr;
    int32_t arg[3] = {t.a, t.b, t.c};
    const int arity = loops::arity(t.fn);
    for (int32_t& a : arg)
      if (a >= 0) a = real[static_cast<size_t>(a)];
    const auto val = [&](int i) -> Pending& { return values[static_cast<size_t>(arg[i])]; };
    const bool floats = is_float(t.dtype) && is_float(x.terms[static_cast<size_t>(arg[0])].dtype);
    // ---- what only changes scale and shift
    if (floats && (t.fn == Op::add || t.fn == Op::subtract || t.fn == Op::multiply || t.fn == Op::negate || t.fn == Op::divide)) {
      int tensor = -1;
      double number = 0;
      bool pure = false;
      if (t.fn == Op::negate) tensor = 0, number = -1, pure = !val(0).number;
      else if (val(1).number && !val(0).number) tensor = 0, number = val(1).value, pure = true;
      else if (val(0).number && !val(1).number && t.fn != Op::divide) tensor = 1, number = val(0).value, pure = true;
      const auto per_row = [](const Pending& p) { return !p.number && p.plain() && p.source.column; };
      const auto times = [](Pending& p, double f) { p.scale *= f, p.shift *= f; };
      if (pure) {
        Pending p = val(tensor);
        const bool multiplies = t.fn == Op::multiply || t.fn == Op::negate || t.fn == Op::divide;
        if (t.fn == Op::divide) number = 1 / number;
        if (((multiplies || tensor == 1) && (p.bias.pattern.buffer >= 0 || p.factor.pattern.buffer >= 0)) || (!multiplies && p.bias.pattern.buffer >= 0)) {
          settle(val(tensor), DType::f32, nullptr);
          p = val(tensor);
        }
        if (multiplies) times(p, number);
        else if (t.fn == Op::add) p.shift += number;
        else if (tensor == 0) p.shift -= number;
        else times(p, -1), p.shift += number;
        if (p.tile >= 0) ++tiles[static_cast<size_t>(p.tile)].users;
        v = p;
        used(arg[tensor]);
        if (last || uses[k] > 1) settle(v, DType::f32, into);
        continue;
      }
      if (t.fn == Op::add || t.fn == Op::multiply) {
        int row = per_row(val(1)) && !val(0).number && !val(0).source.column ? 1 : per_row(val(0)) && !val(1).number && !val(1).source.column ? 0 : -1;
        if (row >= 0) {
          const int other = 1 - row;
          Pending p = val(other);
          const bool adds = t.fn == Op::add;
          if (adds ? p.bias.pattern.buffer >= 0 || p.shift != 0 : !p.plain()) {
            settle(val(other), DType::f32, nullptr);
            p = val(other);
          }
          (adds ? p.bias : p.factor) = val(row).source;
          if (p.tile >= 0) ++tiles[static_cast<size_t>(p.tile)].users;
          v = p;
          used(arg[other]);
          used(arg[row]);
          if (last || uses[k] > 1) settle(v, DType::f32, into);
          continue;
        }
      }
    }
    // ---- an instruction
    Call c;
    c.fn = t.fn;
    c.op = Opcode::map;
    int tensors = 0;
    const bool both_numbers = arity >= 1 && val(0).number && (arity < 2 || val(1).number);
    if (both_numbers && arity < 3) {  // a count over one element, most often: the first number is written out
      Pending& p = val(0);
      const int32_t tile = fresh(temp_type(static_cast<size_t>(arg[0])));
      ++tiles[static_cast<size_t>(tile)].users;
      Call f;
      f.op = Opcode::fill;
      f.work = WorkClass::fill;
      f.out = tiles[static_cast<size_t>(tile)].source;
      f.immediate = p.value;
      emit(f);
      p = {};
      p.source = f.out;
      p.tile = tile;
    }
    if (arity == 1) {
      tensors = 1;
      if (t.fn == Op::convert) {
        settle(val(0), DType::f32, nullptr);
        c.op = Opcode::copy;
        c.work = WorkClass::copy;
        c.in[0] = val(0).source;
        if (is_bool(t.dtype) && !is_bool(x.terms[static_cast<size_t>(arg[0])].dtype)) {
          c.op = Opcode::map;
          c.fn = Op::not_equal;
          c.work = WorkClass::arith;
        }
      } else {
        c.work = is_function(t.fn) ? WorkClass::transcendental : is_root(t.fn) ? WorkClass::divide : WorkClass::arith;
        if (floats) {
          c.op = Opcode::activate;
          affine(val(0), c);
        } else {
          c.in[0] = val(0).source;
        }
      }
    } else if (arity == 2 && floats && (t.fn == Op::maximum || t.fn == Op::minimum) && (val(0).number || val(1).number)) {
      const int tensor = val(0).number ? 1 : 0;
      Pending& p = val(tensor);
      if (p.shift != 0 && p.bias.pattern.buffer < 0) settle(p, DType::f32, nullptr);
      c.op = Opcode::activate;
      c.work = WorkClass::arith;
      affine(p, c);
      c.immediate = val(1 - tensor).value;
      tensors = 1;
    } else {
      // scale * x + y in one pass when y is a plain tensor
      const auto full = [&](int i) { return !val(i).number && val(i).plain(); };
      int scaled = -1;
      if (arity == 2 && t.fn == Op::add && floats)
        for (const int i : {0, 1})
          if (!val(i).number && val(i).shift == 0 && val(i).scale != 1 && val(i).bias.pattern.buffer < 0 && val(i).factor.pattern.buffer < 0 && full(1 - i)) scaled = i;
      if (scaled >= 0) {
        c.op = Opcode::activate;
        c.fn = Op::load;
        c.work = WorkClass::arith2;
        c.in[0] = val(scaled).source;
        c.scale = val(scaled).scale;
        c.in[1] = val(1 - scaled).source;
        tensors = 2;
      } else {
        for (int i = 0; i < arity; ++i) {
          if (val(i).number) {
            c.immediate = val(i).value;
            continue;
          }
          settle(val(i), temp_type(static_cast<size_t>(arg[i])), nullptr);
          c.in[i] = val(i).source;
          if (!val(i).source.column) ++tensors;
        }
        if (arity == 3 && val(1).number && val(2).number && val(1).value != val(2).value) {  // select between numbers: the second is written first
          const int32_t tile = fresh(temp_type(k));
          Call f;
          f.op = Opcode::fill;
          f.work = WorkClass::fill;
          f.out = tiles[static_cast<size_t>(tile)].source;
          f.immediate = val(2).value;
          emit(f);
          ++tiles[static_cast<size_t>(tile)].users;
          c.in[2] = f.out;
          c.immediate = val(1).value;
          values[k].tile = tile;  // released below
        }
        c.work = arity == 3 ? WorkClass::select : t.fn == Op::divide ? WorkClass::divide : is_function(t.fn) ? WorkClass::transcendental : tensors > 1 ? WorkClass::arith2 : WorkClass::arith;
      }
    }
    const int32_t selected = v.tile;
    for (int i = 0; i < arity; ++i) used(arg[i]);
    int32_t tile = -1;
    if (into) c.out = *into;
    else {
      tile = fresh(temp_type(k));
      c.out = tiles[static_cast<size_t>(tile)].source;
      ++tiles[static_cast<size_t>(tile)].users;
    }
    emit(c);
    if (selected >= 0) --tiles[static_cast<size_t>(selected)].users;
    v = {};
    v.source = c.out;
    v.tile = tile;
  }
  Pending& v = values[static_cast<size_t>(result)];
  const Term& t = x.terms[static_cast<size_t>(result)];
  if (v.number) {
    Call c;
    c.op = Opcode::fill;
    c.work = WorkClass::fill;
    c.out = out;
    c.immediate = v.value;
    emit(c);
  } else if (t.leaf != Term::none) {
    copy(out, v.source);
  }
}

}  // namespace bascule::device::chip::neuron
