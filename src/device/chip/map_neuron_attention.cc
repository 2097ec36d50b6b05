// device/chip/map_neuron_attention.cc — attention in one pass: scores of a few heads in an accumulator bank, softmax along their rows, probabilities
// turned so that keys lie on partitions, and the product with the values. No score matrix leaves the core.
#include <algorithm>
#include <numeric>
#include <cmath>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

using loops::Op;

namespace {

constexpr double kMasked = -3.0e38;   // of a key that does not count
constexpr double kNoKey = -1.0e30;    // a row whose largest score is below has no key
constexpr double kLeastSum = 1.0e-30;

}  // namespace

// One block of queries of a few heads.
struct Mapper::Heads {
  Box box;               // over B, H, S of the result's nest
  int64_t b = 0, head0 = 0, heads = 1, s0 = 0, rows = 1, keys = 0;
  int32_t numbers = -1, raw = -1;  // largest, its negative, sum and inverse of each row; exponentials
  int32_t probabilities = -1;      // [rows, heads * keys]
  int32_t turned = -1;             // the same with keys on partitions
  std::vector<int32_t> owned;
};

struct Mapper::Attention {
  explicit Attention(const Step& step) : s(step) {}
  const Step& s;
  Nest q, k, v, y;           // over B, H, S, D | B, K, T, D | B, K, T, E | B, H, S, E
  Place qp, kp, vp, yp;
  Nest bias, allowed;        // over B, H, S, T
  Place bias_p, allowed_p;
  bool has_bias = false, has_allowed = false, columns = false;
  int64_t group = 1;         // query heads of a key head
};

namespace {

// A nest of one operand over fixed axes; false if it cannot be placed with `part` (an axis of it, -1: none) on partitions.
bool place(Nest& n, const std::vector<int64_t>& extents, const Operand& o, Placement p, int part, bool part_may_split = false) {
  n.extents = extents;
  n.tags.clear();
  for (size_t a = 0; a < extents.size(); ++a) n.tags.push_back(static_cast<char>('a' + a));
  n.operands = {o};
  n.operands[0].placement = p;
  if (!fits(p, o.total) || !n.refine() || n.extents.size() != extents.size()) return false;
  (void)part_may_split;
  if (part < 0) return true;
  const Digit& d = n.operands[0].digits[static_cast<size_t>(part)];
  return extents[static_cast<size_t>(part)] == 1 || (d.level == Level::part && d.step == 1);
}

}  // namespace

