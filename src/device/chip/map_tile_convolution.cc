// device/chip/map_tile_convolution.cc — convolutions as products over boxes of images, groups, output channels and rows. Staged: one product for all
// taps of a box, tap by tap or with taps and channels packed side by side, or sums on the vector engines, whichever the closed form finds faster.
// Direct: a product for each tap, priced as one kernel.
#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {

using loops::Op;

// The step's operands: x over N, G, C, S...; w over G, O, C, T...; result and operands of the epilogue over N, G, O, S...
struct TileMapper::Convolution {
  const Step& step;
  size_t S = 0;  // spatial axes
  Place x, w, result;
  std::vector<Place> operands;
  DType type = DType::f32;     // of the matrix engine's operands
  double taps = 1, pixels = 1;  // over all spatial axes
  double main_bytes = 0;        // each operand once
  bool stuffed = false;         // zeros between the input's elements: only a tap by itself knows which outputs it reaches
  bool nothing = false;         // no input or no weight: sums of nothing
  std::string shape;            // "1x3x224x224 by 64x7x7": images, channels and input sizes; output channels and taps
};

struct TileMapper::ConvolutionPlan {
  enum Way : uint8_t { taps, packed, channels } way = taps;
  int64_t images = 1, groups = 1, channels_parts = 1, rows = 1;  // parts
  bool channels_outer = false;
  std::string text() const {
    const char* names[] = {"taps", "packed", "channels"};
    return std::string(names[way]) + " images=" + std::to_string(images) + " groups=" + std::to_string(groups) + " channels=" + std::to_string(channels_parts) +
           " rows=" + std::to_string(rows) + (channels_outer ? " channels outer" : " rows outer");
  }
};

namespace {

// Positions of an input, counted as if it were padded, that outputs begin .. begin + size of an axis read.
struct Reach {
  int64_t first, size;
};
Reach reach(const WindowAxis& v, int64_t begin, int64_t size) { return {begin * v.stride - v.low, (size - 1) * v.stride + (v.taps - 1) * v.dilation + 1}; }

// Those of them that are elements of the input; at least one, so that there is something to copy.
Reach elements(const WindowAxis& v, const Reach& r) {
  const int64_t first = std::clamp<int64_t>((std::max<int64_t>(r.first, 0) + v.base - 1) / v.base, 0, v.in - 1);
  const int64_t last = std::clamp<int64_t>((r.first + r.size - 1) / v.base, first, v.in - 1);
  return {first, last - first + 1};
}

// N, G, C, S... of the input that a box over N, G, O, S... reads.
Box input_box(const Step& s, const Box& box) {
  Box in{{box.begin[0], box.begin[1], 0}, {box.size[0], box.size[1], s.in_channels}};
  for (size_t a = 0; a < s.windows.size(); ++a) {
    const Reach r = elements(s.windows[a], reach(s.windows[a], box.begin[3 + a], box.size[3 + a]));
    in.begin.push_back(r.first);
    in.size.push_back(r.size);
  }
  return in;
}

Box weights_box(const Step& s, const Box& box) {
  Box w{{box.begin[1], box.begin[2], 0}, {box.size[1], box.size[2], s.in_channels}};
  for (const WindowAxis& v : s.windows) {
    w.begin.push_back(0);
    w.size.push_back(v.taps);
  }
  return w;
}

}  // namespace

TapReach reach_of_tap(const WindowAxis& axis, int64_t tap, int64_t begin, int64_t size) {
  TapReach r;
  const int64_t shift = tap * axis.dilation - axis.low;
  for (int64_t p = begin; p < begin + size; ++p) {
    const int64_t at = p * axis.stride + shift;
    if (at < 0 || at % axis.base != 0 || at / axis.base >= axis.in) continue;
    if (r.count == 0) r.begin = p, r.from = at / axis.base;
    else if (r.count == 1) r.step = p - r.begin, r.by = at / axis.base - r.from;
    ++r.count;
  }
  return r;
}

