// device/chip/map_tile_vector.cc — elementwise work, folds, rows and windows as instructions of the vector engines over boxes of a step's axes.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {
using loops::Op;

WorkClass work_class(Op fn, int tensors) {
  switch (fn) {
    case Op::load:
    case Op::convert: return WorkClass::copy;
    case Op::constant: return WorkClass::fill;
    case Op::divide:
    case Op::remainder:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::cbrt: return WorkClass::divide;
    case Op::power:
    case Op::atan2:
    case Op::exponential:
    case Op::exponential_minus_one:
    case Op::log:
    case Op::log_plus_one:
    case Op::tanh:
    case Op::logistic:
    case Op::erf:
    case Op::gelu:
    case Op::gelu_tanh:
    case Op::silu:
    case Op::sine:
    case Op::cosine:
    case Op::tan: return WorkClass::transcendental;
    case Op::select: return WorkClass::select;
    default: return tensors > 1 ? WorkClass::arith2 : WorkClass::arith;
  }
}

namespace {

double identity(Op fold) {
  switch (fold) {
    case Op::multiply: return 1;
    case Op::maximum: return -std::numeric_limits<double>::infinity();
    case Op::minimum: return std::numeric_limits<double>::infinity();
    case Op::bit_and: return -1;
    default: return 0;
  }
}

// In between, floats are f32; but what has 8 bits or fewer is rounded to.
bool is_narrow(DType t) { return is_float(t) && info(t).bits <= 8; }
DType computed(DType t) { return is_float(t) && !is_narrow(t) ? DType::f32 : t; }

}  // namespace

Access TileMapper::access(const Place& p, const Box& box) {
  Access a;
  a.buffer = p.buffer;
  a.offset = p.offset;
  for (size_t k = 0; k < box.size.size(); ++k) {
    a.offset += box.begin[k] * p.strides[k];
    if (box.size[k] == 1) continue;
    if (a.rank == Access::kMostDims) fail_internal("chip:" + chip_.name + ": step '" + e_.step().name + "'", "at most 5 dimensions of an access", "more");
    a.sizes[static_cast<size_t>(a.rank)] = static_cast<int32_t>(box.size[k]);
    a.strides[static_cast<size_t>(a.rank++)] = p.strides[k];
  }
  if (a.rank == 0) a.rank = 1, a.sizes[0] = 1, a.strides[0] = 1;
  return a;
}

void TileMapper::vector(Opcode op, Op fn, WorkClass work, const Access& out, const Access& a, const Access& b, const Access& c, double immediate, int kept, bool accumulate) {
  Instruction i;
  i.op = op;
  i.fn = fn;
  i.work = engines_[static_cast<size_t>(work)].second;
  i.queue = e_.engine(chip_.engines[static_cast<size_t>(engine_for(work))].name);
  i.cores = cores_;
  i.out = out;
  i.in[0] = a;
  i.in[1] = b;
  i.in[2] = c;
  i.immediate = static_cast<float>(immediate);
  i.kept = static_cast<int8_t>(kept);
  i.accumulate = accumulate;
  e_.emit(i);
}

void TileMapper::fill(const Access& out, double value) { vector(Opcode::fill, Op::load, WorkClass::fill, out, {}, {}, {}, value); }

