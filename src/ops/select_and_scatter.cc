// ops/select_and_scatter.cc — adds each source element to the operand element that its window selects: the gradient of max pooling.
#include "base/budget.h"
#include "ops/scalar_region.h"
#include "ops/walk.h"
#include "ops/window.h"

namespace bascule::ops {
namespace {

struct Windows {
  std::vector<WindowAxis> axes;
  Type result;
};

Windows read(const OpView& op) {
  const Type &x = op.in(0), &source = op.in(1), &init = op.in(2);
  const size_t rank = x.rank();
  if (source.dtype != x.dtype) op.fail("operand and source of one element type", x.text() + " and " + source.text(), "C1");
  if (init.rank() != 0 || !promotable(init.dtype, init.dtype)) op.fail("an init value of rank 0", init.text(), "C3");
  const Dims size = op.attrs.dims("window_dimensions");
  if (size.size() != rank) op.fail(std::to_string(rank) + " window_dimensions", std::to_string(size.size()), "C4");
  for (const Dim& d : size) op.require(!d.is_constant() || d.value() >= 1, "window_dimensions of 1 or more", d.text(), "C5");
  const Ints strides = spatial_attr(op, "window_strides", rank, 1, 1, "C6, C7");
  const Dims low = spatial_dims(op, "padding_low", rank, "C8"), high = spatial_dims(op, "padding_high", rank, "C8");
  Windows w;
  if (source.rank() != rank) op.fail("a source of the operand's rank", source.text(), "C2");
  for (size_t a = 0; a < rank; ++a) {
    w.axes.push_back({size[a], low[a], high[a], strides[a], 1, 1, false});
    op.require_equal(source.dims[a], window_count(x.dims[a], w.axes[a]), "as many source elements as windows on axis " + std::to_string(a), "C2");
  }
  const std::vector<DType> chosen = require_scalar_region(op, 0, {x.dtype, x.dtype}, 1, "C9");
  op.require(is_bool(chosen[0]), "select to return i1", std::string(info(chosen[0]).name), "C9");
  const std::vector<DType> types = require_scalar_region(op, 1, {x.dtype, x.dtype}, 1, "C10");
  w.result = Type::tensor(types[0], x.dims);
  return w;
}

HostValues select_and_scatter_reference(const Call& call) {
  const Windows w = read(call.op);
  const Tensor &x = call.in(0), &source = call.in(1);
  const size_t rank = x.rank();
  const std::vector<int64_t> strides = strides_of(x.dims()), none(rank, 0);
  std::vector<int64_t> size, low;
  for (const WindowAxis& a : w.axes) {
    size.push_back(a.size.value());
    low.push_back(a.low.value());
  }
  Tensor y = call.result();
  const DType t = y.dtype();
  check_room(y.elements() * static_cast<int64_t>(sizeof(Scalar)), "select_and_scatter's sums");
  std::vector<Scalar> sums(static_cast<size_t>(y.elements()), load_scalar(call.in(2).dtype(), call.in(2).data(), 0));
  ScalarRegion select(call, 0), scatter(call, 1);
  int64_t position = 0;
  for (Walk at(source.dims(), none); at; at.next(), ++position) {
    int64_t best = -1;
    for (Walk tap(size, none); tap; tap.next()) {
      check_budget();
      int64_t from = 0;
      for (size_t a = 0; a < rank && from >= 0; ++a) {
        const int64_t i = tap_index(at.index()[a], tap.index()[a], x.dims()[a], size[a], w.axes[a], low[a]);
        from = i < 0 ? -1 : from + i * strides[a];
      }
      if (from < 0) continue;
      if (best < 0) {
        best = from;
        continue;
      }
      const Scalar pair[2] = {load_scalar(x.dtype(), x.data(), best), load_scalar(x.dtype(), x.data(), from)};
      Scalar keep;
      select(pair, {&keep, 1});
      if (keep.integer == 0) best = from;
    }
    if (best < 0) continue;  // a window that lies in the padding
    const Scalar pair[2] = {sums[static_cast<size_t>(best)], load_scalar(source.dtype(), source.data(), position)};
    scatter(pair, {&sums[static_cast<size_t>(best)], 1});
  }
  std::byte* out = y.mutable_data();
  for (int64_t i = 0; i < y.elements(); ++i) store_scalar(t, out, i, sums[static_cast<size_t>(i)]);
  return one(std::move(y));
}

std::vector<Value> max_pool_gradient(Builder& b, std::vector<int64_t> x, std::vector<int64_t> source, Attrs attrs) {
  const Value operand = b.input(Type::tensor(DType::f32, to_dims(x))), s = b.input(Type::tensor(DType::f32, to_dims(source)));
  Builder select("select");
  const Value p = select.input(Type::tensor(DType::f32, {})), q = select.input(Type::tensor(DType::f32, {}));
  auto region = std::make_shared<const Graph>(select.finish({select.compare(p, q, "GE")}));
  return b.ops("select_and_scatter", {operand, s, b.constant_like(0, DType::f32)}, std::move(attrs), {region, Builder::scalar_region("add", DType::f32)});
}

}  // namespace

const OpDef select_and_scatter{
    .name = "select_and_scatter",
    .doc = "y[i] = scatter region folded from init over the source elements whose window's selected element is i",
    .inputs = {{"operand", DTypes::tensors}, {"source", DTypes::tensors}, {"init_value", DTypes::tensors}},
    .attrs = {{"window_dimensions", AttrKind::dims}, {"window_strides", AttrKind::ints, false, Ints{}}, {"padding_low", AttrKind::dims, false, Dims{}}, {"padding_high", AttrKind::dims, false, Dims{}}},
    .regions = 2,
    .type = [](const OpView& op) { return std::vector<Type>{read(op).result}; },
    .reference = select_and_scatter_reference,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          double taps = 1;
          for (const Dim& d : op.attrs.dims("window_dimensions")) taps *= static_cast<double>(d.value());
          w.compares = elements(op.in(1)) * taps;
          w.adds = elements(op.in(1));
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "overlapping", .build = [](Builder& b) { return max_pool_gradient(b, {5, 6}, {4, 5}, {{"window_dimensions", Dims{2, 2}}}); }},
              {.name = "strided_padded",
               .build = [](Builder& b) { return max_pool_gradient(b, {5, 6}, {3, 3}, {{"window_dimensions", Dims{3, 2}}, {"window_strides", Ints{2, 2}}, {"padding_low", Dims{1, 0}}, {"padding_high", Dims{1, 0}}}); }}},
};
BASCULE_OP(select_and_scatter);

}  // namespace bascule::ops
