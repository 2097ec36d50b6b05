// device/chip/map_neuron_products.cc — contractions: K on partitions of both operands, sums in accumulator banks, the epilogue while they are moved out.
// Either side may be stationary: the features (result with features on partitions) or the rows (result with rows on partitions).
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

int64_t Mapper::bank_columns() const { return emit_.capacity(Role::accumulator) / std::max<int64_t>(chip_.accumulator()->banks, 1) / 4; }

// A product ready to be emitted. Operand 0: x, 1: f (features: a weight if there is one), 2: the result, 3...: of the epilogue.
struct Mapper::Product {
  Nest nest;
  bool weight = false;    // f is one
  bool features = false;  // f is stationary
  int k_axis = -1, out_axis = -1;
  bool swapped = false;
};

// Epilogue operands follow the result's placement: the same rows on the same partitions, or repeated on all. False: some cannot.
bool Mapper::follow(Nest& n, size_t out, size_t first, int& out_axis, size_t last) {
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

bool Mapper::product(const Step& s, Product& p, bool features) {
  const Operand l = operand(s.lhs), r = operand(s.rhs), y = result(s);
  const bool swap = items_[static_cast<size_t>(l.item)].weight && !items_[static_cast<size_t>(r.item)].weight;
  p = {};
  p.swapped = swap;
  p.features = features;
  const Operand &x = swap ? r : l, &f = swap ? l : r;
  p.weight = items_[static_cast<size_t>(f.item)].weight;
  Nest& n = p.nest;
  const size_t nb = s.batch.size(), nm = s.m.size(), nn = s.n.size(), nk = s.k.size();
  Operand nx = x, nf = f, ny = y;
  nx.strides.clear(), nf.strides.clear(), ny.strides.clear();
  const Operand &lhs = l, &rhs = r;
  const auto axis = [&](char tag, int64_t extent, int64_t sl, int64_t sr, int64_t sy) {
    n.extents.push_back(extent);
    n.tags.push_back(tag);
    (swap ? nf : nx).strides.push_back(sl);
    (swap ? nx : nf).strides.push_back(sr);
    ny.strides.push_back(sy);
  };
  for (size_t a = 0; a < nb; ++a) axis('B', s.batch[a], lhs.strides[a], rhs.strides[a], y.strides[a]);
  for (size_t a = 0; a < nm; ++a) axis(swap ? 'N' : 'M', s.m[a], lhs.strides[nb + a], 0, y.strides[nb + a]);
  for (size_t a = 0; a < nn; ++a) axis(swap ? 'M' : 'N', s.n[a], 0, rhs.strides[nb + a], y.strides[nb + nm + a]);
  for (size_t a = 0; a < nk; ++a) axis('K', s.k[a], lhs.strides[nb + nm + a], rhs.strides[nb + nn + a], 0);
  n.operands = {nx, nf, ny};
  for (const View& v : s.epilogue_operands) {
    Operand e = operand(v);
    e.strides.resize(nb + nm + nn + nk, 0);
    n.operands.push_back(e);
  }
  n.merge();
  // K on partitions of x
  int64_t longest = 0;
  size_t k_axis = 0;
  for (size_t a = 0; a < n.extents.size(); ++a)
    if (n.tags[a] == 'K' && n.extents[a] > longest) longest = n.extents[a], k_axis = a;
  const Item& ix = items_[static_cast<size_t>(x.item)];
  const auto k_placement = [&](const Operand& o) {
    if (longest <= 1) return Placement{o.total, 1};
    return Placement{std::max<int64_t>(o.strides[k_axis], 1), longest};
  };
  std::vector<Placement> xs;
  for (const Held& h : ix.local) xs.push_back(h.placement);
  for (const Held& h : ix.images) xs.push_back(h.placement);
  xs.push_back(k_placement(n.operands[0]));
  const char out_tag = features ? 'N' : 'M';
  // result placements to try: what its readers wish, its longest axes
  std::vector<Placement> ys;
  const Item& iy = items_[static_cast<size_t>(y.item)];
  if (const auto w = wish(iy, now_)) ys.push_back(*w);
  {
    std::vector<std::pair<int64_t, int64_t>> axes;
    int64_t inner = 0, product_of = 1;  // all axes of the tag as one
    bool joined = true;
    for (size_t a = n.extents.size(); a-- > 0;)
      if (n.tags[a] == out_tag) {
        axes.push_back({n.extents[a], n.operands[2].strides[a]});
        if (inner == 0) inner = n.operands[2].strides[a];
        else joined = joined && n.operands[2].strides[a] == inner * product_of;
        product_of *= n.extents[a];
      }
    if (axes.empty()) ys.push_back({y.total, 1});
    else if (joined) ys.push_back({inner, product_of});
    std::sort(axes.rbegin(), axes.rend());
    for (const auto& [e, st] : axes) ys.push_back({st, e});
  }
  for (const Placement& px : xs) {
    for (const Placement& py : ys) {
      Nest trial = n;
      if (!fits(px, x.total) || !fits(py, y.total) || px.replicated()) continue;
      trial.operands[0].placement = px;
      trial.operands[2].placement = py;
      trial.operands[1].placed = false;
      int out_axis = -1;
      if (!follow(trial, 2, 3, out_axis)) continue;
      if (out_axis >= 0 ? trial.tags[static_cast<size_t>(out_axis)] != out_tag : !axes_of(trial, out_tag).empty()) continue;
      int ka = trial.part_axis(0);
      const bool no_k = longest <= 1;
      if (!no_k && (ka < 0 || trial.tags[static_cast<size_t>(ka)] != 'K')) continue;
      if (no_k) ka = -1;
      if (!no_k && trial.extents[static_cast<size_t>(ka)] * 4 < std::min<int64_t>(longest, 128)) continue;  // mostly idle rows
      if (!p.weight) {
        Operand& of = trial.operands[1];
        of.placed = true;
        of.placement = no_k ? Placement{of.total, 1} : Placement{std::max<int64_t>(of.strides[static_cast<size_t>(ka)], 1), trial.extents[static_cast<size_t>(ka)]};
        if (of.item == trial.operands[0].item && of.placement.inner == px.inner) of.placement = px;
        if (!fits(of.placement, of.total) || !trial.refine()) continue;
        ka = no_k ? -1 : trial.part_axis(0);
        out_axis = trial.part_axis(2);
        if (!no_k && (ka < 0 || trial.part_axis(1) != ka)) continue;
        Nest pair = trial;
        pair.operands.resize(2);
        if (!no_k && !aligned(pair, 0, 1)) continue;
        if (!aligned(trial, 2, 3)) continue;
      } else {
        // rows of the weight's tiles begin at partition 0: so must those of x
        bool whole_tiles = trial.operands[0].offset / px.inner % px.extent % partitions_ == 0;
        for (size_t a = 0; a < trial.extents.size(); ++a) {
          const Digit& d = trial.operands[0].digits[a];
          if (static_cast<int>(a) != ka && d.level == Level::part && trial.extents[a] > 1 && d.step % partitions_ != 0) whole_tiles = false;
        }
        if (!whole_tiles) continue;
      }
      p.nest = std::move(trial);
      p.k_axis = ka;
      p.out_axis = out_axis;
      return true;
    }
  }
  return false;
}

std::vector<int> Mapper::axes_of(const Nest& n, char tag) const {
  std::vector<int> r;
  for (size_t a = 0; a < n.extents.size(); ++a)
    if (n.tags[a] == tag) r.push_back(static_cast<int>(a));
  return r;
}

// All boxes over these axes of at most `most` elements: inner axes whole, one axis in slices, the rest (and `single` ones) one by one.
std::vector<Box> Mapper::boxes(const Nest& n, const Box& within, const std::vector<int>& axes, int64_t most, const std::function<bool(int)>& single, int64_t unit) const {
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
  (void)n;
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

// The weight of a product as [chunk][row][other K, tile of K][features of the chunk]: its buffer in main memory, or, resident, a buffer for each chunk.
int32_t Mapper::arrange_weight(const Nest& n, int k_axis, const std::vector<int>& ks, const std::vector<int>& ns, int64_t rows, int64_t chunk, int64_t chunks, DType dtype,
                               std::vector<int32_t>& pieces) {
  const Operand& o = n.operands[1];
  Arrangement a;
  a.offset = o.offset;
  const auto axis = [&](int64_t extent, int64_t stride) {
    a.dims.push_back(extent);
    a.strides.push_back(stride);
  };
  const auto stride = [&](int k) { return o.strides[static_cast<size_t>(k)]; };
  const auto extent = [&](int k) { return n.extents[static_cast<size_t>(k)]; };
  axis(chunks, ns.empty() ? 0 : stride(ns[0]) * chunk);
  axis(rows, k_axis < 0 ? 0 : stride(k_axis));
  for (const int k : ks)
    if (k != k_axis) axis(extent(k), stride(k));
  if (k_axis >= 0) axis(ceil_div(extent(k_axis), partitions_), stride(k_axis) * partitions_);
  for (size_t i = 0; i < ns.size(); ++i) axis(i == 0 ? chunk : extent(ns[i]), stride(ns[i]));
  std::string key = "p" + std::to_string(o.item) + "/" + std::to_string(a.offset);
  for (size_t k = 0; k < a.dims.size(); ++k) key += "," + std::to_string(a.dims[k]) + "x" + std::to_string(a.strides[k]);
  Program& program = emit_.program();
  const Item& it = item(o.item);
  int64_t elements = 1;
  for (const int64_t d : a.dims) elements *= d;
  const auto describe = [&](int32_t id, Arrangement part) {
    Buffer& b = program.buffers[static_cast<size_t>(id)];
    b.use = Buffer::weight;
    b.value = it.value;
    b.arrangement = static_cast<int32_t>(program.arrangements.size());
    program.arrangements.push_back(std::move(part));
  };
  if (!resident_) {
    const auto [at, made] = arranged_.try_emplace(key, -1);
    if (made) {
      at->second = emit_.main(it.name, Buffer::weight, dtype, elements, it.value);
      describe(at->second, std::move(a));
    }
    return at->second;
  }
  for (int64_t c = 0; c < chunks; ++c) {
    const auto [at, made] = arranged_.try_emplace(key + "#" + std::to_string(c), -1);
    if (made) {
      at->second = take(it.name, dtype, rows, elements / chunks / rows, false, true);
      Arrangement part = a;
      part.dims[0] = 1;
      part.offset += c * a.strides[0];
      describe(at->second, std::move(part));
    }
    pieces[static_cast<size_t>(c)] = at->second;
  }
  return -1;
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
  const bool varies = part >= 0 && o.digits[static_cast<size_t>(part)].step != 0;
  s.column = true;
  for (int k = 1; k < s.pattern.rank; ++k) s.column = s.column && (s.pattern.strides[static_cast<size_t>(k)] == 0 || s.pattern.sizes[static_cast<size_t>(k)] == 1);
  (void)varies;
  return s;
}

void Mapper::contraction(const Step& s) {
  Product p;
  const auto volume = [](const std::vector<int64_t>& v) {
    int64_t n = 1;
    for (const int64_t e : v) n *= e;
    return n;
  };
  int64_t m = volume(s.m), f = volume(s.n);
  const int64_t k = volume(s.k);
  if (k == 0) return fill_result(s, 0);
  if (item(item_of(s.lhs.value)).weight && !item(item_of(s.rhs.value)).weight) std::swap(m, f);
  const double tiles = static_cast<double>(ceil_div(k, chip_.matrix.rows));
  const auto cycles = [&](int64_t stationary, int64_t moving) {
    return static_cast<double>(ceil_div(stationary, chip_.matrix.cols)) * (tiles * std::max(static_cast<double>(moving), chip_.matrix.min_interval_cycles) + 2.0 * static_cast<double>(moving));
  };
  bool features = cycles(f, m) <= cycles(m, f);
  if (item(item_of(s.result)).output) features = false;  // its rows go to main memory as they are
  if (const auto w = wish(item(item_of(s.result)), now_)) {  // which side do readers want on partitions?
    Product a, b;
    const bool as_features = product(s, a, true) && a.nest.operands[2].placement == *w;
    const bool as_rows = !as_features && product(s, b, false) && b.nest.operands[2].placement == *w;
    if (as_features) features = true;
    if (as_rows) {
      // rows in many short tiles may cost more than a product the other way round that is turned afterwards
      const Nest& n = b.nest;
      const int64_t extent = b.out_axis < 0 ? 1 : n.extents[static_cast<size_t>(b.out_axis)];
      const double row_tiles = static_cast<double>(m / std::max<int64_t>(extent, 1) * ceil_div(extent, partitions_));
      const double direct = row_tiles * tiles * std::max(static_cast<double>(f), chip_.matrix.min_interval_cycles);
      const double turned = cycles(f, m) + row_tiles * static_cast<double>(ceil_div(f, partitions_) * partitions_);
      const bool plain = std::all_of(s.epilogue_operands.begin(), s.epilogue_operands.end(), [&](const View& v) { return item(item_of(v.value)).weight; });
      features = plain && turned < direct / 2;
    }
  }
  if (const auto pin = pins_.find(emit_.step().name); pin != pins_.end()) {
    if (pin->second.starts_with("stationary=features")) features = true;
    if (pin->second.starts_with("stationary=rows")) features = false;
  }
  if (!product(s, p, features) && !product(s, p, !features)) return host_step(s);
  emit_product(s, p);
}

void Mapper::emit_product(const Step& s, Product& p) {
  Nest& n = p.nest;
  const int32_t out_item = n.operands[2].item;
  const std::vector<int> bs = axes_of(n, 'B'), ms = axes_of(n, 'M'), ns = axes_of(n, 'N'), ks = axes_of(n, 'K');
  const DType in_type = precision_;
  const int64_t bytes = storage_bytes(in_type, 1);
  const int64_t most_moving = chip_.matrix.max_moving > 0 ? std::min(bank_columns(), chip_.matrix.max_moving) : bank_columns();
  const Expression x = expression(s);

  // ---- weights: [chunk of features][row][tile of K][feature], so that a chunk is one transfer of contiguous rows
  const int64_t k_rows = p.k_axis < 0 ? 1 : std::min(partitions_, n.extents[static_cast<size_t>(p.k_axis)]);
  int64_t k_tiles = p.k_axis < 0 ? 1 : ceil_div(n.extents[static_cast<size_t>(p.k_axis)], partitions_);
  for (const int a : ks)
    if (a != p.k_axis) k_tiles *= n.extents[static_cast<size_t>(a)];
  int64_t features = 1, inner_features = 1;
  for (const int a : ns) features *= n.extents[static_cast<size_t>(a)];
  for (size_t i = 1; i < ns.size(); ++i) inner_features *= n.extents[static_cast<size_t>(ns[i])];
  const int64_t outer_features = ns.empty() ? 1 : n.extents[static_cast<size_t>(ns[0])];
  int64_t chunk = outer_features;  // of the outermost feature axis
  if (p.weight) {
    const int64_t column_bytes = k_tiles * inner_features * bytes;
    int64_t unit = inner_features > 1 ? 1 : std::min(outer_features, p.features ? chip_.matrix.cols : most_moving);
    while (unit > chip_.matrix.cols && unit * column_bytes > budget_ / 10) unit = ceil_div(unit, 2);
    const int64_t want = budget_ / 12, most = budget_ / 4;
    chunk = std::max<int64_t>(unit, want / std::max<int64_t>(column_bytes, 1) / unit * unit);
    while (chunk > 1 && chunk * column_bytes > most) chunk = ceil_div(chunk, 2);
    chunk = std::min(chunk, outer_features);
    chunk = ceil_div(outer_features, ceil_div(outer_features, chunk));
    if (unit > 1 && chunk > unit) chunk = std::min(outer_features, ceil_div(chunk, unit) * unit);
  }
  const int64_t chunks = ceil_div(outer_features, chunk);
  const int64_t chunk_columns = chunk * inner_features;
  const bool keep_all = p.weight && (resident_ || chunks * chunk_columns * k_tiles * bytes <= budget_ / 3);
  std::vector<int32_t> pieces(static_cast<size_t>(chunks), -1);
  int32_t weight_main = -1;
  if (p.weight) weight_main = arrange_weight(n, p.k_axis, ks, ns, k_rows, chunk, chunks, in_type, pieces);
  const auto piece = [&](int64_t c) {
    int32_t& id = pieces[static_cast<size_t>(c)];
    if (id >= 0) return id;
    id = take("weights", in_type, k_rows, k_tiles * chunk_columns, true);
    if (id < 0) {  // the other chunks are loaded again when they are needed
      for (int32_t& other : pieces)
        if (other >= 0) emit_.release(other), other = -1;
      id = take("weights", in_type, k_rows, k_tiles * chunk_columns);
    }
    Pattern in, out;
    in.buffer = weight_main;
    in.offset = c * k_rows * k_tiles * chunk_columns;
    in.add(k_rows, k_tiles * chunk_columns), out.add(k_rows, k_tiles * chunk_columns);
    in.add(k_tiles * chunk_columns, 1), out.add(k_tiles * chunk_columns, 1);
    out.buffer = id;
    transfer(out, in, kWeights);
    return id;
  };
  const auto drop_piece = [&](int64_t c) {
    if (resident_ || pieces[static_cast<size_t>(c)] < 0) return;
    emit_.release(pieces[static_cast<size_t>(c)]);
    pieces[static_cast<size_t>(c)] = -1;
  };

  // ---- blocks of rows, when x or the result is not whole in the scratchpad
  Target out = target(out_item, n.operands[2].placement);
  const Placement px = n.operands[0].placement;
  const int64_t x_bytes = place_bytes(n.operands[0].total, px, in_type);
  const auto x_held = [&] {
    for (const Held& h : item(n.operands[0].item).local)
      if (h.placement == px && h.dtype == in_type) return true;
    return false;
  };
  int64_t unheld = x_held() ? 0 : x_bytes;  // bytes of a partition that are still to come
  for (size_t e = 3; e < n.operands.size(); ++e) {
    const Operand& o = n.operands[e];
    if (item(o.item).weight) continue;
    const auto& local = item(o.item).local;
    if (std::none_of(local.begin(), local.end(), [&](const Held& h) { return h.placement == o.placement && h.dtype == operand_type(o); })) unheld += place_bytes(o.total, o.placement, operand_type(o));
  }
  bool streamed = out.image >= 0 || unheld > budget_ / 4;
  Box all = n.all();
  std::vector<Box> blocks{all};
  if (streamed && !ms.empty()) {
    int64_t rows = 1;
    for (const int a : ms) rows *= n.extents[static_cast<size_t>(a)];
    const int64_t y_bytes = place_bytes(n.operands[2].total, n.operands[2].placement, item(out_item).dtype);
    const bool narrow = !p.weight && place_bytes(n.operands[1].total, n.operands[1].placement, in_type) > budget_ / 4;  // features come in blocks too
    const double need = static_cast<double>(unheld + (out.image >= 0 && !narrow ? y_bytes : 0));
    const double parts = std::max(1.0, need / (static_cast<double>(budget_) / 5));
    int64_t most = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(rows) / parts));
    const int64_t unit = p.features ? most_moving : partitions_;
    if (most > unit) most = most / unit * unit;
    std::vector<int> outer = bs;
    outer.insert(outer.end(), ms.begin(), ms.end());
    blocks = boxes(n, all, outer, most, [&](int a) { return n.tags[static_cast<size_t>(a)] == 'B'; }, unit);
  }
  // features that are no weight and too many to lie in the scratchpad at once
  if (!p.weight && !ns.empty()) {
    const Operand& o = n.operands[1];
    const int64_t f_bytes = place_bytes(o.total, o.placement, in_type);
    const auto& local = item(o.item).local;
    const bool held = std::any_of(local.begin(), local.end(), [&](const Held& h) { return h.placement == o.placement && h.dtype == in_type; });
    if (!held && f_bytes > budget_ / 4) {
      streamed = true;
      const int64_t unit = p.features ? chip_.matrix.cols : most_moving;
      const auto fits_in = static_cast<int64_t>(static_cast<double>(features) * static_cast<double>(budget_) / 6 / static_cast<double>(f_bytes));
      std::vector<Box> parts;
      for (const Box& by_n : boxes(n, all, ns, std::max(unit, fits_in / unit * unit), [](int) { return false; }, unit))
        for (Box b : blocks) {
          for (const int a : ns) b.start[static_cast<size_t>(a)] = by_n.start[static_cast<size_t>(a)], b.size[static_cast<size_t>(a)] = by_n.size[static_cast<size_t>(a)];
          parts.push_back(b);
        }
      blocks = std::move(parts);
    }
  }
  // a result whose rows alone are too long goes out a chunk of features at a time
  bool by_chunk = false;
  if (out.image >= 0 && p.weight && !ns.empty() && chunks > 1) {
    int64_t widest = 0;
    for (const Box& b : blocks) {
      const Window w = window(n.operands[2], b);
      widest = std::max(widest, (ceil_div(w.q1, partitions_) - w.q0 / partitions_) * (w.outer1 - w.outer0) * (w.inner1 - w.inner0));
    }
    if (storage_bytes(item(out_item).dtype, widest) > budget_ / 4) {
      by_chunk = true;
      std::vector<Box> parts;
      const auto a = static_cast<size_t>(ns[0]);
      for (int64_t c = 0; c < chunks; ++c)
        for (Box b : blocks) {
          b.start[a] = c * chunk;
          b.size[a] = std::min(chunk, outer_features - c * chunk);
          parts.push_back(b);
        }
      blocks = std::move(parts);
    }
  }
  choice(std::string("stationary=") + (p.features ? "features" : "rows") + (streamed ? " blocks=" + std::to_string(blocks.size()) : "") +
         (p.weight ? (resident_ ? " weights=resident" : " weights=" + std::to_string(chunks) + (keep_all ? "" : " each block")) : ""));

  Place kept;  // features of the last block, which the next one may share
  std::vector<int32_t> kept_buffers;
  Window kept_window;
  const auto drop_kept = [&] {
    for (const int32_t b : kept_buffers) emit_.release(b);
    kept_buffers.clear();
    kept = {};
  };
  for (const Box& block : blocks) {
    const auto place_of = [&](size_t operand_index, DType t) {
      const Operand& o = n.operands[operand_index];
      if (!streamed) return hold(o.item, o.placement, t);
      const Window w = window(o, block);
      return hold(o.item, o.placement, t, &w);
    };
    Place xp = place_of(0, in_type), fp;
    if (!p.weight) {
      const Window w = window(n.operands[1], block);
      const bool same = kept.buffer >= 0 && w.q0 == kept_window.q0 && w.q1 == kept_window.q1 && w.outer0 == kept_window.outer0 && w.outer1 == kept_window.outer1 &&
                        w.inner0 == kept_window.inner0 && w.inner1 == kept_window.inner1;
      if (!same) {
        drop_kept();
        const size_t before = temporaries_.size();
        kept = place_of(1, in_type);
        kept_window = w;
        kept_buffers.assign(temporaries_.begin() + static_cast<std::ptrdiff_t>(before), temporaries_.end());
        temporaries_.resize(before);
      }
      fp = kept;
    }
    const Place yp = target_block(out, out_item, n.operands[2].placement, window(n.operands[2], block));
    std::vector<Place> ep;
    for (size_t e = 3; e < n.operands.size(); ++e) ep.push_back(hold_operand(n.operands[e], streamed ? &block : nullptr));
    const Operand &ox = n.operands[0], &of = n.operands[1], &oy = n.operands[2];
    // tiles of K, the same for every tile of the result
    std::vector<Box> k_boxes = row_boxes(n, 0, xp, block, ks, p.k_axis);
    const auto tile = [&](const Box& at, int64_t c) {  // one tile of the result: at = box over B, M, N
      const std::vector<int>& free_axes = p.features ? ms : ns;
      std::vector<int> free;
      int64_t columns = 1;
      for (const int a : free_axes) {
        free.push_back(a);
        columns *= at.size[static_cast<size_t>(a)];
      }
      const int64_t rows = p.out_axis < 0 ? 1 : at.size[static_cast<size_t>(p.out_axis)];
      const int32_t sum = accumulator(DType::f32, rows, columns);
      Source psum;
      psum.pattern.buffer = sum;
      psum.dtype = DType::f32;
      psum.accumulator = true;
      psum.pattern.add(rows, columns);
      int64_t left = columns;
      for (const int a : free) {
        left /= at.size[static_cast<size_t>(a)];
        psum.pattern.add(at.size[static_cast<size_t>(a)], left);
      }
      for (size_t t = 0; t < k_boxes.size(); ++t) {
        Box b = at;
        for (const int a : ks) b.start[static_cast<size_t>(a)] = k_boxes[t].start[static_cast<size_t>(a)], b.size[static_cast<size_t>(a)] = k_boxes[t].size[static_cast<size_t>(a)];
        const int64_t depth = p.k_axis < 0 ? 1 : b.size[static_cast<size_t>(p.k_axis)];
        Pattern px_, pf_;
        const auto side = [&](bool of_x) {  // rows of K, then the axes of this side
          const std::vector<int>& axes = of_x ? ms : ns;
          if (of_x || !p.weight) {
            const Operand& o = of_x ? ox : of;
            const Place& at_place = of_x ? xp : fp;
            return pattern(o, at_place, b, p.k_axis, axes, pitch(at_place), partitions_, 0, depth);
          }
          Pattern w;
          w.buffer = pieces[static_cast<size_t>(c)];
          w.offset = static_cast<int64_t>(t) * chunk_columns;
          w.add(depth, k_tiles * chunk_columns);
          int64_t stride = chunk_columns;
          for (size_t i = 0; i < ns.size(); ++i) {
            const auto a = static_cast<size_t>(ns[i]);
            stride /= i == 0 ? chunk : n.extents[a];
            w.offset += (b.start[a] - (i == 0 ? c * chunk : 0)) * stride;
            w.add(b.size[a], stride);
          }
          return w;
        };
        px_ = side(true);
        pf_ = side(false);
        const Pattern &moving = p.features ? px_ : pf_, &stationary = p.features ? pf_ : px_;
        const Cut pair = cut({psum.pattern, moving, {}, {}, {}}, Access::kMostDims);
        if (pair.pieces.size() != 1) fail_internal("mapping a product", "a moving operand of at most four free dimensions", "more");
        Instruction i;
        i.op = Opcode::matmul;
        i.work = WorkClass::matmul;
        i.queue = emit_.matrix();
        i.accumulate = t > 0;
        i.out = pair.pieces[0][0];
        i.in[1] = pair.pieces[0][1];
        i.in[0] = cut({stationary, {}, {}, {}, {}}, Access::kMostDims).pieces[0][0];
        emit_.emit(i);
      }
      const Source to{pattern(oy, yp, at, p.out_axis, free, pitch(yp), partitions_, 0, rows), item(out_item).dtype, false, false};
      const int64_t row0 = to.pattern.offset / pitch(yp);
      evaluate(x, to,
               [&](const Term& t) {
                 if (t.leaf == Term::anchor) return psum;
                 const size_t e = static_cast<size_t>(t.index);
                 return leaf_source(n.operands[e + 3], ep[e], at, p.out_axis, free, row0, rows);
               },
               &psum);
      emit_.release(sum);
    };
    // order: rows outside, so that what follows may begin; or, when weights do not stay, chunks of them outside
    const auto chunk_box = [&](Box b, int64_t c) {
      if (ns.empty() || !p.weight) return b;
      const auto a = static_cast<size_t>(ns[0]);
      b.start[a] = c * chunk;
      b.size[a] = std::min(chunk, outer_features - c * chunk);
      return b;
    };
    const auto single = [&](int a) {
      const auto u = static_cast<size_t>(a);
      if (n.extents[u] == 1) return false;
      if (free_stride(oy.digits[u], yp, partitions_) < 0) return true;
      if (n.tags[u] == 'M' && free_stride(ox.digits[u], xp, partitions_) < 0) return true;
      return n.tags[u] == 'N' && !p.weight && free_stride(of.digits[u], fp, partitions_) < 0;
    };
    std::vector<Box> batches = boxes(n, block, bs, 1, [](int) { return true; });
    const auto over_rows = [&](const Box& b, const std::function<void(const Box&)>& then) {
      if (p.features)
        for (const Box& t : boxes(n, b, ms, most_moving, single)) then(t);
      else
        for (const Box& t : row_boxes(n, 2, yp, b, ms, p.out_axis)) then(t);
    };
    const auto over_features = [&](const Box& b, int64_t c) {
      if (p.features)
        for (const Box& t : row_boxes(n, 2, yp, b, ns, p.out_axis)) {
          tile(t, c);
        }
      else
        for (const Box& t : boxes(n, b, ns, most_moving, single)) tile(t, c);
    };
    for (const Box& batch : batches) {
      if (by_chunk) {
        const int64_t c = block.start[static_cast<size_t>(ns[0])] / chunk;
        if (c > 0 && !keep_all) drop_piece(c - 1);
        piece(c);
        over_rows(batch, [&](const Box& b) { over_features(b, c); });
      } else if (keep_all || !p.weight) {
        over_rows(batch, [&](const Box& rows_box) {
          for (int64_t c = 0; c < chunks; ++c) {
            if (p.weight) piece(c);
            over_features(chunk_box(rows_box, c), c);
          }
        });
      } else {
        for (int64_t c = 0; c < chunks; ++c) {
          piece(c);
          over_rows(chunk_box(batch, c), [&](const Box& b) { over_features(b, c); });
          drop_piece(c);
        }
      }
    }
    target_done(out, out_item, n.operands[2].placement, yp);
    done();
  }
  drop_kept();
  for (int64_t c = 0; c < chunks; ++c) drop_piece(c);
}

}  // namespace bascule::device::chip::neuron
