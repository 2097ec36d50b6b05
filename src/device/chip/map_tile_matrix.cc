// device/chip/map_tile_matrix.cc — products: contractions, convolutions, attention, as matrix instructions over boxes that fit, with what follows them
// on the vector engines.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {
namespace {

using loops::Op;
using Dim = Product::Dim;

double product_of(const Extents& x) {
  double p = 1;
  for (const int64_t d : x) p *= static_cast<double>(d);
  return p;
}

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

void TileMapper::product(Product p, double flops) {
  for (auto* g : {&p.batch, &p.m, &p.n, &p.k}) merge(*g);
  for (auto* g : {&p.m, &p.n, &p.k})
    if (g->empty()) g->push_back({1, 1, 1, 1});
  const size_t b = p.batch.size(), m = p.m.size(), n = p.n.size(), k = p.k.size(), most = Access::kMostDims;
  if (b + m + k > most || b + n + k > most || b + m + n > most) {
    // One by one along the outermost dimension of the group that helps; sums over k add up.
    auto& g = b > 0 ? p.batch : (m > 1 && m >= n) ? p.m : n > 1 ? p.n : p.k;
    const Dim d = g.front();
    for (int64_t i = 0; i < d.size; ++i) {
      Product part = p;
      auto& h = b > 0 ? part.batch : (m > 1 && m >= n) ? part.m : n > 1 ? part.n : part.k;
      h.erase(h.begin());
      const bool batch = b > 0, rows = !batch && m > 1 && m >= n, columns = !batch && !rows && n > 1, sum = !batch && !rows && !columns;
      if (batch || rows || sum) part.a_offset += i * d.a;
      if (batch || columns || sum) part.b_offset += i * d.b;
      if (!sum) part.out_offset += i * d.out;
      if (sum && i > 0) part.accumulate = true;
      product(part, flops / static_cast<double>(d.size));
    }
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

// Passes of rows x cols over the arrays of all cores, each at least as long as loading its stationary tile, and the drain of each output tile; m in
// eights.
double TileMapper::padded_flops(double batch, double m, double n, double k) const {
  const MatrixEngine& x = chip_.matrix;
  const double rows = static_cast<double>(x.rows), cols = static_cast<double>(x.cols), units = static_cast<double>(x.units);
  const double eights = std::ceil(m / 8), load = x.load_cycles_per_column * cols * x.moving_rows_per_cycle;
  const double passes = batch * (std::ceil(k / rows) + x.drain_passes) * std::ceil(n / cols), arrays = units * cores_;
  double moved;  // rows through the busiest array
  if (passes >= arrays) {
    moved = std::ceil(passes / arrays) * std::max(eights * 8, load);
  } else {
    const double share = std::max(1.0, std::min(std::floor(arrays / passes), eights));
    moved = std::max(std::ceil(eights / share) * 8, load);
  }
  return moved * 2 * rows * cols * units;
}

namespace {

// A group of axes as boxes, split `parts` ways along the outermost.
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

// "m=128 n=512": the number after a key; -1: not there.
int64_t number_of(const std::string& choice, const std::string& key) {
  const size_t at = (" " + choice).find(" " + key + "=");
  return at == std::string::npos ? -1 : std::atoll(choice.c_str() + at + key.size() + 1);
}

}  // namespace

// Into how many pieces a product is cut: each costs a fill of the array, and all but the last piece's epilogue hide behind products.
int64_t TileMapper::epilogue_pieces(const Step& s, int64_t elements) const {
  double cycles = 0;
  for (const Epilogue& e : s.epilogue) {
    const auto [engine, work] = engines_[static_cast<size_t>(work_class(e.fn, 2))];
    if (engine < 0) continue;
    const Engine& x = chip_.engines[static_cast<size_t>(engine)];
    if (const auto rate = x.rate(work, false, Width::wide)) cycles += rate->cycles_per_element * static_cast<double>(elements) / static_cast<double>(x.lanes * cores_) / x.clock_hz;
  }
  const double fill = std::max(chip_.matrix.fill_cycles, 16.0) / chip_.matrix.clock_hz;
  return std::clamp<int64_t>(static_cast<int64_t>(cycles / (4 * fill)), 1, 4);
}

void TileMapper::map_contraction(const Step& s) {
  const size_t B = s.batch.size(), M = s.m.size(), N = s.n.size(), K = s.k.size();
  // Places over batch, m, n, k.
  Place lhs = place(s.lhs), rhs = place(s.rhs), result{home(s.result), s.out.offset, s.out.strides};
  const Extents ls = lhs.strides, rs = rhs.strides;
  const auto at = [](const Extents& x, size_t from, size_t count) { return Extents(x.begin() + static_cast<std::ptrdiff_t>(from), x.begin() + static_cast<std::ptrdiff_t>(from + count)); };
  const auto join = [](std::initializer_list<Extents> parts) {
    Extents all;
    for (const Extents& p : parts) all.insert(all.end(), p.begin(), p.end());
    return all;
  };
  lhs.strides = join({at(ls, 0, B + M), Extents(N, 0), at(ls, B + M, K)});
  rhs.strides = join({at(rs, 0, B), Extents(M, 0), at(rs, B, N), at(rs, B + N, K)});
  result.strides.resize(B + M + N + K, 0);
  const Extents axes = join({s.batch, s.m, s.n, s.k});
  std::vector<Place> operands;
  for (const View& v : s.epilogue_operands) {
    operands.push_back(place(v));
    operands.back().strides.resize(axes.size(), 0);
  }
  const double batch = product_of(s.batch), m = product_of(s.m), n = product_of(s.n), k = product_of(s.k);
  const DType out_type = e_.buffer(result.buffer).dtype;
  const auto size_of = [](DType t) { return info(t).storage_bits / 8.0; };
  const auto matrix_type = [&](const Place& p) {
    const DType t = e_.buffer(p.buffer).dtype;
    return chip_.matrix.passes.contains(t) && (is_int(t) || info(t).bits <= info(precision_).bits) ? t : precision_;
  };
  DType lhs_type = matrix_type(lhs), rhs_type = matrix_type(rhs);
  if (lhs_type != rhs_type && (is_float(lhs_type) || is_float(rhs_type))) lhs_type = rhs_type = precision_;
  const double lhs_bytes = batch * m * k * size_of(lhs_type), rhs_bytes = batch * n * k * size_of(rhs_type);
  const bool after = !s.epilogue.empty();
  const bool exact = is_int(lhs_type);
  const DType sum_type = exact ? DType::i32 : DType::f32;
  double main_bytes = bytes_over(lhs, axes) + bytes_over(rhs, axes) + bytes_over(result, axes);
  Extents kept_axes = join({s.batch, s.m, s.n});
  for (const Place& p : operands) main_bytes += bytes_over(p, axes);
  const std::string pin = choice_of(e_.step().name);

  // ---- how many parts of each group
  int64_t bp = 1, mp = 1, np = 1, kp = 1;
  bool n_outer = true;
  Kernel kernel;
  const double tile_factor = 4 + (after ? 6 + 2 * static_cast<double>(operands.size()) : 0) + size_of(out_type);
  if (staged_) {
    const double limit = std::min(local_limit_ * 2, 0.95 * static_cast<double>(e_.largest_free(Role::scratchpad)) * cores_);
    double best = std::numeric_limits<double>::infinity();
    const auto consider = [&](int64_t b, int64_t mm, int64_t nn, int64_t kk) {
      const double be = product_of(split_size(s.batch, b)), me = product_of(split_size(s.m, mm)), ne = product_of(split_size(s.n, nn)), ke = product_of(split_size(s.k, kk));
      const double local = be * (me * ke * size_of(lhs_type) + ne * ke * size_of(rhs_type) + me * ne * tile_factor) * (overlap_ ? 2 : 1);
      const double count = static_cast<double>(b * mm * nn * kk);
      const double compute = padded_flops(be, me, ne, ke) * count;
      const double rate = chip_.matrix.peak_flop_per_s(lhs_type) * chip_.matrix.achieved;
      const double main_rate = chip_.main().bytes_per_s * chip_.main().achieved;
      for (const bool outer : {true, false}) {
        const bool split_k = kk > 1;
        const double moved = lhs_bytes * static_cast<double>(outer || split_k ? nn : 1) + rhs_bytes * static_cast<double>(!outer || split_k ? mm : 1);
        const double c = compute / std::max(rate, 1.0), d = moved / std::max(main_rate, 1.0);
        const double first = (be * (me * ke * size_of(lhs_type) + ne * ke * size_of(rhs_type))) / std::max(main_rate, 1.0);
        double score = (overlap_ ? std::max(c, d) + first + compute / std::max(rate, 1.0) / count : c + d) * (1 + 1e-4 * count) + count * (overlap_ ? 2e-7 : 1e-7);
        if (local > limit) score += 1e3 * local / limit;  // only if nothing fits
        if (score < best) best = score, bp = b, mp = mm, np = nn, kp = kk, n_outer = outer;
      }
    };
    if (const int64_t pm = number_of(pin, "m"); pm > 0) {
      mp = pm;
      np = std::max<int64_t>(number_of(pin, "n"), 1);
      kp = std::max<int64_t>(number_of(pin, "k"), 1);
      bp = std::max<int64_t>(number_of(pin, "batch"), 1);
      n_outer = pin.find("n outer") != std::string::npos;
    } else {
      const auto powers = [&](int64_t most, int64_t cap) {
        std::vector<int64_t> p;
        for (int64_t x = 1; x <= std::min(most, cap); x *= 2) p.push_back(x);
        return p;
      };
      const double whole = batch * (m * k * size_of(lhs_type) + n * k * size_of(rhs_type) + m * n * tile_factor) * (overlap_ ? 2 : 1);
      if (whole <= limit && !overlap_) {
        consider(1, 1, 1, 1);
      } else {
        const int64_t most = whole / limit > 256 ? 4096 : 64;
        for (const int64_t b : powers(most_parts(s.batch), 4096))
          for (const int64_t mm : powers(most_parts(s.m), most))
            for (const int64_t nn : powers(most_parts(s.n), most))
              for (const int64_t kk : powers(most_parts(s.k), 16)) consider(b, mm, nn, kk);
      }
    }
    e_.step().choice = "batch=" + std::to_string(bp) + " m=" + std::to_string(mp) + " n=" + std::to_string(np) + " k=" + std::to_string(kp) + (n_outer ? " n outer" : " m outer");
  } else {
    kernel = best_kernel(batch, m, n, k, main_bytes, rhs_type, pin);
    e_.step().choice = "tile=" + std::to_string(kernel.tile_m) + "x" + std::to_string(kernel.tile_n) + " split_k=" + std::to_string(kernel.split_k);
    if (after)  // temporaries of one part stay small
      while (batch * m * n / static_cast<double>(bp * mp) * 4 > local_limit_ && (bp < most_parts(s.batch) || mp < most_parts(s.m))) (bp < most_parts(s.batch) ? bp : mp) *= 2;
  }

  // ---- boxes
  const auto b_boxes = grid(s.batch, split_size(s.batch, bp)), m_boxes = grid(s.m, split_size(s.m, mp)), n_boxes = grid(s.n, split_size(s.n, np)), k_boxes = grid(s.k, split_size(s.k, kp));
  const double all_boxes = static_cast<double>(b_boxes.size() * m_boxes.size() * n_boxes.size() * k_boxes.size());
  const auto combined = [&](const Box& b, const Box& mm, const Box& nn, const Box& kk) {
    return Box{join({b.begin, mm.begin, nn.begin, kk.begin}), join({b.size, mm.size, nn.size, kk.size})};
  };
  // The operand that the inner loop keeps stays loaded while its box does not change.
  struct Loaded {
    Box box;
    Place at;
    std::vector<int32_t> held;
  } left, right;
  const auto load = [&](Loaded& l, const Place& from, Box box, DType type) {
    for (size_t a = 0; a < box.size.size(); ++a)
      if (from.strides[a] == 0) box.begin[a] = 0, box.size[a] = 1;
    if (live(l.at) && l.box.begin == box.begin && l.box.size == box.size) return;
    for (const int32_t id : l.held) drop(id);
    const size_t before = fetched_.size();
    l.at = fetch(from, box, type);
    l.held.assign(fetched_.begin() + static_cast<std::ptrdiff_t>(before), fetched_.end());
    fetched_.resize(before);
    l.box = box;
  };
  if (staged_) {  // an operand that takes most of the local memory finds no room beside small ones in the middle
    const double rhs_box = rhs_bytes / static_cast<double>(b_boxes.size() * n_boxes.size() * k_boxes.size()), lhs_box = lhs_bytes / static_cast<double>(b_boxes.size() * m_boxes.size() * k_boxes.size());
    if (std::max(lhs_box, rhs_box) > 0.3 * static_cast<double>(e_.largest_free(Role::scratchpad)) * cores_) e_.rewind(Role::scratchpad);
  }
  for (const Box& b : b_boxes)
    for (size_t o = 0; o < (n_outer ? n_boxes.size() : m_boxes.size()); ++o)
      for (size_t i = 0; i < (n_outer ? m_boxes.size() : n_boxes.size()); ++i) {
        const Box &mm = m_boxes[n_outer ? i : o], &nn = n_boxes[n_outer ? o : i];
        const Box first = combined(b, mm, nn, k_boxes.front());
        Box kept = first;
        kept.begin.resize(kept_axes.size());
        kept.size.resize(kept_axes.size());
        Place home_kept = result;
        home_kept.strides.resize(kept_axes.size());
        const bool plain = !after && k_boxes.size() == 1;
        const Place made = plain ? result_box(home_kept, kept) : dense(temp(sum_type, kept.elements()), kept);
        Place sum = made;
        sum.strides.resize(axes.size(), 0);
        // What follows runs on the vector engines while the matrix engine is at the next piece.
        const int64_t pieces = after && k_boxes.size() == 1 && staged_ ? epilogue_pieces(s, kept.elements()) : 1;
        const auto m_pieces = grid(mm.size, split_size(mm.size, pieces));
        if (k_boxes.size() == 1) {
          load(left, lhs, first, lhs_type);
          load(right, rhs, first, rhs_type);
        }
        std::vector<Place> local;
        if (after)
          for (const Place& p : operands) {
            Place q = p;
            q.strides.resize(kept_axes.size());
            local.push_back(fetch(q, kept));
          }
        const Place y = plain ? made : result_box(home_kept, kept);
        for (const Box& piece : m_pieces) {
          Box mp_box = mm;
          for (size_t a = 0; a < M; ++a) mp_box.begin[a] += piece.begin[a], mp_box.size[a] = piece.size[a];
          for (size_t kk = 0; kk < k_boxes.size(); ++kk) {
            const Box box = combined(b, mp_box, nn, k_boxes[kk]);
            if (k_boxes.size() > 1) {
              load(left, lhs, box, lhs_type);
              load(right, rhs, box, rhs_type);
            }
            Product p;
            p.a = left.at.buffer;
            p.b = right.at.buffer;
            p.out = sum.buffer;
            p.a_offset = left.at.offset;
            p.b_offset = right.at.offset;
            p.out_offset = sum.offset;
            for (size_t a = 0; a < axes.size(); ++a) {
              p.a_offset += box.begin[a] * left.at.strides[a];
              p.b_offset += box.begin[a] * right.at.strides[a];
              p.out_offset += box.begin[a] * sum.strides[a];
              auto& g = a < B ? p.batch : a < B + M ? p.m : a < B + M + N ? p.n : p.k;
              g.push_back({box.size[a], left.at.strides[a], right.at.strides[a], sum.strides[a]});
            }
            p.accumulate = kk > 0;
            const double flops = staged_ ? padded_flops(product_of(b.size), product_of(mm.size), product_of(nn.size), product_of(k_boxes[kk].size)) *
                                               product_of(piece.size) / product_of(mm.size)
                                         : kernel.flops / all_boxes;
            const size_t begin = e_.program().code.size();
            product(p, flops);
            if (!staged_) {
              auto& code = e_.program().code;
              for (size_t c = begin; c < code.size(); ++c) code[c].cache_bytes = kernel.cache_bytes / all_boxes / static_cast<double>(code.size() - begin);
            }
          }
          if (plain) continue;
          Box part = combined(b, mp_box, nn, {});
          part.begin.resize(kept_axes.size());
          part.size.resize(kept_axes.size());
          epilogue(s, local, made, part, y);
        }
        store(y, home_kept, kept);
        if (!plain) drop(made.buffer);
        drop_fetched();
      }
  for (const Loaded* l : {&left, &right})
    for (const int32_t id : l->held) drop(id);
  end_kernel(main_bytes + kernel.extra_bytes, kernel.waves);
}

// One product for each tap: in the box of outputs that the tap reaches, out += w[tap]^T x[shifted]. Images one group after the other where few fit.
void TileMapper::map_convolution(const Step& s) {
  const size_t S = s.windows.size();
  const Place x = place(s.lhs), w = place(s.rhs), result{home(s.result), s.out.offset, s.out.strides};
  const int64_t G = s.groups, C = s.in_channels, O = s.out_channels, images = s.images;
  std::vector<Place> operands;
  for (const View& v : s.epilogue_operands) operands.push_back(place(v));
  Extents x_axes{images, G, C}, w_axes{G, O, C};
  double taps = 1, pixels = 1;
  for (const WindowAxis& a : s.windows) {
    x_axes.push_back(a.in);
    w_axes.push_back(a.taps);
    taps *= static_cast<double>(a.taps);
    pixels *= static_cast<double>(a.out);
  }
  const DType type = chip_.matrix.passes.contains(e_.buffer(x.buffer).dtype) && info(e_.buffer(x.buffer).dtype).bits <= info(precision_).bits ? e_.buffer(x.buffer).dtype : precision_;
  double main_bytes = bytes_over(x, x_axes) + bytes_over(w, w_axes) + bytes_over(result, s.axes);
  for (const Place& p : operands) main_bytes += bytes_over(p, s.axes);
  // Channel by channel (depthwise) on the vector engines where that is faster than a product for each group.
  const bool depthwise = C == 1 && O == 1;
  Kernel kernel;
  if (!staged_) kernel = best_kernel(static_cast<double>(G), static_cast<double>(images) * pixels, static_cast<double>(O), static_cast<double>(C) * taps, main_bytes, type, choice_of(e_.step().name));

  // ---- boxes of images, groups, output channels and rows of the first spatial axis
  const auto bytes_of = [&](const Extents& size) {  // size over N, G, O, S...
    double in = static_cast<double>(size[0] * size[1] * C) * 2, out = static_cast<double>(size[0] * size[1] * size[2]), weights = static_cast<double>(size[1] * size[2] * C) * taps * 2;
    for (size_t a = 0; a < S; ++a) {
      const WindowAxis& v = s.windows[a];
      const auto rows = static_cast<double>(std::min(v.in, (size[3 + a] * v.stride + v.taps * v.dilation) / v.base + 1));
      in *= rows;
      out *= static_cast<double>(size[3 + a]);
    }
    return in + weights + out * (4 + 2 + (s.epilogue.empty() ? 0 : 4.0 * static_cast<double>(1 + operands.size())));
  };
  Extents size = s.axes;  // N is split first, then groups, the first spatial axis, channels
  double limit = local_limit();
  if (staged_ && overlap_) limit = std::min(limit, std::max(bytes_of(size) / 4, 256e3 * cores_));
  std::vector<size_t> by{0, 1};
  if (S > 0) by.push_back(3);
  by.push_back(2);
  for (size_t a = 1; a < S; ++a) by.push_back(3 + a);
  for (const size_t a : by)
    while (size[a] > 1 && bytes_of(size) > limit) size[a] = (size[a] + 1) / 2;
  const auto parts = grid(s.axes, size);
  for (const Box& box : parts) {
    // What the box reads.
    Box in{{box.begin[0], box.begin[1], 0}, {box.size[0], box.size[1], C}}, weights{{box.begin[1], box.begin[2], 0}, {box.size[1], box.size[2], C}};
    for (size_t a = 0; a < S; ++a) {
      const WindowAxis& v = s.windows[a];
      const int64_t low = std::max<int64_t>(0, (box.begin[3 + a] * v.stride - v.low) / v.base - 1);
      const int64_t high = std::min<int64_t>(v.in, std::max<int64_t>(0, ((box.begin[3 + a] + box.size[3 + a] - 1) * v.stride + (v.taps - 1) * v.dilation - v.low) / v.base + 1));
      const bool all = box.size[3 + a] == v.out;
      in.begin.push_back(all ? 0 : std::min(low, v.in - 1));
      in.size.push_back(all ? v.in : std::max<int64_t>(1, high - in.begin.back()));
      weights.begin.push_back(0);
      weights.size.push_back(v.taps);
    }
    const Place from = fetch(x, in, depthwise ? std::nullopt : std::optional(type)), kernels = fetch(w, weights, depthwise ? std::nullopt : std::optional(type));
    const int32_t t = temp(DType::f32, box.elements());
    const Place acc = dense(t, box);
    // Taps in order, but one that reaches every output first: it then starts the sums.
    std::vector<std::vector<int64_t>> order;
    std::vector<int64_t> tap(S, 0);
    for (;;) {
      order.push_back(tap);
      size_t a = S;
      while (a > 0 && ++tap[a - 1] == s.windows[a - 1].taps) tap[--a] = 0;
      if (a == 0) break;
    }
    struct Part {
      Place in, out, w;
      Extents count;
      bool full = true, any = true;
    };
    const auto reach = [&](const std::vector<int64_t>& at) {
      Part p{from, acc, kernels, {}, true, true};
      for (size_t a = 0; a < S && p.any; ++a) {
        const WindowAxis& v = s.windows[a];
        const int64_t shift = at[a] * v.dilation - v.low;
        int64_t begin = 0, step = 1, count = 0, first = 0, by_in = 1;
        for (int64_t q = box.begin[3 + a]; q < box.begin[3 + a] + box.size[3 + a]; ++q) {
          const int64_t pos = q * v.stride + shift;
          if (pos < 0 || pos % v.base != 0 || pos / v.base >= v.in) continue;
          if (count == 0) begin = q, first = pos / v.base;
          else if (count == 1) step = q - begin, by_in = pos / v.base - first;
          ++count;
        }
        p.any = count > 0;
        p.full = p.full && count == box.size[3 + a];
        p.in.offset += first * from.strides[3 + a];
        p.in.strides[3 + a] = from.strides[3 + a] * by_in;
        p.out.offset += begin * acc.strides[3 + a];
        p.out.strides[3 + a] = acc.strides[3 + a] * step;
        p.w.offset += (v.reversed ? v.taps - 1 - at[a] : at[a]) * kernels.strides[3 + a];
        p.count.push_back(count);
      }
      return p;
    };
    std::vector<Part> reached;
    for (const auto& at : order)
      if (Part p = reach(at); p.any) reached.push_back(std::move(p));
    const auto full = std::find_if(reached.begin(), reached.end(), [](const Part& p) { return p.full; });
    if (full != reached.end()) std::rotate(reached.begin(), full, full + 1);
    else fill(Emitter::strided(t, 0, {box.elements()}, {1}), 0);
    const double box_pixels = static_cast<double>(box.elements()) / static_cast<double>(box.size[1] * box.size[2]);
    const double flops = staged_ ? padded_flops(static_cast<double>(box.size[1]), box_pixels, static_cast<double>(box.size[2]), static_cast<double>(C) * taps)
                                 : kernel.flops / static_cast<double>(parts.size());
    const double cache_bytes = kernel.cache_bytes / static_cast<double>(parts.size());
    for (size_t r = 0; r < reached.size(); ++r) {
      const Part& part = reached[r];
      const bool start = r == 0 && full != reached.end();
      if (depthwise) {
        Box over{{box.begin[0], box.begin[1], 0}, {box.size[0], box.size[1], 1}};
        for (size_t a = 0; a < S; ++a) over.begin.push_back(0), over.size.push_back(part.count[a]);
        Place xs = part.in, ws = part.w;
        xs.strides[2] = 0;
        ws.strides = Extents(3 + S, 0);
        ws.strides[1] = part.w.strides[0];
        Place out = part.out;
        std::vector<Item> items{{Op::multiply, DType::f32, {{Item::Ref::operand, 0, 0}, {Item::Ref::operand, 1, 0}, {}}}};
        if (!start) items.push_back({Op::add, DType::f32, {{Item::Ref::anchor, 0, 0}, {Item::Ref::value, 0, 0}, {}}});
        evaluate(items, {xs, ws}, {out}, over, out);
        continue;
      }
      Product p;
      p.a = from.buffer;
      p.b = kernels.buffer;
      p.out = t;
      p.a_offset = part.in.offset + box.begin[0] * from.strides[0] + box.begin[1] * from.strides[1];
      p.b_offset = part.w.offset + box.begin[1] * kernels.strides[0] + box.begin[2] * kernels.strides[1];
      p.out_offset = part.out.offset + box.begin[0] * acc.strides[0] + box.begin[1] * acc.strides[1] + box.begin[2] * acc.strides[2];
      p.batch.push_back({box.size[1], from.strides[1], kernels.strides[0], acc.strides[1]});
      p.m.push_back({box.size[0], from.strides[0], 0, acc.strides[0]});
      for (size_t a = 0; a < S; ++a) p.m.push_back({part.count[a], part.in.strides[3 + a], 0, part.out.strides[3 + a]});
      p.n.push_back({box.size[2], 0, kernels.strides[1], acc.strides[2]});
      p.k.push_back({C, from.strides[2], kernels.strides[2], 0});
      p.accumulate = !start;
      const size_t begin = e_.program().code.size();
      product(p, flops / static_cast<double>(reached.size()));
      auto& code = e_.program().code;
      if (!staged_)
        for (size_t c = begin; c < code.size(); ++c) code[c].cache_bytes = cache_bytes / static_cast<double>(reached.size() * (code.size() - begin));
    }
    std::vector<Place> local;
    for (const Place& p : operands) local.push_back(fetch(p, box));
    const Place y = result_box(result, box);
    epilogue(s, local, acc, box, y);
    store(y, result, box);
    drop(t);
    drop_fetched();
  }
  e_.step().choice = (depthwise ? "channels boxes=" : "taps boxes=") + std::to_string(parts.size());
  end_kernel(main_bytes + kernel.extra_bytes, kernel.waves);
}

}  // namespace bascule::device::chip