TileMapper::Convolution TileMapper::convolution_of(const Step& s) {
  Convolution c{s, s.windows.size(), place(s.lhs), place(s.rhs), {home(s.result), s.out.offset, s.out.strides}, {}};
  Extents x_axes{s.images, s.groups, s.in_channels}, w_axes{s.groups, s.out_channels, s.in_channels};
  for (const WindowAxis& v : s.windows) {
    x_axes.push_back(v.in);
    w_axes.push_back(v.taps);
    c.taps *= static_cast<double>(v.taps);
    c.pixels *= static_cast<double>(v.out);
    c.stuffed |= v.base > 1;
  }
  c.nothing = whole_box(x_axes).elements() == 0 || whole_box(w_axes).elements() == 0;
  const std::string channels = "x" + (s.groups > 1 ? std::to_string(s.groups) + "*" : "");
  c.shape = std::to_string(s.images) + channels + std::to_string(s.in_channels);
  for (const WindowAxis& v : s.windows) c.shape += "x" + std::to_string(v.in);
  c.shape += " by " + (s.groups > 1 ? std::to_string(s.groups) + "*" : "") + std::to_string(s.out_channels);
  for (const WindowAxis& v : s.windows) c.shape += "x" + std::to_string(v.taps);
  const DType stored = e_.buffer(c.x.buffer).dtype;
  c.type = chip_.matrix.passes.contains(stored) && info(stored).bits <= info(precision_).bits ? stored : precision_;
  c.main_bytes = bytes_over(c.x, x_axes) + bytes_over(c.w, w_axes) + bytes_over(c.result, s.axes);
  for (const View& v : s.epilogue_operands) {
    c.operands.push_back(place(v));
    c.main_bytes += bytes_over(c.operands.back(), s.axes);
  }
  return c;
}

void TileMapper::map_convolution(const Step& s) {
  const Convolution c = convolution_of(s);
  if (c.nothing) {
    const Box all = whole_box(s.axes);
    const Place acc = dense(temp(DType::f32, all.elements()), all);
    fill(Emitter::strided(acc.buffer, 0, {all.elements()}, {1}), 0);
    finish_convolution(c, all, acc);
    end_kernel(c.main_bytes);
    return;
  }
  if (staged_) staged_convolution(c);
  else direct_convolution(c);
}

// ---- one tap after the other

