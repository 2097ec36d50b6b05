// ops/roi_align.cc — crops of a feature map at fractional coordinates, resampled to one size (Mask R-CNN).
#include <algorithm>
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// Four neighbours of a point and their weights; none outside [-1, size].
struct Bilinear {
  int64_t at[4] = {0, 0, 0, 0};
  double weight[4] = {0, 0, 0, 0};
};
Bilinear bilinear(double y, double x, int64_t H, int64_t W) {
  Bilinear p;
  if (H == 0 || W == 0 || !(y >= -1 && y <= static_cast<double>(H) && x >= -1 && x <= static_cast<double>(W))) return p;
  const auto split = [](double v, int64_t n, int64_t& low, int64_t& high, double& part) {
    v = std::max(v, 0.0);
    low = static_cast<int64_t>(v);
    if (low >= n - 1) {
      low = high = n - 1;
      v = static_cast<double>(low);
    } else {
      high = low + 1;
    }
    part = v - static_cast<double>(low);
  };
  int64_t y0, y1, x0, x1;
  double fy, fx;
  split(y, H, y0, y1, fy);
  split(x, W, x0, x1, fx);
  return {{y0 * W + x0, y0 * W + x1, y1 * W + x0, y1 * W + x1}, {(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx}};
}

HostValues roi_align_reference(const Call& call) {
  const Attrs& a = call.op.attrs;
  const Tensor &x = call.in(0), &rois = call.in(1), &batch = call.in(2);
  const bool maximum = a.text("mode") == "max", half = a.flag("half_pixel");
  const int64_t oh = a.integer("output_height"), ow = a.integer("output_width"), ratio = a.integer("sampling_ratio");
  const double scale = a.number("spatial_scale"), shift = half ? 0.5 : 0;
  const int64_t N = x.dim(0), C = x.dim(1), H = x.dim(2), W = x.dim(3), R = rois.dim(0);
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  std::vector<Bilinear> points;
  for (int64_t r = 0; r < R; ++r) {
    const int64_t n = batch.integer(r);
    if (n < 0 || n >= N) fail_usage(call.op.where, "batch index in [0, " + std::to_string(N) + ")", std::to_string(n), "Check the values of batch_indices");
    const double x1 = rois.number(r * 4) * scale - shift, y1 = rois.number(r * 4 + 1) * scale - shift;
    double width = rois.number(r * 4 + 2) * scale - shift - x1, height = rois.number(r * 4 + 3) * scale - shift - y1;
    if (!half) {
      width = std::max(width, 1.0);
      height = std::max(height, 1.0);
    }
    const double bin_h = height / static_cast<double>(oh), bin_w = width / static_cast<double>(ow);
    const auto grid = [&](double bin) {
      if (ratio > 0) return ratio;
      if (!(std::ceil(bin) <= 0x1p20)) fail_usage(call.op.where, "regions of at most 2^20 samples a bin", std::to_string(bin), "Check the values of rois");
      return static_cast<int64_t>(std::max(std::ceil(bin), 0.0));  // a region turned inside out may be wider than 64 bits count
    };
    const int64_t gh = grid(bin_h), gw = grid(bin_w);
    const double count = static_cast<double>(std::max<int64_t>(gh * gw, 1));
    for (int64_t ph = 0; ph < oh; ++ph)
      for (int64_t pw = 0; pw < ow; ++pw) {
        points.clear();
        for (int64_t i = 0; i < gh; ++i)
          for (int64_t j = 0; j < gw; ++j) {
            check_budget();
            points.push_back(bilinear(y1 + static_cast<double>(ph) * bin_h + (static_cast<double>(i) + 0.5) * bin_h / static_cast<double>(gh),
                                      x1 + static_cast<double>(pw) * bin_w + (static_cast<double>(j) + 0.5) * bin_w / static_cast<double>(gw), H, W));
          }
        for (int64_t c = 0; c < C; ++c) {
          const int64_t base = (n * C + c) * H * W;
          double sum = 0;
          bool first = true;
          for (const Bilinear& p : points) {
            check_budget();
            double v[4];
            for (int k = 0; k < 4; ++k) v[k] = p.weight[k] == 0 ? 0 : p.weight[k] * x.number(base + p.at[k]);
            // max is over the weighted neighbours, not over the interpolated samples, as the standard's reference has it.
            const double sample = maximum ? std::max(std::max(v[0], v[1]), std::max(v[2], v[3])) : v[0] + v[1] + v[2] + v[3];
            sum = maximum ? (first ? sample : std::max(sum, sample)) : sum + sample;
            first = false;
          }
          store_double(y.dtype(), out, ((r * C + c) * oh + ph) * ow + pw, maximum ? sum : sum / count);
        }
      }
  }
  return one(std::move(y));
}

}  // namespace