void Mapper::attention(const Step& s) {
  const int64_t B = s.axes[0], H = s.axes[1], S = s.axes[2], E = s.axes[3], D = s.head_size, T = s.keys, K = std::max<int64_t>(s.kv_heads, 1);
  if (T == 0 || D == 0) return fill_result(s, 0);
  Attention a(s);
  a.group = H / K;
  Operand oq = operand(s.views[0]), ok = operand(s.views[1]), ov = operand(s.views[2]);
  // What comes through main memory a batch at a time is laid out batch by batch there, each as [rows, heads, features].
  const bool by_batch = storage_bytes(precision_, oq.total + ok.total + ov.total) / partitions_ > budget_ / 2;
  std::vector<int32_t> relaid;
  const auto inside = [&](const Operand& o, const std::vector<int64_t>& extents) {  // or a part of a joined value
    bool r = false;
    int64_t elements = extents[0];
    for (size_t k = 1; k < extents.size(); ++k) {
      r = r || (extents[k] > 1 && o.strides[k] > o.strides[0]);
      elements *= extents[k];
    }
    return by_batch && (r || elements < o.total);
  };
  const auto lay = [&](Operand& o, const std::vector<int64_t>& extents) {
    if (!inside(o, extents)) return;
    const Operand from = o;
    o = batch_first(o, extents);
    relaid.push_back(o.item = new_item(from.item, o.total));
    item(o.item).main = main_room(item(o.item).name, item(o.item).dtype, o.total);
    move_main(item(o.item).main, o, in_main(from.item), from, extents, kLoads);
  };
  lay(oq, {B, H, S, D});
  lay(ok, {B, K, T, D});
  lay(ov, {B, K, T, E});
  // heads side by side on partitions when they begin where an engine may begin
  const auto by_heads = [&](const Operand& o, int64_t size, int64_t heads, size_t head_axis, size_t inner_axis) {
    std::vector<Placement> r;
    for (const Held& h : item(o.item).local) r.push_back(h.placement);
    const bool joins = o.strides[head_axis] == o.strides[inner_axis] * size && ((partitions_ % size == 0 && size >= partitions_ / 4) || size % partitions_ == 0);
    const int64_t st = std::max<int64_t>(o.strides[inner_axis], 1);
    if (joins) r.push_back({st, size * heads});
    r.push_back({st, size});
    return r;
  };
  const auto legal_rows = [&](const Operand& o, const Nest& n, int inner, int64_t size) {  // each head within a tile of partitions, or whole tiles
    for (size_t x = 0; x < n.extents.size(); ++x) {
      const Digit& d = o.digits[x];
      if (static_cast<int>(x) == inner || d.level != Level::part || n.extents[x] == 1) continue;
      if (d.step % partitions_ == 0) continue;
      if (partitions_ % d.step != 0 || d.step < partitions_ / 4 || size > d.step) return false;
    }
    return (o.offset / o.placement.inner % std::max<int64_t>(o.placement.extent, 1)) % partitions_ == 0 || size <= partitions_ / 4;
  };
  bool ok_q = false, ok_k = false, ok_v = false, ok_y = false;
  for (const Placement& p : by_heads(oq, D, H, 1, 3))
    if ((ok_q = !p.replicated() && place(a.q, {B, H, S, D}, oq, p, 3) && legal_rows(a.q.operands[0], a.q, 3, D))) break;
  for (const Placement& p : by_heads(ok, D, K, 1, 3))
    if ((ok_k = !p.replicated() && place(a.k, {B, K, T, D}, ok, p, 3) && legal_rows(a.k.operands[0], a.k, 3, D))) break;
  if (ok_q && ok_k) {  // a head's queries and keys on the same partitions
    const Digit &dq = a.q.operands[0].digits[1], &dk = a.k.operands[0].digits[1];
    const bool both = dq.level == Level::part && dk.level == Level::part;
    const bool same = (both && dq.step % partitions_ == dk.step % partitions_ && a.group == 1) ||
                      ((dq.level != Level::part || dq.step % partitions_ == 0) && (dk.level != Level::part || dk.step % partitions_ == 0)) || (H == 1 && K == 1);
    if (!same) {
      ok_q = place(a.q, {B, H, S, D}, oq, {std::max<int64_t>(oq.strides[3], 1), D}, 3);
      ok_k = place(a.k, {B, K, T, D}, ok, {std::max<int64_t>(ok.strides[3], 1), D}, 3);
    }
  }
  std::vector<Placement> vs{{std::max<int64_t>(ov.strides[2], 1), T}};
  for (const Placement& p : vs)
    if ((ok_v = place(a.v, {B, K, T, E}, ov, p, 2))) break;
  // the result: features on partitions if its reader wants them, else rows
  const Operand given = result(s);
  Operand oy = given;
  const auto w = wish(item(oy.item), now_);
  const bool result_relaid = inside(oy, {B, H, S, E});
  if (result_relaid) {
    oy = batch_first(given, {B, H, S, E});
    relaid.push_back(oy.item = new_item(given.item, oy.total));
  }
  std::vector<std::pair<Placement, bool>> ys;
  const bool joins = oy.strides[1] == oy.strides[3] * E && ((partitions_ % E == 0 && E >= partitions_ / 4) || E % partitions_ == 0);
  if (w && w->inner == oy.strides[3] && joins) ys.push_back({{oy.strides[3], E * H}, true});
  if (w && w->inner == oy.strides[3]) ys.push_back({{oy.strides[3], E}, true});
  ys.push_back({{std::max<int64_t>(oy.strides[2], 1), S}, false});
  ys.push_back({{std::max<int64_t>(oy.strides[3], 1), E}, true});
  for (const auto& [p, columns] : ys)
    if ((ok_y = place(a.y, {B, H, S, E}, oy, p, columns ? 3 : 2))) {
      a.columns = columns;
      break;
    }
  if (!ok_q || !ok_k || !ok_v || !ok_y || !s.epilogue.empty()) return host_step(s);
  const auto mask = [&](size_t index, Nest& n, bool& has) {
    has = s.views.size() > index && s.views[index].value;
    if (!has) return true;
    const Operand o = operand(s.views[index]);
    const Placement p = o.strides[2] == 0 ? kReplicated : Placement{o.strides[2], S};
    return place(n, {B, H, S, T}, o, p, o.strides[2] == 0 ? -1 : 2);
  };
  if (!mask(3, a.bias, a.has_bias) || !mask(4, a.allowed, a.has_allowed)) return host_step(s);

  const int64_t bank = bank_columns();
  const int64_t heads_together = T <= bank ? std::max<int64_t>(1, std::min({H, bank / T, int64_t{8}})) : 1;
  choice("heads=" + std::to_string(heads_together) + " result=" + (a.columns ? "features" : "rows"));
  Target out = target(oy.item, a.y.operands[0].placement);
  const int64_t in_bytes = place_bytes(oq.total, a.q.operands[0].placement, precision_) + place_bytes(ok.total, a.k.operands[0].placement, precision_) +
                           place_bytes(ov.total, a.v.operands[0].placement, precision_);
  const bool streamed = out.image >= 0 || in_bytes > budget_ / 2;
  const int64_t per_block = streamed ? 1 : B;
  for (int64_t b0 = 0; b0 < B; b0 += per_block) {
    const auto held = [&](Nest& n, DType t) {
      Box box = n.all();
      box.start[0] = b0;
      box.size[0] = per_block;
      const Window win = window(n.operands[0], box);
      return hold(n.operands[0].item, n.operands[0].placement, t, streamed ? &win : nullptr);
    };
    a.qp = held(a.q, precision_);
    a.kp = held(a.k, precision_);
    a.vp = held(a.v, precision_);
    const auto held_mask = [&](Nest& n) {  // a large one tile by tile
      const Operand& o = n.operands[0];
      Box box = n.all();
      box.start[0] = b0;
      box.size[0] = per_block;
      return window_bytes(o.placement, window(o, box), operand_type(o)) > budget_ / 8 ? Place{} : held(n, operand_type(o));
    };
    if (a.has_bias) a.bias_p = held_mask(a.bias);
    if (a.has_allowed) a.allowed_p = held_mask(a.allowed);
    Box yb = a.y.all();
    yb.start[0] = b0;
    yb.size[0] = per_block;
    a.yp = target_block(out, oy.item, a.y.operands[0].placement, window(a.y.operands[0], yb));
    // groups of heads, so that the matrix engine does not wait for the softmax
    std::vector<Heads> waiting;
    for (int64_t b = b0; b < b0 + per_block; ++b)
      for (int64_t h = 0; h < H; h += heads_together)
        for (int64_t s0 = 0; s0 < S; s0 += partitions_) {
          Heads g;
          g.b = b;
          g.head0 = h;
          g.heads = std::min(heads_together, H - h);
          g.s0 = s0;
          g.rows = std::min(partitions_, S - s0);
          g.keys = T;
          if (s.causal) g.keys = std::clamp<int64_t>(s0 + g.rows + s.causal_offset, 1, T);
          waiting.push_back(std::move(g));
        }
    // each stage of a group beside the stage before of the next one, if there is room for as many
    const int64_t group_bytes = heads_together * T * 12;  // scores, what is beside them, probabilities and the same turned
    const size_t apart = group_bytes * 3 > budget_ / 2 ? 0 : 1, stages = waiting.size();
    for (size_t i = 0; i < stages + 3 * apart; ++i) {
      if (i < stages) scores(a, waiting[i]);
      if (i >= apart && i - apart < stages) normalise(a, waiting[i - apart]);
      if (i >= 2 * apart && i - 2 * apart < stages) turn(a, waiting[i - 2 * apart]);
      if (i >= 3 * apart) values_of(a, waiting[i - 3 * apart]);
    }
    target_done(out, a.y, 0, yb, a.yp);
    done();
  }
  if (result_relaid) {
    const int32_t from = in_main(oy.item), to = main_for(given.item);
    move_main(to, given, from, oy, {B, H, S, E}, kStores);
    item(given.item).main = to;
  }
  for (const int32_t k : relaid) forget(k);
}