// In the outputs of the box that a tap reaches, out += w[tap]^T x[shifted]: on the matrix engine, or element by element on the vector engines.
// `from` and `kernels` hold what the box reads. All products together are `flops`.
void TileMapper::convolution_by_tap(const Convolution& c, const Box& box, const Place& from, const Place& kernels, const Place& acc, bool on_vector, double flops, double cache_bytes) {
  struct Part {
    Place in, out, w;
    Extents count;
    bool full = true, any = true;
  };
  const Step& s = c.step;
  const auto reach_of = [&](const Extents& tap) {
    Part p{from, acc, kernels, {}, true, true};
    for (size_t a = 0; a < c.S && p.any; ++a) {
      const WindowAxis& v = s.windows[a];
      const TapReach r = reach_of_tap(v, tap[a], box.begin[3 + a], box.size[3 + a]);
      p.any = r.count > 0;
      p.full = p.full && r.count == box.size[3 + a];
      p.in.offset += r.from * from.strides[3 + a];
      p.in.strides[3 + a] = from.strides[3 + a] * r.by;
      p.out.offset += r.begin * acc.strides[3 + a];
      p.out.strides[3 + a] = acc.strides[3 + a] * r.step;
      p.w.offset += (v.reversed ? v.taps - 1 - tap[a] : tap[a]) * kernels.strides[3 + a];
      p.count.push_back(r.count);
    }
    return p;
  };
  std::vector<Part> reached;
  Extents tap(c.S, 0);
  for (;;) {
    if (Part p = reach_of(tap); p.any) reached.push_back(std::move(p));
    size_t a = c.S;
    while (a > 0 && ++tap[a - 1] == s.windows[a - 1].taps) tap[--a] = 0;
    if (a == 0) break;
  }
  // One that reaches every output first: it then starts the sums.
  const auto full = std::find_if(reached.begin(), reached.end(), [](const Part& p) { return p.full; });
  const bool starts = full != reached.end();
  if (starts) std::rotate(reached.begin(), full, full + 1);
  else fill(Emitter::strided(acc.buffer, 0, {box.elements()}, {1}), 0);
  for (size_t r = 0; r < reached.size(); ++r) {
    const Part& part = reached[r];
    if (on_vector) {
      convolution_tap_on_vector(c, box, part.in, part.w, part.out, part.count, starts && r == 0);
      continue;
    }
    Product p;
    p.a = from.buffer;
    p.b = kernels.buffer;
    p.out = acc.buffer;
    p.a_offset = part.in.offset + box.begin[0] * from.strides[0] + box.begin[1] * from.strides[1];
    p.b_offset = part.w.offset + box.begin[1] * kernels.strides[0] + box.begin[2] * kernels.strides[1];
    p.out_offset = part.out.offset + box.begin[0] * acc.strides[0] + box.begin[1] * acc.strides[1] + box.begin[2] * acc.strides[2];
    p.batch.push_back({box.size[1], from.strides[1], kernels.strides[0], acc.strides[1]});
    p.m.push_back({box.size[0], from.strides[0], 0, acc.strides[0]});
    for (size_t a = 0; a < c.S; ++a) p.m.push_back({part.count[a], part.in.strides[3 + a], 0, part.out.strides[3 + a]});
    p.n.push_back({box.size[2], 0, kernels.strides[1], acc.strides[2]});
    p.k.push_back({s.in_channels, from.strides[2], kernels.strides[2], 0});
    p.accumulate = !(starts && r == 0);
    const size_t begin = e_.program().code.size();
    product(p, flops / static_cast<double>(reached.size()));
    auto& code = e_.program().code;
    for (size_t k = begin; k < code.size(); ++k) code[k].cache_bytes = cache_bytes / static_cast<double>(reached.size() * (code.size() - begin));
  }
}

// out (+)= sum over channels of x * w, over N, G, O and `count` outputs of each spatial axis from the places' offsets on.
void TileMapper::convolution_tap_on_vector(const Convolution& c, const Box& box, const Place& x, const Place& w, const Place& out, const Extents& count, bool start) {
  Box over{{box.begin[0], box.begin[1], box.begin[2]}, {box.size[0], box.size[1], box.size[2]}};
  for (const int64_t n : count) {
    over.begin.push_back(0);
    over.size.push_back(n);
  }
  for (int64_t channel = 0; channel < c.step.in_channels; ++channel) {
    Place xs = x, ws = w;
    xs.offset += channel * x.strides[2];
    xs.strides[2] = 0;  // over O
    ws.offset += channel * w.strides[2];
    ws.strides = Extents(3 + c.S, 0);
    ws.strides[1] = w.strides[0];
    ws.strides[2] = w.strides[1];
    std::vector<Item> items{{Op::multiply, DType::f32, {{Item::Ref::operand, 0, 0}, {Item::Ref::operand, 1, 0}, {}}}};
    if (!start || channel > 0) items.push_back({Op::add, DType::f32, {{Item::Ref::anchor, 0, 0}, {Item::Ref::value, 0, 0}, {}}});
    evaluate(items, {xs, ws}, {out}, over, out);
  }
}

// ---- direct

