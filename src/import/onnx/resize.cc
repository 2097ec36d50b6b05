// import/onnx/resize.cc — ONNX Upsample and Resize: axis by axis, each output element a weighted sum of neighbours found by tables.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

enum class Mode { nearest, linear, cubic };
enum class Nearest { floor, ceil, prefer_floor, prefer_ceil, by_direction };  // by_direction: ceil where an axis shrinks, else floor

struct Rule {
  Mode mode = Mode::nearest;
  Nearest nearest = Nearest::prefer_floor;
  std::string coordinates = "half_pixel";
  double cubic_a = -0.75, extrapolation = 0;
  bool exclude_outside = false, antialias = false;
};

// One resized axis. Its scale is p / q, f64 scalars: a position is multiplied by q before it is divided by p, so that ties come out exact.
struct Axis {
  int64_t axis = 0;
  Dim in, out;
  std::optional<double> scale;  // where the model gives scales; else p / q is out / in
  Value p, q;
  double roi_start = 0, roi_end = 1;
};

// The fraction p / q of smallest q that rounds to the float s: so that a factor written as 0.7 acts as 7/10 also on symbolic extents.
std::pair<int64_t, int64_t> fraction(double s) {
  const auto target = static_cast<float>(s);
  int64_t p0 = 0, q0 = 1, p1 = 1, q1 = 0;
  double x = s;
  for (int i = 0; i < 32; ++i) {
    const double whole = std::floor(x);
    if (whole > 1e9) break;
    const auto a = static_cast<int64_t>(whole);
    const int64_t p = a * p1 + p0, q = a * q1 + q0;
    p0 = p1;
    q0 = q1;
    p1 = p;
    q1 = q;
    if (static_cast<float>(static_cast<double>(p) / static_cast<double>(q)) == target || q > (int64_t{1} << 24) || x == whole) break;
    x = 1 / (x - whole);
  }
  return {p1, std::max<int64_t>(q1, 1)};
}

Value f64(Builder& b, const Dim& d) { return b.convert(b.size(d), DType::f64); }

// Where each output element lies in the input, f64[out].
Value source_positions(NodeContext& n, Builder& b, const Axis& a, const Rule& r) {
  const Value i = b.iota(DType::f64, {a.out}, 0), in = f64(b, a.in);
  const Value length = b.divide(b.multiply(a.p, in), a.q);  // of the output before it was cut to an integer
  const Value single = b.compare(length, 1, "EQ");
  const auto unscaled = [&](Value v) { return b.divide(b.multiply(v, a.q), a.p); };
  const Value half = b.subtract(unscaled(b.add(i, 0.5)), 0.5);
  const std::string& c = r.coordinates;
  if (c == "asymmetric") return unscaled(i);
  if (c == "half_pixel") return half;
  if (c == "pytorch_half_pixel") return b.select(b.compare(f64(b, a.out), 1, "GT"), half, b.multiply(i, 0));
  if (c == "tf_half_pixel_for_nn") return unscaled(b.add(i, 0.5));
  if (c == "align_corners") return b.select(single, b.multiply(i, 0), b.divide(b.multiply(i, b.subtract(in, 1)), b.subtract(length, 1)));
  if (c == "half_pixel_symmetric") {
    const Value adjustment = b.divide(f64(b, a.out), length);
    return b.add(b.multiply(b.divide(in, 2), b.subtract(1, adjustment)), half);
  }
  if (c == "tf_crop_and_resize") {
    const Value last = b.subtract(in, 1);
    const Value many =
        b.add(b.multiply(last, a.roi_start), b.divide(b.multiply(i, b.multiply(last, a.roi_end - a.roi_start)), b.subtract(length, 1)));
    const Value one = b.multiply(last, 0.5 * (a.roi_start + a.roi_end));
    return b.select(single, one, many);
  }
  n.fail("a coordinate_transformation_mode that ONNX defines", "'" + escaped(c) + "'");
}