// The operand [B, H, S, E] laid out as B, S, H, E.
Operand Mapper::batch_first(const Operand& o, const std::vector<int64_t>& extents) const {
  Operand r = o;
  r.offset = 0;
  r.strides = {extents[1] * extents[2] * extents[3], extents[3], extents[1] * extents[3], 1};
  r.total = extents[0] * r.strides[0];
  return r;
}

// A value between two layouts in main memory, over axes of these extents.
void Mapper::move_main(int32_t to, const Operand& out, int32_t from, const Operand& in, const std::vector<int64_t>& extents, Channel channel) {
  std::vector<size_t> order(extents.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return out.strides[a] > out.strides[b]; });
  Pattern y, x;
  y.buffer = to;
  x.buffer = from;
  y.offset = out.offset;
  x.offset = in.offset;
  for (const size_t k : order) y.add(extents[k], out.strides[k]), x.add(extents[k], in.strides[k]);
  transfer(y, x, channel);
}

// p = softmax(scale q k^T + bias) of the block, [rows, heads, keys].
void Mapper::scores(Attention& a, Heads& g) {
  const Step& s = a.s;
  const int64_t T = g.keys, D = s.head_size, bank = bank_columns();
  const auto own = [&](DType t, int64_t columns) {
    const int32_t id = take("scores", t, g.rows, columns);
    g.owned.push_back(id);
    return id;
  };
  const auto cube = [&](int32_t buffer, int64_t heads, int64_t keys, int64_t column0 = 0) {  // [rows, heads, keys]
    Source c = source(buffer, g.rows, 1, column0);
    c.pattern.rank = 1;
    c.pattern.add(heads, keys);
    c.pattern.add(keys, 1);
    return c;
  };
  const bool masked = a.has_bias || a.has_allowed || s.causal || s.softcap > 0;
  const int64_t chunk = std::min(T, bank);
  const bool in_bank = T <= bank && !masked;
  // what the softmax reads: the bank itself, or scores with bias and mask beside it
  Source x;
  int32_t sum = -1;
  double scale = s.scale;
  if (!in_bank) x = cube(own(DType::f32, g.heads * T), g.heads, T);
  for (int64_t t0 = 0; t0 < T; t0 += chunk) {
    const int64_t keys = std::min(chunk, T - t0);
    sum = accumulator(DType::f32, g.rows, g.heads * keys);
    for (int64_t h = 0; h < g.heads; ++h) {
      Box qb = a.q.all(), kb = a.k.all();
      qb.start = {g.b, g.head0 + h, g.s0, 0};
      qb.size = {1, 1, g.rows, D};
      kb.start = {g.b, (g.head0 + h) / a.group, t0, 0};
      kb.size = {1, 1, keys, D};
      bool first = true;
      for (int64_t d0 = 0; d0 < D;) {
        qb.start[3] = kb.start[3] = d0;
        qb.size[3] = kb.size[3] = 1;
        const int64_t at = origin(a.q.operands[0], a.qp, qb, partitions_).q % partitions_;
        const int64_t depth = std::min(D - d0, partitions_ - at);
        qb.size[3] = kb.size[3] = depth;
        Instruction i;
        i.op = Opcode::matmul;
        i.work = WorkClass::matmul;
        i.queue = emit_.matrix();
        i.accumulate = !first;
        const Pattern stationary = pattern(a.q.operands[0], a.qp, qb, 3, {2}, pitch(a.qp), partitions_, 0, depth);
        const Pattern moving = pattern(a.k.operands[0], a.kp, kb, 3, {2}, pitch(a.kp), partitions_, 0, depth);
        i.out = cut({source(sum, g.rows, keys, h * keys).pattern, {}, {}, {}, {}}, Access::kMostDims).pieces[0][0];
        i.in[0] = cut({stationary, {}, {}, {}, {}}, Access::kMostDims).pieces[0][0];
        i.in[1] = cut({moving, {}, {}, {}, {}}, Access::kMostDims).pieces[0][0];
        emit_.emit(i);
        first = false;
        d0 += depth;
      }
    }
    if (in_bank) {
      x = cube(sum, g.heads, keys);
      break;
    }
    const Source bank_scores = cube(sum, g.heads, keys);
    Source beside = x;
    beside.pattern.offset += t0;
    beside.pattern.sizes[2] = keys;
    beside_scores(a, g, beside, bank_scores, t0, keys, scale);
    emit_.release(sum);
    sum = -1;
  }
  if (!in_bank) scale = 1;
  // softmax: largest, exponentials with their sum, divided by it
  const int32_t numbers = own(DType::f32, 4 * g.heads);
  Source largest = source(numbers, g.rows, g.heads);
  fold(largest, x, 1, Op::maximum, false);
  if (a.has_allowed || s.causal) small_like(largest, Op::maximum, largest, 1, kNoKey);
  Source negative = source(numbers, g.rows, g.heads, g.heads);
  small_like(negative, Op::load, largest, -scale, 0);
  const int32_t raw = own(precision_, g.heads * T);
  for (int64_t h = 0; h < g.heads; ++h) {
    Call c;
    c.op = Opcode::activate;
    c.fn = Op::exponential;
    c.work = WorkClass::transcendental;
    c.in[0] = x;
    c.in[0].pattern.offset += h * x.pattern.strides[1];
    c.in[0].pattern.sizes[1] = 1;
    c.in[1] = source(numbers, g.rows, 1, g.heads + h);
    c.in[1].pattern.rank = 1;
    c.in[1].pattern.add(1, 0);
    c.in[1].pattern.add(T, 0);
    c.scale = scale;
    c.out = cube(raw, 1, T, h * T);
    c.out2 = source(numbers, g.rows, 1, 2 * g.heads + h);
    emit(c);
  }
  if (sum >= 0) emit_.release(sum);
  g.numbers = numbers;
  g.raw = raw;
}

