// ops/convolution.cc — cross-correlation of any rank, grouped, strided, dilated on both sides.
#include <algorithm>
#include <complex>

#include "base/budget.h"
#include "ops/scalar_region.h"
#include "ops/walk.h"
#include "ops/window.h"

namespace bascule::ops {
namespace {

// All that the attributes say, checked, with defaults filled in.
struct Convolution {
  int64_t input_batch, input_feature, kernel_input, kernel_output, output_batch, output_feature;
  Ints input_spatial, kernel_spatial, output_spatial;
  std::vector<WindowAxis> axes;
  int64_t feature_groups, batch_groups;
  Type result;
};

void require_layout(const OpView& op, size_t rank, int64_t a, int64_t b, const Ints& spatial, std::string_view what, std::string_view label) {
  Ints all = spatial;
  all.push_back(a);
  all.push_back(b);
  if (all.size() != rank) op.fail(std::to_string(rank) + " axes of " + std::string(what), std::to_string(all.size()), label);
  require_axes(op, all, rank, what, label);
}

Convolution read(const OpView& op) {
  const Attrs& a = op.attrs;
  const Type &x = op.in(0), &w = op.in(1);
  Convolution c{a.integer("input_batch_dimension"), a.integer("input_feature_dimension"), a.integer("kernel_input_feature_dimension"), a.integer("kernel_output_feature_dimension"),
                a.integer("output_batch_dimension"), a.integer("output_feature_dimension"), a.ints("input_spatial_dimensions"), a.ints("kernel_spatial_dimensions"), a.ints("output_spatial_dimensions"), {},
                a.integer("feature_group_count"), a.integer("batch_group_count"), {}};
  const size_t rank = x.rank();
  if (w.rank() != rank) op.fail("operands of equal rank", x.text() + " and " + w.text(), "C1");
  if (rank < 2) op.fail("operands of rank 2 or more", x.text(), "C1");
  const size_t n = rank - 2;
  require_layout(op, rank, c.input_batch, c.input_feature, c.input_spatial, "input dimensions", "C12, C13");
  require_layout(op, rank, c.kernel_input, c.kernel_output, c.kernel_spatial, "kernel dimensions", "C17, C18");
  require_layout(op, rank, c.output_batch, c.output_feature, c.output_spatial, "output dimensions", "C19, C20");
  const Ints strides = spatial_attr(op, "window_strides", n, 1, 1, "C2, C3");
  const Dims low = spatial_dims(op, "padding_low", n, "C4"), high = spatial_dims(op, "padding_high", n, "C4");
  const Ints base = spatial_attr(op, "lhs_dilation", n, 1, 1, "C5, C6"), dilation = spatial_attr(op, "rhs_dilation", n, 1, 1, "C7, C8");
  const Ints reversal = spatial_attr(op, "window_reversal", n, 0, 0, "C9");
  const auto at = [](const Type& t, int64_t axis) -> const Dim& { return t.dims[static_cast<size_t>(axis)]; };
  for (size_t i = 0; i < n; ++i) c.axes.push_back({at(w, c.kernel_spatial[i]), low[i], high[i], strides[i], base[i], dilation[i], reversal[i] != 0});
  if (c.feature_groups < 1) op.fail("feature_group_count of 1 or more", std::to_string(c.feature_groups), "C21");
  if (c.batch_groups < 1) op.fail("batch_group_count of 1 or more", std::to_string(c.batch_groups), "C22");
  if (c.feature_groups > 1 && c.batch_groups > 1) op.fail("feature_group_count = 1 or batch_group_count = 1", std::to_string(c.feature_groups) + " and " + std::to_string(c.batch_groups), "C23");
  const Dim &batch = at(x, c.input_batch), &features = at(x, c.input_feature), &outputs = at(w, c.kernel_output);
  const auto divides = [&](int64_t groups, const Dim& d, std::string_view what, std::string_view label) {
    if (d.is_constant() && d.value() % groups != 0) op.fail(std::string(what) + " divisible by " + std::to_string(groups), d.text(), label);
  };
  divides(c.batch_groups, batch, "an input batch", "C10");
  divides(c.feature_groups, features, "input features", "C11");
  op.require_equal(at(w, c.kernel_input), Dim::floor_div(features, c.feature_groups), "kernel input features equal to input features / feature_group_count", "C14");
  divides(c.batch_groups, outputs, "kernel output features", "C15");
  divides(c.feature_groups, outputs, "kernel output features", "C16");
  const DType t = a.dtype("dtype");
  const auto kind = [](DType d) { return is_complex(d) ? 3 : is_float(d) ? 2 : is_bool(d) ? 0 : 1; };
  if (kind(x.dtype) > kind(t) || kind(w.dtype) > kind(t) || is_string(t)) op.fail("a result type that holds the operands' products", x.text() + " * " + w.text() + " -> " + std::string(info(t).name), "C27");
  Dims dims(rank);
  dims[static_cast<size_t>(c.output_batch)] = Dim::floor_div(batch, c.batch_groups);
  dims[static_cast<size_t>(c.output_feature)] = outputs;
  for (size_t i = 0; i < n; ++i) dims[static_cast<size_t>(c.output_spatial[i])] = window_count(at(x, c.input_spatial[i]), c.axes[i]);
  c.result = Type::tensor(t, dims);
  return c;
}

template <class T>
T element(DType t, const std::byte* p, int64_t i) {
  if constexpr (std::is_same_v<T, double>) return load_double(t, p, i);
  else if constexpr (std::is_same_v<T, uint64_t>) return static_cast<uint64_t>(load_int(t, p, i));
  else return is_complex(t) ? load_complex(t, p, i) : T(load_double(t, p, i));
}

// Elements with axes in the order given, converted once.
template <class T>
std::vector<T> packed(const Tensor& x, int64_t first, int64_t second, const Ints& spatial) {
  const std::vector<int64_t> strides = strides_of(x.dims());
  std::vector<int64_t> dims, steps;
  const auto add = [&](int64_t axis) {
    dims.push_back(x.dims()[static_cast<size_t>(axis)]);
    steps.push_back(strides[static_cast<size_t>(axis)]);
  };
  add(first);
  add(second);
  for (const int64_t a : spatial) add(a);
  check_room(x.elements() * static_cast<int64_t>(sizeof(T)), "a convolution's operand");
  std::vector<T> out;
  out.reserve(static_cast<size_t>(x.elements()));
  for (Walk w(dims, steps); w; w.next()) out.push_back(element<T>(x.dtype(), x.data(), w.offset()));
  return out;
}

std::vector<int64_t> extents(const Tensor& x, const Ints& axes) {
  std::vector<int64_t> out;
  for (const int64_t a : axes) out.push_back(x.dims()[static_cast<size_t>(a)]);
  return out;
}

// Neighbouring output positions whose sources under one tap are `step` apart.
struct Run {
  int64_t output, input, count, step;
};
// For each tap: where its products go to and come from, positions outside the input left out.
std::vector<std::vector<Run>> tap_runs(const Convolution& c, const std::vector<int64_t>& in_dims, const std::vector<int64_t>& taps, const std::vector<int64_t>& out_dims) {
  const std::vector<int64_t> in_strides = strides_of(in_dims), none(taps.size(), 0);
  std::vector<std::vector<Run>> all;
  for (Walk tap(taps, none); tap; tap.next()) {
    std::vector<Run> runs;
    int64_t p = 0;
    for (Walk at(out_dims, none); at; at.next(), ++p) {
      check_budget();
      int64_t from = 0;
      for (size_t i = 0; i < out_dims.size() && from >= 0; ++i) {
        const int64_t s = tap_index(at.index()[i], tap.index()[i], in_dims[i], taps[i], c.axes[i], c.axes[i].low.value());
        from = s < 0 ? -1 : from + s * in_strides[i];
      }
      if (from < 0) continue;
      if (!runs.empty()) {
        Run& last = runs.back();
        const int64_t step = from - (last.input + (last.count - 1) * last.step);
        if (last.output + last.count == p && (last.count == 1 || step == last.step)) {
          last.step = step;
          ++last.count;
          continue;
        }
      }
      runs.push_back({p, from, 1, 1});
    }
    check_room(static_cast<int64_t>(runs.size() * sizeof(Run)) * (element_count(taps) - static_cast<int64_t>(all.size())), "a convolution's index ranges");
    all.push_back(std::move(runs));
  }
  return all;
}

// y[n, o, p] += sum over taps k, channels c: w[o, c, k] * x[n, c, source(p, k)], where the source lies inside x.
template <class T>
Tensor convolve(const Call& call) {
  const Convolution c = read(call.op);
  const Tensor &in = call.in(0), &kernel = call.in(1);
  Tensor y = call.result();
  if (y.elements() == 0) return y;
  const std::vector<T> x = packed<T>(in, c.input_batch, c.input_feature, c.input_spatial), w = packed<T>(kernel, c.kernel_output, c.kernel_input, c.kernel_spatial);
  const std::vector<int64_t> in_dims = extents(in, c.input_spatial), taps = extents(kernel, c.kernel_spatial), out_dims = extents(y, c.output_spatial);
  const int64_t C = in.dim(static_cast<size_t>(c.input_feature)), S = element_count(in_dims), K = element_count(taps), P = element_count(out_dims);
  const int64_t N = y.dim(static_cast<size_t>(c.output_batch)), O = y.dim(static_cast<size_t>(c.output_feature)), Cg = kernel.dim(static_cast<size_t>(c.kernel_input));
  const int64_t outputs_per_feature_group = O / c.feature_groups, outputs_per_batch_group = O / c.batch_groups;
  check_room(y.elements() * static_cast<int64_t>(sizeof(T)), "a convolution's sums");
  std::vector<T> sums(static_cast<size_t>(y.elements()), T{});
  const DType t = y.dtype();
  const bool each = call.context.accumulate == Accumulate::element && !is_int(t) && t != DType::f64 && t != DType::c128;
  const auto round = [t](T v) {  // sums of small floats are kept in f32, as every machine does
    if constexpr (std::is_same_v<T, double>) return t == DType::f64 ? v : static_cast<double>(static_cast<float>(v));
    else if constexpr (std::is_same_v<T, uint64_t>) return v;
    else return T(std::complex<float>(v));
  };
  const std::vector<std::vector<Run>> runs = tap_runs(c, in_dims, taps, out_dims);
  for (int64_t n = 0; n < N; ++n)
    for (int64_t o = 0; o < O; ++o) {
      T* to = sums.data() + (n * O + o) * P;
      const int64_t batch = o / outputs_per_batch_group * N + n;
      for (int64_t k = 0; k < K; ++k)
        for (int64_t ch = 0; ch < Cg; ++ch) {
          const T weight = w[static_cast<size_t>((o * Cg + ch) * K + k)];
          const T* from = x.data() + (batch * C + o / outputs_per_feature_group * Cg + ch) * S;
          for (const Run& r : runs[static_cast<size_t>(k)]) {
            check_budget();
            T* at = to + r.output;
            const T* source = from + r.input;
            if (each)
              for (int64_t i = 0; i < r.count; ++i) at[i] = round(at[i] + round(weight * source[i * r.step]));
            else if (r.step == 1)
              for (int64_t i = 0; i < r.count; ++i) at[i] += weight * source[i];
            else
              for (int64_t i = 0; i < r.count; ++i) at[i] += weight * source[i * r.step];
          }
        }
    }
  const std::vector<int64_t> strides = strides_of(y.dims());
  std::vector<int64_t> order_dims{N, O}, order{strides[static_cast<size_t>(c.output_batch)], strides[static_cast<size_t>(c.output_feature)]};
  for (size_t i = 0; i < out_dims.size(); ++i) {
    order_dims.push_back(out_dims[i]);
    order.push_back(strides[static_cast<size_t>(c.output_spatial[i])]);
  }
  std::byte* out = y.mutable_data();
  size_t i = 0;
  for (Walk to(order_dims, order); to; to.next(), ++i) {
    if constexpr (std::is_same_v<T, double>) store_double(t, out, to.offset(), sums[i]);
    else if constexpr (std::is_same_v<T, uint64_t>) store_int(t, out, to.offset(), static_cast<int64_t>(sums[i]));
    else store_complex(t, out, to.offset(), sums[i]);
  }
  return y;
}

Attrs nchw(Attrs more = {}) {
  Attrs a{{"input_batch_dimension", int64_t{0}}, {"input_feature_dimension", int64_t{1}}, {"input_spatial_dimensions", Ints{2, 3}},
          {"kernel_output_feature_dimension", int64_t{0}}, {"kernel_input_feature_dimension", int64_t{1}}, {"kernel_spatial_dimensions", Ints{2, 3}},
          {"output_batch_dimension", int64_t{0}}, {"output_feature_dimension", int64_t{1}}, {"output_spatial_dimensions", Ints{2, 3}}, {"dtype", DType::f32}};
  for (const auto& [name, value] : more) a.set(name, value);
  return a;
}
Attrs nhwc() {
  return {{"input_batch_dimension", int64_t{0}}, {"input_feature_dimension", int64_t{3}}, {"input_spatial_dimensions", Ints{1, 2}},
          {"kernel_output_feature_dimension", int64_t{3}}, {"kernel_input_feature_dimension", int64_t{2}}, {"kernel_spatial_dimensions", Ints{0, 1}},
          {"output_batch_dimension", int64_t{0}}, {"output_feature_dimension", int64_t{3}}, {"output_spatial_dimensions", Ints{1, 2}}, {"dtype", DType::f32}};
}
Attrs ncw() {
  return {{"input_batch_dimension", int64_t{0}}, {"input_feature_dimension", int64_t{1}}, {"input_spatial_dimensions", Ints{2}},
          {"kernel_output_feature_dimension", int64_t{0}}, {"kernel_input_feature_dimension", int64_t{1}}, {"kernel_spatial_dimensions", Ints{2}},
          {"output_batch_dimension", int64_t{0}}, {"output_feature_dimension", int64_t{1}}, {"output_spatial_dimensions", Ints{2}}, {"dtype", DType::f32}};
}

}  // namespace

const OpDef convolution{
    .name = "convolution",
    .doc = "y[n, o, p] = sum over taps k and channels c of w[o, c, k] * x[n, c, p * stride + k * rhs_dilation - padding_low] (x dilated by lhs_dilation, 0 outside)",
    .inputs = {{"lhs", DTypes::tensors}, {"rhs", DTypes::tensors}},
    .attrs = {{"window_strides", AttrKind::ints, false, Ints{}},
              {"padding_low", AttrKind::dims, false, Dims{}},
              {"padding_high", AttrKind::dims, false, Dims{}},
              {"lhs_dilation", AttrKind::ints, false, Ints{}},
              {"rhs_dilation", AttrKind::ints, false, Ints{}},
              {"window_reversal", AttrKind::ints, false, Ints{}},
              {"input_batch_dimension", AttrKind::integer},
              {"input_feature_dimension", AttrKind::integer},
              {"input_spatial_dimensions", AttrKind::ints},
              {"kernel_input_feature_dimension", AttrKind::integer},
              {"kernel_output_feature_dimension", AttrKind::integer},
              {"kernel_spatial_dimensions", AttrKind::ints},
              {"output_batch_dimension", AttrKind::integer},
              {"output_feature_dimension", AttrKind::integer},
              {"output_spatial_dimensions", AttrKind::ints},
              {"feature_group_count", AttrKind::integer, false, int64_t{1}},
              {"batch_group_count", AttrKind::integer, false, int64_t{1}},
              {"precision_config", AttrKind::texts, false, Texts{}, true},
              {"dtype", AttrKind::dtype}},
    .type = [](const OpView& op) { return std::vector<Type>{read(op).result}; },
    .reference =
        [](const Call& call) {
          const DType t = call.op.attrs.dtype("dtype");
          return one(is_complex(t) ? convolve<std::complex<double>>(call) : is_float(t) ? convolve<double>(call) : convolve<uint64_t>(call));
        },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          double taps = static_cast<double>(op.in(1).dims[static_cast<size_t>(op.attrs.integer("kernel_input_feature_dimension"))].value());
          for (const int64_t a : op.attrs.ints("kernel_spatial_dimensions")) taps *= static_cast<double>(op.in(1).dims[static_cast<size_t>(a)].value());
          w.multiply_adds = elements(results[0]) * taps;
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"plain", {{1, 3, 6, 7}, {4, 3, 3, 3}}, nchw()},
              {"padded", {{2, 3, 5, 5}, {4, 3, 3, 3}}, nchw({{"padding_low", Dims{1, 2}}, {"padding_high", Dims{1, 0}}})},
              {"strided", {{1, 3, 9, 8}, {5, 3, 3, 2}}, nchw({{"window_strides", Ints{2, 3}}, {"padding_low", Dims{1, 1}}, {"padding_high", Dims{1, 1}}})},
              {"pointwise", {{2, 8, 5, 3}, {6, 8, 1, 1}}, nchw()},
              {"depthwise", {{1, 4, 6, 6}, {4, 1, 3, 3}}, nchw({{"feature_group_count", int64_t{4}}, {"padding_low", Dims{1, 1}}, {"padding_high", Dims{1, 1}}})},
              {"grouped", {{1, 6, 5, 5}, {4, 3, 3, 3}}, nchw({{"feature_group_count", int64_t{2}}})},
              {"batch_grouped", {{4, 3, 5, 5}, {6, 3, 3, 3}}, nchw({{"batch_group_count", int64_t{2}}})},
              {"dilated", {{1, 2, 9, 9}, {3, 2, 3, 3}}, nchw({{"rhs_dilation", Ints{2, 3}}})},
              {"transposed", {{1, 3, 4, 4}, {2, 3, 3, 3}}, nchw({{"lhs_dilation", Ints{2, 2}}, {"padding_low", Dims{2, 2}}, {"padding_high", Dims{2, 1}}, {"window_reversal", Ints{1, 1}}})},
              {"negative_padding", {{1, 2, 7, 7}, {3, 2, 3, 3}}, nchw({{"padding_low", Dims{-1, 1}}, {"padding_high", Dims{0, -2}}})},
              {"channels_last", {{2, 6, 5, 3}, {3, 3, 3, 4}}, nhwc()},
              {"sequence", {{2, 3, 17}, {4, 3, 5}}, ncw()},
              {"no_room", {{1, 2, 2, 2}, {3, 2, 3, 3}}, nchw()},
              {"empty_batch", {{0, 2, 5, 5}, {3, 2, 3, 3}}, nchw()},
              {.name = "i8_to_i32", .shapes = {{1, 3, 5, 5}, {4, 3, 3, 3}}, .attrs = nchw({{"dtype", DType::i32}}), .dtypes = {DType::i8, DType::i8}, .low = -128, .high = 127},
              {.name = "f16", .shapes = {{1, 3, 5, 5}, {4, 3, 3, 3}}, .attrs = nchw({{"dtype", DType::f16}}), .dtypes = {DType::f16, DType::f16}}},
};
BASCULE_OP(convolution);

}  // namespace bascule::ops
