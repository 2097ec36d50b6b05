// device/chip/map_neuron_products.cc — contractions: which side is stationary, the features (result with features on partitions) or the rows (result with
// rows on partitions), and a layout with K on partitions of both operands. Their instructions: map_neuron_product_tiles.cc.
#include <algorithm>
#include <utility>
#include <numeric>
#include <cstdlib>

#include "device/chip/map_neuron_product.h"

namespace bascule::device::chip::neuron {
// Epilogue operands follow the result's placement: the same rows on the same partitions, or repeated on all. False: some cannot.
bool Mapper::follow(Nest& n, size_t out, size_t first, int& out_axis, size_t last) const {
  last = std::min(last, n.operands.size());
  for (size_t k = first; k < last; ++k) n.operands[k].placed = false;
  if (!n.refine()) return false;
  out_axis = n.part_axis(out);
  const Operand o = n.operands[out];
  if (out_axis < 0 && o.placement.extent != 1) return false;
  for (size_t k = first; k < last; ++k) {
    Operand& e = n.operands[k];
    e.placed = true;
    if (e.strides == o.strides && e.offset == o.offset && e.total == o.total) {
      e.placement = o.placement;
      continue;
    }
    const int64_t step = out_axis < 0 ? 0 : e.strides[static_cast<size_t>(out_axis)];
    if (step == 0) {
      e.placement = kReplicated;
      continue;
    }
    int64_t extent = n.extents[static_cast<size_t>(out_axis)];
    for (bool grew = true; grew;) {
      grew = false;
      for (size_t a = 0; a < n.extents.size(); ++a)
        if (o.digits[a].level == Level::part && o.digits[a].step == extent && e.strides[a] == step * extent && n.extents[a] > 1) {
          extent *= n.extents[a];
          grew = true;
        }
    }
    // rows that begin elsewhere: the whole axis they are cut from
    if (e.offset / step % extent != 0 || !fits({step, extent}, e.total)) {
      if (e.total % step != 0) return false;
      extent = e.total / step;
    }
    e.placement = {step, extent};
    if (!fits(e.placement, e.total)) return false;
  }
  if (!n.refine()) return false;
  out_axis = n.part_axis(out);
  for (size_t k = 0; k < last; ++k) {  // rows of other axes begin where an engine may begin
    const Operand& e = n.operands[k];
    if (!e.placed || e.placement.replicated() || (k > out && k < first)) continue;
    for (size_t a = 0; a < n.extents.size(); ++a) {
      const Digit& d = e.digits[a];
      if (static_cast<int>(a) == out_axis || d.level != Level::part || n.extents[a] == 1 || d.step == 1 || d.step % partitions_ == 0) continue;
      if (partitions_ % d.step != 0 || d.step < partitions_ / 4) return false;
    }
  }
  return aligned(n, out, first);
}

// Whether every operand from `first` has its rows on the partitions where `out` has them, wherever in the box.
bool Mapper::aligned(const Nest& n, size_t out, size_t first) const {
  const Operand& o = n.operands[out];
  const auto start = [&](const Operand& e) { return e.placement.replicated() ? 0 : e.offset / e.placement.inner % e.placement.extent; };
  const int part = n.part_axis(out);
  for (size_t k = first; k < n.operands.size(); ++k) {
    const Operand& e = n.operands[k];
    if (!e.placed || e.placement.replicated()) continue;
    if (n.part_axis(k) != part) return false;
    if ((start(e) - start(o)) % partitions_ != 0) return false;
    for (size_t a = 0; a < n.extents.size(); ++a) {
      if (n.extents[a] == 1) continue;
      const int64_t mine = e.digits[a].level == Level::part ? e.digits[a].step : 0, its = o.digits[a].level == Level::part ? o.digits[a].step : 0;
      if ((mine - its) % partitions_ != 0) return false;
    }
  }
  return true;
}

// The axes B..., M..., N..., K... with x, f, the result and the epilogue's operands over them; a weight on the left is f, and the axes of the sides change.
Nest Mapper::product_nest(const Step& s, bool& weight) const {
  const Operand l = operand(s.lhs), r = operand(s.rhs), y = result(s);
  const bool swap = items_[static_cast<size_t>(l.item)].weight && !items_[static_cast<size_t>(r.item)].weight;
  const size_t nb = s.batch.size(), nm = s.m.size(), nn = s.n.size(), nk = s.k.size();
  Operand nx = swap ? r : l, nf = swap ? l : r, ny = y;
  weight = items_[static_cast<size_t>(nf.item)].weight;
  nx.strides.clear(), nf.strides.clear(), ny.strides.clear();
  Nest n;
  const auto axis = [&](char tag, int64_t extent, int64_t sl, int64_t sr, int64_t sy) {
    n.extents.push_back(extent);
    n.tags.push_back(tag);
    (swap ? nf : nx).strides.push_back(sl);
    (swap ? nx : nf).strides.push_back(sr);
    ny.strides.push_back(sy);
  };
  for (size_t a = 0; a < nb; ++a) axis('B', s.batch[a], l.strides[a], r.strides[a], y.strides[a]);
  for (size_t a = 0; a < nm; ++a) axis(swap ? 'N' : 'M', s.m[a], l.strides[nb + a], 0, y.strides[nb + a]);
  for (size_t a = 0; a < nn; ++a) axis(swap ? 'M' : 'N', s.n[a], 0, r.strides[nb + a], y.strides[nb + nm + a]);
  for (size_t a = 0; a < nk; ++a) axis('K', s.k[a], l.strides[nb + nm + a], r.strides[nb + nn + a], 0);
  n.operands = {nx, nf, ny};
  for (const View& v : s.epilogue_operands) {
    Operand e = operand(v);
    e.strides.resize(nb + nm + nn + nk, 0);
    n.operands.push_back(e);
  }
  n.merge();
  return n;
}

// Placements of the result to try: what its readers wish, then the axes of `tag`, all as one and by length.
std::vector<Placement> Mapper::result_placements(const Nest& n, char tag) const {
  const Operand& y = n.operands[2];
  std::vector<Placement> out;
  const auto wished = wish(items_[static_cast<size_t>(y.item)], now_);
  std::vector<std::pair<int64_t, int64_t>> axes;
  int64_t inner = 0, product_of = 1;
  bool joined = true;
  for (size_t a = n.extents.size(); a-- > 0;)
    if (n.tags[a] == tag) {
      axes.push_back({n.extents[a], y.strides[a]});
      if (inner == 0) inner = y.strides[a];
      else joined = joined && y.strides[a] == inner * product_of;
      product_of *= n.extents[a];
    }
  if (wished) out.push_back(*wished);
  if (axes.empty()) {
    out.push_back({y.total, 1});
  } else if (joined) {
    // What leaves in blocks of rows has all features of a row: part of them would leave in pieces.
    const Placement all{inner, product_of};
    const bool leaves = storage_bytes(items_[static_cast<size_t>(y.item)].dtype, y.total) / partitions_ > budget_ * 2 / 5;
    const bool part = wished && wished->inner == inner && wished->extent < product_of && wished->extent % partitions_ == 0;
    out.insert(leaves && part ? out.begin() : out.end(), all);
  }
  std::sort(axes.rbegin(), axes.rend());
  for (const auto& [e, st] : axes) out.push_back({st, e});
  return out;
}

// Lays a product out with x and the result placed so; `longest`: the largest extent of K. False: these placements do not go together.
bool Mapper::lay_out(Product& p, Nest trial, Placement px, Placement py, int64_t longest) const {
  const char out_tag = p.features ? 'N' : 'M';
  const bool no_k = longest <= 1;
  if (!fits(px, trial.operands[0].total) || !fits(py, trial.operands[2].total) || px.replicated()) return false;
  trial.operands[0].placement = px;
  trial.operands[2].placement = py;
  trial.operands[1].placed = false;
  if (!follow(trial, 2, 3, p.out_axis)) return false;
  if (p.out_axis >= 0 ? trial.tags[static_cast<size_t>(p.out_axis)] != out_tag : !axes_of(trial, out_tag).empty()) return false;
  p.k_axis = no_k ? -1 : trial.part_axis(0);
  if (!no_k) {
    const auto k = static_cast<size_t>(p.k_axis);
    if (p.k_axis < 0 || trial.tags[k] != 'K' || trial.extents[k] * 4 < std::min<int64_t>(longest, 128)) return false;  // not K, or mostly idle rows
  }
  if (!p.weight) {
    Operand& f = trial.operands[1];
    f.placed = true;
    f.placement = no_k ? Placement{f.total, 1} : Placement{std::max<int64_t>(f.strides[static_cast<size_t>(p.k_axis)], 1), trial.extents[static_cast<size_t>(p.k_axis)]};
    if (f.item == trial.operands[0].item && f.placement.inner == px.inner) f.placement = px;
    if (!fits(f.placement, f.total) || !trial.refine()) return false;
    p.k_axis = no_k ? -1 : trial.part_axis(0);
    p.out_axis = trial.part_axis(2);
    if (!no_k && (p.k_axis < 0 || trial.part_axis(1) != p.k_axis)) return false;
    Nest pair = trial;
    pair.operands.resize(2);
    if ((!no_k && !aligned(pair, 0, 1)) || !aligned(trial, 2, 3)) return false;
  } else {  // rows of the weight's tiles begin at partition 0: so must those of x
    if (trial.operands[0].offset / px.inner % px.extent % partitions_ != 0) return false;
    for (size_t a = 0; a < trial.extents.size(); ++a) {
      const Digit& d = trial.operands[0].digits[a];
      if (static_cast<int>(a) != p.k_axis && d.level == Level::part && trial.extents[a] > 1 && d.step % partitions_ != 0) return false;
    }
  }
  p.nest = std::move(trial);
  return true;
}

bool Mapper::product(const Step& s, Product& p, bool features) const {
  p = {};
  p.features = features;
  const Nest n = product_nest(s, p.weight);
  const Operand& x = n.operands[0];
  int64_t longest = 0;
  size_t k_axis = 0;
  for (size_t a = 0; a < n.extents.size(); ++a)
    if (n.tags[a] == 'K' && n.extents[a] > longest) longest = n.extents[a], k_axis = a;
  std::vector<Placement> xs;  // K on partitions of x: where it lies, else its longest axis
  const Item& ix = items_[static_cast<size_t>(x.item)];
  for (const Held& h : ix.local) xs.push_back(h.placement);
  for (const Held& h : ix.images) xs.push_back(h.placement);
  xs.push_back(longest <= 1 ? Placement{x.total, 1} : Placement{std::max<int64_t>(x.strides[k_axis], 1), longest});
  const std::vector<Placement> ys = result_placements(n, features ? 'N' : 'M');
  for (const Placement& px : xs)
    for (const Placement& py : ys)
      if (lay_out(p, n, px, py, longest)) return true;
  return false;
}

std::vector<int> Mapper::axes_of(const Nest& n, char tag) const {
  std::vector<int> r;
  for (size_t a = 0; a < n.extents.size(); ++a)
    if (n.tags[a] == tag) r.push_back(static_cast<int>(a));
  return r;
}

// All boxes over these axes of at most `most` elements: inner axes whole, one axis in slices, the rest (and `single` ones) one by one.
std::vector<Box> Mapper::boxes(const Box& within, const std::vector<int>& axes, int64_t most, const std::function<bool(int)>& single, int64_t unit) const {
  std::vector<int64_t> step(axes.size(), 1);
  int64_t size = 1;
  bool open = true;
  for (size_t k = axes.size(); k-- > 0;) {
    const auto a = static_cast<size_t>(axes[k]);
    const int64_t extent = within.size[a];
    if (single(axes[k])) continue;
    if (!open) continue;
    step[k] = std::max<int64_t>(1, std::min(extent, most / size));
    const bool innermost = size == 1;
    size *= step[k];
    if (step[k] < extent) {
      step[k] = ceil_div(extent, ceil_div(extent, step[k]));  // equal slices
      if (innermost) step[k] = std::min(extent, ceil_div(step[k], unit) * unit);  // whole tiles of rows
      open = false;
    }
  }
  std::vector<Box> out;
  Box b = within;
  const std::function<void(size_t)> loop = [&](size_t k) {
    if (k == axes.size()) {
      out.push_back(b);
      return;
    }
    const auto a = static_cast<size_t>(axes[k]);
    for (int64_t i = 0; i < within.size[a]; i += step[k]) {
      b.start[a] = within.start[a] + i;
      b.size[a] = std::min(step[k], within.size[a] - i);
      loop(k + 1);
    }
    b.start[a] = within.start[a];
    b.size[a] = within.size[a];
  };
  loop(0);
  return out;
}

// Boxes of at most a tile of partitions along `part` of an operand, the other axes one by one.
std::vector<Box> Mapper::row_boxes(const Nest& n, size_t operand_index, const Place& at, const Box& within, const std::vector<int>& axes, int part) const {
  std::vector<Box> out;
  Box b = within;
  const std::function<void(size_t)> loop = [&](size_t k) {
    if (k == axes.size()) {
      if (part < 0) {
        out.push_back(b);
        return;
      }
      const auto a = static_cast<size_t>(part);
      for (int64_t i = 0; i < within.size[a];) {
        b.start[a] = within.start[a] + i;
        b.size[a] = 1;
        const int64_t q = n.operands[operand_index].placed ? origin(n.operands[operand_index], at, b, partitions_).q : b.start[a];
        b.size[a] = std::min(within.size[a] - i, partitions_ - q % partitions_);
        out.push_back(b);
        i += b.size[a];
      }
      b.start[a] = within.start[a];
      b.size[a] = within.size[a];
      return;
    }
    if (axes[k] == part) return loop(k + 1);
    const auto a = static_cast<size_t>(axes[k]);
    for (int64_t i = 0; i < within.size[a]; ++i) {
      b.start[a] = within.start[a] + i;
      b.size[a] = 1;
      loop(k + 1);
    }
    b.start[a] = within.start[a];
    b.size[a] = within.size[a];
  };
  loop(0);
  return out;
}

// Per-partition numbers of weights stay f32, what is repeated on all partitions is stored as activations are.
DType Mapper::operand_type(const Operand& o) const {
  const Item& it = items_[static_cast<size_t>(o.item)];
  if (!it.weight || !is_float(it.dtype)) return it.dtype;
  return o.placement.replicated() || o.total > 65536 ? activation_ : DType::f32;
}

Place Mapper::hold_operand(const Operand& o, const Box* block) {
  if (!block) return hold(o.item, o.placement, operand_type(o));
  const Window w = window(o, *block);
  return hold(o.item, o.placement, operand_type(o), &w);
}

Source Mapper::leaf_source(const Operand& o, const Place& at, const Box& box, int part, const std::vector<int>& free, int64_t row0, int64_t rows) const {
  Source s;
  s.pattern = pattern(o, at, box, part, free, pitch(at), partitions_, row0 % partitions_, rows);
  s.dtype = emit_.buffer(at.buffer).dtype;
  s.column = true;
  for (int k = 1; k < s.pattern.rank; ++k) s.column = s.column && (s.pattern.strides[static_cast<size_t>(k)] == 0 || s.pattern.sizes[static_cast<size_t>(k)] == 1);
  return s;
}

// "stationary=rows n=128 m=512 weights=kept": "" or the word after the key.
std::string Mapper::pinned_word(const std::string& choice, const std::string& key) {
  const std::string text = " " + choice + " ", want = " " + key + "=";
  const size_t at = text.find(want);
  return at == std::string::npos ? "" : text.substr(at + want.size(), text.find(' ', at + 1) - at - want.size());
}

// Which side lies still: fewer cycles, what readers want on partitions, what is pinned.
bool Mapper::features_stationary(const Step& s, int64_t m, int64_t f, int64_t k) const {
  const double tiles = static_cast<double>(ceil_div(k, chip_.matrix.rows));
  const auto cycles = [&](int64_t stationary, int64_t moving) {
    return static_cast<double>(ceil_div(stationary, chip_.matrix.cols)) * (tiles * std::max(static_cast<double>(moving), chip_.matrix.min_interval_cycles) + 2.0 * static_cast<double>(moving));
  };
  const Item& out = items_[static_cast<size_t>(item_of(s.result))];
  const bool features = cycles(f, m) <= cycles(m, f) && !out.output;  // rows of the output go to main memory as they are
  const auto w = wish(out, now_);
  if (!w) return features;
  Product a, b;
  if (product(s, a, true) && a.nest.operands[2].placement == *w) return true;
  if (!product(s, b, false) || b.nest.operands[2].placement != *w) return features;
  // rows in many short tiles may cost more than a product the other way round that is turned afterwards
  const int64_t extent = b.out_axis < 0 ? 1 : b.nest.extents[static_cast<size_t>(b.out_axis)];
  const double row_tiles = static_cast<double>(m / std::max<int64_t>(extent, 1) * ceil_div(extent, partitions_));
  const double direct = row_tiles * tiles * std::max(static_cast<double>(f), chip_.matrix.min_interval_cycles);
  const double turned = cycles(f, m) + row_tiles * static_cast<double>(ceil_div(f, partitions_) * partitions_);
  const bool plain = std::all_of(s.epilogue_operands.begin(), s.epilogue_operands.end(), [&](const View& v) { return items_[static_cast<size_t>(item_of(v.value))].weight; });
  return plain && turned < direct / 2;
}

void Mapper::contraction(const Step& s) {
  const auto volume = [](const std::vector<int64_t>& v) {
    int64_t n = 1;
    for (const int64_t e : v) n *= e;
    return n;
  };
  int64_t m = volume(s.m), f = volume(s.n);
  const int64_t k = volume(s.k), batch = volume(s.batch);
  if (k == 0) return fill_result(s, 0);
  if (item(item_of(s.lhs.value)).weight && !item(item_of(s.rhs.value)).weight) std::swap(m, f);
  const std::string shape = (batch > 1 ? std::to_string(batch) + "x" : "") + std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(f);
  scenes_.push_back(scene(shape));
  bool features = features_stationary(s, m, f, k);
  std::string pin;
  if (const auto at = pins_.find(emit_.step().name + " of " + shape); at != pins_.end()) pin = at->second;
  else if (const auto by_name = pins_.find(emit_.step().name); by_name != pins_.end()) pin = by_name->second;
  if (const std::string side = pinned_word(pin, "stationary"); side == "features" || side == "rows") features = side == "features";
  Step now = s;
  const auto axes = [&](const std::vector<int64_t>& own) {
    std::vector<int64_t> all = s.batch;
    for (const auto* list : {&own, &s.k}) all.insert(all.end(), list->begin(), list->end());
    return all;
  };
  take_out(now, now.lhs, axes(s.m));
  take_out(now, now.rhs, axes(s.n));
  const Operand given = result(s);
  const bool relaid = rows_change_order(now, given);
  if (relaid) result_as_ = new_item(given.item, given.total);
  const auto forget_taken = [&] {
    for (const auto& [value, of] : taken_out_) forget(of);
    taken_out_.clear();
  };
  Product p;
  if (!product(now, p, features) && !product(now, p, !features)) {
    forget_taken();
    result_as_ = -1;
    return host_step(s);
  }
  p.wanted_n = std::atoll(pinned_word(pin, "n").c_str());
  p.wanted_m = std::atoll(pinned_word(pin, "m").c_str());
  if (const std::string weights = pinned_word(pin, "weights"); !weights.empty()) p.wanted_kept = weights == "kept";
  emit_product(now, p);
  choice("of " + shape);
  forget_taken();
  if (!relaid) return;
  const int32_t temporary = std::exchange(result_as_, -1), from = in_main(temporary), to = main_for(given.item);
  Operand in = given;
  in.strides = now.out.strides;
  in.offset = 0;
  std::vector<int64_t> extents = s.batch;
  extents.insert(extents.end(), s.m.begin(), s.m.end());
  extents.insert(extents.end(), s.n.begin(), s.n.end());
  move_main(to, given, from, in, extents, kStores);
  item(given.item).main = to;
  forget(temporary);
}

// A large result whose rows lie in another order than those that come in leaves in that order, to be moved in main memory afterwards: blocks of rows would
// lie in pieces of a few elements. The step then has such a result.
bool Mapper::rows_change_order(Step& s, const Operand& y) const {
  const size_t batch = s.batch.size(), m = s.m.size(), n = s.n.size();
  if (batch > 0 || storage_bytes(items_[static_cast<size_t>(y.item)].dtype, y.total) / partitions_ <= budget_ * 2 / 5) return false;
  const bool weight_first = items_[static_cast<size_t>(item_of(s.lhs.value))].weight;
  const std::vector<int64_t>& x = weight_first ? s.rhs.layout.strides : s.lhs.layout.strides;
  const size_t first = weight_first ? m : 0, rows = weight_first ? n : m;
  bool other = false;
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = i + 1; j < rows; ++j) other = other || (x[i] > x[j]) != (y.strides[first + i] > y.strides[first + j]);
  if (!other) return false;
  std::vector<size_t> order(m + n);  // rows as they come in, then features
  std::iota(order.begin(), order.end(), size_t{0});
  const auto is_row = [&](size_t a) { return a >= first && a < first + rows; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (is_row(a) != is_row(b)) return is_row(a);
    return is_row(a) ? x[a - first] > x[b - first] : y.strides[a] > y.strides[b];
  });
  std::vector<int64_t> strides(m + n);
  int64_t step = 1;
  for (size_t k = order.size(); k-- > 0;) {
    strides[order[k]] = step;
    step *= order[k] < m ? s.m[order[k]] : s.n[order[k] - m];
  }
  if (step != y.total) return false;
  s.out = {std::move(strides), 0};
  return true;
}