void TileMapper::evaluate(const std::vector<Item>& items, const std::vector<Place>& operands, const std::vector<Place>& anchors, const Box& whole, const Place& out) {
  // Axes that all operands run through alike are one; more than an access holds are walked through one by one.
  Box box = whole;
  std::vector<Place> ops = operands, ancs = anchors;
  Place target = out;
  bool by_axis = false;
  for (const Item& it : items) by_axis |= it.fn == Op::iota;
  std::vector<Place*> all;
  for (Place& p : ops) all.push_back(&p);
  for (Place& p : ancs) all.push_back(&p);
  all.push_back(&target);
  std::erase_if(all, [](const Place* p) { return p->buffer < 0; });
  size_t wide = 0;
  for (const int64_t d : box.size) wide += d > 1;
  if (wide > Access::kMostDims && !by_axis) {
    for (size_t a = 0; a + 1 < box.size.size();) {
      const bool one = box.size[a] == 1 || box.size[a + 1] == 1 ||
                       std::all_of(all.begin(), all.end(), [&](const Place* p) { return p->strides[a] == p->strides[a + 1] * box.size[a + 1]; });
      if (!one) {
        ++a;
        continue;
      }
      const size_t gone = box.size[a] == 1 ? a : box.size[a + 1] == 1 ? a + 1 : a;
      for (Place* p : all) {
        p->offset += (gone == a ? box.begin[a] : box.begin[a + 1]) * p->strides[gone];
        p->strides.erase(p->strides.begin() + static_cast<std::ptrdiff_t>(gone));
      }
      if (box.size[a] > 1 && box.size[a + 1] > 1) box.size[a + 1] *= box.size[a];
      box.size.erase(box.size.begin() + static_cast<std::ptrdiff_t>(gone));
      box.begin.erase(box.begin.begin() + static_cast<std::ptrdiff_t>(gone));
    }
    wide = 0;
    for (const int64_t d : box.size) wide += d > 1;
  }
  if (wide > Access::kMostDims) {
    size_t a = 0;
    while (box.size[a] == 1) ++a;
    for (int64_t i = 0; i < box.size[a]; ++i) {
      Box part = box;
      part.begin[a] += i;
      part.size[a] = 1;
      evaluate(items, ops, ancs, part, target);
    }
    return;
  }

  const auto n = static_cast<int32_t>(items.size());
  std::vector<int32_t> last(items.size(), -1);
  last[static_cast<size_t>(n - 1)] = n;
  for (int32_t i = n - 1; i >= 0; --i)
    if (last[static_cast<size_t>(i)] >= 0)
      for (const Item::Ref& r : items[static_cast<size_t>(i)].in)
        if (r.kind == Item::Ref::value && last[static_cast<size_t>(r.index)] < 0) last[static_cast<size_t>(r.index)] = i;
  struct Made {
    Place at;
    bool owned = false, number = false;
    double value = 0;
    int32_t alias = -1;
  };
  std::vector<Made> made(items.size());
  std::vector<int32_t> uses(items.size(), 0);
  const auto root = [&](int32_t v) {
    while (made[static_cast<size_t>(v)].alias >= 0) v = made[static_cast<size_t>(v)].alias;
    return v;
  };
  for (int32_t i = 0; i < n; ++i) {  // aliases keep the buffers they stand for alive
    const Item& it = items[static_cast<size_t>(i)];
    if (last[static_cast<size_t>(i)] < 0) continue;
    Made& m = made[static_cast<size_t>(i)];
    const Item::Ref& r = it.in[0];
    const bool same = it.fn == Op::load || (it.fn == Op::convert && is_float(it.dtype) && !is_narrow(it.dtype) && r.kind == Item::Ref::value && is_float(items[static_cast<size_t>(r.index)].dtype));
    if (same && i + 1 < n && r.kind == Item::Ref::value) m.alias = r.index;
    for (const Item::Ref& in : it.in)
      if (in.kind == Item::Ref::value) ++uses[static_cast<size_t>(in.index)];
  }
  for (int32_t i = n - 1; i >= 0; --i)
    if (made[static_cast<size_t>(i)].alias >= 0) uses[static_cast<size_t>(made[static_cast<size_t>(i)].alias)] += uses[static_cast<size_t>(i)] - 1;

  for (int32_t i = 0; i < n; ++i) {
    const Item& it = items[static_cast<size_t>(i)];
    Made& m = made[static_cast<size_t>(i)];
    if (last[static_cast<size_t>(i)] < 0 || m.alias >= 0) continue;
    const bool final = i + 1 == n;
    if (it.fn == Op::load && !final) {
      if (it.in[0].kind == Item::Ref::constant) m.number = true, m.value = it.in[0].number;
      else m.at = it.in[0].kind == Item::Ref::operand ? ops[static_cast<size_t>(it.in[0].index)] : ancs[static_cast<size_t>(it.in[0].index)];
      continue;
    }
    Access in[3];
    std::optional<double> number;
    std::vector<int32_t> fills;
    int32_t reuse = -1;
    int tensors = 0;
    const DType type = computed(it.dtype);
    for (int k = 0; k < 3; ++k) {
      const Item::Ref& r = it.in[k];
      double value = r.number;
      Place at;
      if (r.kind == Item::Ref::none) continue;
      if (r.kind == Item::Ref::operand) at = ops[static_cast<size_t>(r.index)];
      else if (r.kind == Item::Ref::anchor) at = ancs[static_cast<size_t>(r.index)];
      else if (r.kind == Item::Ref::value) {
        const int32_t v = root(r.index);
        Made& from = made[static_cast<size_t>(v)];
        if (from.number) value = from.value;
        else at = from.at;
        if (--uses[static_cast<size_t>(v)] == 0 && from.owned && !from.number) {
          if (reuse < 0 && e_.buffer(from.at.buffer).dtype == type && !final) reuse = from.at.buffer;
          else fills.push_back(from.at.buffer);
        }
      }
      if (live(at)) {
        in[k] = access(at, box);
        ++tensors;
      } else if (!number || *number == value) {
        number = value;
      } else {
        const int32_t id = temp(type, 1);
        Place one{id, 0, Extents(box.size.size(), 0)};
        fill(Emitter::strided(id, 0, {1}, {1}), value);
        in[k] = access(one, box);
        fills.push_back(id);
      }
    }
    Place to = target;
    if (!final) {
      const int32_t id = reuse >= 0 ? reuse : temp(type, box.elements());
      to = m.at = dense(id, box);
      m.owned = true;
    }
    const Access result = access(to, box);
    if (it.fn == Op::iota) {
      size_t axis = static_cast<size_t>(it.in[0].index);
      int position = 0;
      for (size_t a = 0; a < axis; ++a) position += box.size[a] > 1;
      if (box.size[axis] > 1) vector(Opcode::iota, Op::iota, WorkClass::fill, result, {}, {}, {}, static_cast<double>(box.begin[axis]), position);
      else fill(result, static_cast<double>(box.begin[axis]));
    } else if (tensors == 0 && (it.fn == Op::load || it.fn == Op::convert)) {
      fill(result, number.value_or(0));
    } else if (it.fn == Op::load || it.fn == Op::convert) {
      vector(Opcode::copy, Op::load, WorkClass::copy, result, in[0]);
    } else if (tensors == 0) {  // a function of numbers alone
      fill(result, number.value_or(0));
      vector(Opcode::map, it.fn, work_class(it.fn, 1), result, result, {}, {}, number.value_or(0));
    } else {
      vector(Opcode::map, it.fn, work_class(it.fn, tensors), result, in[0], in[1], in[2], number.value_or(0));
    }
    for (const int32_t id : fills) drop(id);
  }
}

