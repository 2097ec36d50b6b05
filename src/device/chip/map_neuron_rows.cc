// device/chip/map_neuron_rows.cc — softmax and norms: rows on partitions, statistics along the free dimension, a few passes over each tile.
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {

using loops::Op;

// One number a row: out = fn(in * scale + bias), each a column.
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

void Mapper::rows(const Step& s) {
  Nest n;
  int64_t row = 1;
  for (size_t a = 0; a < s.axes.size(); ++a) {
    n.extents.push_back(s.axes[a]);
    n.tags.push_back(a < s.row_axis ? 'P' : 'R');
    if (a >= s.row_axis) row *= s.axes[a];
  }
  n.operands.push_back(result(s));
  for (const View& v : s.views)
    if (v.value) n.operands.push_back(operand(v));
  const size_t views = n.operands.size();
  for (const View& v : s.epilogue_operands) n.operands.push_back(operand(v));
  n.merge();
  const int32_t out_item = n.operands[0].item;
  const int64_t total = n.operands[0].total;
  std::vector<Placement> tries;
  const Operand& in = n.operands[1];
  for (const Held& h : item(in.item).local)
    if (in.strides == n.operands[0].strides && in.total == total && in.offset == 0) tries.push_back(h.placement);
  int64_t inner = 0, joined = 1;
  for (size_t a = n.extents.size(); a-- > 0;)
    if (n.tags[a] == 'P') {
      const int64_t st = n.operands[0].strides[a];
      if (inner == 0) inner = st;
      if (st == inner * joined) joined *= n.extents[a];
    }
  if (inner > 0) tries.push_back({inner, joined});
  const size_t whole_axes = tries.size();
  for (size_t a = 0; a < n.extents.size(); ++a)
    if (n.tags[a] == 'P') tries.push_back({n.operands[0].strides[a], n.extents[a]});
  std::sort(tries.begin() + static_cast<std::ptrdiff_t>(whole_axes), tries.end(), [](const Placement& a, const Placement& b) { return a.extent > b.extent; });
  tries.push_back({total, 1});
  int part = -1;
  bool found = false;
  for (const Placement& p : tries) {
    Nest trial = n;
    trial.operands[0].placement = p;
    if (!fits(p, total) || p.replicated() || !follow(trial, 0, 1, part)) continue;
    if (part >= 0 && trial.tags[static_cast<size_t>(part)] != 'P') continue;
    bool free_rows = true;
    for (size_t a = 0; a < trial.extents.size(); ++a)
      for (const Operand& o : trial.operands)
        if (trial.tags[a] == 'R' && o.digits[a].level == Level::part && o.digits[a].step != 0) free_rows = false;
    if (!free_rows) continue;
    n = std::move(trial);
    found = true;
    break;
  }
  if (!found) return host_step(s);
  Target out = target(out_item, n.operands[0].placement);
  Place shape = out.place;
  if (out.image >= 0) {
    const Window w = all_of(n.operands[0].placement, total);
    shape.outers = w.outer1;
    shape.inners = w.inner1;
  }
  const bool streamed = out.image >= 0 || place_bytes(n.operands[1].total, n.operands[1].placement, item(n.operands[1].item).dtype) > budget_ / 4;
  const std::vector<int> ps = axes_of(n, 'P'), rs = axes_of(n, 'R');
  std::vector<Place> held;
  if (!streamed)
    for (size_t k = 1; k < n.operands.size(); ++k) held.push_back(hold_operand(n.operands[k]));
  const Expression tail = expression(s);
  for (const Box& tile : row_boxes(n, 0, shape, n.all(), ps, part)) {
    std::vector<Place> places = held;
    if (streamed)
      for (size_t k = 1; k < n.operands.size(); ++k) places.push_back(hold_operand(n.operands[k], &tile));
    const Place yp = target_block(out, out_item, n.operands[0].placement, window(n.operands[0], tile));
    const int64_t count = part < 0 ? 1 : tile.size[static_cast<size_t>(part)];
    const Source to{pattern(n.operands[0], yp, tile, part, rs, pitch(yp), partitions_, 0, count), item(out_item).dtype, false, false};
    const int64_t row0 = to.pattern.offset / pitch(yp), first = row0 % partitions_;
    const auto leaf = [&](size_t k) { return leaf_source(n.operands[k], places[k - 1], tile, part, rs, row0, count); };
    const Source x = leaf(1);
    const int32_t numbers = scratch(DType::f32, first + count, 8);
    const auto column = [&](int64_t at) { return source(numbers, count, 1, at, first); };
    const auto spread = [&](int64_t at) {  // a column beside every element of the row
      Source c = column(at);
      c.column = true;
      c.pattern.rank = 1;
      for (int d = 1; d < x.pattern.rank; ++d) c.pattern.add(x.pattern.sizes[static_cast<size_t>(d)], 0);
      return c;
    };
    const auto like_row = [&](DType t) {
      Source c;
      c.pattern.buffer = scratch(t, first + count, row);
      c.pattern.offset = first * row;
      c.pattern.add(count, row);
      int64_t left = row;
      for (int d = 1; d < x.pattern.rank; ++d) {
        left /= x.pattern.sizes[static_cast<size_t>(d)];
        c.pattern.add(x.pattern.sizes[static_cast<size_t>(d)], left);
      }
      c.dtype = t;
      return c;
    };
    // terms: 0 x, 1 and 2 columns, then the function, then the epilogue
    Expression e;
    std::vector<Source> leaves;
    const auto add_leaf = [&](Source from, DType t) {
      Term term;
      term.leaf = Term::operand;
      term.index = static_cast<int32_t>(leaves.size());
      term.dtype = t;
      leaves.push_back(std::move(from));
      e.terms.push_back(term);
      return static_cast<int32_t>(e.terms.size()) - 1;
    };
    const auto apply = [&](Op fn, int32_t a, int32_t b) {
      Term term;
      term.fn = fn;
      term.dtype = DType::f32;
      term.a = a;
      term.b = b;
      e.terms.push_back(term);
      return static_cast<int32_t>(e.terms.size()) - 1;
    };
    int32_t r = -1;
    if (s.row_function == Step::layer_norm) {
      Call c;
      c.op = Opcode::stats;
      c.work = WorkClass::stats;
      c.out = source(numbers, count, 2, 0, first);
      c.in[0] = x;
      c.in[0].pattern = x.pattern;
      emit_stats(c);
      small(column(2), Op::rsqrt, column(1), 1, s.epsilon, nullptr, WorkClass::divide);
      const Source rstd = column(2);
      small(column(3), Op::negate, column(0), 1, 0, &rstd, WorkClass::arith);
      r = apply(Op::add, apply(Op::multiply, add_leaf(x, x.dtype), add_leaf(spread(2), DType::f32)), add_leaf(spread(3), DType::f32));
    } else if (s.row_function == Step::rms_norm) {
      Call c;
      c.op = Opcode::activate;
      c.fn = Op::power;
      c.work = WorkClass::transcendental;
      c.immediate = 2;
      c.in[0] = x;
      c.out = like_row(DType::f32);
      c.out2 = column(0);
      emit(c);
      small(column(2), Op::rsqrt, column(0), 1.0 / static_cast<double>(row), s.epsilon, nullptr, WorkClass::divide);
      r = apply(Op::multiply, add_leaf(x, x.dtype), add_leaf(spread(2), DType::f32));
    } else {
      fold(column(0), x, 0, Op::maximum, false);
      small(column(1), Op::load, column(0), -1, 0, nullptr, WorkClass::arith);
      Call c;
      c.op = Opcode::activate;
      c.fn = Op::exponential;
      c.work = WorkClass::transcendental;
      c.in[0] = x;
      c.in[1] = spread(1);
      c.out = like_row(s.row_function == Step::softmax ? DType::f32 : activation_);
      c.out2 = column(2);
      emit(c);
      if (s.row_function == Step::softmax) {
        Call d;
        d.op = Opcode::map;
        d.fn = Op::divide;
        d.work = WorkClass::divide;
        d.immediate = 1;
        d.in[1] = column(2);
        d.out = column(3);
        emit(d);
        r = apply(Op::multiply, add_leaf(c.out, DType::f32), add_leaf(spread(3), DType::f32));
      } else {
        small(column(3), Op::log, column(2), 1, 0, nullptr, WorkClass::transcendental);
        Call d;
        d.op = Opcode::map;
        d.fn = Op::subtract;
        d.work = WorkClass::arith2;
        d.in[0] = column(1);
        d.in[1] = column(3);
        d.out = column(4);
        emit(d);
        r = apply(Op::add, add_leaf(x, x.dtype), add_leaf(spread(4), DType::f32));
      }
    }
    if (s.row_function == Step::layer_norm || s.row_function == Step::rms_norm) {
      size_t k = 2;
      if (s.views.size() > 1 && s.views[1].value) r = apply(Op::multiply, r, add_leaf(leaf(k), operand_type(n.operands[k]))), ++k;
      if (s.views.size() > 2 && s.views[2].value) r = apply(Op::add, r, add_leaf(leaf(k), operand_type(n.operands[k]))), ++k;
    }
    // the epilogue continues from r
    std::vector<int32_t> number(tail.terms.size(), -1);
    for (size_t k = 0; k < tail.terms.size(); ++k) {
      Term t = tail.terms[k];
      if (t.leaf == Term::anchor) {
        number[k] = r;
        continue;
      }
      if (t.leaf == Term::operand) {
        number[k] = add_leaf(leaf(views + static_cast<size_t>(t.index)), t.dtype);
        continue;
      }
      for (int32_t* a : {&t.a, &t.b, &t.c})
        if (*a >= 0) *a = number[static_cast<size_t>(*a)];
      number[k] = static_cast<int32_t>(e.terms.size());
      e.terms.push_back(t);
    }
    e.result = number[static_cast<size_t>(tail.result)];
    evaluate(e, to, [&](const Term& t) { return leaves[static_cast<size_t>(t.index)]; }, nullptr);
    target_done(out, out_item, n.operands[0].placement, yp);
    done();
  }
}

}  // namespace bascule::device::chip::neuron
