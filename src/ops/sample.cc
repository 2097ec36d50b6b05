// ops/sample.cc — an image read at fractional positions by gathers: what grid_sample and deform_conv decompose to.
#include "ops/sample.h"

#include <string>

namespace bascule::ops {
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
  at = b.clamp(-1e15, b.select(b.compare(at, at, "EQ"), at, 0), 1e15);  // weights stay numbers
  if (s.taps == Neighbours::nearest) at = b.unary("round_nearest_even", at);
  if (s.outside == Outside::border && s.taps != Neighbours::cubic) at = b.clamp(0, at, last);  // cubic: each neighbour by itself, as PyTorch does
  if (s.outside == Outside::reflection) at = reflect(b, at, low, high);
  const auto tap = [&](Value i, Value weight) {
    Tap k{kNoValue, weight, kNoValue};
    if (s.outside == Outside::zeros) k.inside = b.logical_and(b.compare(i, 0, "GE"), b.compare(i, last, "LE"));
    if (s.outside == Outside::reflection) i = reflect(b, i, low, high);
    const Value number = b.select(b.compare(i, i, "EQ"), i, 0);  // reflected within a single element: 0 / 0
    k.index = b.convert(b.clamp(0, number, last), DType::i64);
    return k;
  };
  if (s.taps == Neighbours::nearest) return {tap(at, kNoValue)};
  const Value base = b.floor(at), f = b.subtract(at, base);
  if (s.taps == Neighbours::linear) return {tap(base, b.subtract(1, f)), tap(b.add(base, 1), f)};
  const Values w = cubic_weights(b, f);
  return {tap(b.subtract(base, 1), w[0]), tap(base, w[1]), tap(b.add(base, 1), w[2]), tap(b.add(base, 2), w[3])};
}

}  // namespace

Value sample_image(Builder& b, Value x, const Values& at, const Sampling& s) {
  const size_t axes = at.size();
  const Dim N = b.dim(x, 0), C = b.dim(x, 1);
  const Dims points = b.dims(at[0]);
  const DType t = b.dtype(x), coordinate = b.dtype(at[0]);
  const bool weighted = s.taps != Neighbours::nearest;
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

}  // namespace bascule::ops
