// import/onnx/sample.cc — ONNX GridSample, AffineGrid, CenterCropPad.
#include <algorithm>
#include <numeric>

#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

Value grid_sample(NodeContext& n, Builder& b, std::string mode) {
  const Value x = n.in(0), grid = n.in(1);
  const std::string padding = n.text("padding_mode", "zeros");
  const bool align = n.flag("align_corners", false);
  if (mode == "bilinear") mode = "linear";
  if (mode == "bicubic") mode = "cubic";
  if (mode != "linear" && mode != "nearest" && mode != "cubic") n.fail("mode linear, nearest or cubic", "'" + escaped(mode) + "'");
  if (padding != "zeros" && padding != "border" && padding != "reflection")
    n.fail("padding_mode zeros, border or reflection", "'" + escaped(padding) + "'");
  const Attrs attrs{{"mode", mode}, {"padding_mode", padding}, {"align_corners", align}};
  if (is_float(b.dtype(x))) return b.op("grid_sample", {x, grid}, attrs);
  return b.convert(b.op("grid_sample", {b.convert(x, DType::f64), grid}, attrs), b.dtype(x));
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
  const Value points = b.convert(b.concatenate(parts, static_cast<int64_t>(axes)), wide);                    // spatial x (axes + 1)
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
