// ops/deform_conv.cc — convolution whose taps are moved by learned offsets and scaled by a mask (deformable convolution v2).
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/sample.h"
#include "ops/walk.h"
#include "ops/window.h"

namespace bascule::ops {
namespace {

struct Geometry {
  std::vector<WindowAxis> axes;
  Dims out;
};

Geometry read(const OpView& op) {
  const Type &x = op.in(0), &w = op.in(1), &offset = op.in(2);
  const int64_t group = op.attrs.integer("group"), offset_group = op.attrs.integer("offset_group");
  if (x.rank() < 3 || w.rank() != x.rank() || offset.rank() != x.rank()) op.fail("x, w and offset of one rank, 3 or more", x.text() + ", " + w.text() + ", " + offset.text());
  if (group < 1 || offset_group < 1) op.fail("group and offset_group of 1 or more", std::to_string(group) + " and " + std::to_string(offset_group));
  const size_t n = x.rank() - 2;
  const Ints strides = spatial_attr(op, "window_strides", n, 1, 1, ""), dilation = spatial_attr(op, "rhs_dilation", n, 1, 1, "");
  const Dims low = spatial_dims(op, "padding_low", n, ""), high = spatial_dims(op, "padding_high", n, "");
  Geometry g{{}, {x.dims[0], w.dims[0]}};
  Dim taps = 1;
  for (size_t i = 0; i < n; ++i) {
    g.axes.push_back({w.dims[i + 2], low[i], high[i], strides[i], 1, dilation[i], false});
    g.out.push_back(window_count(x.dims[i + 2], g.axes[i]));
    op.require_equal(offset.dims[i + 2], g.out.back(), "offsets for each output position");
    taps = taps * w.dims[i + 2];
  }
  op.require_equal(w.dims[1] * group, x.dims[1], "w [M, C/group, ...]");
  if (w.dims[0].is_constant() && w.dims[0].value() % group != 0) op.fail("output channels divisible by group " + std::to_string(group), w.dims[0].text());
  if (x.dims[1].is_constant() && x.dims[1].value() % offset_group != 0) op.fail("channels divisible by offset_group " + std::to_string(offset_group), x.dims[1].text());
  op.require_equal(offset.dims[1], taps * static_cast<int64_t>(n) * offset_group, "offset [N, offset_group * taps * axes, ...]");
  op.require_equal(offset.dims[0], x.dims[0], "offsets for each image");
  if (op.has(3)) {
    if (op.in(3).rank() != 1) op.fail("a bias [M]", op.in(3).text());
    op.require_equal(op.in(3).dims[0], w.dims[0], "a bias [M]");
  }
  if (op.has(4)) {
    if (op.in(4).rank() != x.rank()) op.fail("a mask of the rank of x", op.in(4).text());
    op.require_equal(op.in(4).dims[0], x.dims[0], "a mask for each image");
    op.require_equal(op.in(4).dims[1], taps * offset_group, "mask [N, offset_group * taps, ...]");
    for (size_t i = 0; i < n; ++i) op.require_equal(op.in(4).dims[i + 2], g.out[i + 2], "a mask for each output position");
  }
  return g;
}

// x[base + ...] between its 2^n neighbours, which are 0 outside.
double sample(const std::vector<double>& x, int64_t base, const std::vector<int64_t>& dims, const std::vector<int64_t>& strides, const std::vector<double>& at) {
  double sum = 0;
  for (size_t corner = 0; corner < size_t{1} << dims.size(); ++corner) {
    double weight = 1;
    int64_t from = base;
    for (size_t a = 0; a < dims.size() && weight != 0; ++a) {
      const double low = std::floor(at[a]), f = at[a] - low, i = low + static_cast<double>(corner >> a & 1);
      weight *= (corner >> a & 1) != 0 ? f : 1 - f;
      if (!(i >= 0 && i < static_cast<double>(dims[a]))) weight = 0;
      else from += static_cast<int64_t>(i) * strides[a];
    }
    if (weight != 0) sum += weight * x[static_cast<size_t>(from)];
  }
  return sum;
}

HostValues deform_conv_reference(const Call& call) {
  const Geometry g = read(call.op);
  const Tensor &xt = call.in(0), &wt = call.in(1);
  const size_t n = g.axes.size();
  const int64_t group = call.op.attrs.integer("group"), offset_group = call.op.attrs.integer("offset_group");
  Tensor y = call.result();
  if (y.elements() == 0) return one(std::move(y));
  const std::vector<double> x = xt.doubles(), w = wt.doubles(), offset = call.in(2).doubles(), mask = call.op.has(4) ? call.in(4).doubles() : std::vector<double>();
  const std::vector<int64_t> in(xt.dims().begin() + 2, xt.dims().end()), taps(wt.dims().begin() + 2, wt.dims().end()), out(y.dims().begin() + 2, y.dims().end());
  const std::vector<int64_t> strides = strides_of(in), none(n, 0);
  const int64_t N = xt.dim(0), C = xt.dim(1), M = wt.dim(0), Cg = wt.dim(1), S = element_count(in), K = element_count(taps), P = element_count(out), per_offset = C / offset_group;
  std::vector<double> column(static_cast<size_t>(C * K)), at(n);
  std::byte* to = y.mutable_data();
  for (int64_t b = 0; b < N; ++b) {
    int64_t p = 0;
    for (Walk position(out, none); position; position.next(), ++p) {
      int64_t k = 0;
      for (Walk tap(taps, none); tap; tap.next(), ++k)
        for (int64_t og = 0; og < offset_group; ++og) {
          for (size_t a = 0; a < n; ++a)
            at[a] = static_cast<double>(position.index()[a] * g.axes[a].stride - g.axes[a].low.value() + tap.index()[a] * g.axes[a].dilation) +
                    offset[static_cast<size_t>(((b * offset_group + og) * K * static_cast<int64_t>(n) + k * static_cast<int64_t>(n) + static_cast<int64_t>(a)) * P + p)];
          const double scale = mask.empty() ? 1 : mask[static_cast<size_t>(((b * offset_group + og) * K + k) * P + p)];
          for (int64_t c = og * per_offset; c < (og + 1) * per_offset; ++c) {
            check_budget();
            column[static_cast<size_t>(c * K + k)] = scale * sample(x, (b * C + c) * S, in, strides, at);
          }
        }
      for (int64_t m = 0; m < M; ++m) {
        check_budget();
        double sum = call.op.has(3) ? call.in(3).number(m) : 0;
        const int64_t first = m / (M / group) * Cg * K;
        for (int64_t i = 0; i < Cg * K; ++i) sum += w[static_cast<size_t>(m * Cg * K + i)] * column[static_cast<size_t>(first + i)];
        store_double(y.dtype(), to, (b * M + m) * P + p, sum);
      }
    }
  }
  return one(std::move(y));
}

// Columns of sampled values, as many as taps, times the kernel.
Values deform_conv_decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const Geometry g = read(op);
  const Value x = in[0], w = in[1], offset = in[2];
  const int64_t group = op.attrs.integer("group"), offset_group = op.attrs.integer("offset_group");
  const size_t axes = g.axes.size();
  Dim taps = 1;
  for (const WindowAxis& a : g.axes) taps = taps * a.size;
  const DType t = b.dtype(x), wide = t == DType::f64 ? DType::f64 : DType::f32;
  const Dim N = b.dim(x, 0), C = b.dim(x, 1), M = b.dim(w, 0), rows = N * Dim(offset_group);
  const Dims out(g.out.begin() + 2, g.out.end());
  const auto with_points = [&](Dims d) {
    d.insert(d.end(), out.begin(), out.end());
    return d;
  };
  const Value shift = b.convert(b.reshape(offset, with_points({rows, taps, Dim(static_cast<int64_t>(axes))})), wide);
  const Dims points = with_points({rows, taps});
  Values at;
  for (size_t i = 0; i < axes; ++i) {  // position * stride - padding + tap * dilation + offset
    const WindowAxis& a = g.axes[i];
    Dim inner = 1;
    for (size_t j = i + 1; j < axes; ++j) inner = inner * g.axes[j].size;
    const Value along = b.remainder(b.divide(b.iota(DType::i64, {taps}, 0), b.size(inner)), b.size(a.size));
    const Value taps_at = b.broadcast_in_dim(b.convert(b.multiply(along, static_cast<double>(a.dilation)), wide), points, {1});
    const Value steps = b.multiply(b.iota(wide, points, static_cast<int64_t>(i) + 2), static_cast<double>(a.stride));
    const Value base = b.subtract(b.add(taps_at, steps), b.convert(b.size(a.low), wide));
    const auto k = static_cast<int64_t>(i);
    at.push_back(b.add(base, b.reshape(b.slice_axis(shift, 2, k, k + 1), points)));
  }
  Dims grouped{rows, Dim::floor_div(C, offset_group)};
  grouped.insert(grouped.end(), b.dims(x).begin() + 2, b.dims(x).end());
  Value columns = sample_image(b, b.convert(b.reshape(x, grouped), wide), at, Sampling{Neighbours::linear, Outside::zeros, false});  // rows x C/og x taps x out
  if (op.has(4)) columns = b.multiply(columns, b.convert(b.reshape(in[4], with_points({rows, Dim(1), taps})), wide));
  // [g, M/g, C/g * taps] x [N, g, C/g * taps, positions]
  const Dim each = Dim::floor_div(C, group) * taps;
  const Value lhs = b.reshape(b.convert(w, wide), {Dim(group), Dim::floor_div(M, group), each});
  const Value rhs = b.reshape(columns, {N, Dim(group), each, product(out)});
  Value y = b.transpose(b.dot_general(lhs, rhs, {0}, {1}, {2}, {2}), {2, 0, 1, 3});
  y = b.reshape(y, g.out);
  if (op.has(3)) y = b.add(y, b.broadcast_in_dim(b.convert(in[3], wide), g.out, {1}));
  return {b.convert(y, t)};
}

}  // namespace

