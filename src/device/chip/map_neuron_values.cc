// device/chip/map_neuron_values.cc — where values are: copies in the scratchpad by placement, images in main memory, loads and stores between them. Copies
// that are not in use move out when room is needed. Changes of placement: map_neuron_relayout.cc.
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_neuron.h"

namespace bascule::device::chip::neuron {
namespace {


// Element strides in main memory of a partition row, a tile of rows, an outer; inner elements lie side by side.
struct Image {
  int64_t row = 1, tile = 1, outer = 1;
};
Image dense_image(Placement p, int64_t partitions) { return {p.inner, partitions * p.inner, p.extent * p.inner}; }
Image placed_image(Placement p, int64_t total, int64_t partitions) {
  const int64_t columns = total / p.extent;
  return {columns, partitions * columns, p.inner};
}
Image weight_layout(Placement p, int64_t total, int64_t partitions) {
  const int64_t columns = total / p.extent;
  return {columns * ceil_div(p.extent, partitions), columns, p.inner};
}

}  // namespace

int64_t Mapper::place_bytes(int64_t total, Placement p, DType dtype) const {
  return storage_bytes(dtype, p.replicated() ? total : ceil_div(p.extent, partitions_) * (total / p.extent));
}

Window Mapper::all_of(Placement p, int64_t total) const {
  if (p.replicated()) return {0, 1, 0, 1, 0, total};
  return {0, p.extent, 0, total / (p.inner * p.extent), 0, p.inner};
}

bool Mapper::covers_all(const Window& w, Placement p, int64_t total) const {
  const Window a = all_of(p, total);
  return w.q0 <= 0 && w.q1 >= a.q1 && w.outer0 <= 0 && w.outer1 >= a.outer1 && w.inner0 <= 0 && w.inner1 >= a.inner1;
}

// The digits that an operand touches inside a box.
Window Mapper::window(const Operand& o, const Box& box) const {
  const Placement p = o.placement;
  int64_t low[3] = {o.offset, 0, 0};
  if (!p.replicated()) {
    low[0] = o.offset % p.inner;
    low[1] = o.offset / p.inner % p.extent;
    low[2] = o.offset / (p.inner * p.extent);
  }
  int64_t high[3] = {low[0], low[1], low[2]};
  for (size_t a = 0; a < o.digits.size(); ++a) {
    const auto l = static_cast<size_t>(o.digits[a].level);
    low[l] += box.start[a] * o.digits[a].step;
    high[l] += (box.start[a] + box.size[a] - 1) * o.digits[a].step;
  }
  return {low[1], high[1] + 1, low[2], high[2] + 1, low[0], high[0] + 1};
}

int64_t Mapper::window_bytes(Placement p, const Window& w, DType dtype) const {
  const int64_t tiles = p.replicated() ? 1 : ceil_div(w.q1, partitions_) - w.q0 / partitions_;
  return storage_bytes(dtype, tiles * (w.outer1 - w.outer0) * (w.inner1 - w.inner0));
}

int32_t Mapper::take(const std::string& name, DType dtype, int64_t rows, int64_t columns, bool may_fail, bool weight) {
  for (;;) {
    const int32_t id = weight ? emit_.local_weight(Role::scratchpad, name, dtype, rows, columns) : emit_.local(Role::scratchpad, name, dtype, rows, columns);
    if (id >= 0 && weight) weight_room_ += (std::max<int64_t>(emit_.buffer(id).row_bytes(), 1) + 7) / 8 * 8;
    if (id >= 0) return id;
    if (!move_out()) break;
  }
  if (may_fail) return -1;
  cramped_ = now_;
  fail_capacity("chip:" + chip_.name + ": " + emit_.step().name, std::to_string(storage_bytes(dtype, columns)) + " bytes of each partition for '" + name + "'",
                std::to_string(emit_.largest_free(Role::scratchpad)) + " of " + std::to_string(capacity_) + " free in one piece",
                "Take a smaller batch or shorter inputs");
}

// Frees the copy that is needed last and not by this step; its value is stored first if there is no other copy.
bool Mapper::move_out() {
  Item* best = nullptr;
  size_t which = 0;
  int64_t score = -1;
  for (Item& it : items_)
    for (size_t k = 0; k < it.local.size(); ++k) {
      if (it.local[k].used == now_ || (it.weight && resident_)) continue;
      const auto next = std::lower_bound(it.uses.begin(), it.uses.end(), now_);
      const bool kept = it.weight || it.main >= 0 || !it.images.empty();
      const int64_t s = (next == it.uses.end() ? int64_t{1} << 40 : int64_t{*next} - now_) * 2 + (kept ? 1 : 0);
      if (s > score) score = s, best = &it, which = k;
    }
  if (!best) return false;
  Held h = best->local[which];
  const bool needed = !best->uses.empty() && best->uses.back() >= now_;
  const bool typed_copy = std::any_of(best->local.begin(), best->local.end(), [&](const Held& o) { return &o != &best->local[which] && o.dtype == best->dtype; });
  if ((needed || best->output) && !best->weight && best->main < 0 && best->images.empty() && !typed_copy) {
    const int32_t image = main_room(best->name, h.dtype, best->total);
    store(h.place, h.placement, best->total, image, true);
    spilled_ = true;
    best->images.push_back({h.placement, {.buffer = image, .in_main = true}, h.dtype, now_});
  }
  best->local.erase(best->local.begin() + static_cast<std::ptrdiff_t>(which));
  emit_.release(h.place.buffer);
  return true;
}

Place Mapper::room(const std::string& name, int64_t total, Placement p, DType dtype, const Window* w, bool may_fail) {
  const Window a = w ? *w : all_of(p, total);
  Place at;
  if (p.replicated()) {
    at.inner0 = a.inner0;
    at.inners = a.inner1 - a.inner0;
    at.buffer = take(name, dtype, partitions_, at.inners, may_fail);
    return at;
  }
  at.tile0 = a.q0 / partitions_;
  at.outer0 = a.outer0;
  at.outers = a.outer1 - a.outer0;
  at.inner0 = a.inner0;
  at.inners = a.inner1 - a.inner0;
  const int64_t tiles = ceil_div(a.q1, partitions_) - at.tile0;
  at.buffer = take(name, dtype, std::min(partitions_, p.extent), tiles * at.outers * at.inners, may_fail);
  return at;
}

void Mapper::done() { release_from(0); }

void Mapper::release_from(size_t first) {
  for (size_t i = first; i < temporaries_.size(); ++i) emit_.release(temporaries_[i]);
  temporaries_.resize(std::min(first, temporaries_.size()));
}

Place Mapper::whole(int32_t item_index, Placement p, DType dtype) {
  Item& it = item(item_index);
  for (Held& h : it.local)
    if (h.placement == p && h.dtype == dtype) {
      h.used = now_;
      return h.place;
    }
  for (Held& h : it.local) h.used = now_;  // a source must not move out while its copy is made
  Place at;
  if (it.weight && resident_) {
    const Window a = all_of(p, it.total);
    at.outers = a.outer1;
    at.inners = a.inner1;
    at.buffer = weight_image(item_index, p, dtype);
    it.local.push_back({p, at, dtype, now_});
    return at;
  }
  at = room(it.name, it.total, p, dtype, nullptr, true);
  if (at.buffer < 0) return at;
  fill_place(item_index, p, dtype, at);
  items_[static_cast<size_t>(item_index)].local.push_back({p, at, dtype, now_});
  return at;
}

Place Mapper::hold(int32_t item_index, Placement p, DType dtype, const Window* w) {
  Item& it = item(item_index);
  for (Held& h : it.local)
    if (h.placement == p && h.dtype == dtype) {
      h.used = now_;
      return h.place;
    }
  if (!w || covers_all(*w, p, it.total) || place_bytes(it.total, p, dtype) <= budget_ / 6 || (it.weight && resident_)) {
    const Place at = whole(item_index, p, dtype);
    if (at.buffer >= 0) return at;
  }
  const Window all = all_of(p, it.total);
  Place at = room(it.name, it.total, p, dtype, w ? w : &all, false);
  at.temporary = true;
  temporaries_.push_back(at.buffer);
  fill_place(item_index, p, dtype, at);
  return at;
}

// The placement that loads in long pieces what `p` would load element by element: rows lie along the free dimension, to be turned afterwards. p itself when
// that is no gain.
Placement Mapper::lying_of(Placement p, int64_t total) const {
  constexpr int64_t kLeastElements = 2048;
  return p.inner == 1 && p.extent > 1 && p.extent < total && total >= kLeastElements ? Placement{p.extent, total / p.extent} : p;
}

// Fills a block with what a buffer of main memory holds (dense, or an image of `via`): loaded as `via`, then converted. False: these two do not divide alike.
bool Mapper::load_turned(int32_t main_buffer, bool image_of_via, Placement via, DType type, Placement p, const Place& at, int64_t total) {
  if (!turns(type)) return false;
  Nest n;
  n.extents = {total};
  n.tags = {'x'};
  n.operands.resize(2);
  n.operands[0].placement = p;
  n.operands[1].placement = via;
  for (Operand& o : n.operands) o.total = total, o.strides = {1};
  if (!n.refine()) return false;
  const Window w = window(n.operands[1], cover(boxes_of(n, 0, at)));
  if (window_bytes(via, w, type) > most_middle()) return false;  // far apart there
  const Place middle = room(emit_.buffer(main_buffer).name, total, via, type, &w, false);
  temporaries_.push_back(middle.buffer);
  load_dense(main_buffer, total, via, middle, kLoads, image_of_via);
  convert(via, middle, p, at, total);
  return true;
}

void Mapper::fill_place(int32_t item_index, Placement p, DType dtype, const Place& at) {
  const int64_t total = item(item_index).total;
  if (item(item_index).weight) return load_weight(item_index, p, dtype, at);
  const DType own = item(item_index).dtype;
  if (!p.replicated()) {
    for (const Held& h : item(item_index).images)
      if (h.placement == p && h.dtype == dtype) return load_dense(h.place.buffer, total, p, at, kLoads, true);
    const Held* best = nullptr;
    for (const Held& h : item(item_index).local)
      if (!h.placement.replicated() && (!best || h.placement == p)) best = &h;
    if (best) {
      const Held from = *best;
      return convert(from.placement, from.place, p, at, total);
    }
    const bool cast = own != dtype;
    const bool direct = item(item_index).main >= 0 && lying_of(p, total) == p;  // dense rows come in long pieces
    const Held* image = direct || item(item_index).images.empty() ? nullptr : &item(item_index).images.front();
    const Placement via = image ? image->placement : lying_of(p, total);
    const DType between = image ? image->dtype : own;
    if ((via != p || cast) && load_turned(image ? image->place.buffer : in_main(item_index), image != nullptr, via, between, p, at, total)) return;
  }
  load_dense(in_main(item_index), total, p, at, kLoads);
}

// Between a block in the scratchpad and main memory, dense there or an image of the placement.
void Mapper::load_dense(int32_t main_buffer, int64_t total, Placement p, const Place& at, Channel channel, bool image_of_placement) {
  const int64_t width = pitch(at);
  Pattern in, out;
  in.buffer = main_buffer;
  out.buffer = at.buffer;
  if (p.replicated()) {
    in.offset = at.inner0;
    in.add(partitions_, 0);
    in.add(at.inners, 1);
    out.add(partitions_, width);
    out.add(at.inners, 1);
    return transfer(out, in, channel);
  }
  const Image image = image_of_placement ? placed_image(p, total, partitions_) : dense_image(p, partitions_);
  const int64_t block = at.outers * at.inners, tiles = width / block;
  for (int64_t t = 0; t < tiles;) {
    const int64_t rows = std::min(partitions_, p.extent - (at.tile0 + t) * partitions_);
    const int64_t together = rows < partitions_ ? 1 : std::max<int64_t>(1, std::min(tiles - t, p.extent / partitions_ - at.tile0 - t));
    in = out = {};
    in.buffer = main_buffer;
    out.buffer = at.buffer;
    in.offset = (at.tile0 + t) * image.tile + at.outer0 * image.outer + at.inner0;
    out.offset = t * block;
    in.add(rows, image.row), out.add(rows, width);
    in.add(together, image.tile), out.add(together, block);
    in.add(at.outers, image.outer), out.add(at.outers, at.inners);
    in.add(at.inners, 1), out.add(at.inners, 1);
    transfer(out, in, channel);
    t += together;
  }
}

void Mapper::store(const Place& from, Placement p, int64_t total, int32_t main_buffer, bool image_of_placement) {
  const int64_t width = pitch(from);
  const Image image = image_of_placement ? placed_image(p, total, partitions_) : dense_image(p, partitions_);
  const int64_t block = from.outers * from.inners, tiles = width / block;
  for (int64_t t = 0; t < tiles;) {
    const int64_t rows = std::min(partitions_, p.extent - (from.tile0 + t) * partitions_);
    const int64_t together = rows < partitions_ ? 1 : std::max<int64_t>(1, std::min(tiles - t, p.extent / partitions_ - from.tile0 - t));
    Pattern in, out;
    out.buffer = main_buffer;
    in.buffer = from.buffer;
    out.offset = (from.tile0 + t) * image.tile + from.outer0 * image.outer + from.inner0;
    in.offset = t * block;
    in.add(rows, width), out.add(rows, image.row);
    in.add(together, block), out.add(together, image.tile);
    in.add(from.outers, from.inners), out.add(from.outers, image.outer);
    in.add(from.inners, 1), out.add(from.inners, 1);
    transfer(out, in, kStores);
    t += together;
  }
}

// The boxes over the axes of a nest that make up a block of an operand exactly.
std::vector<Box> Mapper::boxes_of(const Nest& n, size_t operand_index, const Place& at) const {
  const Operand& o = n.operands[operand_index];
  const Placement p = o.placement;
  const int64_t tiles = pitch(at) / (at.outers * at.inners);
  const int64_t low[3] = {at.inner0, at.tile0 * partitions_, at.outer0};
  const int64_t high[3] = {at.inner0 + at.inners, std::min(p.extent, (at.tile0 + tiles) * partitions_), at.outer0 + at.outers};
  std::vector<Box> out{n.all()};
  for (int level = 0; level < 3; ++level) {
    std::vector<size_t> axes;  // outermost first
    for (size_t a = 0; a < n.extents.size(); ++a)
      if (o.digits[a].level == static_cast<Level>(level) && o.digits[a].step > 0) axes.push_back(a);
    std::sort(axes.begin(), axes.end(), [&](size_t a, size_t b) { return o.digits[a].step > o.digits[b].step; });
    std::vector<Box> next;
    for (const Box& from : out) {
      Box b = from;
      const std::function<void(size_t, int64_t, int64_t)> part = [&](size_t k, int64_t w0, int64_t w1) {
        if (k == axes.size()) {
          next.push_back(b);
          return;
        }
        const size_t a = axes[k];
        const int64_t step = o.digits[a].step, whole = step * n.extents[a];
        if (w0 <= 0 && w1 >= whole) return part(k + 1, 0, step);
        if (w0 % step == 0 && w1 % step == 0) {
          b.start[a] = w0 / step;
          b.size[a] = w1 / step - w0 / step;
          part(k + 1, 0, step);
        } else {
          for (int64_t i = w0 / step; i * step < w1; ++i) {
            b.start[a] = i;
            b.size[a] = 1;
            part(k + 1, std::max<int64_t>(0, w0 - i * step), std::min(step, w1 - i * step));
          }
        }
        b.start[a] = 0;
        b.size[a] = n.extents[a];
      };
      part(0, low[level], high[level]);
    }
    out = std::move(next);
  }
  return out;
}

// The smallest box around boxes.
Box Mapper::cover(const std::vector<Box>& boxes) const {
  Box r = boxes.front();
  for (const Box& b : boxes)
    for (size_t a = 0; a < r.start.size(); ++a) {
      const int64_t end = std::max(r.start[a] + r.size[a], b.start[a] + b.size[a]);
      r.start[a] = std::min(r.start[a], b.start[a]);
      r.size[a] = end - r.start[a];
    }
  return r;
}

// Windows that fit (of one column at least), which make up the whole. Whole tiles of partitions, of columns too where there are more.
std::vector<Window> Mapper::windows(Placement p, int64_t total, const std::function<bool(const Window&)>& fit) const {
  const Window all = all_of(p, total);
  Window w = all;
  const auto half = [&](int64_t n) { return n > partitions_ ? ceil_div(ceil_div(n, 2), partitions_) * partitions_ : ceil_div(n, 2); };
  while (!fit(w)) {
    if (w.q1 > partitions_) w.q1 = half(w.q1);
    else if (w.outer1 > 1) w.outer1 = ceil_div(w.outer1, 2);
    else if (w.inner1 > 1) w.inner1 = half(w.inner1);
    else break;
  }
  std::vector<Window> out;
  for (int64_t o = 0; o < all.outer1; o += w.outer1)
    for (int64_t r = 0; r < all.q1; r += w.q1)
      for (int64_t i = 0; i < all.inner1; i += w.inner1)
        out.push_back({r, std::min(all.q1, r + w.q1), o, std::min(all.outer1, o + w.outer1), i, std::min(all.inner1, i + w.inner1)});
  return out;
}

// Room of activations in main memory goes to others of the same size only: where it once was no weight may lie.
int32_t Mapper::main_room(const std::string& name, DType dtype, int64_t elements) {
  auto& free = free_main_[{dtype, elements}];
  if (free.empty()) return emit_.main(name, Buffer::activation, dtype, elements);
  const int32_t id = free.back();
  free.pop_back();
  return id;
}
void Mapper::main_free(int32_t buffer) {
  const Buffer& b = emit_.buffer(buffer);
  if (b.use == Buffer::activation && !b.value) free_main_[{b.dtype, b.row_elements}].push_back(buffer);
}
int32_t Mapper::main_for(int32_t item_index) {
  const Item& it = item(item_index);
  return it.output ? emit_.main(it.name, Buffer::output, it.dtype, it.total, it.value) : main_room(it.name, it.dtype, it.total);
}

// An item of this step alone, stored as `like` is.
int32_t Mapper::new_item(int32_t like, int64_t total) {
  Item it;
  it.name = item(like).name;
  it.dtype = item(like).dtype;
  it.total = total;
  items_.push_back(std::move(it));
  items_.back().uses = {now_};
  return static_cast<int32_t>(items_.size()) - 1;
}

int32_t Mapper::in_main(int32_t item_index) {
  if (item(item_index).main >= 0) return item(item_index).main;
  Item& it = item(item_index);
  if (it.weight) {
    it.main = emit_.main(it.name, Buffer::weight, it.dtype, it.total, it.value);
    return it.main;
  }
  const int32_t dense = main_for(item_index);
  if (it.total == 0) return it.main = dense;
  // Through the scratchpad, in long pieces where it can be turned: rows and columns of what lies there change sides.
  const auto relay = [&](Placement lies) {
    const int64_t total = item(item_index).total;
    const DType dtype = item(item_index).dtype;
    const Placement p = turns(dtype) ? lying_of(lies, total) : lies;
    const auto fit = [&](const Window& w) {
      return window_bytes(p, w, dtype) <= budget_ / 3 && (p == lies || window_bytes(lies, {w.inner0, w.inner1, w.q0, w.q1, 0, 1}, dtype) <= most_middle());
    };
    for (const Window& w : windows(p, total, fit)) {
      const size_t before = temporaries_.size();
      store(hold(item_index, p, dtype, &w), p, total, dense, false);
      release_from(before);
    }
    item(item_index).main = dense;
    return dense;
  };
  for (const Held& h : it.images)
    if (h.place.buffer >= 0) return relay(h.placement);
  const Held* best = nullptr;
  for (const Held& h : it.local) {
    if (h.placement.replicated() || h.dtype != it.dtype) continue;
    if (!best || h.placement.inner > best->placement.inner) best = &h;
  }
  if (!best && it.local.empty()) fail_internal("mapping value '" + escaped(it.name) + "'", "a copy of it", "none");
  const Placement lies = best ? best->placement : it.local.front().placement;
  if (!best || lying_of(lies, it.total) != lies) return relay(lies);
  const Held from = *best;
  store(from.place, from.placement, it.total, dense, false);
  item(item_index).main = dense;
  return dense;
}

// A weight in an arrangement whose first `outer` dimensions number its pieces [rows, columns]: the buffer in main memory, or, resident, all pieces.
int32_t Mapper::arranged(int32_t item_index, Arrangement a, size_t outer, DType dtype, int64_t rows, int64_t columns, std::vector<int32_t>& pieces) {
  Program& program = emit_.program();
  const Item& it = item(item_index);
  std::string key = std::to_string(item_index) + "/" + std::to_string(a.offset) + "/" + std::to_string(outer) + "/" + std::to_string(static_cast<int>(dtype));
  for (size_t k = 0; k < a.dims.size(); ++k) key += "," + std::to_string(a.dims[k]) + "x" + std::to_string(a.strides[k]);
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
      at->second = emit_.main(it.name, Buffer::weight, dtype, static_cast<int64_t>(pieces.size()) * rows * columns, it.value);
      describe(at->second, std::move(a));
    }
    return at->second;
  }
  for (size_t p = 0; p < pieces.size(); ++p) {
    const auto [at, made] = arranged_.try_emplace(key + "#" + std::to_string(p), -1);
    if (made) {
      at->second = take(it.name, dtype, rows, columns, false, true);
      Arrangement part = a;
      auto index = static_cast<int64_t>(p);
      for (size_t k = outer; k-- > 0;) {
        part.offset += index % a.dims[k] * a.strides[k];
        part.dims[k] = 1;
        index /= a.dims[k];
      }
      describe(at->second, std::move(part));
    }
    pieces[p] = at->second;
  }
  return -1;
}

