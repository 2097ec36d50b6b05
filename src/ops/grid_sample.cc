// ops/grid_sample.cc — samples of an image at fractional positions given by a grid (spatial transformers).
#include <algorithm>
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/sample.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

enum class Fill { zeros, border, reflection };

struct Sampler {
  Fill fill;
  bool align;

  // From [-1, 1] to an index of n elements.
  double position(double g, int64_t n) const {
    const auto size = static_cast<double>(n);
    return align ? (g + 1) / 2 * (size - 1) : ((g + 1) * size - 1) / 2;
  }
  // Mirrored at the edges: the centres of the first and last element if `align`, else their outer borders.
  double reflected(double x, int64_t n) const {
    const double low = align ? 0 : -0.5, high = align ? static_cast<double>(n) - 1 : static_cast<double>(n) - 0.5, range = high - low;
    if (range <= 0 || !std::isfinite(x)) return 0;
    double t = std::fmod(std::fabs(x - low), 2 * range);
    if (t > range) t = 2 * range - t;
    return low + t;
  }
  // Index of integer position x along an axis of n, -1 for a zero.
  int64_t index(double x, int64_t n) const {
    if (fill == Fill::border) x = std::clamp(x, 0.0, static_cast<double>(n - 1));
    if (fill == Fill::reflection) x = std::clamp(reflected(x, n), 0.0, static_cast<double>(n - 1));
    return x >= 0 && x < static_cast<double>(n) ? static_cast<int64_t>(x) : -1;
  }
};

// Taps of one axis: positions and weights.
struct Taps {
  int count = 0;
  int64_t at[4] = {0, 0, 0, 0};
  double weight[4] = {0, 0, 0, 0};
};

Taps taps(const Sampler& s, std::string_view mode, double x, int64_t n) {
  Taps t;
  if (std::isnan(x)) x = 0;
  x = std::clamp(x, -1e15, 1e15);
  if (mode == "nearest") {
    t.count = 1;
    t.at[0] = s.index(std::nearbyint(x), n);
    t.weight[0] = 1;
    return t;
  }
  const double base = std::floor(x), f = x - base;
  if (mode == "linear") {
    t.count = 2;
    t.weight[0] = 1 - f;
    t.weight[1] = f;
  } else {  // Keys' kernel with A = -0.75
    constexpr double A = -0.75;
    const auto inner = [](double d) { return ((A + 2) * d - (A + 3)) * d * d + 1; };
    const auto outer = [](double d) { return ((A * d - 5 * A) * d + 8 * A) * d - 4 * A; };
    t.count = 4;
    t.weight[0] = outer(1 + f);
    t.weight[1] = inner(f);
    t.weight[2] = inner(1 - f);
    t.weight[3] = outer(2 - f);
  }
  for (int k = 0; k < t.count; ++k) t.at[k] = s.index(base + k - (t.count == 4 ? 1 : 0), n);
  return t;
}

HostValues grid_sample_reference(const Call& call) {
  const Tensor &x = call.in(0), &grid = call.in(1);
  const std::string &mode = call.op.attrs.text("mode"), &padding = call.op.attrs.text("padding_mode");
  const Sampler s{padding == "border" ? Fill::border : padding == "reflection" ? Fill::reflection : Fill::zeros, call.op.attrs.flag("align_corners")};
  const size_t axes = x.rank() - 2;
  const int64_t N = x.dim(0), C = x.dim(1);
  std::vector<int64_t> image(x.dims().begin() + 2, x.dims().end());
  const std::vector<int64_t> strides = strides_of(image);
  const int64_t pixels = element_count(image), points = N == 0 ? 0 : grid.elements() / N / static_cast<int64_t>(axes);
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  std::vector<Taps> along(axes);
  std::vector<std::pair<int64_t, double>> weighted;
  for (int64_t n = 0; n < N && pixels > 0; ++n)
    for (int64_t p = 0; p < points; ++p) {
      for (size_t a = 0; a < axes; ++a) {  // the grid's last axis counts from the innermost image axis
        double at = s.position(grid.number((n * points + p) * static_cast<int64_t>(axes) + static_cast<int64_t>(axes - 1 - a)), image[a]);
        // Linear and nearest fold the point before choosing neighbours; cubic folds each neighbour.
        if (mode != "cubic" && s.fill == Fill::border) at = std::clamp(at, 0.0, static_cast<double>(image[a] - 1));
        if (mode != "cubic" && s.fill == Fill::reflection) at = s.reflected(at, image[a]);
        along[a] = taps(s, mode, at, image[a]);
      }
      weighted.assign(1, {0, 1.0});
      for (size_t a = 0; a < axes; ++a) {
        std::vector<std::pair<int64_t, double>> next;
        for (const auto& [at, w] : weighted)
          for (int k = 0; k < along[a].count; ++k)
            if (along[a].at[k] >= 0 && along[a].weight[k] != 0) next.emplace_back(at + along[a].at[k] * strides[a], w * along[a].weight[k]);
        weighted = std::move(next);
      }
      for (int64_t c = 0; c < C; ++c) {
        check_budget();
        double sum = 0;
        for (const auto& [at, w] : weighted) sum += w * x.number((n * C + c) * pixels + at);
        store_double(y.dtype(), out, (n * C + c) * points + p, sum);
      }
    }
  return one(std::move(y));
}