double TileMapper::vector_seconds(WorkClass c, Width w) const {
  const auto [engine, work] = engines_[static_cast<size_t>(c)];
  if (engine < 0) return 0;
  const Engine& x = chip_.engines[static_cast<size_t>(engine)];
  const auto rate = x.rate(work, false, w);
  return rate ? rate->cycles_per_element / static_cast<double>(x.lanes * cores_) / x.clock_hz : 0;
}

// Without an epilogue: the sums' way from the accumulators.
double TileMapper::epilogue_seconds(const Step& s, double elements) const {
  if (s.epilogue.empty()) return elements * vector_seconds(WorkClass::copy, Width::wide);
  double seconds = 0;
  for (const Epilogue& e : s.epilogue) seconds += elements * vector_seconds(work_class(e.fn, 2), Width::wide);
  return seconds;
}

std::vector<Item> TileMapper::epilogue_items(const Step& s) const {
  std::vector<Item> items;
  for (const Epilogue& e : s.epilogue) {
    Item it{e.fn, e.dtype, {}};
    const int32_t refs[3] = {e.a, e.b, e.c};
    const int used = e.fn == Op::load || e.fn == Op::convert ? 1 : loops::arity(e.fn);
    for (int k = 0; k < used; ++k) {
      const int32_t r = refs[k];
      Item::Ref& to = it.in[k];
      if (r >= 0) to = {Item::Ref::value, r, 0};
      else if (r == Epilogue::kAnchor) to = {Item::Ref::anchor, 0, 0};
      else if (r == Epilogue::kNumber) to = {Item::Ref::constant, 0, e.number};
      else to = {Item::Ref::operand, static_cast<int32_t>(Epilogue::operand(r)), 0};
    }
    items.push_back(it);
  }
  return items;
}

void TileMapper::epilogue(const Step& s, const std::vector<Place>& operands, const Place& anchor, const Box& box, const Place& out) {
  std::vector<Item> items = epilogue_items(s);
  if (items.empty()) items.push_back({Op::load, s.anchor_type, {{Item::Ref::anchor, 0, 0}, {}, {}}});
  evaluate(items, operands, {anchor}, box, out);
}