const OpDef roi_align{
    .name = "roi_align",
    .dialect = "bascule",
    .doc = "y[r, c, ph, pw] = average (or maximum) of bilinear samples of x[batch_indices[r], c] in bin (ph, pw) of box rois[r] = (x1, y1, x2, y2) * spatial_scale",
    .inputs = {{"x", DTypes::floats}, {"rois", DTypes::floats}, {"batch_indices", DTypes::ints}},
    .attrs = {{"mode", AttrKind::text, false, std::string("avg")},
              {"half_pixel", AttrKind::flag, false, true},
              {"output_height", AttrKind::integer},
              {"output_width", AttrKind::integer},
              {"sampling_ratio", AttrKind::integer, false, int64_t{0}},  // samples a bin and axis; 0: as many as elements
              {"spatial_scale", AttrKind::number, false, 1.0}},
    .type =
        [](const OpView& op) {
          const Type &x = op.in(0), &rois = op.in(1), &batch = op.in(2);
          if (x.rank() != 4) op.fail("x [N, C, H, W]", x.text());
          if (rois.rank() != 2 || batch.rank() != 1) op.fail("rois [R, 4] and batch_indices [R]", rois.text() + " and " + batch.text());
          op.require_equal(rois.dims[1], 4, "rois of 4 numbers");
          op.require_equal(rois.dims[0], batch.dims[0], "a batch index for each region");
          const int64_t h = op.attrs.integer("output_height"), w = op.attrs.integer("output_width"), ratio = op.attrs.integer("sampling_ratio");
          op.require(h >= 1 && w >= 1, "output_height and output_width of 1 or more", std::to_string(h) + " and " + std::to_string(w));
          op.require(ratio >= 0 && ratio <= 1 << 20, "sampling_ratio in [0, 2^20]", std::to_string(ratio));
          const std::string& mode = op.attrs.text("mode");
          op.require(mode == "avg" || mode == "max", "mode avg or max", "'" + escaped(mode) + "'");
          return std::vector<Type>{Type::tensor(x.dtype, {rois.dims[0], x.dims[1], h, w})};
        },
    .reference = roi_align_reference,
    .work = per_element({.multiply_adds = 16}),  // four samples a bin
    .cases = {{.name = "two_boxes",
               .shapes = {{1, 2, 6, 6}, {2, 4}, {2}},
               .attrs = {{"output_height", int64_t{3}}, {"output_width", int64_t{2}}, {"sampling_ratio", int64_t{2}}},
               .dtypes = {DType::f32, DType::f32, DType::i64},
               .inputs =
                   [] {
                     std::vector<double> x;
                     for (int i = 0; i < 72; ++i) x.push_back(i % 7 - 3);
                     return HostValues{Tensor::from_doubles(DType::f32, {1, 2, 6, 6}, x), Tensor::from_doubles(DType::f32, {2, 4}, std::vector<double>{0, 0, 4, 5, 1.5, 2, 6, 6}),
                                       Tensor::from_ints(DType::i64, {2}, std::vector<int64_t>{0, 0})};
                   }}},
};
BASCULE_OP(roi_align);

}  // namespace bascule::ops