// A few rows of a large value, a token of each text, are taken out of it in main memory: blocks of the whole would hold what nobody reads.
void Mapper::take_out(Step& s, View& v, const std::vector<int64_t>& extents) {
  const int32_t whole = item_of(v.value);
  int64_t elements = 1;
  for (const int64_t e : extents) elements *= e;
  const DType dtype = item(whole).dtype;
  if (item(whole).weight || elements == 0 || elements * 4 > item(whole).total || storage_bytes(dtype, item(whole).total) / partitions_ <= budget_ / 6) return;
  const auto same = [&](const View& o) { return o.value == v.value; };
  if ((&v == &s.lhs ? same(s.rhs) : same(s.lhs)) || std::any_of(s.epilogue_operands.begin(), s.epilogue_operands.end(), same)) return;
  const Operand from = operand(v);
  constexpr int64_t kLeastRun = 128;  // elements side by side
  bool runs = false;
  for (size_t k = 0; k < extents.size(); ++k) runs = runs || (from.strides[k] == 1 && extents[k] >= kLeastRun);
  if (!runs) return;
  Operand to = from;
  to.total = 1;
  to.offset = 0;
  for (size_t k = extents.size(); k-- > 0;) {
    to.strides[k] = to.total;
    to.total *= extents[k];
  }
  const int32_t few = new_item(whole, to.total);
  item(few).main = main_room(item(few).name, dtype, to.total);
  move_main(item(few).main, to, in_main(whole), from, extents, kLoads);
  v.layout = {to.strides, 0};
  taken_out_[v.value] = few;
}

