// device/chip/expand_resample.cc — crops resampled at computed coordinates: four gathered neighbours of each sample, weighted.
#include <algorithm>

#include "device/chip/expand_rules.h"

namespace bascule::device::chip {
namespace {

// Along one axis, for each region and sample: the neighbours below and above, i32, and their weights, 0 for samples outside [-1, extent].
struct Samples {
  Value low, high, of_low, of_high;
};

// Sample s of region r lies at start[r] + size[r] / bins * (s + 1/2) / per_bin.
Samples samples(Builder& b, Value start, Value size, int64_t bins, int64_t per_bin, int64_t extent) {
  const int64_t count = bins * per_bin;
  std::vector<double> offsets;
  for (int64_t s = 0; s < count; ++s) offsets.push_back((static_cast<double>(s) + 0.5) / static_cast<double>(per_bin * bins));
  const Dims dims{b.dim(start, 0), count};
  const Value offset = b.broadcast_in_dim(b.constant(Tensor::from_doubles(DType::f32, {count}, offsets)), dims, {1});
  const Value at = b.add(b.broadcast_in_dim(start, dims, {0}), b.multiply(b.broadcast_in_dim(size, dims, {0}), offset));
  const Value inside = b.logical_and(b.compare(at, -1, "GE"), b.compare(at, static_cast<double>(extent), "LE"));
  const Value kept = b.clamp(0, at, static_cast<double>(extent)), below = b.floor(kept);
  const auto last = static_cast<double>(extent - 1);
  const Value part = b.select(b.compare(below, last, "GE"), 0, b.subtract(kept, below));
  Samples s;
  s.low = b.convert(b.minimum(below, last), DType::i32);
  s.high = b.convert(b.minimum(b.add(below, 1), last), DType::i32);
  s.of_low = b.select(inside, b.subtract(1, part), 0);
  s.of_high = b.select(inside, part, 0);
  return s;
}

std::string refuse_roi_align(const Graph& g, const Node& n) {
  if (n.attrs.integer("sampling_ratio") < 1) return "as many samples as the data decide";
  const auto x = constants(g.type(n.inputs[0]).dims);
  return x && (element_count(*x) < 0 || ((*x)[1] > 0 && element_count(*x) / (*x)[1] > (int64_t{1} << 24))) ? "more than 2^24 rows to gather from" : "";
}

Values apply_roi_align(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Type& result = r.old().type(n.outputs[0]);
  Value x = r(n.inputs[0]);
  const Dim N = b.dim(x, 0), C = b.dim(x, 1), H = b.dim(x, 2), W = b.dim(x, 3), R = b.dim(r(n.inputs[1]), 0);
  if (b.type(x).elements_count().is(0) || result.elements_count().is(0)) return {b.full(result.dims, result.dtype, 0)};
  const int64_t rows = n.attrs.integer("output_height"), columns = n.attrs.integer("output_width"), per_bin = n.attrs.integer("sampling_ratio");
  const bool half = n.attrs.flag("half_pixel"), maximum = n.attrs.text("mode") == "max";
  const Value boxes = b.convert(r(n.inputs[1]), DType::f32);
  const auto corner = [&](int64_t k) { return b.subtract(b.multiply(b.reshape(b.slice_axis(boxes, 1, k, k + 1), {R}), n.attrs.number("spatial_scale")), half ? 0.5 : 0.0); };
  const auto size = [&](Value from, Value to) { return half ? b.subtract(to, from) : b.maximum(b.subtract(to, from), 1); };
  const Value left = corner(0), top = corner(1);
  const Samples v = samples(b, top, size(top, corner(3)), rows, per_bin, H.value()), h = samples(b, left, size(left, corner(2)), columns, per_bin, W.value());
  const Dims points{R, rows * per_bin, columns * per_bin};
  const Value table = b.reshape(b.transpose(b.convert(x, DType::f32), {0, 2, 3, 1}), {N * H * W, C});
  const Value image = b.broadcast_in_dim(b.convert(b.clamp(0, r(n.inputs[2]), static_cast<double>(N.value() - 1)), DType::i32), points, {0});
  const auto down = [&](Value x_) { return b.broadcast_in_dim(x_, points, {0, 1}); };
  const auto across = [&](Value x_) { return b.broadcast_in_dim(x_, points, {0, 2}); };
  const Dims samples_dims{R, rows * per_bin, columns * per_bin, C};
  Value sum;
  for (const bool lower : {false, true})
    for (const bool right : {false, true}) {
      const Value row = b.add(b.multiply(image, static_cast<double>(H.value())), down(lower ? v.high : v.low));
      const Value at = b.add(b.multiply(row, static_cast<double>(W.value())), across(right ? h.high : h.low));
      const Value weight = b.broadcast_in_dim(b.multiply(down(lower ? v.of_high : v.of_low), across(right ? h.of_high : h.of_low)), samples_dims, {0, 1, 2});
      const Value found = b.reshape(take_rows(b, table, b.reshape(at, {R * Dim(rows * per_bin * columns * per_bin)}), 0), samples_dims);
      const Value part = b.select(b.compare(weight, 0, "EQ"), 0, b.multiply(found, weight));
      sum = !sum ? part : maximum ? b.maximum(sum, part) : b.add(sum, part);
    }
  const auto folded = [&](Value v_, const Dims& dims, int64_t axis) { return b.reduce(maximum ? "maximum" : "add", b.reshape(v_, dims), {axis}, false); };
  Value y = folded(sum, {R * Dim(rows * per_bin * columns), per_bin, C}, 1);
  y = folded(y, {R * Dim(rows), per_bin, Dim(columns) * C}, 1);
  y = b.reshape(y, {R, rows, columns, C});
  if (!maximum) y = b.multiply(y, 1.0 / static_cast<double>(per_bin * per_bin));
  return {b.convert(b.transpose(y, {0, 3, 1, 2}), result.dtype)};
}

}  // namespace

std::vector<ExpansionRule> resample_rules() { return {{"roi_align", refuse_roi_align, apply_roi_align}}; }

}  // namespace bascule::device::chip