void TileMapper::direct_convolution(const Convolution& c) {
  const Step& s = c.step;
  const bool on_vector = s.in_channels == 1 && s.out_channels == 1;
  Kernel kernel;
  if (!on_vector)
    kernel = best_kernel(static_cast<double>(s.groups), static_cast<double>(s.images) * c.pixels, static_cast<double>(s.out_channels), static_cast<double>(s.in_channels) * c.taps, c.main_bytes, c.type,
                         choice_of(c.shape));
  // Images one group after the other, where temporaries of all are too large.
  const auto bytes_of = [&](const Extents& size) {
    double in = static_cast<double>(size[0] * size[1] * s.in_channels) * 2, out = static_cast<double>(size[0] * size[1] * size[2]);
    for (size_t a = 0; a < c.S; ++a) {
      in *= static_cast<double>(elements(s.windows[a], reach(s.windows[a], 0, size[3 + a])).size);
      out *= static_cast<double>(size[3 + a]);
    }
    return in + static_cast<double>(size[1] * size[2] * s.in_channels) * c.taps * 2 + out * (6 + (s.epilogue.empty() ? 0 : 4.0 * static_cast<double>(1 + c.operands.size())));
  };
  Extents size = s.axes;
  std::vector<size_t> by{0, 1};
  if (c.S > 0) by.push_back(3);
  by.push_back(2);
  for (size_t a = 1; a < c.S; ++a) by.push_back(3 + a);
  for (const size_t a : by)
    while (size[a] > 1 && bytes_of(size) > local_limit_) size[a] = (size[a] + 1) / 2;
  const auto parts = grid(s.axes, size);
  const auto count = static_cast<double>(parts.size());
  for (const Box& box : parts) {
    const std::optional<DType> type = on_vector ? std::nullopt : std::optional(c.type);
    const Place from = fetch(c.x, input_box(s, box), type), kernels = fetch(c.w, weights_box(s, box), type);
    const Place acc = dense(temp(DType::f32, box.elements()), box);
    convolution_by_tap(c, box, from, kernels, acc, on_vector, kernel.flops / count, kernel.cache_bytes / count);
    finish_convolution(c, box, acc);
  }
  e_.step().choice = (on_vector ? "channels boxes=" + std::to_string(parts.size()) : "tile=" + std::to_string(kernel.tile_m) + "x" + std::to_string(kernel.tile_n) + " split_k=" + std::to_string(kernel.split_k)) +
                     " of " + c.shape;
  end_kernel(c.main_bytes + kernel.extra_bytes, kernel.waves);
}

// What follows on the box, its way home, and the end of its sums and operands.
void TileMapper::finish_convolution(const Convolution& c, const Box& box, const Place& acc) {
  std::vector<Place> local;
  for (const Place& p : c.operands) local.push_back(fetch(p, box));
  const Place y = result_box(c.result, box);
  epilogue(c.step, local, acc, box, y);
  store(y, c.result, box);
  drop(acc.buffer);
  drop_fetched();
}

// ---- staged

// Passes of the arrays for a box: with packing, taps and channels fill their rows together; else each tap has rows of its own.
double TileMapper::convolution_flops(const Convolution& c, double images, double groups, double channels, double pixels, bool packed) const {
  const double rows = static_cast<double>(chip_.matrix.rows), in = static_cast<double>(c.step.in_channels);
  return padded_passes(groups, images * pixels, channels, packed ? std::ceil(in * c.taps / rows) : c.taps * std::ceil(in / rows));
}

