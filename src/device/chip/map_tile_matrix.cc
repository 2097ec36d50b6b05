// device/chip/map_tile_matrix.cc — products as matrix instructions: how many passes of the arrays one takes, and contractions over boxes that fit, with what
// follows them on the vector engines.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {
namespace {

using loops::Op;
using Dim = Product::Dim;

// Neighbours of a group that all of its operands run through with one stride become one; sizes of 1 go.
void merge(std::vector<Dim>& dims) {
  std::vector<Dim> out;
  for (const Dim& d : dims) {
    if (d.size == 1) continue;
    if (!out.empty() && out.back().a == d.a * d.size && out.back().b == d.b * d.size && out.back().out == d.out * d.size) out.back() = {out.back().size * d.size, d.a, d.b, d.out};
    else out.push_back(d);
  }
  dims = std::move(out);
}

}  // namespace

double product_of(const Extents& x) {
  double p = 1;
  for (const int64_t d : x) p *= static_cast<double>(d);
  return p;
}

void TileMapper::product(Product p, double flops) {
  for (auto* g : {&p.batch, &p.m, &p.n, &p.k}) merge(*g);
  for (auto* g : {&p.m, &p.n, &p.k})
    if (g->empty()) g->push_back({1, 1, 1, 1});
  const size_t b = p.batch.size(), m = p.m.size(), n = p.n.size(), k = p.k.size(), most = Access::kMostDims;
  if (b + m + k > most || b + n + k > most || b + m + n > most) {
    product_by_parts(p, flops);
    return;
  }
  const auto dims = [](std::initializer_list<const std::vector<Dim>*> groups, int64_t Dim::*stride, int32_t buffer, int64_t offset) {
    Extents sizes, strides;
    for (const auto* g : groups)
      for (const Dim& d : *g) {
        sizes.push_back(d.size);
        strides.push_back(d.*stride);
      }
    return Emitter::strided(buffer, offset, sizes, strides);
  };
  Instruction i;
  i.op = Opcode::matmul;
  i.work = WorkClass::matmul;
  i.queue = e_.matrix();
  i.cores = cores_;
  i.batch = static_cast<int8_t>(b);
  i.folded = static_cast<int8_t>(k);
  i.accumulate = p.accumulate;
  i.flops = flops;
  i.in[0] = dims({&p.batch, &p.k, &p.m}, &Dim::a, p.a, p.a_offset);
  i.in[1] = dims({&p.batch, &p.k, &p.n}, &Dim::b, p.b, p.b_offset);
  i.out = dims({&p.batch, &p.m, &p.n}, &Dim::out, p.out, p.out_offset);
  e_.emit(i);
}

// More dimensions than accesses hold: one by one along the shortest dimension that helps. Sums over k add up, where what they are kept in is exact enough.
void TileMapper::product_by_parts(const Product& p, double flops) {
  const size_t b = p.batch.size(), m = p.m.size(), n = p.n.size(), k = p.k.size(), most = Access::kMostDims;
  const bool a_over = b + m + k > most, b_over = b + n + k > most, out_over = b + m + n > most;
  const bool exact = info(e_.buffer(p.out).dtype).bits >= 32;
  std::vector<Dim> Product::* group = nullptr;
  size_t at = 0;
  const auto consider = [&](std::vector<Dim> Product::* g, bool helps) {
    if (!helps || (p.*g).size() < (g == &Product::batch ? 1 : 2)) return;
    for (size_t d = 0; d < (p.*g).size(); ++d)
      if (!group || (p.*g)[d].size < (p.*group)[at].size) group = g, at = d;
  };
  consider(&Product::batch, true);
  consider(&Product::m, a_over || out_over);
  consider(&Product::n, b_over || out_over);
  if (exact || !group) consider(&Product::k, a_over || b_over);
  const Dim d = (p.*group)[at];
  Product part = p;
  (part.*group).erase((part.*group).begin() + static_cast<std::ptrdiff_t>(at));
  for (int64_t i = 0; i < d.size; ++i) {
    part.a_offset = p.a_offset + i * d.a;
    part.b_offset = p.b_offset + i * d.b;
    part.out_offset = p.out_offset + i * d.out;
    part.accumulate = p.accumulate || (group == &Product::k && i > 0);
    product(part, flops / static_cast<double>(d.size));
  }
}