int32_t Mapper::weight_image(int32_t item_index, Placement p, DType dtype) {
  const int64_t total = item(item_index).total;
  Arrangement a;
  int64_t rows = partitions_, columns = total;
  if (!p.replicated()) {
    rows = std::min(partitions_, p.extent);
    const int64_t tiles = ceil_div(p.extent, partitions_), outers = total / (p.inner * p.extent);
    columns = tiles * outers * p.inner;
    a.dims = {rows, tiles, outers, p.inner};
    a.strides = {p.inner, partitions_ * p.inner, p.extent * p.inner, 1};
  } else if (resident_) {
    a.dims = {partitions_, total};
    a.strides = {0, 1};
  } else {
    a.dims = {total};
    a.strides = {1};
    rows = 1;
  }
  std::vector<int32_t> whole{-1};
  const int32_t main = arranged(item_index, std::move(a), 0, dtype, rows, columns, whole);
  return resident_ ? whole.front() : main;
}

void Mapper::load_weight(int32_t item_index, Placement p, DType dtype, const Place& at) {
  const int32_t main = weight_image(item_index, p, dtype);
  const int64_t total = item(item_index).total, width = pitch(at);
  if (p.replicated()) return load_dense(main, total, p, at, kConstants);
  const Image image = weight_layout(p, total, partitions_);
  const int64_t block = at.outers * at.inners, tiles = width / block, rows = std::min(partitions_, p.extent);
  Pattern in, out;
  in.buffer = main;
  out.buffer = at.buffer;
  in.offset = at.tile0 * image.tile + at.outer0 * image.outer + at.inner0;
  in.add(rows, image.row), out.add(rows, width);
  in.add(tiles, image.tile), out.add(tiles, block);
  in.add(at.outers, image.outer), out.add(at.outers, at.inners);
  in.add(at.inners, 1), out.add(at.inners, 1);
  transfer(out, in, kConstants);
}