namespace {

Item item_of(const loops::Instruction& i, const std::vector<int32_t>& axis_at) {
  Item it{i.op, i.dtype, {}};
  const int32_t refs[3] = {i.a, i.b, i.c};
  switch (i.op) {
    case Op::load: it.in[0] = {Item::Ref::operand, i.index, 0}; break;
    case Op::constant:
      it.fn = Op::load;
      it.in[0] = {Item::Ref::constant, 0, is_float(i.dtype) ? i.number : static_cast<double>(i.integer)};
      break;
    case Op::iota: it.in[0] = {Item::Ref::none, axis_at[static_cast<size_t>(i.index)], 0}; break;
    case Op::accumulator:
      it.fn = Op::load;
      it.in[0] = {Item::Ref::anchor, i.index, 0};
      break;
    default:
      for (int k = 0; k < loops::arity(i.op); ++k) it.in[k] = {Item::Ref::value, refs[k], 0};
  }
  return it;
}

}  // namespace

// Axes with parallel ones first; without folds one expression, else the folded value over all axes, its folds, and what follows over the parallel ones.
void TileMapper::map_region(const Step& s) {
  const loops::KernelSpec spec = loops::collapsed(s.spec);
  std::vector<size_t> order;
  for (const auto role : {loops::Role::parallel, loops::Role::reduction})
    for (size_t a = 0; a < spec.axes.size(); ++a)
      if (spec.axes[a].role == role) order.push_back(a);
  size_t P = 0;
  std::vector<int32_t> axis_at(spec.axes.size());
  Extents extents;
  for (size_t k = 0; k < order.size(); ++k) {
    axis_at[order[k]] = static_cast<int32_t>(k);
    extents.push_back(spec.axes[order[k]].extent);
    P += spec.axes[order[k]].role == loops::Role::parallel;
  }
  std::vector<Place> places;
  for (size_t o = 0; o < spec.operands.size(); ++o) {
    Place p{home(s.spec_values[o]), spec.operands[o].offset, {}};
    for (const size_t a : order) p.strides.push_back(spec.operands[o].strides.empty() ? 0 : spec.operands[o].strides[a]);
    places.push_back(p);
  }
  const size_t out_operand = static_cast<size_t>(spec.stores.front().operand);
  const Place result = places[out_operand];
  std::vector<Item> body, all;
  for (const loops::Instruction& i : spec.body) body.push_back(item_of(i, axis_at));
  all = body;
  for (const loops::Instruction& i : spec.epilogue) all.push_back(item_of(i, axis_at));
  const auto finish_at = [](std::vector<Item> items, int32_t value) {  // the value last
    items.resize(static_cast<size_t>(value) + 1);
    return items;
  };
  const std::vector<Item> expression = finish_at(all, spec.stores.front().value);
  std::vector<bool> read(places.size(), false), read_after(places.size(), false);
  for (size_t k = 0; k < all.size(); ++k)
    if (all[k].in[0].kind == Item::Ref::operand) (k < body.size() ? read : read_after)[static_cast<size_t>(all[k].in[0].index)] = true;
  const auto bytes_of = [&](const Extents& size) {
    double total = 0, elements = 1;
    for (const int64_t d : size) elements *= static_cast<double>(d);
    for (size_t o = 0; o < places.size(); ++o) {
      double e = info(e_.buffer(places[o].buffer).dtype).storage_bits / 8.0;
      for (size_t a = 0; a < size.size(); ++a)
        if (places[o].strides[a] != 0) e *= static_cast<double>(size[a]);
      if (read[o] || read_after[o] || o == out_operand) total += e;
    }
    return total + elements * 4 * std::min<double>(3, static_cast<double>(body.size()) / 3);
  };
  double main_bytes = 0;
  for (size_t o = 0; o < places.size(); ++o)
    if (read[o] || read_after[o] || o == out_operand) main_bytes += bytes_over(places[o], extents);
  if (spec.reductions.empty()) {
    const auto parts = boxes(extents, extents.size(), local_limit(), bytes_of);
    for (const Box& box : parts) {
      std::vector<Place> local(places.size());
      for (size_t o = 0; o < places.size(); ++o)
        if (read[o] || read_after[o]) local[o] = fetch(places[o], box);
      const Place y = result_box(result, box);
      evaluate(expression, local, {}, box, y);
      store(y, result, box);
      drop_fetched();
    }
    e_.step().choice = "boxes=" + std::to_string(parts.size());
    end_kernel(main_bytes);
    return;
  }
  const auto parts = boxes(extents, P, local_limit(), bytes_of);
  for (const Box& part : parts) {
    Box kept{part.begin, part.size};
    kept.begin.resize(P);
    kept.size.resize(P);
    // The folded axes in pieces, where even one row of them is too long.
    Extents inner(extents.begin() + static_cast<std::ptrdiff_t>(P), extents.end());
    const auto pieces = boxes(inner, inner.size(), local_limit(), [&](const Extents& size) {
      Extents both = part.size;
      std::copy(size.begin(), size.end(), both.begin() + static_cast<std::ptrdiff_t>(P));
      return bytes_of(both);
    });
    std::vector<Place> folded;
    for (const loops::Reduction& r : spec.reductions) folded.push_back(dense(temp(computed(r.dtype), kept.elements()), kept));
    for (size_t k = 0; k < pieces.size(); ++k) {
      Box box = part;
      std::copy(pieces[k].begin.begin(), pieces[k].begin.end(), box.begin.begin() + static_cast<std::ptrdiff_t>(P));
      std::copy(pieces[k].size.begin(), pieces[k].size.end(), box.size.begin() + static_cast<std::ptrdiff_t>(P));
      std::vector<Place> local(places.size());
      for (size_t o = 0; o < places.size(); ++o)
        if (read[o]) local[o] = fetch(places[o], box);
      for (size_t r = 0; r < spec.reductions.size(); ++r) {
        const loops::Reduction& red = spec.reductions[r];
        const std::vector<Item> items = finish_at(body, red.value);
        const int32_t whole = temp(computed(red.dtype), box.elements());
        Place value = dense(whole, box);
        evaluate(items, local, {}, box, value);
        const int64_t rows = kept.elements(), columns = box.elements() / std::max<int64_t>(rows, 1);
        vector(Opcode::reduce, red.fold, WorkClass::reduce, Emitter::strided(folded[r].buffer, 0, {rows}, {1}), Emitter::strided(whole, 0, {rows, columns}, {columns, 1}), {}, {}, 0, 1, k > 0);
        drop(whole);
      }
      drop_fetched();
    }
    for (size_t r = 0; r < spec.reductions.size(); ++r) {
      const loops::Reduction& red = spec.reductions[r];
      const double initial = is_float(red.dtype) ? red.initial_number : static_cast<double>(red.initial_integer);
      const bool none = initial == identity(red.fold) || (is_float(red.dtype) && red.fold == Op::maximum && initial <= float_info(red.dtype).largest * -1) ||
                        (is_float(red.dtype) && red.fold == Op::minimum && initial >= float_info(red.dtype).largest) ||
                        (red.fold == Op::bit_and && red.dtype == DType::i1 && initial != 0) ||
                        (is_int(red.dtype) && ((red.fold == Op::maximum && red.initial_integer == int_min(red.dtype)) || (red.fold == Op::minimum && red.initial_integer == int_max(red.dtype))));
      const Access a = Emitter::strided(folded[r].buffer, 0, {kept.elements()}, {1});
      if (pieces.empty()) fill(a, initial);
      else if (!none) vector(Opcode::map, red.fold, WorkClass::arith, a, a, {}, {}, initial);
    }
    std::vector<Place> after(places.size());
    for (size_t o = 0; o < places.size(); ++o) {
      Place p = places[o];
      p.strides.resize(P);
      if (read_after[o]) after[o] = fetch(p, kept);
    }
    Place home_kept = result;
    home_kept.strides.resize(P);
    const Place y = result_box(home_kept, kept);
    std::vector<Item> tail;  // values of the epilogue, numbered from 0
    const auto base = static_cast<int32_t>(body.size());
    for (size_t k = body.size(); k < all.size(); ++k) {
      Item it = all[k];
      for (Item::Ref& r : it.in)
        if (r.kind == Item::Ref::value) r.index -= base;
      tail.push_back(it);
    }
    evaluate(finish_at(tail, spec.stores.front().value - base), after, folded, kept, y);
    store(y, home_kept, kept);
    for (const Place& f : folded) drop(f.buffer);
    drop_fetched();
  }
  e_.step().choice = "boxes=" + std::to_string(parts.size());
  end_kernel(main_bytes);
}