double TileMapper::padded_flops(double batch, double m, double n, double k) const { return padded_passes(batch, m, n, std::ceil(k / static_cast<double>(chip_.matrix.rows))); }

// Passes of rows x cols over the arrays of all cores, each at least as long as loading its stationary tile, and the drain of each output tile; m in
// eights.
double TileMapper::padded_passes(double batch, double m, double n, double k_passes) const {
  const MatrixEngine& x = chip_.matrix;
  const double rows = static_cast<double>(x.rows), cols = static_cast<double>(x.cols), units = static_cast<double>(x.units);
  const double eights = std::ceil(m / 8), load = x.load_cycles_per_column * cols * x.moving_rows_per_cycle;
  const double passes = batch * (k_passes + x.drain_passes) * std::ceil(n / cols), arrays = units * cores_;
  double moved;  // rows through the busiest array
  if (passes >= arrays) {
    moved = std::ceil(passes / arrays) * std::max(eights * 8, load);
  } else {
    const double share = std::max(1.0, std::min(std::floor(arrays / passes), eights));
    moved = std::max(std::ceil(eights / share) * 8, load);
  }
  return moved * 2 * rows * cols * units;
}

Extents split_size(const Extents& extents, int64_t parts) {
  Extents size = extents;
  for (size_t a = 0; a < size.size() && parts > 1; ++a) {
    const int64_t here = std::min(parts, size[a]);
    size[a] = (size[a] + here - 1) / here;
    parts = (parts + here - 1) / here;
  }
  return size;
}

int64_t most_parts(const Extents& extents) { return static_cast<int64_t>(std::min(product_of(extents), 4096.0)); }

int64_t number_of(const std::string& choice, const std::string& key) {
  const size_t at = (" " + choice).find(" " + key + "=");
  return at == std::string::npos ? -1 : std::atoll(choice.c_str() + at + key.size() + 1);
}

// Into how many pieces a product is cut: each costs a fill of the array, and all but the last piece's epilogue hide behind products.
int64_t TileMapper::epilogue_pieces(const Step& s, int64_t elements) const {
  const double fill = std::max(chip_.matrix.fill_cycles, 16.0) / chip_.matrix.clock_hz;
  return std::clamp<int64_t>(static_cast<int64_t>(epilogue_seconds(s, static_cast<double>(elements)) / (4 * fill)), 1, 4);
}

// ---- contractions

// out[B, M, N] = sum_K lhs[B, M, K] * rhs[B, K, N]; places over batch, m, n, k.
struct TileMapper::Contraction {
  const Step& step;
  size_t B, M, N;
  Extents axes;  // batch, m, n, k
  Place lhs, rhs, result;
  std::vector<Place> operands;  // of the epilogue
  double batch, m, n, k;
  DType lhs_type = DType::f32, rhs_type = DType::f32, sum_type = DType::f32;
  double lhs_element = 4, rhs_element = 4;  // bytes
  double tile_factor = 0;                   // bytes for each element of the result: sums, what follows, the result itself
  double main_bytes = 0;                    // each operand once
  bool after = false;                       // an epilogue follows
  std::string shape;                        // "8x128x768x768": batch, if any, m, k, n
  size_t kept() const { return B + M + N; }
  double lhs_bytes() const { return batch * m * k * lhs_element; }
  double rhs_bytes() const { return batch * n * k * rhs_element; }
};

// Into how many parts each group is cut, and which of m and n is the outer loop.
struct TileMapper::ContractionPlan {
  int64_t batch = 1, m = 1, n = 1, k = 1;
  bool n_outer = true;
  std::string text() const {
    return "batch=" + std::to_string(batch) + " m=" + std::to_string(m) + " n=" + std::to_string(n) + " k=" + std::to_string(k) + (n_outer ? " n outer" : " m outer");
  }
};

namespace {

Extents join(std::initializer_list<Extents> parts) {
  Extents all;
  for (const Extents& p : parts) all.insert(all.end(), p.begin(), p.end());
  return all;
}

Box join_boxes(std::initializer_list<const Box*> parts) {
  Box all;
  for (const Box* p : parts) {
    all.begin.insert(all.begin.end(), p->begin.begin(), p->begin.end());
    all.size.insert(all.size.end(), p->size.begin(), p->size.end());
  }
  return all;
}

Place over_first(Place p, size_t axes) {
  p.strides.resize(axes, 0);
  return p;
}

double size_of(DType t) { return info(t).storage_bits / 8.0; }

}  // namespace

