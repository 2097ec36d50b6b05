// ops/reduce_window.cc — folds a sliding window of one or more operands with a region: pooling, cumulative sums.
#include "base/budget.h"
#include "ops/scalar_region.h"
#include "ops/walk.h"
#include "ops/window.h"

namespace bascule::ops {
namespace {

struct Windows {
  std::vector<WindowAxis> axes;
  std::vector<Type> results;
};

Windows read(const OpView& op) {
  const size_t n = op.inputs.size() / 2;
  if (op.inputs.empty() || op.inputs.size() % 2 != 0) op.fail("N operands and N init values, N >= 1", std::to_string(op.inputs.size()) + " values", "C1");
  const size_t rank = op.in(0).rank();
  std::vector<DType> arguments;
  for (size_t i = 0; i < n; ++i) {
    require_same_dims(op, op.in(0), op.in(i), "C2");
    if (op.in(n + i).rank() != 0) op.fail("init values of rank 0", op.in(n + i).text(), "C3");
  }
  for (size_t i = 0; i < n; ++i) arguments.push_back(op.in(n + i).dtype);
  for (size_t i = 0; i < n; ++i) arguments.push_back(op.in(i).dtype);
  Windows w;
  const Dims size = op.attrs.dims("window_dimensions");
  if (size.size() != rank) op.fail(std::to_string(rank) + " window_dimensions", std::to_string(size.size()), "C4");
  for (const Dim& d : size) op.require(!d.is_constant() || d.value() >= 1, "window_dimensions of 1 or more", d.text(), "C5");
  const Ints strides = spatial_attr(op, "window_strides", rank, 1, 1, "C6, C7"), base = spatial_attr(op, "base_dilations", rank, 1, 1, "C8, C9"), dilation = spatial_attr(op, "window_dilations", rank, 1, 1, "C10, C11");
  const Dims low = spatial_dims(op, "padding_low", rank, "C12"), high = spatial_dims(op, "padding_high", rank, "C12");
  const std::vector<DType> types = require_scalar_region(op, 0, arguments, n, "C13");
  Dims dims;
  for (size_t a = 0; a < rank; ++a) {
    w.axes.push_back({size[a], low[a], high[a], strides[a], base[a], dilation[a], false});
    dims.push_back(window_count(op.in(0).dims[a], w.axes[a]));
  }
  for (const DType t : types) w.results.push_back(Type::tensor(t, dims));
  return w;
}

HostValues reduce_window_reference(const Call& call) {
  const Windows w = read(call.op);
  const size_t n = call.inputs.size() / 2, rank = call.in(0).rank();
  const auto& dims = call.in(0).dims();
  const std::vector<int64_t> strides = strides_of(dims), none(rank, 0);
  std::vector<int64_t> size, low;
  for (const WindowAxis& a : w.axes) {
    size.push_back(a.size.value());
    low.push_back(a.low.value());
  }
  std::vector<Tensor> out;
  std::vector<std::byte*> to;
  std::vector<Scalar> start;
  for (size_t i = 0; i < n; ++i) {
    out.push_back(call.result(i));
    to.push_back(out[i].mutable_data());
    start.push_back(load_scalar(call.in(n + i).dtype(), call.in(n + i).data(), 0));
  }
  ScalarRegion body(call, 0);
  const auto fold = n == 1 ? body.float_fold() : nullptr;
  std::vector<Scalar> values(2 * n), results(n);
  int64_t position = 0;
  for (Walk at(out[0].dims(), none); at; at.next(), ++position) {
    results = start;
    for (Walk tap(size, none); tap; tap.next()) {
      check_budget();
      int64_t from = 0;  // -1: padding, which holds the init value
      for (size_t a = 0; a < rank && from >= 0; ++a) {
        const int64_t i = tap_index(at.index()[a], tap.index()[a], dims[a], size[a], w.axes[a], low[a]);
        from = i < 0 ? -1 : from + i * strides[a];
      }
      if (fold) {
        results[0].real = fold(results[0].real, from < 0 ? start[0].real : load_double(call.in(0).dtype(), call.in(0).data(), from));
        continue;
      }
      for (size_t i = 0; i < n; ++i) {
        values[i] = results[i];
        values[n + i] = from < 0 ? start[i] : load_scalar(call.in(i).dtype(), call.in(i).data(), from);
      }
      body(values, results);
    }
    for (size_t i = 0; i < n; ++i) store_scalar(out[i].dtype(), to[i], position, results[i]);
  }
  return {out.begin(), out.end()};
}

Case pooled(std::string_view name, std::vector<int64_t> shape, std::string_view body, Attrs attrs, DType t = DType::f32) {
  return {.name = name, .build = [=](Builder& b) {
            const Value x = b.input(Type::tensor(t, to_dims(shape)));
            const Value start = is_float(t) ? b.constant_like(body == "maximum" ? -float_info(t).largest : 0, t) : b.constant(Tensor::scalar_int(t, body == "maximum" ? int_min(t) : 0));
            return b.ops("reduce_window", {x, start}, attrs, {Builder::scalar_region(body, t)});
          }};
}

}  // namespace

const OpDef reduce_window{
    .name = "reduce_window",
    .doc = "y[p] = region folded from init over the taps k of the window at p * stride of x dilated and padded with init",
    .inputs = {{"inputs_and_init_values", DTypes::tensors, kVariadic}},
    .attrs = {{"window_dimensions", AttrKind::dims},
              {"window_strides", AttrKind::ints, false, Ints{}},
              {"base_dilations", AttrKind::ints, false, Ints{}},
              {"window_dilations", AttrKind::ints, false, Ints{}},
              {"padding_low", AttrKind::dims, false, Dims{}},
              {"padding_high", AttrKind::dims, false, Dims{}}},
    .regions = 1,
    .type = [](const OpView& op) { return read(op).results; },
    .reference = reduce_window_reference,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          double taps = static_cast<double>(std::max<size_t>(op.regions[0]->nodes.size(), 1));
          for (const Dim& d : op.attrs.dims("window_dimensions")) taps *= static_cast<double>(d.value());
          const std::string_view body = reduction_body(*op.regions[0]);
          (body == "add" || body == "multiply" ? w.adds : w.compares) += elements(results[0]) * taps;
          add_traffic(op, results, w);
          return w;
        },
    .cases = {pooled("max_pool", {1, 3, 7, 8}, "maximum", {{"window_dimensions", Dims{1, 1, 3, 2}}, {"window_strides", Ints{1, 1, 2, 2}}, {"padding_low", Dims{0, 0, 1, 0}}, {"padding_high", Dims{0, 0, 1, 1}}}),
              pooled("sum_pool", {1, 3, 7, 8}, "add", {{"window_dimensions", Dims{1, 1, 3, 3}}, {"window_dilations", Ints{1, 1, 2, 1}}}),
              pooled("running_sum", {5, 9}, "add", {{"window_dimensions", Dims{1, 9}}, {"padding_low", Dims{0, 8}}}),
              pooled("base_dilated", {4, 5}, "add", {{"window_dimensions", Dims{2, 3}}, {"base_dilations", Ints{2, 3}}}),
              pooled("no_room", {2, 2}, "add", {{"window_dimensions", Dims{3, 1}}}),
              pooled("integers", {6, 5}, "maximum", {{"window_dimensions", Dims{2, 2}}}, DType::i32)},
};
BASCULE_OP(reduce_window);

}  // namespace bascule::ops