// y = softmax(x) or its logarithm over the axes from row_axis on; x, y readable over the box. x may be y.
void TileMapper::softmax_rows(const Place& x, const Place& y, const Box& box, size_t row_axis, bool log) {
  int64_t outer = 1, inner = 1;
  for (size_t a = 0; a < box.size.size(); ++a) (a < row_axis ? outer : inner) *= box.size[a];
  const int32_t t = temp(DType::f32, outer * inner), top = temp(DType::f32, outer), sum = temp(DType::f32, outer);
  const Place line = dense(t, box);
  const Access all = Emitter::strided(t, 0, {outer, inner}, {inner, 1});
  const Access tops = Emitter::strided(top, 0, {outer}, {1}), sums = Emitter::strided(sum, 0, {outer}, {1});
  const Access tops_over = Emitter::strided(top, 0, {outer, inner}, {1, 0});
  const bool ready = e_.buffer(x.buffer).dtype == DType::f32 && x.strides == line.strides;  // rows in f32 one after the other: read as they lie
  Access rows = all;
  if (ready) rows = Emitter::strided(x.buffer, access(x, box).offset, {outer, inner}, {inner, 1});
  else evaluate({{Op::load, DType::f32, {{Item::Ref::anchor, 0, 0}, {}, {}}}}, {}, {x}, box, line);
  vector(Opcode::reduce, Op::maximum, WorkClass::reduce, tops, rows);
  vector(Opcode::map, Op::maximum, WorkClass::arith, tops, tops, {}, {}, -1e38);  // a row of -inf: exp gives 0, not NaN
  vector(Opcode::map, Op::subtract, WorkClass::arith2, all, rows, tops_over);
  const int32_t e = log ? temp(DType::f32, outer * inner) : t;
  const Access exps = Emitter::strided(e, 0, {outer, inner}, {inner, 1});
  vector(Opcode::map, Op::exponential, WorkClass::transcendental, exps, all);
  vector(Opcode::reduce, Op::add, WorkClass::reduce, sums, exps);
  if (log) {
    vector(Opcode::map, Op::log, WorkClass::transcendental, sums, sums);
    drop(e);
  } else {
    vector(Opcode::map, Op::maximum, WorkClass::arith, sums, sums, {}, {}, 1e-37);
    vector(Opcode::map, Op::divide, WorkClass::divide, sums, {}, sums, {}, 1);
  }
  Place by_row = dense(sum, {Extents(box.begin.begin(), box.begin.begin() + static_cast<std::ptrdiff_t>(row_axis)),
                             Extents(box.size.begin(), box.size.begin() + static_cast<std::ptrdiff_t>(row_axis))});
  by_row.strides.resize(box.size.size(), 0);
  evaluate({{log ? Op::subtract : Op::multiply, DType::f32, {{Item::Ref::anchor, 0, 0}, {Item::Ref::operand, 0, 0}, {}}}}, {by_row}, {line}, box, y);
  for (const int32_t id : {t, top, sum}) drop(id);
}