TileMapper::Contraction TileMapper::contraction_of(const Step& s) {
  const size_t B = s.batch.size(), M = s.m.size(), N = s.n.size(), K = s.k.size();
  Contraction c{s, B, M, N, join({s.batch, s.m, s.n, s.k}), place(s.lhs), place(s.rhs), {home(s.result), s.out.offset, s.out.strides}, {}, product_of(s.batch), product_of(s.m), product_of(s.n), product_of(s.k)};
  const auto some = [](const Extents& x, size_t from, size_t count) { return Extents(x.begin() + static_cast<std::ptrdiff_t>(from), x.begin() + static_cast<std::ptrdiff_t>(from + count)); };
  const Extents ls = c.lhs.strides, rs = c.rhs.strides;
  c.lhs.strides = join({some(ls, 0, B + M), Extents(N, 0), some(ls, B + M, K)});
  c.rhs.strides = join({some(rs, 0, B), Extents(M, 0), some(rs, B, N), some(rs, B + N, K)});
  c.result.strides.resize(c.axes.size(), 0);
  c.main_bytes = bytes_over(c.lhs, c.axes) + bytes_over(c.rhs, c.axes) + bytes_over(c.result, c.axes);
  for (const View& v : s.epilogue_operands) {
    c.operands.push_back(over_first(place(v), c.axes.size()));
    c.main_bytes += bytes_over(c.operands.back(), c.axes);
  }
  const auto matrix_type = [&](const Place& p) {
    const DType t = e_.buffer(p.buffer).dtype;
    return chip_.matrix.passes.contains(t) && (is_int(t) || info(t).bits <= info(precision_).bits) ? t : precision_;
  };
  c.lhs_type = matrix_type(c.lhs);
  c.rhs_type = matrix_type(c.rhs);
  if (c.lhs_type != c.rhs_type && (is_float(c.lhs_type) || is_float(c.rhs_type))) c.lhs_type = c.rhs_type = precision_;
  c.sum_type = is_int(c.lhs_type) ? DType::i32 : DType::f32;
  c.lhs_element = size_of(c.lhs_type);
  c.rhs_element = size_of(c.rhs_type);
  c.after = !s.epilogue.empty();
  for (const auto* group : {&s.batch, &s.m, &s.k, &s.n})
    if (group != &s.batch || c.batch > 1) c.shape += (c.shape.empty() ? "" : "x") + std::to_string(whole_box(*group).elements());
  c.tile_factor = 4 + (c.after ? 6 + 2 * static_cast<double>(c.operands.size()) : 0) + size_of(e_.buffer(c.result.buffer).dtype);
  return c;
}

