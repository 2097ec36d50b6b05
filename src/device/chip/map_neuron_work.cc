// device/chip/map_neuron_work.cc — single instructions: which engine takes them, and the tiles that they read and write.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

using loops::Op;

namespace {

constexpr int kMostDims = 5;

Width width_of(int bits) { return bits <= 8 ? Width::bits8 : bits <= 16 ? Width::bits16 : Width::wide; }

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

Source Mapper::tile_of(int32_t buffer, int64_t rows, const std::vector<int64_t>& sizes, int64_t row0) const {
  const Buffer& b = emit_.buffer(buffer);
  Source s;
  s.pattern.buffer = buffer;
  s.pattern.offset = row0 * b.row_elements;
  s.pattern.add(rows, b.row_elements);
  int64_t stride = 1;
  for (const int64_t n : sizes) stride *= n;
  for (const int64_t n : sizes) {
    stride /= n;
    s.pattern.add(n, stride);
  }
  s.dtype = b.dtype;
  s.accumulator = b.memory == Role::accumulator;
  return s;
}

Source Mapper::sum_tile(int64_t rows, const std::vector<int64_t>& sizes) {
  int64_t columns = 1;
  for (const int64_t n : sizes) columns *= n;
  return tile_of(accumulator(DType::f32, rows, columns), rows, sizes);
}

Source Mapper::scratch_tile(DType dtype, int64_t rows, const std::vector<int64_t>& sizes, int64_t row0) {
  int64_t columns = 1;
  for (const int64_t n : sizes) columns *= n;
  return tile_of(scratch(dtype, row0 + rows, columns), rows, sizes, row0);
}

void Mapper::fill(const Source& out, double number) {
  Call c;
  c.op = Opcode::fill;
  c.work = WorkClass::fill;
  c.out = out;
  c.immediate = number;
  emit(c);
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
  // from one partition to another: by engines that see all of them, as those do that reach the accumulator
  const auto first_row = [&](const Source& s) { return s.pattern.offset / std::max<int64_t>(emit_.buffer(s.pattern.buffer).row_elements, 1); };
  const bool crosses = c.op == Opcode::copy && first_row(c.out) != first_row(c.in[0]);
  int64_t n = 1;
  const Pattern& longest = c.op == Opcode::reduce || c.op == Opcode::stats ? c.in[0].pattern : c.out.pattern;
  for (int k = 1; k < longest.rank; ++k) n *= longest.sizes[static_cast<size_t>(k)];
  Unit* best = nullptr;
  WorkClass work = c.work;
  double best_ns = 0, best_after = 0, best_cost = 0;
  const auto consider = [&](WorkClass w, bool shared) {
    for (Unit& u : units_) {
      if (u.shares != shared || (crosses && !u.engine->reads_accumulator)) continue;
      const double ns = estimate(*u.engine, w, acc, width_of(bits), n);
      if (ns < 0) continue;
      // engines that take turns at the accumulator are done together at the earliest
      const double own = u.load_ns + ns, after = std::max(own, turns_ns_ + (acc && u.takes_turns ? ns : 0));
      if (best && (after > best_after || (after == best_after && own >= best_ns))) continue;
      best = &u;
      best_ns = own;
      best_after = after;
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
  if (acc && best->takes_turns) turns_ns_ += best_cost;
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

// out[m, n...] (+)= sum_k stationary[k, m] * moving[k, n...]
void Mapper::multiply(const Pattern& out, const Pattern& stationary, const Pattern& moving, bool accumulate) {
  const Cut pair = cut({out, moving, {}, {}, {}}, kMostDims);
  if (pair.pieces.size() != 1) fail_internal("mapping a product", "a moving operand of at most four free dimensions", "more");
  Instruction i;
  i.op = Opcode::matmul;
  i.work = WorkClass::matmul;
  i.queue = emit_.matrix();
  i.accumulate = accumulate;
  i.out = pair.pieces[0][0];
  i.in[1] = pair.pieces[0][1];
  i.in[0] = cut({stationary, {}, {}, {}, {}}, kMostDims).pieces[0][0];
  emit_.emit(i);
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

}  // namespace bascule::device::chip::neuron