// |d| <= 1: (a+2)|d|^3 - (a+3)|d|^2 + 1;  |d| < 2: a|d|^3 - 5a|d|^2 + 8a|d| - 4a;  else 0
Value cubic_kernel(Builder& b, Value d, double a) {
  d = b.abs(d);
  const Value near = b.add(b.multiply(b.multiply(b.subtract(b.multiply(d, a + 2), a + 3), d), d), 1);
  const Value far = b.subtract(b.multiply(b.add(b.multiply(b.subtract(b.multiply(d, a), 5 * a), d), 8 * a), d), 4 * a);
  return b.select(b.compare(d, 1, "LE"), near, b.select(b.compare(d, 2, "LT"), far, 0));
}

// The composite, or for one neighbour a gather.
Value weighted_take(Builder& b, Value x, int64_t axis, Value index, Value weight, Value valid, double fill) {
  if (weight) {
    Values operands{x, index, b.convert(weight, b.dtype(x))};
    if (valid) operands.insert(operands.end(), {valid, b.constant_like(fill, b.dtype(x))});
    return b.op("interpolate", operands, {{"axis", axis}});
  }
  const Value y = take(b, x, index, axis);
  return valid ? b.select(b.broadcast_in_dim(valid, b.dims(y), {axis}), y, fill) : y;
}

Value resize_axis(NodeContext& n, Builder& b, Value x, const Axis& a, const Rule& r) {
  const Value at = source_positions(n, b, a, r);
  const Value last = f64(b, a.in - Dim(1));
  Value valid;
  if (r.coordinates == "tf_crop_and_resize") valid = b.logical_and(b.compare(at, 0, "GE"), b.compare(at, last, "LE"));
  if (r.mode == Mode::nearest) {
    Value i;
    switch (r.nearest) {
      case Nearest::floor: i = b.floor(at); break;
      case Nearest::ceil: i = b.ceil(at); break;
      case Nearest::prefer_floor: i = b.ceil(b.subtract(at, 0.5)); break;
      case Nearest::prefer_ceil: i = b.floor(b.add(at, 0.5)); break;
      case Nearest::by_direction: i = b.select(b.compare(a.p, a.q, "LT"), b.ceil(at), b.floor(at)); break;
    }
    return weighted_take(b, x, a.axis, b.convert(b.clamp(0, i, last), DType::i64), kNoValue, valid, r.extrapolation);
  }
  // 2 * side neighbours from floor(at) + 1 - side on; antialias stretches the kernel by 1 / scale when shrinking.
  const int64_t support = r.mode == Mode::linear ? 1 : 2;
  Dim side = support;
  Value stretch;
  if (r.antialias) {
    stretch = b.minimum(b.divide(a.p, a.q), 1);
    if (!a.scale) side = Dim::max(Dim::ceil_div(a.in * Dim(support), a.out), support);
    else if (*a.scale < 1) {
      const double exact = std::ceil(static_cast<double>(support) / *a.scale);
      if (!(exact < 1e6)) n.unsupported("a scale above 1e-6", std::to_string(*a.scale), "Resize in steps");
      side = Dim(static_cast<int64_t>(exact));
    }
  }
  const Dims grid{a.out, side * Dim(2)};
  const Value base = b.floor(at);
  const Value offset = b.subtract(b.iota(DType::f64, grid, 1), f64(b, side - Dim(1)));
  const Value position = b.add(b.broadcast_in_dim(base, grid, {0}), offset);
  Value distance = b.subtract(position, b.broadcast_in_dim(at, grid, {0}));
  if (stretch) distance = b.multiply(distance, stretch);
  Value weight = r.mode == Mode::linear ? b.maximum(b.subtract(1, b.abs(distance)), 0) : cubic_kernel(b, distance, r.cubic_a);
  if (r.exclude_outside) weight = b.select(b.logical_and(b.compare(position, 0, "GE"), b.compare(position, last, "LE")), weight, 0);
  if (r.exclude_outside || r.antialias) {
    const Value total = b.sum(weight, {1}, true);
    weight = b.divide(weight, b.select(b.compare(total, 0, "EQ"), 1, total));
  }
  return weighted_take(b, x, a.axis, b.convert(b.clamp(0, position, last), DType::i64), weight, valid, r.extrapolation);
}