// Time of one way with so many parts of images, groups, channels and rows: the slowest of matrix engine, transfers and vector engines where they run side
// by side, else their sum. More than `limit` bytes of local memory only if nothing fits.
double TileMapper::convolution_seconds(const Convolution& c, const ConvolutionPlan& plan, double limit) const {
  const Step& s = c.step;
  const bool packed = plan.way == ConvolutionPlan::packed, on_vector = plan.way == ConvolutionPlan::channels;
  const auto part = [](int64_t extent, int64_t parts) { return static_cast<double>((extent + parts - 1) / parts); };
  const double images = part(s.images, plan.images), groups = part(s.groups, plan.groups), channels = part(s.out_channels, plan.channels_parts);
  const double in = static_cast<double>(s.in_channels), element = info(c.type).storage_bits / 8.0;
  Extents spatial;
  for (const WindowAxis& v : s.windows) spatial.push_back(v.out);
  spatial = split_size(spatial, plan.rows);
  const auto boxes_of = [](int64_t extent, double size) { return std::ceil(static_cast<double>(extent) / size); };
  double row_boxes = boxes_of(s.images, images), channel_boxes = boxes_of(s.groups, groups) * boxes_of(s.out_channels, channels);
  for (size_t a = 0; a < c.S; ++a) row_boxes *= boxes_of(s.windows[a].out, static_cast<double>(spatial[a]));
  const double count = row_boxes * channel_boxes;
  double pixels = 1, positions = 1;  // of a box: outputs, and inputs that they read
  bool padded = false, patches = true;
  for (size_t a = 0; a < c.S; ++a) {
    const WindowAxis& v = s.windows[a];
    const Reach r = reach(v, 0, spatial[a]);
    pixels *= static_cast<double>(spatial[a]);
    positions *= static_cast<double>(r.size);
    padded |= v.low > 0 || r.size > v.in;
    patches &= v.taps <= v.stride;
  }
  const bool x_here = e_.buffer(c.x.buffer).memory != Role::main, w_here = e_.buffer(c.w.buffer).memory != Role::main;
  const bool copied = padded && !c.stuffed && !on_vector, straight = packed && !copied && (patches || x_here);
  const double x_elements = images * groups * in * positions, w_elements = groups * channels * in * c.taps, out = images * groups * channels * pixels;
  const double windows = packed ? images * groups * in * c.taps * pixels : 0;
  double local = x_elements * (straight || (x_here && !copied) ? 0 : element) + windows * element + w_elements * element +
                 out * (6 + (s.epilogue.empty() ? 0 : 4.0 * static_cast<double>(1 + c.operands.size())));
  if (overlap_) local *= 2;

  const double rate = chip_.matrix.peak_flop_per_s(c.type) * chip_.matrix.achieved;
  const double products = packed || c.S < 2 ? 1 : c.stuffed ? c.taps : std::min(images, static_cast<double>(s.windows[0].taps));  // instructions of a box
  const double compute = on_vector ? 0 : convolution_flops(c, images, groups, channels, pixels, packed) / std::max(rate, 1.0) + products * chip_.matrix.fill_cycles / chip_.matrix.clock_hz;
  double vector = epilogue_seconds(s, out);
  if (on_vector) vector += out * c.taps * in * 2 * vector_seconds(WorkClass::arith2, Width::wide);
  if (copied) vector += x_elements * vector_seconds(WorkClass::fill, Width::bits16);
  const double relays = (packed && !straight ? windows : 0) + (copied && x_here ? x_elements : 0) + (straight && x_here ? windows : 0);
  if (relays > 0) vector += relay_seconds(relays, c.type);
  const double reloads = plan.channels_outer ? boxes_of(s.out_channels, channels) : 1;
  const double x_bytes = x_here ? 0 : (straight ? windows : x_elements) * element, w_bytes = w_here ? 0 : w_elements * element;
  const double weight_loads = plan.channels_outer || channel_boxes == 1 ? 1 : row_boxes;
  const double moved = x_bytes * row_boxes * boxes_of(s.groups, groups) * reloads + w_bytes * channel_boxes * weight_loads + bytes_over(c.result, s.axes);
  const double main_rate = std::max(chip_.main().bytes_per_s * chip_.main().achieved, 1.0), transfers = moved / main_rate;
  const double slowest = std::max({compute * count, transfers, vector * count});
  double seconds = overlap_ ? slowest + (x_bytes + w_bytes) / main_rate + compute + vector : compute * count + transfers + vector * count;
  seconds = seconds * (1 + 1e-4 * count) + count * (overlap_ ? 2e-7 : 1e-7);
  return local > limit ? seconds + 1e3 * local / limit : seconds;
}