void Mapper::normalise(Attention& a, Heads& g) {
  const int64_t T = g.keys;
  const int32_t numbers = g.numbers, raw = g.raw;
  Source sums = source(numbers, g.rows, g.heads, 2 * g.heads), inverse = source(numbers, g.rows, g.heads, 3 * g.heads);
  if (a.has_allowed || a.s.causal) small_like(sums, Op::maximum, sums, 1, kLeastSum);
  Call d;
  d.op = Opcode::map;
  d.fn = Op::divide;
  d.work = WorkClass::divide;
  d.immediate = 1;
  d.in[1] = sums;
  d.out = inverse;
  emit(d);
  g.probabilities = take("probabilities", precision_, g.rows, g.heads * T);
  g.owned.push_back(g.probabilities);
  for (int64_t h = 0; h < g.heads; ++h) {
    Call c;
    c.op = Opcode::activate;
    c.work = WorkClass::arith;
    c.in[0] = source(raw, g.rows, T, h * T);
    c.in[2] = source(numbers, g.rows, 1, 3 * g.heads + h);
    c.in[2].pattern.rank = 1;
    c.in[2].pattern.add(T, 0);
    c.out = source(g.probabilities, g.rows, T, h * T);
    emit(c);
  }
}

void Mapper::small_like(const Source& out, Op fn, const Source& in, double scale, double immediate) {
  small(out, fn, in, scale, immediate, nullptr, WorkClass::arith);
}