// Parts of the least time: by a closed form (products and transfers side by side where they overlap, with the first load and the last product, else their
// sum), then among its best by the timing model.
TileMapper::ContractionPlan TileMapper::plan_contraction(const Contraction& c, const std::string& pin) {
  const Step& s = c.step;
  const auto parsed = [](const std::string& choice) {
    return ContractionPlan{std::max<int64_t>(number_of(choice, "batch"), 1), std::max<int64_t>(number_of(choice, "m"), 1), std::max<int64_t>(number_of(choice, "n"), 1),
                           std::max<int64_t>(number_of(choice, "k"), 1), choice.find("n outer") != std::string::npos};
  };
  if (number_of(pin, "m") > 0) return parsed(pin);
  const std::string kind = kind_of(s);
  if (const std::string* choice = known(kind)) return parsed(*choice);
  const double limit = std::min(local_limit_ * 2, 0.95 * static_cast<double>(e_.largest_free(Role::scratchpad)) * cores_);
  const double whole = (c.lhs_bytes() + c.rhs_bytes() + c.batch * c.m * c.n * c.tile_factor) * (overlap_ ? 2 : 1);
  if (whole <= limit && !overlap_) return {};
  struct Parts {
    int64_t parts;
    double size, boxes;  // elements of the largest, and how many there are
  };
  const auto powers = [&](const Extents& extents, int64_t cap) {
    std::vector<Parts> p;
    for (int64_t x = 1; x <= std::min(most_parts(extents), cap); x *= 2) {
      const Extents size = split_size(extents, x);
      double boxes = 1;
      for (size_t a = 0; a < size.size(); ++a) boxes *= std::ceil(static_cast<double>(extents[a]) / static_cast<double>(size[a]));
      p.push_back({x, product_of(size), boxes});
    }
    return p;
  };
  const int64_t most = whole / limit > 256 ? 4096 : 64;
  const auto bs = powers(s.batch, 4096), ms = powers(s.m, most), ns = powers(s.n, most), ks = powers(s.k, 16);
  const double rate = std::max(chip_.matrix.peak_flop_per_s(c.lhs_type) * chip_.matrix.achieved, 1.0), main_rate = std::max(chip_.main().bytes_per_s * chip_.main().achieved, 1.0),
               fill = chip_.matrix.fill_cycles / chip_.matrix.clock_hz;
  Candidates found;
  const auto consider = [&](const Parts& b, const Parts& m, const Parts& n, const Parts& k) {
    const double operands = b.size * (m.size * k.size * c.lhs_element + n.size * k.size * c.rhs_element);
    const double local = (operands + b.size * m.size * n.size * c.tile_factor) * (overlap_ ? 2 : 1), count = b.boxes * m.boxes * n.boxes * k.boxes;
    const double compute = (padded_flops(b.size, m.size, n.size, k.size) / rate + (overlap_ ? fill : 0)) * count;
    for (const bool outer : {true, false}) {
      const bool split_k = k.parts > 1;
      const double moved = c.lhs_bytes() * (outer || split_k ? n.boxes : 1) + c.rhs_bytes() * (!outer || split_k ? m.boxes : 1), transfers = moved / main_rate;
      double score = (overlap_ ? std::max(compute, transfers) + operands / main_rate + compute / count : compute + transfers) * (1 + 1e-4 * count) + count * (overlap_ ? 2e-7 : 1e-7);
      if (local > limit) score += 1e3 * local / limit;  // only if nothing fits
      if (found.wants(score)) found.add(score, ContractionPlan{b.parts, m.parts, n.parts, k.parts, outer}.text());
    }
  };
  for (const Parts& b : bs)
    for (const Parts& m : ms)
      for (const Parts& n : ns)
        for (const Parts& k : ks) consider(b, m, n, k);
  return parsed(fastest(s, kind, found));
}

void TileMapper::map_contraction(const Step& s) {
  const Contraction c = contraction_of(s);
  ContractionPlan plan;
  Kernel kernel;
  if (staged_) {
    plan = plan_contraction(c, choice_of(c.shape));
    e_.step().choice = plan.text() + " of " + c.shape;
    // An operand that takes most of the local memory finds no room beside small ones in the middle.
    const double lhs_box = c.lhs_bytes() / static_cast<double>(plan.batch * plan.m * plan.k), rhs_box = c.rhs_bytes() / static_cast<double>(plan.batch * plan.n * plan.k);
    if (std::max(lhs_box, rhs_box) > 0.3 * static_cast<double>(e_.largest_free(Role::scratchpad)) * cores_) e_.rewind(Role::scratchpad);
  } else {
    kernel = best_kernel(c.batch, c.m, c.n, c.k, c.main_bytes, c.rhs_type, choice_of(c.shape));
    e_.step().choice = "tile=" + std::to_string(kernel.tile_m) + "x" + std::to_string(kernel.tile_n) + " split_k=" + std::to_string(kernel.split_k) + " of " + c.shape;
    int64_t &bp = plan.batch, &mp = plan.m;
    if (c.after)  // temporaries of one part stay small
      while (c.batch * c.m * c.n / static_cast<double>(bp * mp) * 4 > local_limit_ && (bp < most_parts(s.batch) || mp < most_parts(s.m))) (bp < most_parts(s.batch) ? bp : mp) *= 2;
  }
  contraction_boxes(c, plan, kernel);
  end_kernel(c.main_bytes + kernel.extra_bytes, kernel.waves);
}

void TileMapper::contraction_boxes(const Contraction& c, const ContractionPlan& plan, const Kernel& kernel) {
  const Step& s = c.step;
  const auto b_boxes = grid(s.batch, split_size(s.batch, plan.batch)), m_boxes = grid(s.m, split_size(s.m, plan.m)), n_boxes = grid(s.n, split_size(s.n, plan.n)), k_boxes = grid(s.k, split_size(s.k, plan.k));
  const double all = static_cast<double>(b_boxes.size() * m_boxes.size() * n_boxes.size() * k_boxes.size());
  Kernel share = kernel;
  share.flops /= all;
  share.cache_bytes /= all;
  Loaded left, right;  // the operand that the inner loop keeps stays loaded
  for (const Box& b : b_boxes)
    for (const Box& outer : plan.n_outer ? n_boxes : m_boxes)
      for (const Box& inner : plan.n_outer ? m_boxes : n_boxes) {
        const Box box = join_boxes({&b, plan.n_outer ? &inner : &outer, plan.n_outer ? &outer : &inner});
        contraction_box(c, box, k_boxes, share, left, right);
      }
  unload(left);
  unload(right);
}