// What the whole program holds when it comes to this product.
Mapper::Scene Mapper::scene(const std::string& shape) const {
  constexpr int32_t kSteps = 4;
  Scene out;
  out.first = out.last = now_;
  out.name = steps_.empty() ? "" : step_name(graph_, steps_[static_cast<size_t>(now_)]);
  out.shape = shape;
  const auto& uses = items_[static_cast<size_t>(item_of(steps_[static_cast<size_t>(now_)].result))].uses;
  if (!uses.empty() && uses.front() <= now_ + kSteps) out.last = uses.front();
  for (size_t k = 0; k < items_.size(); ++k) {
    const Item& it = items_[k];
    if (it.weight || (it.local.empty() && it.images.empty() && it.main < 0)) continue;
    Scene::Live live;
    live.item = static_cast<int32_t>(k);
    live.main = it.main >= 0;
    for (const Held& h : it.local) live.local.emplace_back(h.placement, h.dtype);
    for (const Held& h : it.images) live.images.emplace_back(h.placement, h.dtype);
    out.live.push_back(std::move(live));
  }
  return out;
}

Program Mapper::alone(const Scene& scene, const std::string& choice) {
  pins_[scene.name + " of " + scene.shape] = choice;
  now_ = scene.first;
  for (const Scene::Live& live : scene.live) {
    Item& it = item(live.item);
    if (it.uses.empty() || it.uses.back() < now_) continue;
    if (live.main && it.main < 0) it.main = main_room(it.name, it.dtype, it.total);
    for (const auto& [placement, dtype] : live.local) it.local.push_back({placement, room(it.name, it.total, placement, dtype, nullptr, false), dtype, now_});
    for (const auto& [placement, dtype] : live.images) it.images.push_back({placement, {.buffer = main_room(it.name, dtype, it.total), .in_main = true}, dtype, now_});
  }
  for (int32_t k = scene.first; k <= scene.last; ++k) step(k);
  return emit_.finish();
}

}  // namespace bascule::device::chip::neuron