Values grid_sample_decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const Value x = in[0], grid = in[1];
  const int64_t axes = b.rank(x) - 2;
  const std::string &mode = op.attrs.text("mode"), &padding = op.attrs.text("padding_mode");
  const bool align = op.attrs.flag("align_corners");
  const Sampling s{mode == "nearest" ? Neighbours::nearest : mode == "cubic" ? Neighbours::cubic : Neighbours::linear,
                    padding == "border" ? Outside::border : padding == "reflection" ? Outside::reflection : Outside::zeros, align};
  const DType wide = b.dtype(grid) == DType::f64 || b.dtype(x) == DType::f64 ? DType::f64 : DType::f32;
  const Dims points(b.dims(grid).begin(), b.dims(grid).end() - 1);
  Values at;
  for (int64_t i = 0; i < axes; ++i) {  // the grid names the innermost axis first
    const Value g = b.convert(b.reshape(b.slice_axis(grid, -1, axes - 1 - i, axes - i), points), wide);
    const Value length = b.convert(b.size(b.dim(x, i + 2)), wide);
    at.push_back(align ? b.multiply(b.divide(b.add(g, 1), 2), b.subtract(length, 1)) : b.divide(b.subtract(b.multiply(b.add(g, 1), length), 1), 2));
  }
  return {sample_image(b, x, at, s)};
}

Attrs how(std::string_view mode, std::string_view padding, bool align) { return {{"mode", std::string(mode)}, {"padding_mode", std::string(padding)}, {"align_corners", align}}; }

}  // namespace

const OpDef grid_sample{
    .name = "grid_sample",
    .dialect = "bascule",
    .doc = "y[n, c, p] = x[n, c] interpolated at grid[n, p], coordinates from -1 to 1, innermost axis first; mode linear, nearest, cubic; outside: zeros, border, reflection",
    .inputs = {{"x", DTypes::floats}, {"grid", DTypes::floats}},
    .attrs = {{"mode", AttrKind::text, false, std::string("linear")}, {"padding_mode", AttrKind::text, false, std::string("zeros")}, {"align_corners", AttrKind::flag, false, false}},
    .type =
        [](const OpView& op) {
          const Type &x = op.in(0), &grid = op.in(1);
          if (x.rank() < 3 || grid.rank() != x.rank()) op.fail("x [N, C, D1, ..., Dr] and a grid [N, O1, ..., Or, r]", x.text() + " and " + grid.text());
          op.require_equal(grid.dims[0], x.dims[0], "x and grid of one batch");
          op.require_equal(grid.dims.back(), static_cast<int64_t>(x.rank()) - 2, "a coordinate for each image axis");
          const std::string &mode = op.attrs.text("mode"), &padding = op.attrs.text("padding_mode");
          op.require(mode == "linear" || mode == "nearest" || mode == "cubic", "mode linear, nearest or cubic", "'" + escaped(mode) + "'");
          op.require(padding == "zeros" || padding == "border" || padding == "reflection", "padding_mode zeros, border or reflection", "'" + escaped(padding) + "'");
          Dims dims{x.dims[0], x.dims[1]};
          dims.insert(dims.end(), grid.dims.begin() + 1, grid.dims.end() - 1);
          return std::vector<Type>{Type::tensor(x.dtype, dims)};
        },
    .reference = grid_sample_reference,
    .decompose = grid_sample_decompose,
    .work = per_element({.multiply_adds = 4, .adds = 8}),
    .cases = {{.name = "linear", .shapes = {{2, 3, 5, 6}, {2, 4, 3, 2}}, .attrs = how("linear", "zeros", false), .low = -1.2, .high = 1.2},
              {.name = "nearest_border", .shapes = {{1, 2, 5, 6}, {1, 4, 3, 2}}, .attrs = how("nearest", "border", false), .low = -1.5, .high = 1.5},
              {.name = "cubic_reflection", .shapes = {{1, 2, 5, 6}, {1, 4, 3, 2}}, .attrs = how("cubic", "reflection", true), .low = -1.5, .high = 1.5},
              {.name = "volume", .shapes = {{1, 2, 3, 4, 5}, {1, 2, 2, 3, 3}}, .attrs = how("linear", "zeros", true)}},
};
BASCULE_OP(grid_sample);

}  // namespace bascule::ops
