// import/onnx/pool.cc — ONNX pooling over windows, whole images and regions, and the inverse of max pooling.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "import/onnx/window.h"

namespace bascule::onnx {
namespace {

// ceil_mode: one more window where the last one would not fit, unless it starts in the padding after the image.
void apply_ceil_mode(NodeContext& n, Builder& b, Value x, Window& w) {
  if (!n.flag("ceil_mode", false)) return;
  if (w.auto_pad == "SAME_UPPER" || w.auto_pad == "SAME_LOWER") return;
  for (size_t i = 0; i < w.axes(); ++i) {
    const Dim extent = b.dim(x, static_cast<int64_t>(i) + 2), stride = w.strides[i];
    const Dim all = Dim::ceil_div(extent + w.low[i] + w.high[i] - w.span(i), stride) + Dim(1);
    const Dim inside = Dim::floor_div(extent + w.low[i] - Dim(1), stride) + Dim(1);
    const Dim windows = Dim::min(all, inside);
    w.high[i] = (windows - Dim(1)) * stride + w.span(i) - extent - w.low[i];
  }
}

template <class T>
std::vector<T> with_leading(std::vector<T> v, T lead) {
  v.insert(v.begin(), 2, lead);
  return v;
}

Attrs window_attrs(const Window& w) {
  return {{"window_dimensions", with_leading(*constants(w.kernel), int64_t{1})},
          {"window_strides", with_leading(w.strides, int64_t{1})},
          {"base_dilations", Ints(w.axes() + 2, 1)},
          {"window_dilations", with_leading(w.dilations, int64_t{1})},
          {"padding_low", with_leading(w.low, Dim(0))},
          {"padding_high", with_leading(w.high, Dim(0))}};
}

Value reduce_window(Builder& b, std::string_view body, Value x, Value start, const Window& w) {
  return b.ops("reduce_window", {x, start}, window_attrs(w), {Builder::scalar_region(body, b.dtype(x))})[0];
}

Value lowest(Builder& b, DType t) {
  if (is_float(t)) {
    const FloatInfo f = float_info(t);
    return b.constant_like(f.has_inf ? -std::numeric_limits<double>::infinity() : -f.largest, t);
  }
  return b.constant(Tensor::scalar_int(t, int_min(t)));
}

Value average_pool(NodeContext& n, Builder& b) {
  const Value x = n.in(0);
  Window w = read_window(n, b, x, kernel_attribute(n, b, x));
  const bool count_pad = n.flag("count_include_pad", false);
  const Dims pad_low = w.low, pad_high = w.high;
  apply_ceil_mode(n, b, x, w);
  const DType t = b.dtype(x), wide = t == DType::f16 || t == DType::bf16 ? DType::f32 : t;
  const Value zero = b.constant_like(0, wide);
  const Value total = reduce_window(b, "add", b.convert(x, wide), zero, w);
  // How many elements each window averages: those of the image, with count_include_pad those of the declared padding too.
  const auto none = [](const Dims& d) { return std::all_of(d.begin(), d.end(), [](const Dim& v) { return v.is(0); }); };
  const bool whole = (none(w.low) && none(w.high)) || (count_pad && w.high == pad_high);
  if (whole) return b.convert(b.divide(total, static_cast<double>(product(w.kernel).value())), t);
  Dims ones{1, 1};
  Window c = w;
  for (size_t i = 0; i < w.axes(); ++i) {
    Dim extent = b.dim(x, static_cast<int64_t>(i) + 2);
    if (count_pad) {
      extent = extent + pad_low[i] + pad_high[i];
      c.low[i] = 0;
      c.high[i] = w.high[i] - pad_high[i];
    }
    ones.push_back(extent);
  }
  const Value count = reduce_window(b, "add", b.full(ones, wide, 1), zero, c);
  return b.convert(b.divide(total, count), t);
}

// Indices of the maxima in the flattened tensor; equal maxima: the first in row-major order.
Values max_pool_with_indices(Builder& b, Value x, const Window& w, bool column_major) {
  const Dims d = b.dims(x);
  Dims order = d;
  Ints back(d.size());
  std::iota(back.begin(), back.end(), 0);
  if (column_major) {
    std::reverse(order.begin() + 2, order.end());
    std::reverse(back.begin() + 2, back.end());
  }
  const Value index = b.transpose(b.reshape(b.iota(DType::i64, {product(d)}, 0), order), back);
  const DType t = b.dtype(x);
  OpenRegion r(b, "larger");
  const Value v0 = r.argument(Type::tensor(t, {})), i0 = r.argument(Type::tensor(DType::i64, {}));
  const Value v1 = r.argument(Type::tensor(t, {})), i1 = r.argument(Type::tensor(DType::i64, {}));
  Builder& rb = r.builder();
  const Value tie = rb.logical_and(rb.compare(v0, v1, "EQ"), rb.compare(i0, i1, "LE"));
  const Value first = rb.logical_or(rb.compare(v0, v1, "GT"), tie);
  r.finish({rb.select(first, v0, v1), rb.select(first, i0, i1)});
  std::vector<OpenRegion> regions;
  regions.push_back(std::move(r));
  return b.ops("reduce_window", {x, index, lowest(b, t), b.constant(Tensor::scalar_int(DType::i64, std::numeric_limits<int64_t>::max()))},
               window_attrs(w), std::move(regions));
}

Results max_pool(NodeContext& n, Builder& b) {
  const Value x = n.in(0);
  Window w = read_window(n, b, x, kernel_attribute(n, b, x));
  apply_ceil_mode(n, b, x, w);
  const int64_t order = n.integer("storage_order", 0);
  if (order != 0 && order != 1) n.fail("storage_order 0 or 1", std::to_string(order));
  if (n.wants(1)) return max_pool_with_indices(b, x, w, order == 1);
  return reduce_window(b, "maximum", x, lowest(b, b.dtype(x)), w);
}

// (sum |x|^p)^(1/p)
struct Norm {
  double p;
  Value before(Builder& b, Value x) const {
    if (p == 2) return b.multiply(x, x);
    return p == 1 ? b.abs(x) : b.power(b.abs(x), p);
  }
  Value after(Builder& b, Value x) const {
    if (p == 2) return b.sqrt(x);
    return p == 1 ? x : b.power(x, 1 / p);
  }
};

Norm norm_of(NodeContext& n, double p) {
  if (!(p > 0)) n.fail("p > 0", std::to_string(p));
  return {p};
}

Value lp_pool(NodeContext& n, Builder& b, Norm norm) {
  const Value x = n.in(0);
  Window w = read_window(n, b, x, kernel_attribute(n, b, x));
  apply_ceil_mode(n, b, x, w);
  return norm.after(b, reduce_window(b, "add", norm.before(b, x), b.constant_like(0, b.dtype(x)), w));
}

Ints image_axes(NodeContext& n, Builder& b, Value x) {
  if (b.rank(x) < 2) n.fail("an operand N x C x spatial", b.type(x).text());
  Ints axes(static_cast<size_t>(b.rank(x) - 2));
  std::iota(axes.begin(), axes.end(), 2);
  return axes;
}

Value global_lp_pool(NodeContext& n, Builder& b, Norm norm) {
  const Value x = n.in(0);
  return norm.after(b, b.sum(norm.before(b, x), image_axes(n, b, x), true));
}

Value roi_align(NodeContext& n, Builder& b, const std::string& transformation) {
  const std::string mode = n.text("mode", "avg");
  if (mode != "avg" && mode != "max") n.fail("mode avg or max", "'" + escaped(mode) + "'");
  if (transformation != "half_pixel" && transformation != "output_half_pixel")
    n.fail("coordinate_transformation_mode half_pixel or output_half_pixel", "'" + escaped(transformation) + "'");
  return b.op("roi_align", {n.in(0), n.in(1), n.in(2)},
              {{"mode", mode},
               {"half_pixel", transformation == "half_pixel"},
               {"output_height", n.integer("output_height", 1)},
               {"output_width", n.integer("output_width", 1)},
               {"sampling_ratio", n.integer("sampling_ratio", 0)},
               {"spatial_scale", n.number("spatial_scale", 1.0)}});
}

}  // namespace

ONNX_OP(AveragePool, 1) { return average_pool(n, b); }
ONNX_OP(MaxPool, 1) { return max_pool(n, b); }
ONNX_OP(LpPool, 1) { return lp_pool(n, b, norm_of(n, n.number("p", 2.0))); }
ONNX_OP(LpPool, 2) { return lp_pool(n, b, norm_of(n, static_cast<double>(n.integer("p", 2)))); }
ONNX_OP(GlobalAveragePool, 1) {
  const Value x = n.in(0);
  return b.mean(x, image_axes(n, b, x), true);
}
ONNX_OP(GlobalMaxPool, 1) {
  const Value x = n.in(0);
  return b.reduce("maximum", x, image_axes(n, b, x), true);
}
ONNX_OP(GlobalLpPool, 1) { return global_lp_pool(n, b, norm_of(n, n.number("p", 2.0))); }
ONNX_OP(GlobalLpPool, 2) { return global_lp_pool(n, b, norm_of(n, static_cast<double>(n.integer("p", 2)))); }

ONNX_OP(RoiAlign, 10) { return roi_align(n, b, "output_half_pixel"); }
ONNX_OP(RoiAlign, 16) { return roi_align(n, b, n.text("coordinate_transformation_mode", "half_pixel")); }
ONNX_OP(MaxRoiPool, 1) {
  const Ints shape = n.ints("pooled_shape");
  if (shape.size() != 2) n.fail("pooled_shape of 2 integers", std::to_string(shape.size()));
  return b.op("max_roi_pool", {n.in(0), n.in(1)},
              {{"output_height", shape[0]}, {"output_width", shape[1]}, {"spatial_scale", n.number("spatial_scale", 1.0)}});
}

// Each element of X goes where its index says in the flattened pooled image; zeros elsewhere.
ONNX_OP(MaxUnpool, 9) {
  const Value x = n.in(0), index = n.in(1);
  const Dims kernel = kernel_attribute(n, b, x);
  const size_t axes = kernel.size();
  const Ints strides = spatial_list(n, "strides", axes, 1, 1), pads = spatial_list(n, "pads", axes * 2, 0, 0);
  Dims image{b.dim(x, 0), b.dim(x, 1)};
  for (size_t i = 0; i < axes; ++i)
    image.push_back((b.dim(x, static_cast<int64_t>(i) + 2) - Dim(1)) * Dim(strides[i]) - Dim(pads[i] + pads[i + axes]) + kernel[i]);
  const DType t = b.dtype(x);
  const Dim count = product(b.dims(x));
  Builder assign("assign");
  const Value old = assign.input(Type::tensor(t, {})), update = assign.input(Type::tensor(t, {}));
  (void)old;
  const auto region = std::make_shared<const Graph>(assign.finish({update}));
  Value y = b.ops("scatter", {b.full({product(image)}, t, 0), b.reshape(index, {count, 1}), b.reshape(x, {count})},
                  {{"update_window_dims", Ints{}},
                   {"inserted_window_dims", Ints{0}},
                   {"input_batching_dims", Ints{}},
                   {"scatter_indices_batching_dims", Ints{}},
                   {"scatter_dims_to_operand_dims", Ints{0}},
                   {"index_vector_dim", int64_t{1}},
                   {"indices_are_sorted", false},
                   {"unique_indices", false},
                   {"out_of_bounds", std::string("error")}},
                  {region})[0];
  y = b.reshape(y, image);
  if (!n.has(2)) return y;
  const Dims out = n.sizes(2);
  if (out.size() != image.size()) n.fail("output_shape of " + std::to_string(image.size()) + " integers", std::to_string(out.size()));
  Dims high;
  for (size_t i = 0; i < out.size(); ++i) high.push_back(out[i] - image[i]);
  return b.pad(y, 0, Dims(out.size(), Dim(0)), high);
}

}  // namespace bascule::onnx