Value resize(NodeContext& n, Builder& b, Value x, const std::vector<Axis>& axes, const Rule& r) {
  const DType t = b.dtype(x);
  const bool weighted = r.mode != Mode::nearest;
  const DType wide = !weighted || t == DType::f64 ? t : is_float(t) ? DType::f32 : DType::f64;
  Value y = b.convert(x, wide);
  for (const Axis& a : axes) {
    const bool crops = r.coordinates == "tf_crop_and_resize" && !(a.roi_start == 0 && a.roi_end == 1);
    if (a.in == a.out && (!a.scale || *a.scale == 1) && !crops) continue;
    y = resize_axis(n, b, y, a, r);
  }
  if (wide == t) return y;
  if (is_int(t)) return b.convert(b.clamp(static_cast<double>(int_min(t)), y, static_cast<double>(int_max(t))), t);
  return b.convert(y, t);
}

Mode mode_of(NodeContext& n, const std::string& mode) {
  if (mode == "nearest") return Mode::nearest;
  if (mode == "linear" || mode == "bilinear" || mode == "trilinear") return Mode::linear;
  if (mode == "cubic") return Mode::cubic;
  n.fail("mode nearest, linear or cubic", "'" + escaped(mode) + "'");
}

// One axis by a factor: out = floor(in * scale).
Axis scaled_axis(NodeContext& n, Builder& b, Value x, int64_t axis, double scale) {
  if (!(scale > 0 && scale < 1e9)) n.fail("scales above 0", std::to_string(scale));
  const auto [p, q] = fraction(scale);
  Axis a;
  a.axis = axis;
  a.in = b.dim(x, axis);
  a.out = Dim::floor_div(a.in * Dim(p), q);
  a.scale = scale;
  a.p = b.constant_like(static_cast<double>(p), DType::f64);
  a.q = b.constant_like(static_cast<double>(q), DType::f64);
  return a;
}

std::vector<Axis> axes_from_scales(NodeContext& n, Builder& b, Value x, const Numbers& scales, const Ints& axes) {
  if (scales.size() != axes.size()) n.fail("scales of " + std::to_string(axes.size()) + " numbers", std::to_string(scales.size()));
  std::vector<Axis> out;
  for (size_t i = 0; i < axes.size(); ++i) out.push_back(scaled_axis(n, b, x, axes[i], scales[i]));
  return out;
}