Mapper::Target Mapper::target(int32_t item_index, Placement p) {
  Item& it = item(item_index);
  Target t;
  if (place_bytes(it.total, p, it.dtype) <= budget_ * 2 / 5) {
    t.place = room(it.name, it.total, p, it.dtype, nullptr, true);
    if (t.place.buffer >= 0) {
      it.local.push_back({p, t.place, it.dtype, now_});
      return t;
    }
  }
  spilled_ = true;
  const bool dense = it.total == p.inner * p.extent;
  t.image = dense ? main_for(item_index) : main_room(it.name, it.dtype, it.total);
  it.images.push_back({p, {.buffer = t.image, .in_main = true}, it.dtype, now_});
  if (dense) it.main = t.image;
  return t;
}

Place Mapper::shape_of(const Target& t, const Operand& y) const {
  Place shape = t.place;
  if (t.image >= 0) {
    const Window w = all_of(y.placement, y.total);
    shape.outers = w.outer1;
    shape.inners = w.inner1;
  }
  return shape;
}

Place Mapper::target_block(Target& t, int32_t item_index, Placement p, const Window& w) {
  if (t.image < 0) return t.place;
  const Item& it = item(item_index);
  Place at = room(it.name, it.total, p, it.dtype, &w, false);
  at.temporary = true;
  return at;
}

