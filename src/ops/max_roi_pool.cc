// ops/max_roi_pool.cc — maxima over the bins of boxes with integer corners (Fast R-CNN).
#include <algorithm>
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

HostValues max_roi_pool_reference(const Call& call) {
  const Attrs& a = call.op.attrs;
  const Tensor &x = call.in(0), &rois = call.in(1);
  const int64_t oh = a.integer("output_height"), ow = a.integer("output_width"), N = x.dim(0), C = x.dim(1), H = x.dim(2), W = x.dim(3);
  const double scale = a.number("spatial_scale");
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  for (int64_t r = 0; r < rois.dim(0); ++r) {
    const double n = rois.number(r * 5);
    if (!(n >= 0 && n < static_cast<double>(N))) fail_usage(call.op.where, "batch index in [0, " + std::to_string(N) + ")", std::to_string(n), "Check the values of rois");
    const auto corner = [&](int64_t k) {
      const double v = std::round(rois.number(r * 5 + k) * scale);
      if (std::isnan(v)) fail_usage(call.op.where, "corners that are numbers", "NaN", "Check the values of rois");
      return std::clamp(v, -1e9, 1e9);
    };
    const double x1 = corner(1), y1 = corner(2), width = std::max(corner(3) - x1 + 1, 1.0), height = std::max(corner(4) - y1 + 1, 1.0);
    const auto range = [](int64_t p, double bins, double size, double start, int64_t n_elements, int64_t& low, int64_t& high) {
      const auto last = static_cast<double>(n_elements);
      low = static_cast<int64_t>(std::clamp(std::floor(static_cast<double>(p) * size / bins) + start, 0.0, last));
      high = static_cast<int64_t>(std::clamp(std::ceil(static_cast<double>(p + 1) * size / bins) + start, 0.0, last));
    };
    for (int64_t c = 0; c < C; ++c)
      for (int64_t ph = 0; ph < oh; ++ph)
        for (int64_t pw = 0; pw < ow; ++pw) {
          int64_t h0, h1, w0, w1;
          range(ph, static_cast<double>(oh), height, y1, H, h0, h1);
          range(pw, static_cast<double>(ow), width, x1, W, w0, w1);
          double best = 0;  // of an empty bin
          for (int64_t h = h0; h < h1; ++h)
            for (int64_t w = w0; w < w1; ++w) {
              check_budget();
              const double v = x.number(((static_cast<int64_t>(n) * C + c) * H + h) * W + w);
              best = h == h0 && w == w0 ? v : std::max(best, v);
            }
          store_double(y.dtype(), out, ((r * C + c) * oh + ph) * ow + pw, best);
        }
  }
  return one(std::move(y));
}

}  // namespace

const OpDef max_roi_pool{
    .name = "max_roi_pool",
    .dialect = "bascule",
    .doc = "y[r, c, ph, pw] = max of x[n, c] over bin (ph, pw) of the box rois[r] = (n, x1, y1, x2, y2), corners scaled, rounded and included; 0 for an empty bin",
    .inputs = {{"x", DTypes::floats}, {"rois", DTypes::floats}},
    .attrs = {{"output_height", AttrKind::integer}, {"output_width", AttrKind::integer}, {"spatial_scale", AttrKind::number, false, 1.0}},
    .type =
        [](const OpView& op) {
          const Type &x = op.in(0), &rois = op.in(1);
          if (x.rank() != 4) op.fail("x [N, C, H, W]", x.text());
          if (rois.rank() != 2) op.fail("rois [R, 5]", rois.text());
          op.require_equal(rois.dims[1], 5, "rois of 5 numbers");
          const int64_t h = op.attrs.integer("output_height"), w = op.attrs.integer("output_width");
          op.require(h >= 1 && w >= 1, "output_height and output_width of 1 or more", std::to_string(h) + " and " + std::to_string(w));
          return std::vector<Type>{Type::tensor(x.dtype, {rois.dims[0], x.dims[1], h, w})};
        },
    .reference = max_roi_pool_reference,
    .work = per_element({.compares = 16}),
    .cases = {{.name = "one_box",
               .shapes = {{1, 1, 4, 4}, {1, 5}},
               .attrs = {{"output_height", int64_t{2}}, {"output_width", int64_t{2}}},
               .inputs =
                   [] {
                     std::vector<double> x;
                     for (int i = 0; i < 16; ++i) x.push_back(i);
                     return HostValues{Tensor::from_doubles(DType::f32, {1, 1, 4, 4}, x), Tensor::from_doubles(DType::f32, {1, 5}, std::vector<double>{0, 0, 0, 3, 2})};
                   }}},
};
BASCULE_OP(max_roi_pool);

}  // namespace bascule::ops
