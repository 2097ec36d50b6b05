// import/onnx/conv.cc — ONNX convolutions. Pools stand in pool.cc, sampling in resize.cc and sample.cc, quantised products in quantize.cc.
#include <algorithm>
#include <numeric>

#include "import/onnx/window.h"

namespace bascule::onnx {

Ints spatial_list(NodeContext& n, std::string_view name, size_t count, int64_t fallback, int64_t least) {
  Ints v = n.ints(name, Ints{});
  if (v.empty()) v.assign(count, fallback);
  if (v.size() != count) n.fail("attribute " + std::string(name) + " of " + std::to_string(count) + " integers", std::to_string(v.size()));
  for (const int64_t x : v)
    if (x < least || x > (int64_t{1} << 40))
      n.fail("attribute " + std::string(name) + " with entries >= " + std::to_string(least), std::to_string(x));
  return v;
}

Dims kernel_attribute(NodeContext& n, Builder& b, Value x) {
  if (b.rank(x) < 2) n.fail("an operand N x C x spatial", b.type(x).text());
  const Ints k = n.ints("kernel_shape");
  if (static_cast<int64_t>(k.size()) != b.rank(x) - 2)
    n.fail("kernel_shape of " + std::to_string(b.rank(x) - 2) + " integers", std::to_string(k.size()));
  for (const int64_t v : k)
    if (v < 1 || v > INT32_MAX) n.fail("kernel_shape with entries in [1, 2^31)", std::to_string(v));
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
  if (!same && w.auto_pad != "VALID" && w.auto_pad != "NOTSET")
    n.fail("auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER", "'" + escaped(w.auto_pad) + "'");
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
  if (!shape.empty() && shape.size() != axes && shape.size() != axes + 2)
    n.fail("output_shape of " + std::to_string(axes) + " integers", std::to_string(shape.size()));
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
    if (channels.is_constant() && channels.value() % group != 0)
      n.fail("channels that divide into " + std::to_string(group) + " groups", channels.text());
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

Value deform_conv(NodeContext& n, Builder& b) {
  const Value x = n.in(0), w = n.in(1);
  const int64_t offset_group = n.integer("offset_group", 1), group = group_of(n);
  if (offset_group < 1) n.fail("offset_group >= 1", std::to_string(offset_group));
  const Window win = read_window(n, b, x, kernel_of(n, b, x, w));
  return b.op("deform_conv", {x, w, n.in(2), n.in_or_none(3), n.in_or_none(4)},
              {{"window_strides", win.strides},
               {"padding_low", win.low},
               {"padding_high", win.high},
               {"rhs_dilation", win.dilations},
               {"group", group},
               {"offset_group", offset_group}});
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
  if (axes == 0 || image.size() != axes)
    n.fail("image_shape and block_shape of one length", std::to_string(image.size()) + " and " + std::to_string(axes));
  const Ints strides = spatial_list(n, "strides", axes, 1, 1), dilations = spatial_list(n, "dilations", axes, 1, 1),
             pads = spatial_list(n, "pads", axes * 2, 0, 0);
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
  const Value eye =
      b.convert(b.compare(b.iota(DType::i32, {Dim(taps), Dim(taps)}, 0), b.iota(DType::i32, {Dim(taps), Dim(taps)}, 1), "EQ"), b.dtype(x));
  return b.reshape(convolution(b, b.reshape(x, columns), b.reshape(eye, kernel), c), result);
}

}  // namespace bascule::onnx