// Scores of keys t0 .. with scale, soft cap, bias and mask, in the scratchpad.
void Mapper::beside_scores(Attention& a, Heads& g, const Source& to, const Source& from, int64_t t0, int64_t keys, double scale) {
  const Step& s = a.s;
  const size_t before = temporaries_.size();
  Expression e;
  std::vector<Source> leaves;
  const auto push = [&](Term t) {
    e.terms.push_back(t);
    return static_cast<int32_t>(e.terms.size()) - 1;
  };
  const auto number = [&](double v) {
    Term t;
    t.leaf = Term::number;
    t.value = v;
    return push(t);
  };
  const auto apply = [&](Op fn, int32_t x, int32_t y, int32_t z = -1, DType type = DType::f32) {
    Term t;
    t.fn = fn;
    t.dtype = type;
    t.a = x;
    t.b = y;
    t.c = z;
    return push(t);
  };
  Term anchor;
  anchor.leaf = Term::anchor;
  int32_t x = push(anchor);
  x = apply(Op::multiply, x, number(s.softcap > 0 ? scale / s.softcap : scale));
  if (s.softcap > 0) x = apply(Op::multiply, apply(Op::tanh, x, -1), number(s.softcap));
  const auto mask = [&](Nest& n, const Place& at) {
    Box box = n.all();
    box.start = {g.b, g.head0, g.s0, t0};
    box.size = {1, g.heads, g.rows, keys};
    Source leaf = leaf_source(n.operands[0], at.buffer < 0 ? hold_operand(n.operands[0], &box) : at, box, n.operands[0].placement.replicated() ? -1 : 2, {1, 3}, 0, g.rows);
    leaf.column = false;
    leaves.push_back(leaf);
    Term t;
    t.leaf = Term::operand;
    t.index = static_cast<int32_t>(leaves.size()) - 1;
    t.dtype = leaf.dtype;
    return push(t);
  };
  if (a.has_bias) x = apply(Op::add, x, mask(a.bias, a.bias_p));
  if (a.has_allowed) x = apply(Op::select, mask(a.allowed, a.allowed_p), x, number(kMasked));
  if (s.causal && t0 + keys - 1 > g.s0 + s.causal_offset) {  // key t counts for query r when t - r <= offset
    const auto count = [&](int along, double start) {
      Term t;
      t.leaf = Term::iota;
      t.index = along;
      t.value = start;
      return push(t);
    };
    const int32_t key = count(2, static_cast<double>(t0)), query = count(0, static_cast<double>(g.s0 + s.causal_offset));
    x = apply(Op::select, apply(Op::less_equal, key, query, -1, DType::i1), x, number(kMasked));
  }
  e.result = x;
  evaluate(e, to, [&](const Term& t) { return t.leaf == Term::anchor ? from : leaves[static_cast<size_t>(t.index)]; }, &from);
  g.owned.insert(g.owned.end(), temporaries_.begin() + static_cast<std::ptrdiff_t>(before), temporaries_.end());
  temporaries_.resize(before);
}