TileMapper::ConvolutionPlan TileMapper::plan_convolution(const Convolution& c, const std::string& pin) {
  const Step& s = c.step;
  const auto parsed = [&](const std::string& choice) {
    const auto parts = [&](const char* key) { return std::max<int64_t>(number_of(choice, key), 1); };
    const auto way = choice.starts_with("channels ") ? ConvolutionPlan::channels : choice.starts_with("packed ") && !c.stuffed ? ConvolutionPlan::packed : ConvolutionPlan::taps;
    return ConvolutionPlan{way, parts("images"), parts("groups"), parts("channels"), parts("rows"), choice.find("channels outer") != std::string::npos};
  };
  if (number_of(pin, "images") > 0) return parsed(pin);
  const std::string kind = kind_of(s);
  if (const std::string* choice = known(kind)) return parsed(*choice);
  std::vector<ConvolutionPlan::Way> ways{ConvolutionPlan::taps};
  if (!c.stuffed && c.taps > 1) ways.push_back(ConvolutionPlan::packed);
  constexpr double kMostOnVector = 256;  // instructions of a box
  if (static_cast<double>(s.in_channels) * c.taps <= kMostOnVector) ways.push_back(ConvolutionPlan::channels);
  Extents spatial;
  for (const WindowAxis& v : s.windows) spatial.push_back(v.out);
  const int64_t row_parts = most_parts(spatial), columns = std::max<int64_t>(1, 2 * s.out_channels / std::max<int64_t>(chip_.matrix.cols, 1));
  const double limit = std::min(local_limit_ * 2, 0.95 * static_cast<double>(e_.largest_free(Role::scratchpad)) * cores_);
  Candidates found;
  for (const auto way : ways)
    for (int64_t images = 1; images <= s.images; images *= 2)
      for (int64_t groups = 1; groups <= s.groups; groups *= 2)
        for (int64_t rows = 1; rows <= row_parts; rows *= 2) {
          const int64_t most = rows >= row_parts / 2 ? s.out_channels : std::min(s.out_channels, columns);  // fewer than the array has columns only if nothing else fits
          for (int64_t channels = 1; channels <= most; channels *= 2)
            for (const bool outer : {false, true}) {
              const ConvolutionPlan plan{way, images, groups, channels, rows, outer};
              if (outer && channels * groups == 1) continue;
              if (const double seconds = convolution_seconds(c, plan, limit); found.wants(seconds)) found.add(seconds, plan.text());
            }
        }
  return parsed(fastest(s, kind, found));
}

// Where the product finds what the box reads, over G, C, T..., N, S...: in place, among zeros on the cores where the box reaches beyond the input, or
// packed there, taps beside channels.
Place TileMapper::convolution_windows(const Convolution& c, const Box& box, bool packed) {
  const Step& s = c.step;
  Box need{{box.begin[0], box.begin[1], 0}, {box.size[0], box.size[1], s.in_channels}};
  bool inside = true, patches = true;
  for (size_t a = 0; a < c.S; ++a) {
    const WindowAxis& v = s.windows[a];
    const Reach r = reach(v, box.begin[3 + a], box.size[3 + a]);
    need.begin.push_back(r.first);
    need.size.push_back(r.size);
    inside &= r.first >= 0 && r.first + r.size <= v.in;
    patches &= v.taps <= v.stride;
  }
  const bool here = e_.buffer(c.x.buffer).memory != Role::main;
  const size_t before = fetched_.size();
  Place from;
  if (inside && packed && (patches || here)) from = c.x;
  else if (inside) from = fetch(c.x, need, c.type);
  else from = among_zeros(c, box, need);
  // Output q and tap t of an axis read position q * stride + t * dilation - low.
  Place windows{from.buffer, from.offset, {from.strides[1], from.strides[2]}};
  Box over{{box.begin[1], 0}, {box.size[1], s.in_channels}};
  const auto axis = [&](int64_t begin, int64_t size, int64_t stride) {
    over.begin.push_back(begin);
    over.size.push_back(size);
    windows.strides.push_back(stride);
  };
  for (size_t a = 0; a < c.S; ++a) {
    axis(0, s.windows[a].taps, from.strides[3 + a] * s.windows[a].dilation);
    windows.offset -= s.windows[a].low * from.strides[3 + a];
  }
  axis(box.begin[0], box.size[0], from.strides[0]);
  for (size_t a = 0; a < c.S; ++a) axis(box.begin[3 + a], box.size[3 + a], from.strides[3 + a] * s.windows[a].stride);
  if (!packed) return windows;
  const Place to = dense(temp(c.type, over.elements()), over);
  copy_box(e_.buffer(from.buffer).memory == Role::main ? load_queue() : relay_queue(static_cast<double>(over.elements()), c.type), windows, to, over);
  for (; fetched_.size() > before; fetched_.pop_back()) drop(fetched_.back());
  fetched_.push_back(to.buffer);
  return to;
}