const OpDef deform_conv{
    .name = "deform_conv",
    .dialect = "bascule",
    .doc = "y[n, m, p] = bias[m] + sum over c, k of w[m, c, k] * mask[n, k, p] * x[n, c] interpolated at p * stride + k * dilation - padding_low + offset[n, k, p], 0 outside",
    .inputs = {{"x", DTypes::floats}, {"w", DTypes::floats}, {"offset", DTypes::floats}, {"bias", DTypes::floats, kOptional}, {"mask", DTypes::floats, kOptional}},
    .attrs = {{"window_strides", AttrKind::ints, false, Ints{}},
              {"padding_low", AttrKind::dims, false, Dims{}},
              {"padding_high", AttrKind::dims, false, Dims{}},
              {"rhs_dilation", AttrKind::ints, false, Ints{}},
              {"group", AttrKind::integer, false, int64_t{1}},
              {"offset_group", AttrKind::integer, false, int64_t{1}}},
    .type = [](const OpView& op) { return std::vector<Type>{Type::tensor(op.in(0).dtype, read(op).out)}; },
    .reference = deform_conv_reference,
    .decompose = deform_conv_decompose,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          const double taps = elements(op.in(1)) / std::max(1.0, static_cast<double>(op.in(1).dims[0].value()));
          w.multiply_adds = elements(results[0]) * taps + elements(op.in(2)) * static_cast<double>(op.in(0).dims[1].value()) * 2;
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"plain", {{1, 2, 5, 5}, {3, 2, 3, 3}, {1, 18, 3, 3}}},
              {"masked_strided", {{2, 4, 6, 5}, {4, 2, 2, 2}, {2, 16, 3, 3}, {4}, {2, 8, 3, 3}}, {{"window_strides", Ints{2, 2}}, {"padding_low", Dims{0, 1}}, {"group", int64_t{2}}, {"offset_group", int64_t{2}}}}},
};
BASCULE_OP(deform_conv);

}  // namespace bascule::ops