void Mapper::target_done(const Target& t, const Nest& n, size_t operand, const Box& box, const Place& block) {
  if (t.image < 0) return;
  const Operand& y = n.operands[operand];
  // The block goes out as a whole if the box fills it, else what the box wrote: the rest may be another block's.
  const int64_t columns = block.outers * block.inners, tiles = pitch(block) / columns;
  int64_t written = 1;
  for (size_t a = 0; a < n.extents.size(); ++a)
    if (y.digits[a].step != 0) written *= box.size[a];
  if (written == columns * (std::min(y.placement.extent, (block.tile0 + tiles) * partitions_) - block.tile0 * partitions_)) store(block, y.placement, y.total, t.image, true);
  else store_box(n, operand, box, block, t.image);
  emit_.release(block.buffer);
}

void Mapper::store_box(const Nest& n, size_t operand, const Box& box, const Place& from, int32_t image_buffer) {
  const Operand& y = n.operands[operand];
  const Image image = placed_image(y.placement, y.total, partitions_);
  const int part = n.part_axis(operand);
  std::vector<int> singles, free;
  for (size_t a = 0; a < n.extents.size(); ++a) {
    const Digit& d = y.digits[a];
    if (static_cast<int>(a) == part || box.size[a] == 1 || d.step == 0) continue;
    (d.level == Level::part && d.step % partitions_ != 0 ? singles : free).push_back(static_cast<int>(a));
  }
  for (const Box& tile : row_boxes(n, operand, from, box, singles, part)) {
    const int64_t rows = part < 0 ? 1 : tile.size[static_cast<size_t>(part)];
    const Pattern in = pattern(y, from, tile, part, free, pitch(from), partitions_, 0, rows);
    int64_t at[3] = {y.offset % y.placement.inner, y.offset / y.placement.inner % y.placement.extent, y.offset / (y.placement.inner * y.placement.extent)};
    for (size_t a = 0; a < n.extents.size(); ++a) at[static_cast<size_t>(y.digits[a].level)] += tile.start[a] * y.digits[a].step;
    Pattern out;
    out.buffer = image_buffer;
    out.offset = at[0] + at[1] / partitions_ * image.tile + at[1] % partitions_ * image.row + at[2] * image.outer;
    out.add(rows, image.row);
    for (const int k : free) {
      const Digit& d = y.digits[static_cast<size_t>(k)];
      const int64_t stride = d.level == Level::inner ? d.step : d.level == Level::outer ? d.step * image.outer : d.step / partitions_ * image.tile;
      out.add(tile.size[static_cast<size_t>(k)], stride);
    }
    transfer(out, in, kStores);
  }
}

void Mapper::retire(int32_t step_index) {
  for (const int32_t k : dying_[static_cast<size_t>(step_index)]) {
    Item& it = item(k);
    if (it.weight) {
      if (!resident_)
        for (const Held& h : it.local) emit_.release(h.place.buffer);
      if (!resident_) it.local.clear();
      continue;
    }
    if (it.output && it.main < 0) in_main(k);
    forget(k);
  }
  done();
}

// Gives back the room of a value's copies.
void Mapper::forget(int32_t item_index) {
  Item& it = item(item_index);
  for (const Held& h : it.local) emit_.release(h.place.buffer);
  it.local.clear();
  for (const Held& h : it.images)
    if (h.place.buffer != it.main) main_free(h.place.buffer);
  it.images.clear();
  if (it.main >= 0 && emit_.buffer(it.main).use == Buffer::activation) {
    main_free(it.main);
    it.main = -1;
  }
}

}  // namespace bascule::device::chip::neuron