// The positions `need` of the input (N, G, C, S..., as if padded) on the cores, zeros where it has none.
Place TileMapper::among_zeros(const Convolution& c, const Box& box, const Box& need) {
  const int32_t id = temp(c.type, need.elements());
  fetched_.push_back(id);
  const Place to = dense(id, need);
  if (overlap_ && e_.buffer(c.x.buffer).memory == Role::main) {  // in front of the load, in its queue: behind no work
    Instruction zero;
    zero.op = Opcode::fill;
    zero.work = engines_[static_cast<size_t>(WorkClass::fill)].second;
    zero.queue = load_queue();
    zero.cores = cores_;
    zero.out = Emitter::strided(id, 0, {need.elements()}, {1});
    e_.emit(zero);
  } else {
    fill(Emitter::strided(id, 0, {need.elements()}, {1}), 0);
  }
  for (size_t a = 0; a < c.S; ++a)  // nothing but padding
    if (need.begin[3 + a] >= c.step.windows[a].in || need.begin[3 + a] + need.size[3 + a] <= 0) return to;
  const Box in = input_box(c.step, box);
  copy_box(e_.buffer(c.x.buffer).memory == Role::main ? load_queue() : relay_queue(static_cast<double>(in.elements()), c.type), c.x, to, in);
  return to;
}

// out = all taps and channels of the box at once; `windows` over G, C, T..., N, S...
void TileMapper::convolution_product(const Convolution& c, const Box& box, const Place& windows, const Place& kernels, const Place& out, bool packed) {
  const Step& s = c.step;
  const size_t S = c.S;
  Product p;
  p.a = windows.buffer;
  p.b = kernels.buffer;
  p.out = out.buffer;
  p.a_offset = windows.offset + box.begin[1] * windows.strides[0] + box.begin[0] * windows.strides[2 + S];
  p.b_offset = kernels.offset + box.begin[1] * kernels.strides[0] + box.begin[2] * kernels.strides[1];
  p.out_offset = out.offset + box.begin[0] * out.strides[0] + box.begin[1] * out.strides[1] + box.begin[2] * out.strides[2];
  p.batch.push_back({box.size[1], windows.strides[0], kernels.strides[0], out.strides[1]});
  p.m.push_back({box.size[0], windows.strides[2 + S], 0, out.strides[0]});
  p.n.push_back({box.size[2], 0, kernels.strides[1], out.strides[2]});
  const Product::Dim channels{s.in_channels, windows.strides[1], kernels.strides[2], 0};
  if (packed) p.k.push_back(channels);  // outermost, where taps and channels then are one
  double pixels = 1;
  for (size_t a = 0; a < S; ++a) {
    const WindowAxis& v = s.windows[a];
    const int64_t w = kernels.strides[3 + a];
    p.a_offset += box.begin[3 + a] * windows.strides[3 + S + a];
    p.out_offset += box.begin[3 + a] * out.strides[3 + a];
    if (v.reversed) p.b_offset += (v.taps - 1) * w;
    p.m.push_back({box.size[3 + a], windows.strides[3 + S + a], 0, out.strides[3 + a]});
    p.k.push_back({v.taps, windows.strides[2 + a], v.reversed ? -w : w, 0});
    pixels *= static_cast<double>(box.size[3 + a]);
  }
  if (!packed) p.k.push_back(channels);
  product(p, convolution_flops(c, static_cast<double>(box.size[0]), static_cast<double>(box.size[1]), static_cast<double>(box.size[2]), pixels, packed));
}

