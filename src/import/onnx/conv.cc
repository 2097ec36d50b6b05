// import/onnx/conv.cc — ONNX convolutions. Pools stand in pool.cc, sampling in resize.cc and sample.cc, quantised products in quantize.cc.
#include <algorithm>
#include <numeric>

#include "import/onnx/sample.h"
#include "import/onnx/window.h"

namespace bascule::onnx {

Ints spatial_list(NodeContext& n, std::string_view name, size_t count, int64_t fallback, int64_t least) {
  Ints v = n.ints(name, Ints{});
  if (v.empty()) v.assign(count, fallback);
  if (v.size() != count) n.fail("attribute " + std::string(name) + " of " + std::to_string(count) + " integers", std::to_string(v.size()));
  for (const int64_t x : v)
    if (x < least || x > (int64_t{1} << 40)) n.fail("attribute " + std::string(name) + " with entries >= " + std::to_string(least), std::to_string(x));
  return v;
}

Dims kernel_attribute(NodeContext& n, Builder& b, Value x) {
  if (b.rank(x) < 2) n.fail("an operand N x C x spatial", b.type(x).text());
  const Ints k = n.ints("kernel_shape");
  if (static_cast<int64_t>(k.size()) != b.rank(x) - 2) n.fail("kernel_shape of " + std::to_string(b.rank(x) - 2) + " integers", std::to_string(k.size()));
  for (const int64_t v : k)
    if (v < 1) n.fail("kernel_shape with entries >= 1", std::to_string(v));
  return to_dims(k);
}

Window read_window(NodeContext& n, Builder& b, Value x, Dims kernel) {
  Window w;
  w.kernel = std::move(kernel);
  const size_t axes = w.axes();
  if (static_cast<int64_t>(axes) != b.rank(x) - 2) n.fail("an operand with " + std::to_string(axes) + " spatial axes", b.type(x).text());
  w.strides = spatial_list(n, "strides", axes, 1, 1);
  w.dilations = spatial_list(n, "dilations", axes, 1, 1);
  w.auto_pad = n.text("auto_pad", "NOTSET");
  if (w.auto_pad.empty()) w.auto_pad = "NOTSET";
  const bool same = w.auto_pad == "SAME_UPPER" || w.auto_pad == "SAME_LOWER";
  if (!same && w.auto_pad != "VALID" && w.auto_pad != "NOTSET") n.fail("auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER", "'" + escaped(w.auto_pad) + "'");
  const Ints pads = n.ints("pads", Ints(axes * 2, 0));
  if (pads.size() != axes * 2) n.fail("pads of " + std::to_string(axes * 2) + " integers", std::to_string(pads.size()));
  for (size_t i = 0; i < axes; ++i) {
    const Dim extent = b.dim(x, static_cast<int64_t>(i) + 2);
    if (same) {
      // windows = ceil(extent / stride); total padding makes the last one fit
      const Dim windows = Dim::ceil_div(extent, w.strides[i]);
      const Dim total = Dim::max((windows - Dim(1)) * Dim(w.strides[i]) + w.span(i) - extent, 0);
      const Dim less = Dim::floor_div(total, 2);
      w.low.push_back(w.auto_pad == "SAME_UPPER" ? less : total - less);
      w.high.push_back(w.auto_pad == "SAME_UPPER" ? total - less : less);
    } else {
      w.low.push_back(w.auto_pad == "VALID" ? 0 : pads[i]);
      w.high.push_back(w.auto_pad == "VALID" ? 0 : pads[i + axes]);
    }
  }
  return w;
}

namespace {

Ints spatial_axes(size_t count) {
  Ints axes(count);
  std::iota(axes.begin(), axes.end(), 2);
  return axes;
}

// Kernel extents from the weights; kernel_shape must agree when given.
Dims kernel_of(NodeContext& n, Builder& b, Value x, Value w) {
  if (b.rank(x) < 3 || b.rank(w) != b.rank(x)) n.fail("X of rank 3 or more and W of the same rank", b.type(x).text() + " and " + b.type(w).text());
  Dims kernel(b.dims(w).begin() + 2, b.dims(w).end());
  const Ints given = n.ints("kernel_shape", Ints{});
  if (!given.empty()) {
    bool agree = given.size() == kernel.size();
    for (size_t i = 0; agree && i < given.size(); ++i) agree = !kernel[i].is_constant() || kernel[i].is(given[i]);
    if (!agree) n.fail("W of extents " + text(to_dims(given)) + " from attribute kernel_shape", b.type(w).text());
  }
  for (const Dim& k : kernel)
    if (k.is(0)) n.fail("a kernel with extents >= 1", b.type(w).text());
  return kernel;
}

int64_t group_of(NodeContext& n) {
  const int64_t group = n.integer("group", 1);
  if (group < 1) n.fail("group >= 1", std::to_string(group));
  return group;
}

// b[M] along axis 1 of y
Value add_bias(NodeContext& n, Builder& b, Value y, size_t i) {
  if (!n.has(i)) return y;
  const Value bias = n.in(i);
  if (b.rank(bias) != 1) n.fail("a bias of rank 1", b.type(bias).text());
  return b.add(y, b.broadcast_in_dim(bias, b.dims(y), {1}));
}

struct ConvLayout {
  Ints strides, base_dilations, dilations, reversal;
  Dims low, high;
  int64_t input_axis, output_axis;  // of the kernel
  int64_t groups;
  DType t;
};

Value convolution(Builder& b, Value x, Value w, const ConvLayout& c) {
  const size_t axes = c.strides.size();
  const Ints spatial = spatial_axes(axes);
  return b.op("convolution", {x, w},
              {{"window_strides", c.strides},
               {"padding_low", c.low},
               {"padding_high", c.high},
               {"lhs_dilation", c.base_dilations},
               {"rhs_dilation", c.dilations},
               {"window_reversal", c.reversal},
               {"input_batch_dimension", int64_t{0}},
               {"input_feature_dimension", int64_t{1}},
               {"input_spatial_dimensions", spatial},
               {"kernel_input_feature_dimension", c.input_axis},
               {"kernel_output_feature_dimension", c.output_axis},
               {"kernel_spatial_dimensions", spatial},
               {"output_batch_dimension", int64_t{0}},
               {"output_feature_dimension", int64_t{1}},
               {"output_spatial_dimensions", spatial},
               {"feature_group_count", c.groups},
               {"batch_group_count", int64_t{1}},
               {"dtype", c.t}});
}

// y = convolution of x, dilated by the strides, with the kernel turned around; pads cut the result's edges.
Value conv_transpose(NodeContext& n, Builder& b) {
  const Value x = n.in(0);
  Value w = n.in(1);
  const int64_t group = group_of(n);
  const Window win = read_window(n, b, x, kernel_of(n, b, x, w));
  const size_t axes = win.axes();
  const Ints extra = spatial_list(n, "output_padding", axes, 0, 0);
  const Ints shape = n.ints("output_shape", Ints{});
  if (!shape.empty() && shape.size() != axes && shape.size() != axes + 2) n.fail("output_shape of " + std::to_string(axes) + " integers", std::to_string(shape.size()));
  ConvLayout c{Ints(axes, 1), win.strides, win.dilations, Ints(axes, 1), {}, {}, 0, 1, group, b.dtype(x)};
  const bool same = win.auto_pad == "SAME_UPPER" || win.auto_pad == "SAME_LOWER";
  for (size_t i = 0; i < axes; ++i) {
    const Dim extent = b.dim(x, static_cast<int64_t>(i) + 2), span = win.span(i);
    const Dim full = (extent - Dim(1)) * Dim(win.strides[i]) + Dim(extra[i]) + span;  // without pads
    Dim begin = win.low[i], end = win.high[i];
    if (!shape.empty() || same) {
      const Dim out = shape.empty() ? extent * Dim(win.strides[i]) : Dim(shape[shape.size() - axes + i]);
      const Dim total = Dim::max(full - out, 0), half = Dim::floor_div(total, 2);
      begin = win.auto_pad == "SAME_UPPER" ? half : total - half;
      end = full - out - begin;
    }
    c.low.push_back(span - Dim(1) - begin);
    c.high.push_back(span - Dim(1) - end + Dim(extra[i]));
  }
  if (group > 1) {  // [C, M/g, k] -> [C/g, M, k]
    Dims d = b.dims(w);
    const Dim channels = d[0], each = d[1];
    if (channels.is_constant() && channels.value() % group != 0) n.fail("channels that divide into " + std::to_string(group) + " groups", channels.text());
    Dims split = d;
    split[0] = Dim(group);
    split.insert(split.begin() + 1, Dim::floor_div(channels, group));
    Ints order(split.size());
    std::iota(order.begin(), order.end(), 0);
    std::swap(order[0], order[1]);
    d[0] = Dim::floor_div(channels, group);
    d[1] = each * Dim(group);
    w = b.reshape(b.transpose(b.reshape(w, split), order), d);
  }
  return add_bias(n, b, convolution(b, x, w, c), 2);
}

// y[n, m, o] = sum over c, k of w[m, c, k] * mask[n, k, o] * x[n, c, o * stride - pad + k * dilation + offset[n, k, o]], bilinear, 0 outside
Value deform_conv(NodeContext& n, Builder& b) {
  const Value x = n.in(0), w = n.in(1), offset = n.in(2);
  const int64_t group = group_of(n), offset_group = n.integer("offset_group", 1);
  if (offset_group < 1) n.fail("offset_group >= 1", std::to_string(offset_group));
  const Dims kernel = kernel_of(n, b, x, w);
  const size_t axes = kernel.size();
  const Window win = read_window(n, b, x, kernel);
  const auto k = constants(kernel);
  if (!k) throw NeedsRun{1, false};  // its taps are laid out one by one
  int64_t taps = 1;
  for (const int64_t v : *k) taps *= v;
  if (taps > 4096) n.unsupported("a kernel of at most 4,096 taps", std::to_string(taps), "Use a smaller kernel");
  const DType t = b.dtype(x);
  const DType wide = t == DType::f64 ? DType::f64 : DType::f32;
  // Offsets: N x (offset_group * taps * axes) x out. Per offset group the batch is N * offset_group.
  const Dim N = b.dim(x, 0), C = b.dim(x, 1);
  if (b.rank(offset) != b.rank(x)) n.fail("offset of the rank of X", b.type(offset).text());
  const Dims out(b.dims(offset).begin() + 2, b.dims(offset).end());
  const Dim rows = N * Dim(offset_group);
  Dims o{rows, Dim(taps), Dim(static_cast<int64_t>(axes))};
  o.insert(o.end(), out.begin(), out.end());
  const Value shift = b.convert(b.reshape(offset, o), wide);
  Dims points{rows, Dim(taps)};
  points.insert(points.end(), out.begin(), out.end());
  Values at;
  for (size_t i = 0; i < axes; ++i) {
    // base[tap, o] = o_i * stride - pad + tap_i * dilation
    Ints tap(static_cast<size_t>(taps));
    int64_t inner = 1;
    for (size_t j = i + 1; j < axes; ++j) inner *= (*k)[j];
    for (int64_t q = 0; q < taps; ++q) tap[static_cast<size_t>(q)] = q / inner % (*k)[i] * win.dilations[i];
    const Value taps_at = b.broadcast_in_dim(b.convert(b.ints(tap), wide), points, {1});
    const Value steps = b.multiply(b.iota(wide, points, static_cast<int64_t>(i) + 2), static_cast<double>(win.strides[i]));
    const Value base = b.subtract(b.add(taps_at, steps), b.convert(b.size(win.low[i]), wide));
    at.push_back(b.add(base, b.reshape(b.slice_axis(shift, 2, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1), points)));
  }
  Dims grouped{rows, Dim::floor_div(C, offset_group)};
  grouped.insert(grouped.end(), b.dims(x).begin() + 2, b.dims(x).end());
  Value columns = sample(b, b.convert(b.reshape(x, grouped), wide), at, Sampling{Taps::linear, Outside::zeros, false});  // rows x C/og x taps x out
  if (n.has(4)) {
    Dims m{rows, Dim(1), Dim(taps)};
    m.insert(m.end(), out.begin(), out.end());
    columns = b.multiply(columns, b.convert(b.reshape(n.in(4), m), wide));
  }
  // [N, g, C/g * taps, out] x [g, M/g, C/g * taps] -> [g, N, out, M/g]
  const Dim M = b.dim(w, 0), per_group = Dim::floor_div(C, group) * Dim(taps), positions = product(out);
  const Value lhs = b.reshape(columns, {N, Dim(group), per_group, positions});
  const Value rhs = b.reshape(b.convert(w, wide), {Dim(group), Dim::floor_div(M, group), per_group});
  Value y = b.dot_general(rhs, lhs, {0}, {1}, {2}, {2});  // g x M/g x N x positions
  y = b.transpose(y, {2, 0, 1, 3});
  Dims result{N, M};
  result.insert(result.end(), out.begin(), out.end());
  y = b.convert(b.reshape(y, result), t);
  return add_bias(n, b, y, 3);
}

}  // namespace

Value convolve(NodeContext& n, Builder& b, Value x, Value w, DType t) {
  const int64_t group = group_of(n);
  const Window win = read_window(n, b, x, kernel_of(n, b, x, w));
  const Dim C = b.dim(x, 1), each = b.dim(w, 1);
  if (C.is_constant() && each.is_constant() && C.value() != each.value() * group)
    n.fail("W [M, C/group, ...] with C = " + C.text() + " and group " + std::to_string(group), b.type(w).text());
  return convolution(b, x, w, {win.strides, Ints(win.axes(), 1), win.dilations, Ints(win.axes(), 0), win.low, win.high, 1, 0, group, t});
}

ONNX_OP(Conv, 1) { return add_bias(n, b, convolve(n, b, n.in(0), n.in(1), n.dtype(0)), 2); }
ONNX_OP(ConvTranspose, 1) { return conv_transpose(n, b); }
ONNX_OP(DeformConv, 19) { return deform_conv(n, b); }

// Columns of windows back to an image: a transposed convolution with one-hot kernels, the channels counted into the batch.
ONNX_OP(Col2Im, 18) {
  const Value x = n.in(0);
  if (b.rank(x) != 3) n.fail("input [N, C * product of block_shape, L]", b.type(x).text());
  const Dims image = n.sizes(1);
  const Ints block = n.constants(2);
  const size_t axes = block.size();
  if (axes == 0 || image.size() != axes) n.fail("image_shape and block_shape of one length", std::to_string(image.size()) + " and " + std::to_string(axes));
  const Ints strides = spatial_list(n, "strides", axes, 1, 1), dilations = spatial_list(n, "dilations", axes, 1, 1), pads = spatial_list(n, "pads", axes * 2, 0, 0);
  int64_t taps = 1;
  for (const int64_t k : block) {
    if (k < 1 || k > 4096 || taps > 65536) n.fail("block_shape with entries from 1 to 4,096", std::to_string(k));
    taps *= k;
  }
  const Dim C = Dim::floor_div(b.dim(x, 1), taps), rows = b.dim(x, 0) * C;
  Dims columns{rows, Dim(taps)}, result{b.dim(x, 0), C};
  ConvLayout c{Ints(axes, 1), strides, dilations, Ints(axes, 1), {}, {}, 0, 1, 1, b.dtype(x)};
  Dims kernel{Dim(taps), Dim(1)};
  for (size_t i = 0; i < axes; ++i) {
    const Dim span = Dim((block[i] - 1) * dilations[i] + 1);
    const Dim count = Dim::floor_div(image[i] + Dim(pads[i] + pads[i + axes]) - span, strides[i]) + Dim(1);
    columns.push_back(count);
    result.push_back(image[i]);
    kernel.push_back(block[i]);
    const Dim low = span - Dim(1) - Dim(pads[i]);
    c.low.push_back(low);
    c.high.push_back(image[i] - (count - Dim(1)) * Dim(strides[i]) - Dim(1) - low + span - Dim(1));
  }
  const Value eye = b.convert(b.compare(b.iota(DType::i32, {Dim(taps), Dim(taps)}, 0), b.iota(DType::i32, {Dim(taps), Dim(taps)}, 1), "EQ"), b.dtype(x));
  return b.reshape(convolution(b, b.reshape(x, columns), b.reshape(eye, kernel), c), result);
}

}  // namespace bascule::onnx