// Probabilities with keys on partitions: [keys of a tile][tile][head][row].
void Mapper::turn(Attention&, Heads& g) {
  const int64_t T = g.keys, bank = bank_columns();
  const int64_t tiles = ceil_div(T, partitions_);
  const int32_t turned = take("turned", precision_, std::min(partitions_, T), tiles * g.heads * g.rows);
  g.owned.push_back(turned);
  g.turned = turned;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t keys = std::min(partitions_, T - t * partitions_);
    const int64_t together = std::max<int64_t>(1, bank / g.rows);
    for (int64_t h0 = 0; h0 < g.heads; h0 += together) {
      const int64_t heads = std::min(together, g.heads - h0);
      const int32_t sum = accumulator(precision_, keys, heads * g.rows);
      for (int64_t h = 0; h < heads; ++h)
        transpose_block(source(sum, keys, g.rows, h * g.rows).pattern, source(g.probabilities, g.rows, keys, (h0 + h) * T + t * partitions_).pattern);
      copy(source(turned, keys, heads * g.rows, (t * g.heads + h0) * g.rows), source(sum, keys, heads * g.rows));
      emit_.release(sum);
    }
  }
}

// y = p v of the block.
void Mapper::values_of(Attention& a, Heads& g) {
  const int64_t T = g.keys, E = a.s.axes[3], bank = bank_columns();
  const int64_t tiles = ceil_div(T, partitions_);
  const int32_t turned = g.turned;
  const auto product = [&](Access out, const Pattern& stationary, const Pattern& moving, bool accumulate) {
    Instruction i;
    i.op = Opcode::matmul;
    i.work = WorkClass::matmul;
    i.queue = emit_.matrix();
    i.accumulate = accumulate;
    i.out = out;
    i.in[0] = cut({stationary, {}, {}, {}, {}}, Access::kMostDims).pieces[0][0];
    i.in[1] = cut({moving, {}, {}, {}, {}}, Access::kMostDims).pieces[0][0];
    emit_.emit(i);
  };
  const auto v_tile = [&](int64_t h, int64_t t, int64_t e0, int64_t es) {
    Box vb = a.v.all();
    const int64_t keys = std::min(partitions_, T - t * partitions_);
    vb.start = {g.b, (g.head0 + h) / a.group, t * partitions_, e0};
    vb.size = {1, 1, keys, es};
    return pattern(a.v.operands[0], a.vp, vb, 2, {3}, pitch(a.vp), partitions_, 0, keys);
  };
  const Operand& oy = a.y.operands[0];
  const DType out_type = emit_.buffer(a.yp.buffer).dtype;
  if (!a.columns) {
    const int64_t fit = std::max<int64_t>(1, bank / E);
    for (int64_t h0 = 0; h0 < g.heads; h0 += fit) {
      const int64_t heads = std::min(fit, g.heads - h0);
      for (int64_t e0 = 0; e0 < E; e0 += bank) {
        const int64_t es = std::min(bank, E - e0);
        const int32_t sum = accumulator(DType::f32, g.rows, heads * es);
        for (int64_t h = 0; h < heads; ++h)
          for (int64_t t = 0; t < tiles; ++t)
            product(emit_.box(sum, 0, g.rows, h * es, es), source(turned, std::min(partitions_, T - t * partitions_), g.rows, (t * g.heads + h0 + h) * g.rows).pattern, v_tile(h0 + h, t, e0, es), t > 0);
        Box yb = a.y.all();
        yb.start = {g.b, g.head0 + h0, g.s0, e0};
        yb.size = {1, heads, g.rows, es};
        Source from = source(sum, g.rows, 1);
        from.pattern.rank = 1;
        from.pattern.add(heads, es);
        from.pattern.add(es, 1);
        copy({pattern(oy, a.yp, yb, 2, {1, 3}, pitch(a.yp), partitions_, 0, g.rows), out_type, false, false}, from);
        emit_.release(sum);
      }
    }
  } else {
    // heads whose features lie in one tile of partitions share a sum: each at its own rows
    for (int64_t h0 = 0; h0 < g.heads;) {
      Box yb = a.y.all();
      yb.start = {g.b, g.head0 + h0, g.s0, 0};
      yb.size = {1, 1, g.rows, E};
      const auto start_of = [&](int64_t h) {
        Box one = yb;
        one.start[1] = g.head0 + h;
        one.size[3] = 1;
        return origin(oy, a.yp, one, partitions_);
      };
      int64_t heads = 1;
      const Origin0 first = start_of(h0);
      if (E < partitions_)
        while (h0 + heads < g.heads && start_of(h0 + heads).q == first.q + heads * E && (first.q % partitions_) + (heads + 1) * E <= partitions_) ++heads;
      for (int64_t e0 = 0; e0 < E;) {
        const int64_t q = (first.q + e0) % partitions_;
        const int64_t es = std::min(E - e0, partitions_ - q);
        const int64_t rows = heads > 1 ? heads * E : es;
        const int32_t sum = accumulator(DType::f32, q + rows, g.rows);
        for (int64_t h = 0; h < heads; ++h)
          for (int64_t t = 0; t < tiles; ++t)
            product(emit_.box(sum, q + h * E, es, 0, g.rows), v_tile(h0 + h, t, e0, es), source(turned, std::min(partitions_, T - t * partitions_), g.rows, (t * g.heads + h0 + h) * g.rows).pattern, t > 0);
        yb.start[3] = e0;
        yb.size[3] = 1;
        Source to{pattern(oy, a.yp, yb, -1, {2}, pitch(a.yp), partitions_, 0, 1), out_type, false, false};
        to.pattern.sizes[0] = rows;
        Source from = source(sum, rows, g.rows, 0, q);
        copy(to, from);
        emit_.release(sum);
        e0 += es;
      }
      h0 += heads;
    }
  }
  for (const int32_t b : g.owned) emit_.release(b);
  g.owned.clear();
}

}  // namespace bascule::device::chip::neuron