Place TileMapper::load_operand(Loaded& l, const Place& from, Box box, DType type) {
  for (size_t a = 0; a < box.size.size(); ++a)
    if (from.strides[a] == 0) box.begin[a] = 0, box.size[a] = 1;
  return load(l, box, [&](const Box& b) { return fetch(from, b, type); });
}

// One box over batch, m, n: products over the boxes of k, what follows, and the result's way home. `share`: of the kernel, for one product (direct).
void TileMapper::contraction_box(const Contraction& c, const Box& box, const std::vector<Box>& k_boxes, const Kernel& share, Loaded& left, Loaded& right) {
  const size_t kept = c.kept();
  const bool plain = !c.after && k_boxes.size() == 1;
  const Place home_kept = over_first(c.result, kept);
  const Place made = plain ? result_box(home_kept, box) : dense(temp(c.sum_type, box.elements()), box), sum = over_first(made, c.axes.size());
  const auto load_both = [&](const Box& all) {
    load_operand(left, c.lhs, all, c.lhs_type);
    load_operand(right, c.rhs, all, c.rhs_type);
  };
  if (k_boxes.size() == 1) load_both(join_boxes({&box, &k_boxes.front()}));
  std::vector<Place> local;
  if (c.after)
    for (const Place& p : c.operands) local.push_back(fetch(over_first(p, kept), box));
  const Place y = plain ? made : result_box(home_kept, box);
  // What follows runs on the vector engines while the matrix engine is at the next piece of m.
  const auto group = [&](const Extents& x, size_t from, size_t count) { return product_of(Extents(x.begin() + static_cast<std::ptrdiff_t>(from), x.begin() + static_cast<std::ptrdiff_t>(from + count))); };
  const Extents m_size(box.size.begin() + static_cast<std::ptrdiff_t>(c.B), box.size.begin() + static_cast<std::ptrdiff_t>(c.B + c.M));
  const double b = group(box.size, 0, c.B), m = product_of(m_size), n = group(box.size, c.B + c.M, c.N);
  const int64_t pieces = c.after && k_boxes.size() == 1 && staged_ ? epilogue_pieces(c.step, box.elements()) : 1;
  for (const Box& piece : grid(m_size, split_size(m_size, pieces))) {
    Box part = box;
    for (size_t a = 0; a < c.M; ++a) part.begin[c.B + a] += piece.begin[a], part.size[c.B + a] = piece.size[a];
    for (const Box& k_box : k_boxes) {
      const Box all = join_boxes({&part, &k_box});
      if (k_boxes.size() > 1) load_both(all);
      Product p{.a = left.at.buffer, .b = right.at.buffer, .out = sum.buffer, .a_offset = left.at.offset, .b_offset = right.at.offset, .out_offset = sum.offset};
      for (size_t a = 0; a < all.size.size(); ++a) {
        p.a_offset += all.begin[a] * left.at.strides[a];
        p.b_offset += all.begin[a] * right.at.strides[a];
        p.out_offset += all.begin[a] * sum.strides[a];
        auto& g = a < c.B ? p.batch : a < c.B + c.M ? p.m : a < kept ? p.n : p.k;
        g.push_back({all.size[a], left.at.strides[a], right.at.strides[a], sum.strides[a]});
      }
      p.accumulate = &k_box != &k_boxes.front();
      const size_t begin = e_.program().code.size();
      product(p, staged_ ? padded_flops(b, m, n, product_of(k_box.size)) * product_of(piece.size) / m : share.flops);
      auto& code = e_.program().code;
      for (size_t i = begin; i < code.size() && !staged_; ++i) code[i].cache_bytes = share.cache_bytes / static_cast<double>(code.size() - begin);
    }
    if (!plain) epilogue(c.step, local, made, part, y);
  }
  store(y, home_kept, box);
  if (!plain) drop(made.buffer);
  drop_fetched();
}

}  // namespace bascule::device::chip
