// import/onnx/sample.cc — GridSample, AffineGrid, CenterCropPad; sampling an image at fractional coordinates.
#include "import/onnx/sample.h"

#include <algorithm>
#include <numeric>

namespace bascule::onnx {
namespace {

// One neighbour on one axis.
struct Tap {
  Value index;   // i64, within the extent
  Value weight;  // kNoValue: 1
  Value inside;  // i1; kNoValue: always
};

// Folds a coordinate back between low and high as mirrors at both would.
Value reflect(Builder& b, Value x, Value low, Value high) {
  const Value range = b.subtract(high, low);
  const Value below = b.compare(x, low, "LT");
  const Value d = b.maximum(b.select(below, b.subtract(low, x), b.subtract(x, high)), 0);
  const Value turns = b.floor(b.divide(d, range));
  const Value r = b.subtract(d, b.multiply(turns, range));
  const Value even = b.compare(b.remainder(turns, 2), 0, "EQ");
  const Value from_low = b.compare(even, below, "EQ");  // below and even, or above and odd
  const Value folded = b.select(from_low, b.add(low, r), b.subtract(high, r));
  const Value outside = b.logical_or(below, b.compare(x, high, "GT"));
  return b.select(outside, folded, x);
}

// Weights of the neighbours -1, 0, 1, 2 at fraction f, a = -0.75.
Values cubic_weights(Builder& b, Value f) {
  constexpr double a = -0.75;
  const auto far = [&](Value d) { return b.subtract(b.multiply(b.add(b.multiply(b.subtract(b.multiply(d, a), 5 * a), d), 8 * a), d), 4 * a); };
  const auto near = [&](Value d) { return b.add(b.multiply(b.multiply(b.subtract(b.multiply(d, a + 2), a + 3), d), d), 1); };
  const Value g = b.subtract(1, f);
  return {far(b.add(f, 1)), near(f), near(g), far(b.add(g, 1))};
}

std::vector<Tap> taps_of(Builder& b, Value at, const Dim& extent, const Sampling& s) {
  const DType t = b.dtype(at);
  const Value last = b.convert(b.size(extent - Dim(1)), t);
  const Value low = b.constant_like(s.align_corners ? 0 : -0.5, t), high = s.align_corners ? last : b.add(last, 0.5);
  if (s.taps == Taps::nearest) at = b.unary("round_nearest_even", at);
  if (s.outside == Outside::border && s.taps != Taps::cubic) at = b.clamp(0, at, last);  // cubic: each neighbour by itself, as PyTorch does
  if (s.outside == Outside::reflection) at = reflect(b, at, low, high);
  const auto tap = [&](Value i, Value weight) {
    Tap k{kNoValue, weight, kNoValue};
    if (s.outside == Outside::zeros) k.inside = b.logical_and(b.compare(i, 0, "GE"), b.compare(i, last, "LE"));
    if (s.outside == Outside::reflection) i = reflect(b, i, low, high);
    const Value finite = b.select(b.compare(i, i, "EQ"), i, 0);
    k.index = b.convert(b.clamp(0, finite, last), DType::i64);
    return k;
  };
  if (s.taps == Taps::nearest) return {tap(at, kNoValue)};
  const Value base = b.floor(at), f = b.subtract(at, base);
  if (s.taps == Taps::linear) return {tap(base, b.subtract(1, f)), tap(b.add(base, 1), f)};
  const Values w = cubic_weights(b, f);
  return {tap(b.subtract(base, 1), w[0]), tap(base, w[1]), tap(b.add(base, 1), w[2]), tap(b.add(base, 2), w[3])};
}

}  // namespace

Value sample(Builder& b, Value x, const Values& at, const Sampling& s) {
  const size_t axes = at.size();
  const Dim N = b.dim(x, 0), C = b.dim(x, 1);
  const Dims points = b.dims(at[0]);
  const DType t = b.dtype(x), coordinate = b.dtype(at[0]);
  const bool weighted = s.taps != Taps::nearest;
  const DType wide = !weighted ? t : is_float(t) && info(t).bits > info(coordinate).bits ? t : coordinate;
  std::vector<std::vector<Tap>> taps;
  for (size_t i = 0; i < axes; ++i) taps.push_back(taps_of(b, at[i], b.dim(x, static_cast<int64_t>(i) + 2), s));
  const Dim count = product(Dims(points.begin() + 1, points.end()));
  Dims spatial(b.dims(x).begin() + 2, b.dims(x).end());
  const Value flat = b.reshape(x, {N, C, product(spatial)});
  Value y;
  std::vector<size_t> pick(axes, 0);
  for (;;) {
    Value index = taps[0][pick[0]].index, weight = taps[0][pick[0]].weight, inside = taps[0][pick[0]].inside;
    for (size_t i = 1; i < axes; ++i) {
      const Tap& k = taps[i][pick[i]];
      index = b.add(b.multiply(index, b.size(spatial[i])), k.index);
      if (k.weight) weight = weight ? b.multiply(weight, k.weight) : k.weight;
      if (k.inside) inside = inside ? b.logical_and(inside, k.inside) : k.inside;
    }
    Value v = b.op("gather", {flat, b.reshape(index, {N, count, 1})},
                   {{"offset_dims", Ints{1}},
                    {"collapsed_slice_dims", Ints{2}},
                    {"operand_batching_dims", Ints{0}},
                    {"start_indices_batching_dims", Ints{0}},
                    {"start_index_map", Ints{2}},
                    {"index_vector_dim", int64_t{2}},
                    {"slice_sizes", Dims{1, C, 1}},
                    {"indices_are_sorted", false},
                    {"out_of_bounds", std::string("clamp")}});  // N x C x count
    v = b.convert(v, wide);
    if (inside) v = b.select(b.reshape(inside, {N, 1, count}), v, 0);
    if (weight) v = b.multiply(v, b.convert(b.reshape(weight, {N, 1, count}), wide));
    y = y ? b.add(y, v) : v;
    size_t i = axes;
    while (i-- > 0 && ++pick[i] == taps[i].size()) pick[i] = 0;
    if (i == static_cast<size_t>(-1)) break;
  }
  Dims out{N, C};
  out.insert(out.end(), points.begin() + 1, points.end());
  return b.reshape(b.convert(y, t), out);
}

namespace {

Value grid_sample(NodeContext& n, Builder& b, const std::string& mode) {
  const Value x = n.in(0), grid = n.in(1);
  const int64_t axes = b.rank(x) - 2;
  if (axes < 1 || b.rank(grid) != b.rank(x) || !(b.dim(grid, -1).is(axes) || !b.dim(grid, -1).is_constant()))
    n.fail("X [N, C, spatial] and grid [N, out spatial, " + std::to_string(axes) + "]", b.type(x).text() + " and " + b.type(grid).text());
  const std::string padding = n.text("padding_mode", "zeros");
  Sampling s{Taps::linear, Outside::zeros, n.flag("align_corners", false)};
  if (mode == "nearest") s.taps = Taps::nearest;
  else if (mode == "cubic" || mode == "bicubic") s.taps = Taps::cubic;
  else if (mode != "linear" && mode != "bilinear") n.fail("mode linear, nearest or cubic", "'" + escaped(mode) + "'");
  if (padding == "border") s.outside = Outside::border;
  else if (padding == "reflection") s.outside = Outside::reflection;
  else if (padding != "zeros") n.fail("padding_mode zeros, border or reflection", "'" + escaped(padding) + "'");
  const DType wide = b.dtype(grid) == DType::f64 ? DType::f64 : DType::f32;
  const Dims points(b.dims(grid).begin(), b.dims(grid).end() - 1);
  Values at;
  for (int64_t i = 0; i < axes; ++i) {  // the grid names the last axis first
    const Value g = b.convert(b.reshape(b.slice_axis(grid, -1, axes - 1 - i, axes - i), points), wide);
    const Dim extent = b.dim(x, i + 2);
    const Value length = b.convert(b.size(extent), wide);
    at.push_back(s.align_corners ? b.multiply(b.divide(b.add(g, 1), 2), b.subtract(length, 1)) : b.divide(b.subtract(b.multiply(b.add(g, 1), length), 1), 2));
  }
  return sample(b, x, at, s);
}

}  // namespace

ONNX_OP(GridSample, 16) { return grid_sample(n, b, n.text("mode", "bilinear")); }
ONNX_OP(GridSample, 20) { return grid_sample(n, b, n.text("mode", "linear")); }

// grid[n, p, :] = theta[n] * (x, y, (z), 1), coordinates in [-1, 1] over the output's points
ONNX_OP(AffineGrid, 20) {
  const Value theta = n.in(0);
  const Dims size = n.sizes(1);
  const bool align = n.flag("align_corners", false);
  const size_t axes = size.size() - 2;
  if (size.size() != 4 && size.size() != 5) n.fail("size of 4 or 5 integers", std::to_string(size.size()));
  if (b.rank(theta) != 3) n.fail("theta of rank 3", b.type(theta).text());
  const DType t = b.dtype(theta), wide = t == DType::f64 ? DType::f64 : DType::f32;
  const Dims spatial(size.begin() + 2, size.end());
  Dims column = spatial;
  column.push_back(1);
  Values parts;
  for (size_t i = axes; i-- > 0;) {  // x, y, z: last axis first
    const Value index = b.iota(DType::f64, column, static_cast<int64_t>(i));
    const Value length = b.convert(b.size(spatial[i]), DType::f64);
    parts.push_back(align ? b.add(b.multiply(index, b.divide(2, b.subtract(length, 1))), -1)
                          : b.add(b.multiply(b.add(index, 0.5), b.divide(2, length)), -1));
  }
  parts.push_back(b.full(column, DType::f64, 1));
  const Value points = b.convert(b.concatenate(parts, static_cast<int64_t>(axes)), wide);  // spatial x (axes + 1)
  const Value y = b.dot_general(b.convert(theta, wide), points, {}, {}, {2}, {static_cast<int64_t>(axes)});  // N x axes x spatial
  Ints order{0};
  for (size_t i = 0; i < axes; ++i) order.push_back(static_cast<int64_t>(i) + 2);
  order.push_back(1);
  return b.convert(b.transpose(y, order), t);
}

// Cuts or pads with zeros, evenly on both sides; an odd one goes to the end.
ONNX_OP(CenterCropPad, 18) {
  Value x = n.in(0);
  const Dims shape = n.sizes(1);
  Ints axes = n.ints("axes", Ints{});
  if (!n.has_attr("axes")) {
    axes.resize(static_cast<size_t>(b.rank(x)));
    std::iota(axes.begin(), axes.end(), 0);
  }
  axes = n.axes(axes, b.rank(x));
  if (axes.size() != shape.size()) n.fail("one size for each of " + std::to_string(axes.size()) + " axes", std::to_string(shape.size()));
  Dims low(static_cast<size_t>(b.rank(x)), Dim(0)), high = low, start = low, limit = b.dims(x);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto a = static_cast<size_t>(axes[i]);
    const Dim have = limit[a], want = shape[i];
    const Dim kept = Dim::min(have, want);
    start[a] = Dim::floor_div(Dim::max(have - want, 0), 2);
    limit[a] = start[a] + kept;
    low[a] = Dim::floor_div(Dim::max(want - have, 0), 2);
    high[a] = want - kept - low[a];
  }
  x = b.slice(x, start, limit, Ints(low.size(), 1));
  return b.pad(x, 0, low, high);
}

}  // namespace bascule::onnx