Ints every_axis(int64_t rank) {
  Ints axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

// Before operator set 11: element i comes from i / scale.
Value upsample(NodeContext& n, Builder& b, const Numbers& scales, Nearest nearest = Nearest::floor) {
  Rule r;
  r.mode = mode_of(n, n.text("mode", "nearest"));
  r.coordinates = "asymmetric";
  r.nearest = nearest;
  const Value x = n.in(0);
  return resize(n, b, x, axes_from_scales(n, b, x, scales, every_axis(b.rank(x))), r);
}

Nearest nearest_of(NodeContext& n) {
  const std::string m = n.text("nearest_mode", "round_prefer_floor");
  if (m == "round_prefer_floor" || m.empty()) return Nearest::prefer_floor;
  if (m == "round_prefer_ceil") return Nearest::prefer_ceil;
  if (m == "floor") return Nearest::floor;
  if (m == "ceil") return Nearest::ceil;
  n.fail("nearest_mode round_prefer_floor, round_prefer_ceil, floor or ceil", "'" + escaped(m) + "'");
}

// An operand left out may also be an empty vector.
bool given(NodeContext& n, Builder& b, size_t i) {
  if (!n.has(i)) return false;
  const Value v = n.in(i);
  if (b.rank(v) != 1) return true;
  if (!b.dim(v, 0).is_constant()) throw NeedsRun{i, false};
  return !b.dim(v, 0).is(0);
}

Value resize_11(NodeContext& n, Builder& b) {
  const Value x = n.in(0);
  Rule r;
  r.mode = mode_of(n, n.text("mode", "nearest"));
  r.nearest = nearest_of(n);
  r.coordinates = n.text("coordinate_transformation_mode", "half_pixel");
  r.cubic_a = n.number("cubic_coeff_a", -0.75);
  r.extrapolation = n.number("extrapolation_value", 0.0);
  r.exclude_outside = n.flag("exclude_outside", false);
  Ints axes = every_axis(b.rank(x));
  std::string policy = "stretch";
  if (n.version >= 18) {
    r.antialias = n.flag("antialias", false);
    const Ints some = n.ints("axes", Ints{});
    if (!some.empty()) axes = n.axes(some, b.rank(x));
    policy = n.text("keep_aspect_ratio_policy", "stretch");
  }
  const bool scales = given(n, b, 2), sizes = given(n, b, 3);
  if (scales == sizes) n.fail("one of scales and sizes", scales ? "both" : "none");
  std::vector<Axis> resized;
  if (scales) {
    resized = axes_from_scales(n, b, x, numbers_of(n, 2), axes);
  } else {
    Dims want = n.sizes(3);
    if (want.size() != axes.size()) n.fail("sizes of " + std::to_string(axes.size()) + " numbers", std::to_string(want.size()));
    Value common;
    if (policy == "not_larger" || policy == "not_smaller") {
      // scale = min or max of want / in; extents rounded half up
      const bool smaller = policy == "not_larger";
      const Dims asked = want;
      for (size_t i = 0; i < axes.size(); ++i) {
        const Value s = b.divide(f64(b, asked[i]), f64(b, b.dim(x, axes[i])));
        common = !common ? s : smaller ? b.minimum(common, s) : b.maximum(common, s);
      }
      for (size_t i = 0; i < axes.size(); ++i) {
        const Dim in = b.dim(x, axes[i]);
        std::optional<Dim> best;
        for (size_t j = 0; j < axes.size(); ++j) {
          const Dim other = b.dim(x, axes[j]);
          const Dim extent = Dim::floor_div(Dim(2) * asked[j] * in + other, Dim(2) * other);
          best = !best ? extent : smaller ? Dim::min(*best, extent) : Dim::max(*best, extent);
        }
        want[i] = *best;
      }
    } else if (policy != "stretch") {
      n.fail("keep_aspect_ratio_policy stretch, not_larger or not_smaller", "'" + escaped(policy) + "'");
    }
    for (size_t i = 0; i < axes.size(); ++i) {
      Axis a;
      a.axis = axes[i];
      a.in = b.dim(x, axes[i]);
      a.out = want[i];
      if (a.out.is_constant() && a.out.value() < 0) n.fail("sizes >= 0", a.out.text());
      a.p = common ? common : f64(b, a.out);
      a.q = common ? b.constant_like(1, DType::f64) : f64(b, a.in);
      resized.push_back(a);
    }
  }
  if (r.coordinates == "tf_crop_and_resize") {
    if (!given(n, b, 1)) n.fail("roi with tf_crop_and_resize", "none");
    const Numbers roi = numbers_of(n, 1);
    if (roi.size() != 2 * axes.size()) n.fail("roi of " + std::to_string(2 * axes.size()) + " numbers", std::to_string(roi.size()));
    for (size_t i = 0; i < axes.size(); ++i) {
      resized[i].roi_start = roi[i];
      resized[i].roi_end = roi[axes.size() + i];
    }
  }
  return resize(n, b, x, resized, r);
}

}  // namespace

ONNX_OP(Upsample, 1) {
  const double h = n.number("height_scale"), w = n.number("width_scale");
  if (b.rank(n.in(0)) != 4) n.fail("X [N, C, H, W]", b.type(n.in(0)).text());
  return upsample(n, b, {1, 1, h, w});
}
ONNX_OP(Upsample, 7) { return upsample(n, b, n.numbers("scales")); }
ONNX_OP(Upsample, 9) { return upsample(n, b, numbers_of(n, 1)); }
ONNX_OP(Resize, 10) { return upsample(n, b, numbers_of(n, 1), Nearest::by_direction); }
ONNX_OP(Resize, 11) { return resize_11(n, b); }

}  // namespace bascule::onnx
