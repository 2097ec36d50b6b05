// device/chip/map_neuron_regions.cc — elementwise regions, perhaps ending in a fold: rows on partitions as their operands already lie, one instruction
// for each scalar operator, folds along the free dimension.
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {
namespace {

constexpr int64_t kTileColumns = 2048;  // long beside the start of an instruction, short beside the scratchpad

using loops::Op;

// The expression of a region: numbers of spec values -> terms.
Expression expression_of(const std::vector<loops::Instruction>& code, size_t first, const std::vector<int32_t>& before, std::vector<int32_t>& terms, Expression x) {
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
  (void)first;
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
  Call f;
  f.op = Opcode::fill;
  f.work = WorkClass::fill;
  f.out = source(row, 1, columns);
  f.immediate = value;
  emit(f);
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

void Mapper::region(const Step& s) {
  const loops::KernelSpec& spec = s.spec;
  Nest n;
  bool folds = false, counts = false;
  std::vector<int64_t> iota_axes;
  for (const auto& i : spec.body)
    if (i.op == Op::iota) iota_axes.push_back(i.index), counts = true;
  for (const auto& i : spec.epilogue)
    if (i.op == Op::iota) return host_step(s);
  for (size_t a = 0; a < spec.axes.size(); ++a) {
    const bool red = spec.axes[a].role == loops::Role::reduction;
    folds |= red || !spec.reductions.empty();
    n.extents.push_back(spec.axes[a].extent);
    n.tags.push_back(red ? 'R' : 'P');
  }
  if (spec.reductions.size() > 1 || spec.stores.size() != 1) return host_step(s);
  // iotas become operands without an item: the stride of an axis is what the count grows by
  const size_t loads = spec.operands.size() - 1;
  const auto operand_of = [&](size_t k) {
    Operand o;
    const loops::Operand& from = spec.operands[k];
    o.item = item_of(s.spec_values[k]);
    o.total = item(o.item).total;
    o.strides = from.strides;
    o.offset = from.offset;
    return o;
  };
  n.operands.push_back(operand_of(loads));
  for (size_t k = 0; k < loads; ++k) n.operands.push_back(operand_of(k));
  const size_t first_iota = n.operands.size();
  for (const int64_t a : iota_axes) {
    Operand o;
    o.placed = false;
    o.strides.assign(n.extents.size(), 0);
    o.strides[static_cast<size_t>(a)] = 1;
    n.operands.push_back(o);
  }
  for (const Operand& o : n.operands)
    for (const int64_t st : o.strides)
      if (st < 0) return host_step(s);
  // a window of nothing is never negative: extents of 0 have no elements and no step comes here
  n.merge();
  const int32_t out_item = n.operands[0].item;
  const int64_t total = item(out_item).total;

  // ---- where the result may lie
  std::vector<Placement> tries;
  for (size_t k = 1; k < first_iota; ++k) {
    const Operand& o = n.operands[k];
    for (const Held& h : item(o.item).local) {
      if (h.placement.replicated()) continue;
      if (o.strides == n.operands[0].strides && o.total == total && o.offset == 0) {
        tries.push_back(h.placement);
        continue;
      }
      for (size_t a = 0; a < n.extents.size(); ++a)  // the same rows, other columns
        if (n.tags[a] == 'P' && o.strides[a] == h.placement.inner && n.extents[a] <= h.placement.extent) tries.push_back({n.operands[0].strides[a], n.extents[a]});
    }
  }
  if (const auto w = wish(item(out_item), now_)) tries.push_back(*w);
  if (const auto dims = constants(graph_.type(s.result).dims); dims && !dims->empty() && total > 0) {
    int64_t inner = 1;
    for (size_t a = dims->size(); a-- > 1;) {
      inner *= (*dims)[a];
      tries.push_back({inner, total / inner});
    }
    tries.push_back({1, total});
  }
  for (size_t a = 0; a < n.extents.size(); ++a)
    if (n.tags[a] == 'P' && n.operands[0].strides[a] > 0) tries.push_back({n.operands[0].strides[a], n.extents[a]});
  tries.push_back({total, 1});
  std::optional<Nest> chosen;
  int axis = -1;
  double best = 0;
  std::vector<Placement> seen;
  for (const Placement& p : tries) {
    if (!fits(p, total) || std::find(seen.begin(), seen.end(), p) != seen.end()) continue;
    seen.push_back(p);
    Nest trial = n;
    trial.operands.resize(first_iota);
    trial.operands[0].placement = p;
    int part = -1;
    std::vector<Operand> iotas(n.operands.begin() + static_cast<std::ptrdiff_t>(first_iota), n.operands.end());
    trial.operands.insert(trial.operands.end(), iotas.begin(), iotas.end());
    // iotas take no part in placement, but their strides are split with the axes
    Nest placed = trial;
    if (!follow(placed, 0, 1, part, first_iota)) continue;
    if (part >= 0 && placed.tags[static_cast<size_t>(part)] != 'P') continue;
    if (part < 0 && p.extent != 1) continue;
    double cost = static_cast<double>(place_bytes(total, p, DType::i8)) * static_cast<double>(1 + spec.body.size());
    bool good = true;
    for (size_t k = 0; k < first_iota && good; ++k) {
      const Operand& o = placed.operands[k];
      const Item& it = item(o.item);
      for (size_t a = 0; a < placed.extents.size(); ++a)
        if (placed.extents[a] > 1 && static_cast<int>(a) != part && o.digits[a].level == Level::part && o.digits[a].step % partitions_ != 0) {
          // blocks of rows that begin elsewhere on the partitions: only where an engine may begin
          const int64_t rows = part < 0 ? 1 : placed.extents[static_cast<size_t>(part)], step = rows <= partitions_ / 4 ? partitions_ / 4 : rows <= partitions_ / 2 ? partitions_ / 2 : partitions_;
          if (placed.tags[a] == 'R' || o.digits[a].step % step != 0) good = false;
        }
      if (k == 0) continue;
      bool here = it.weight;
      for (const Held& h : it.local) here = here || (h.placement == o.placement);
      if (!here) cost += static_cast<double>(o.total) / 128.0 * (it.local.empty() ? (o.placement.inner == 1 && o.placement.extent > 1 && o.total > 2048 ? 8 : 1) : o.placement.replicated() ? 16 : 3) + (it.local.empty() ? 0 : 300);
      if (o.placement.replicated()) cost += static_cast<double>(o.total);
    }
    if (!good || (chosen && cost >= best)) continue;
    chosen = std::move(placed);
    axis = part;
    best = cost;
  }
  if (!chosen) return host_step(s);
  Nest& m = *chosen;

  // ---- expressions
  std::vector<int32_t> terms, after;
  Expression body = expression_of(spec.body, 0, {}, terms, {});
  Expression tail;
  if (!spec.reductions.empty()) {
    body.result = terms[static_cast<size_t>(spec.reductions[0].value)];
    // numbers of the body cannot be read after the fold: only accumulators
    std::vector<int32_t> none(spec.body.size(), -1);
    tail = expression_of(spec.epilogue, spec.body.size(), none, after, {});
    for (const Term& t : tail.terms)
      if (t.leaf == Term::iota) return host_step(s);
    for (const Term& t : tail.terms)
      if (t.leaf == Term::none && ((t.a < 0 && loops::arity(t.fn) > 0) || (t.b < 0 && loops::arity(t.fn) > 1) || (t.c < 0 && loops::arity(t.fn) > 2))) return host_step(s);
    tail.result = after[static_cast<size_t>(spec.stores[0].value)];
    if (tail.result < 0) return host_step(s);
  } else {
    body = expression_of(spec.epilogue, spec.body.size(), terms, after, body);
    body.result = after[static_cast<size_t>(spec.stores[0].value)];
  }
  int next_iota = 0;
  for (Term& t : body.terms)
    if (t.leaf == Term::iota) t.index = next_iota++;

  // ---- tiles
  Target out = target(out_item, m.operands[0].placement);
  std::vector<int> ps = axes_of(m, 'P'), rs = axes_of(m, 'R');
  std::vector<int> frees;
  for (const int a : ps)
    if (a != axis) frees.push_back(a);
  int64_t folded = 1;
  for (const int a : rs) folded *= m.extents[static_cast<size_t>(a)];
  const bool direct = body.terms[static_cast<size_t>(body.result)].leaf == Term::operand;  // folded as it lies
  const int64_t most = std::max<int64_t>(1, (direct ? 8 : 1) * kTileColumns / std::max<int64_t>(1, std::min(folded, kTileColumns)));
  Place all_place = out.place;
  Place shape = all_place;
  if (out.image >= 0) {
    const Window w = all_of(m.operands[0].placement, total);
    shape.outers = w.outer1;
    shape.inners = w.inner1;
  }
  const auto single = [&](int a) {
    const auto u = static_cast<size_t>(a);
    for (size_t k = 0; k < first_iota; ++k)
      if (m.operands[k].digits[u].level == Level::part && m.operands[k].digits[u].step % partitions_ != 0) return true;
    for (size_t k = first_iota; k < m.operands.size(); ++k)
      if (m.operands[k].strides[u] != 0) {  // one axis of a count at a time, the innermost
        for (size_t b = u + 1; b < m.extents.size(); ++b)
          if (m.operands[k].strides[b] != 0 && m.extents[b] > 1) return true;
      }
    return false;
  };
  choice("rows=" + std::to_string(m.operands[0].placement.extent) + "/" + std::to_string(m.operands[0].placement.inner));
  bool streamed = out.image >= 0;
  for (size_t k = 1; k < first_iota; ++k) streamed = streamed || place_bytes(m.operands[k].total, m.operands[k].placement, item(m.operands[k].item).dtype) > budget_ / 4;
  std::vector<Place> whole_places;
  if (!streamed)
    for (size_t k = 1; k < first_iota; ++k) whole_places.push_back(hold_operand(m.operands[k]));
  const Box full = m.all();
  std::vector<int> one_by_one;
  for (const int a : frees)
    if (single(a)) one_by_one.push_back(a);
  for (const Box& rows_box : row_boxes(m, 0, shape, full, one_by_one, axis)) {
    for (const Box& tile : boxes(m, rows_box, frees, most, single)) {
      std::vector<Place> places = whole_places;
      if (streamed)
        for (size_t k = 1; k < first_iota; ++k) places.push_back(hold_operand(m.operands[k], &tile));
      const Place yp = target_block(out, out_item, m.operands[0].placement, window(m.operands[0], tile));
      const int64_t rows = axis < 0 ? 1 : tile.size[static_cast<size_t>(axis)];
      const Operand& oy = m.operands[0];
      const Source to{pattern(oy, yp, tile, axis, frees, pitch(yp), partitions_, 0, rows), item(out_item).dtype, false, false};
      const int64_t row0 = to.pattern.offset / pitch(yp);
      const auto leaf_in = [&](const Box& box, const std::vector<int>& free) {
        return [&, box, free](const Term& t) {
          const auto k = static_cast<size_t>(t.index);
          return leaf_source(m.operands[k + 1], places[k], box, axis, free, row0, rows);
        };
      };
      const auto with_counts = [&](Expression x, const Box& box, const std::vector<int>& free) {  // iotas of this tile: start, axis within it
        for (Term& t : x.terms) {
          if (t.leaf != Term::iota) continue;
          const Operand& o = m.operands[first_iota + static_cast<size_t>(t.index)];
          double start = 0;
          int along = -1;
          for (size_t a = 0; a < m.extents.size(); ++a) {
            start += static_cast<double>(box.start[a] * o.strides[a]);
            if (o.strides[a] == 0 || box.size[a] == 1) continue;
            if (static_cast<int>(a) == axis) along = 0;
            for (size_t f = 0; f < free.size(); ++f)
              if (free[f] == static_cast<int>(a)) along = static_cast<int>(f) + 1;
          }
          t.index = along;
          t.value = start;
        }
        return x;
      };
      if (!folds) {
        evaluate(counts ? with_counts(body, tile, frees) : body, to, leaf_in(tile, frees), nullptr);
      } else {
        const DType sum_type = is_float(spec.reductions[0].dtype) ? DType::f32 : spec.reductions[0].dtype;
        int64_t columns = 1;
        for (const int a : frees) columns *= tile.size[static_cast<size_t>(a)];
        const auto compact = [&](DType t, const std::vector<int>& axes, const Box& box) {
          int64_t size = 1;
          for (const int a : axes) size *= box.size[static_cast<size_t>(a)];
          Source c;
          const int64_t first = row0 % partitions_;
          c.pattern.buffer = scratch(t, first + rows, size);
          c.pattern.offset = first * size;
          c.pattern.add(rows, size);
          for (const int a : axes) {
            size /= box.size[static_cast<size_t>(a)];
            c.pattern.add(box.size[static_cast<size_t>(a)], size);
          }
          c.dtype = t;
          return c;
        };
        const Source sum = compact(sum_type, frees, tile);
        std::vector<int> inner = frees;
        inner.insert(inner.end(), rs.begin(), rs.end());
        bool first = true;
        const auto single_fold = [&](int a) { return single(a); };
        for (const Box& part : boxes(m, tile, rs, std::max<int64_t>(1, (direct ? 16 : 1) * kTileColumns / std::max<int64_t>(columns, 1)), single_fold)) {
          Source from;
          if (direct) {
            from = leaf_in(part, inner)(body.terms[static_cast<size_t>(body.result)]);
          } else {
            from = compact(is_float(spec.reductions[0].dtype) ? DType::f32 : spec.reductions[0].dtype, inner, part);
            evaluate(counts ? with_counts(body, part, inner) : body, from, leaf_in(part, inner), nullptr);
          }
          fold(sum, from, static_cast<int>(frees.size()), spec.reductions[0].fold, !first);
          first = false;
        }
        const bool initial = is_float(spec.reductions[0].dtype) ? spec.reductions[0].initial_number != neutral(spec.reductions[0].fold) : spec.reductions[0].initial_integer != static_cast<int64_t>(neutral_integer(spec.reductions[0].fold, spec.reductions[0].dtype));
        Expression x = tail;
        if (initial) {  // fold with the initial value first
          Term number;
          number.leaf = Term::number;
          number.dtype = spec.reductions[0].dtype;
          number.value = is_float(number.dtype) ? spec.reductions[0].initial_number : static_cast<double>(spec.reductions[0].initial_integer);
          Term both;
          both.fn = spec.reductions[0].fold;
          both.dtype = number.dtype;
          Expression y;
          Term anchor;
          anchor.leaf = Term::anchor;
          anchor.dtype = number.dtype;
          y.terms = {anchor, number, both};
          y.terms[2].a = 0;
          y.terms[2].b = 1;
          y.result = 2;
          evaluate(y, sum, [&](const Term&) { return sum; }, nullptr);
        }
        Source anchor = sum;
        const auto leaf = leaf_in(tile, frees);
        evaluate(x, to, [&](const Term& t) { return t.leaf == Term::operand ? leaf(t) : anchor; }, nullptr);
      }
      target_done(out, out_item, m.operands[0].placement, yp);
      done();
    }
  }
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
  if (p.rank > Access::kMostDims) fail_internal("mapping a fold", "at most five dimensions", std::to_string(p.rank));
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