void TileMapper::map_rows(const Step& s) {
  const Place x = place(s.views[0]), result{home(s.result), s.out.offset, s.out.strides};
  const bool norm = s.row_function == Step::layer_norm || s.row_function == Step::rms_norm;
  std::vector<Place> affine(2);
  for (size_t k = 1; k < std::min<size_t>(s.views.size(), 3); ++k) affine[k - 1] = place(s.views[k]);
  std::vector<Place> operands;
  for (const View& v : s.epilogue_operands) operands.push_back(place(v));
  double main_bytes = bytes_over(x, s.axes) + bytes_over(result, s.axes);
  for (const Place& p : affine)
    if (live(p)) main_bytes += bytes_over(p, s.axes);
  for (const Place& p : operands) main_bytes += bytes_over(p, s.axes);
  const auto parts = boxes(s.axes, s.row_axis, local_limit(), [&](const Extents& size) {
    double e = 1;
    for (const int64_t d : size) e *= static_cast<double>(d);
    return e * (14 + 4 * static_cast<double>(operands.size()));
  });
  for (const Box& box : parts) {
    int64_t outer = 1, inner = 1;
    for (size_t a = 0; a < box.size.size(); ++a) (a < s.row_axis ? outer : inner) *= box.size[a];
    const Place from = fetch(x, box), y = result_box(result, box);
    std::vector<Place> local, scale_bias(2);
    for (const Place& p : operands) local.push_back(fetch(p, box));
    for (size_t k = 0; k < 2; ++k)
      if (live(affine[k])) scale_bias[k] = fetch(affine[k], box);
    const bool after = !s.epilogue.empty();
    const int32_t t = temp(DType::f32, outer * inner);
    const Place line = dense(t, box);
    if (!norm) {
      softmax_rows(from, after ? line : y, box, s.row_axis, s.row_function == Step::log_softmax);
    } else {
      const Access all = Emitter::strided(t, 0, {outer, inner}, {inner, 1});
      const int32_t moments = temp(DType::f32, outer * 2), square = s.row_function == Step::rms_norm ? temp(DType::f32, outer * inner) : -1;
      const Access mean = Emitter::strided(moments, 0, {outer, inner}, {2, 0}), variance = Emitter::strided(moments, 1, {outer}, {2}),
                   factor = Emitter::strided(moments, 1, {outer, inner}, {2, 0});
      evaluate({{Op::load, DType::f32, {{Item::Ref::anchor, 0, 0}, {}, {}}}}, {}, {from}, box, line);
      if (s.row_function == Step::layer_norm) {
        vector(Opcode::stats, Op::load, WorkClass::stats, Emitter::strided(moments, 0, {outer, 2}, {2, 1}), all);
        vector(Opcode::map, Op::subtract, WorkClass::arith2, all, all, mean);
      } else {
        const Access squares = Emitter::strided(square, 0, {outer, inner}, {inner, 1});
        vector(Opcode::map, Op::multiply, WorkClass::arith2, squares, all, all);
        vector(Opcode::reduce, Op::add, WorkClass::reduce, variance, squares);
        vector(Opcode::map, Op::multiply, WorkClass::arith, variance, variance, {}, {}, 1.0 / static_cast<double>(inner));
        drop(square);
      }
      vector(Opcode::map, Op::add, WorkClass::arith, variance, variance, {}, {}, s.epsilon);
      vector(Opcode::map, Op::rsqrt, WorkClass::divide, variance, variance);
      const bool scaled = live(scale_bias[0]), shifted = live(scale_bias[1]);
      vector(Opcode::map, Op::multiply, WorkClass::arith2, all, all, factor);
      std::vector<Item> items;
      items.push_back({Op::load, DType::f32, {{Item::Ref::anchor, 0, 0}, {}, {}}});
      if (scaled) items.push_back({Op::multiply, DType::f32, {{Item::Ref::value, static_cast<int32_t>(items.size()) - 1, 0}, {Item::Ref::operand, 0, 0}, {}}});
      if (shifted) items.push_back({Op::add, DType::f32, {{Item::Ref::value, static_cast<int32_t>(items.size()) - 1, 0}, {Item::Ref::operand, 1, 0}, {}}});
      if (!after || items.size() > 1) evaluate(items, scale_bias, {line}, box, after ? line : y);
      drop(moments);
    }
    if (after) epilogue(s, local, line, box, y);
    drop(t);
    store(y, result, box);
    drop_fetched();
  }
  e_.step().choice = "boxes=" + std::to_string(parts.size());
  end_kernel(main_bytes);
}