void TileMapper::staged_convolution(const Convolution& c) {
  const Step& s = c.step;
  const ConvolutionPlan plan = plan_convolution(c, choice_of(c.shape));
  const bool on_vector = plan.way == ConvolutionPlan::channels, packed = plan.way == ConvolutionPlan::packed;
  const std::optional<DType> type = on_vector ? std::nullopt : std::optional(c.type);
  Extents size{(s.images + plan.images - 1) / plan.images, (s.groups + plan.groups - 1) / plan.groups, (s.out_channels + plan.channels_parts - 1) / plan.channels_parts}, spatial;
  for (const WindowAxis& v : s.windows) spatial.push_back(v.out);
  for (const int64_t x : split_size(spatial, plan.rows)) size.push_back(x);
  std::vector<Box> parts = grid(s.axes, size);
  std::stable_sort(parts.begin(), parts.end(), [&](const Box& a, const Box& b) {
    const auto key = [&](const Box& x) {
      Extents rows{x.begin[0]};
      rows.insert(rows.end(), x.begin.begin() + 3, x.begin.end());
      const Extents channels{x.begin[1], x.begin[2]};
      return plan.channels_outer ? std::pair(channels, rows) : std::pair(rows, channels);
    };
    return key(a) < key(b);
  });
  const bool by_tap = on_vector || c.stuffed, plain = packed && s.epilogue.empty();
  Loaded weights, inputs[2];
  size_t slot = 0;
  const auto input_of = [&](const Box& box) {
    Box read = box;
    read.begin[2] = 0;
    read.size[2] = 1;
    if (overlap_ && (inputs[slot].box.begin != read.begin || inputs[slot].box.size != read.size)) slot = 1 - slot;
    return load(inputs[slot], read, [&](const Box&) { return by_tap ? fetch(c.x, input_box(s, box), type) : convolution_windows(c, box, packed); });
  };
  for (size_t k = 0; k < parts.size(); ++k) {
    const Box& box = parts[k];
    const Place kernels = load(weights, weights_box(s, box), [&](const Box& b) { return fetch(c.w, b, type); }), from = input_of(box);
    double pixels = 1;
    for (size_t a = 0; a < c.S; ++a) pixels *= static_cast<double>(box.size[3 + a]);
    const Place acc = plain ? result_box(c.result, box) : dense(temp(DType::f32, box.elements()), box);
    if (by_tap) convolution_by_tap(c, box, from, kernels, acc, on_vector, convolution_flops(c, static_cast<double>(box.size[0]), static_cast<double>(box.size[1]), static_cast<double>(box.size[2]), pixels, false), 0);
    else convolution_product(c, box, from, kernels, acc, packed);
    if (overlap_ && !on_vector && k + 1 < parts.size()) input_of(parts[k + 1]);  // ready before what follows on this one, which waits for its product
    if (plain) store(acc, c.result, box);
    else finish_convolution(c, box, acc);
  }
  unload(weights);
  for (Loaded& l : inputs) unload(l);
  e_.step().choice = plan.text() + " of " + c.shape;
}

}  // namespace bascule::device::chip