// Fold of the box's windows into acc, f32, which holds the initial value.
void TileMapper::window_box(const Step& s, const Place& x, const Box& box, const Place& acc) {
  const size_t n = s.axes.size();
  // Axes whose one window is all of the input fold in one instruction when no other axis has taps.
  bool simple = true;
  for (const WindowAxis& w : s.windows) simple = simple && (w.plain() || (w.out == 1 && w.taps == w.in && w.low == 0 && w.base == 1 && w.dilation == 1));
  if (simple) {
    Box all = box;
    for (size_t a = 0; a < n; ++a)
      if (!s.windows[a].plain()) all.begin[a] = 0, all.size[a] = s.windows[a].in;
    // Kept axes first.
    Extents kept_sizes, folded_sizes, kept_x, folded_x, kept_out;
    int64_t from = x.offset, to = acc.offset;
    for (size_t a = 0; a < n; ++a) {
      from += all.begin[a] * x.strides[a];
      to += box.begin[a] * acc.strides[a];
      if (all.size[a] == 1) continue;
      const bool folds = !s.windows[a].plain();
      (folds ? folded_sizes : kept_sizes).push_back(all.size[a]);
      (folds ? folded_x : kept_x).push_back(x.strides[a]);
      if (!folds) kept_out.push_back(acc.strides[a]);
    }
    if (!folded_sizes.empty() && kept_sizes.size() + folded_sizes.size() <= Access::kMostDims) {
      if (kept_sizes.empty()) kept_sizes.push_back(1), kept_x.push_back(1), kept_out.push_back(1);
      if (kept_sizes.size() + folded_sizes.size() <= Access::kMostDims) {
        const int kept = static_cast<int>(kept_sizes.size());
        Extents sizes = kept_sizes, strides = kept_x;
        sizes.insert(sizes.end(), folded_sizes.begin(), folded_sizes.end());
        strides.insert(strides.end(), folded_x.begin(), folded_x.end());
        vector(Opcode::reduce, s.fold, WorkClass::reduce, Emitter::strided(acc.buffer, to, kept_sizes, kept_out), Emitter::strided(x.buffer, from, sizes, strides), {}, {}, 0, kept, true);
        return;
      }
    }
  }
  std::vector<int64_t> tap(n, 0);
  for (;;) {
    // Each axis: the outputs of the box that this tap reaches.
    Box part = box;
    Place in = x, out = acc;
    bool any = true;
    for (size_t a = 0; a < n && any; ++a) {
      const WindowAxis& w = s.windows[a];
      const TapReach r = reach_of_tap(w, tap[a], box.begin[a], box.size[a]);
      any = r.count > 0;
      // Element j of the part: output begin + j * step, input from + j * by.
      in.offset += r.from * x.strides[a];
      in.strides[a] = x.strides[a] * r.by;
      out.offset += r.begin * acc.strides[a];
      out.strides[a] = acc.strides[a] * r.step;
      part.begin[a] = 0;
      part.size[a] = r.count;
    }
    if (any) evaluate({{s.fold, DType::f32, {{Item::Ref::anchor, 0, 0}, {Item::Ref::operand, 0, 0}, {}}}}, {in}, {out}, part, out);
    size_t a = n;
    while (a > 0 && ++tap[a - 1] == s.windows[a - 1].taps) tap[--a] = 0;
    if (a == 0) break;
  }
}

void TileMapper::map_window(const Step& s) {
  const Place x = place(s.views[0]), result{home(s.result), s.out.offset, s.out.strides};
  std::vector<Place> operands;
  for (const View& v : s.epilogue_operands) operands.push_back(place(v));
  size_t plain = 0;
  while (plain < s.windows.size() && s.windows[plain].plain()) ++plain;
  Extents inputs;
  for (const WindowAxis& w : s.windows) inputs.push_back(w.in);
  double main_bytes = bytes_over(x, inputs) + bytes_over(result, s.axes);
  for (const Place& p : operands) main_bytes += bytes_over(p, s.axes);
  const auto parts = boxes(s.axes, plain, local_limit(), [&](const Extents& size) {
    double out = 1, in = 1;
    for (size_t a = 0; a < size.size(); ++a) {
      out *= static_cast<double>(size[a]);
      in *= static_cast<double>(a < plain ? size[a] : inputs[a]);
    }
    return 4 * in + out * (8 + 4 * static_cast<double>(operands.size()));
  });
  for (const Box& box : parts) {
    Box read = box;
    for (size_t a = plain; a < inputs.size(); ++a) read.begin[a] = 0, read.size[a] = inputs[a];
    const Place from = fetch(x, read);
    const int32_t t = temp(DType::f32, box.elements());
    const Place acc = dense(t, box);
    fill(Emitter::strided(t, 0, {box.elements()}, {1}), s.initial);
    window_box(s, from, box, acc);
    std::vector<Place> local;
    for (const Place& p : operands) local.push_back(fetch(p, box));
    const Place y = result_box(result, box);
    epilogue(s, local, acc, box, y);
    store(y, result, box);
    drop(t);
    drop_fetched();
  }
  e_.step().choice = "boxes=" + std::to_string(parts.size());
  end_kernel(main_bytes);
}

}  // namespace bascule::device::chip
