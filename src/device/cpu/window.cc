// device/cpu/window.cc — convolution and reduce_window on planes; other axis orders are views, other types and dilated inputs are copied first.
#include "kernels/window.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "device/cpu/binder.h"
#include "kernels/block.h"

namespace bascule::device::cpu {
namespace {

int64_t at_or(const Ints& list, size_t k, int64_t otherwise) { return k < list.size() ? list[k] : otherwise; }
Ints ints_or_none(const Node& n, std::string_view name) { return n.attrs.has(name) ? n.attrs.ints(name) : Ints(); }
std::vector<int64_t> dims_or_none(const Node& n, std::string_view name) { return n.attrs.has(name) ? n.attrs.static_dims(name) : std::vector<int64_t>(); }

// Axes of a value reordered, as a view.
Placed permuted(const Placed& p, const std::vector<int64_t>& order) {
  Placed out{p.storage, {{}, p.layout.offset}};
  for (const int64_t a : order) out.layout.strides.push_back(p.layout.strides[static_cast<size_t>(a)]);
  return out;
}
std::vector<int64_t> permuted(const std::vector<int64_t>& d, const std::vector<int64_t>& order) {
  std::vector<int64_t> out;
  for (const int64_t a : order) out.push_back(d[static_cast<size_t>(a)]);
  return out;
}

bool narrow_float(DType d) { return d == DType::f32 || d == DType::bf16 || d == DType::f16; }

}  // namespace

CPU_KERNEL(convolution) {
  const DType t = b.type(n.outputs[0]).dtype;
  // Sums in f32, or in i32 for integers.
  const DType wide = t == DType::i32 ? DType::i32 : DType::f32;
  for (const Value v : {n.inputs[0], n.inputs[1], n.outputs[0]}) {
    const DType d = b.type(v).dtype;
    const bool whole = d == DType::i8 || d == DType::u8 || d == DType::i16 || d == DType::u16 || d == DType::i32;
    if (wide == DType::i32 ? !whole : !narrow_float(d)) return "convolution of " + std::string(info(d).name);
  }
  const Ints &in_spatial = n.attrs.ints("input_spatial_dimensions"), &kernel_spatial = n.attrs.ints("kernel_spatial_dimensions"), &out_spatial = n.attrs.ints("output_spatial_dimensions");
  const size_t rank = in_spatial.size();
  if (rank > 3) return "convolution of more than 3 spatial axes";
  if (n.attrs.integer("batch_group_count") != 1) return "convolution with batch groups";
  std::vector<int64_t> in_order{n.attrs.integer("input_batch_dimension"), n.attrs.integer("input_feature_dimension")};
  std::vector<int64_t> kernel_order{n.attrs.integer("kernel_output_feature_dimension"), n.attrs.integer("kernel_input_feature_dimension")};
  std::vector<int64_t> out_order{n.attrs.integer("output_batch_dimension"), n.attrs.integer("output_feature_dimension")};
  in_order.insert(in_order.end(), in_spatial.begin(), in_spatial.end());
  kernel_order.insert(kernel_order.end(), kernel_spatial.begin(), kernel_spatial.end());
  out_order.insert(out_order.end(), out_spatial.begin(), out_spatial.end());
  std::vector<int64_t> xd = permuted(b.dims(n.inputs[0]), in_order);
  const std::vector<int64_t> wd = permuted(b.dims(n.inputs[1]), kernel_order), yd = permuted(b.dims(n.outputs[0]), out_order);
  Placed xp = permuted(b.placed(n.inputs[0]), in_order), wp = permuted(b.placed(n.inputs[1]), kernel_order);
  const Ints strides = ints_or_none(n, "window_strides"), base = ints_or_none(n, "lhs_dilation"), dilation = ints_or_none(n, "rhs_dilation"), reversal = ints_or_none(n, "window_reversal");
  const auto low = dims_or_none(n, "padding_low");
  for (size_t k = 0; k < rank; ++k)
    if (at_or(reversal, k, 0) && wd[k + 2] > 0) {
      wp.layout.offset += (wd[k + 2] - 1) * wp.layout.strides[k + 2];
      wp.layout.strides[k + 2] = -wp.layout.strides[k + 2];
    }
  const DType x_type = b.type(n.inputs[0]).dtype;
  Placed x = b.dense_of(xp, xd, x_type, wide);
  const Placed w = b.dense_of(wp, wd, b.type(n.inputs[1]).dtype, wide);
  bool dilated = false;
  for (size_t k = 0; k < rank; ++k) dilated |= at_or(base, k, 1) > 1 && xd[k + 2] > 1;
  if (dilated) {  // zeros between the elements, written once
    std::vector<int64_t> spread_dims = xd;
    loops::KernelSpec spec;
    for (size_t k = 0; k < rank; ++k)
      if (xd[k + 2] > 0) spread_dims[k + 2] = (xd[k + 2] - 1) * at_or(base, k, 1) + 1;
    Layout to = dense_layout(spread_dims);
    for (size_t k = 0; k < rank; ++k) to.strides[k + 2] *= at_or(base, k, 1);
    for (size_t a = 0; a < xd.size(); ++a) spec.axes.push_back({"n" + std::to_string(a), xd[a], loops::Role::parallel});
    spec.operands = {{wide, x.layout.strides, x.layout.offset, false}, {wide, to.strides, 0, true}};
    loops::Instruction load;
    load.dtype = wide;
    spec.body.push_back(load);
    spec.stores.push_back({1, 0});
    const auto program = kernels::BlockProgram::compile(spec);
    const int64_t bytes = storage_bytes(wide, element_count(spread_dims));
    check_room(bytes, "dilated input");
    const Placed spread{b.fresh(bytes), dense_layout(spread_dims)};
    b.step(&n, "dilate", {x.storage, spread.storage}, [program, from = x.storage, to_storage = spread.storage, bytes](const Frame& f) {
      std::memset(f.base[static_cast<size_t>(to_storage)], 0, static_cast<size_t>(bytes));
      std::byte* const pointers[] = {f.base[static_cast<size_t>(from)], f.base[static_cast<size_t>(to_storage)]};
      program->run(pointers);
    });
    x = spread;
    xd = spread_dims;
  }
  kernels::ConvolutionShape s;
  s.batch = xd[0];
  s.groups = n.attrs.integer("feature_group_count");
  s.in_channels = wd[1];
  s.out_channels = wd[0] / s.groups;
  for (size_t k = 0; k < rank; ++k) {
    kernels::SpatialAxis& a = s.axis[3 - rank + k];
    a.in = xd[k + 2];
    a.out = yd[k + 2];
    a.taps = wd[k + 2];
    a.stride = at_or(strides, k, 1);
    a.dilation = at_or(dilation, k, 1);
    a.low = k < low.size() ? low[k] : 0;
  }
  const Placed y{b.fresh(storage_bytes(DType::f32, element_count(yd))), dense_layout(yd)};
  b.step(&n, "convolution", {x.storage, w.storage, y.storage}, [s, x, w, y, wide](const Frame& f) {
    if (wide == DType::i32) kernels::convolve<int32_t>(s, pointer<int32_t>(f, x), pointer<int32_t>(f, w), pointer<int32_t>(f, y));
    else kernels::convolve<float>(s, floats(f, x), floats(f, w), floats(f, y));
  });
  Placed placed{y.storage, {std::vector<int64_t>(yd.size()), 0}};
  for (size_t k = 0; k < out_order.size(); ++k) placed.layout.strides[static_cast<size_t>(out_order[k])] = y.layout.strides[k];
  if (t == wide) b.place(n.outputs[0], placed);
  else b.convert_into(n, placed, DType::f32, n.outputs[0]);
  return "";
}

CPU_KERNEL(reduce_window) {
  if (n.outputs.size() != 1) return "reduce_window of several values";
  const DType t = b.type(n.outputs[0]).dtype;
  if (t != DType::f32 || b.type(n.inputs[0]).dtype != t) return "reduce_window of " + std::string(info(t).name);
  const std::string_view body = reduction_body(*n.regions[0]);
  const Tensor* start = b.graph().constant(n.inputs[1]);
  if ((body != "add" && body != "maximum") || !start) return "reduce_window by other than a sum or maximum from a constant";
  const auto xd = b.dims(n.inputs[0]), yd = b.dims(n.outputs[0]);
  const auto window = n.attrs.static_dims("window_dimensions");
  const Ints strides = ints_or_none(n, "window_strides"), base = ints_or_none(n, "base_dilations"), dilation = ints_or_none(n, "window_dilations");
  const auto low = dims_or_none(n, "padding_low"), high = dims_or_none(n, "padding_high");
  kernels::SpatialAxis axes[3];
  const size_t rank = xd.size(), spatial = std::min<size_t>(rank, 3);
  int64_t planes = 1;
  // Trailing axes are the plane; the ones before must pass through.
  for (size_t k = 0; k < rank; ++k) {
    if (at_or(base, k, 1) != 1 && xd[k] > 1) return "reduce_window with a dilated base";
    const bool through = window[k] == 1 && at_or(strides, k, 1) == 1 && (k >= low.size() || low[k] == 0) && (k >= high.size() || high[k] == 0);
    if (k < rank - spatial) {
      if (!through) return "reduce_window over more than the last 3 axes";
      planes *= xd[k];
      continue;
    }
    kernels::SpatialAxis& a = axes[3 - spatial + (k - (rank - spatial))];
    a.in = xd[k];
    a.out = yd[k];
    a.taps = window[k];
    a.stride = at_or(strides, k, 1);
    a.dilation = at_or(dilation, k, 1);
    a.low = k < low.size() ? low[k] : 0;
    if (through && planes > 0 && k + spatial == rank) {  // one more plane axis: keeps planes small
      planes *= xd[k];
      a = {};
    }
  }
  const Placed x = b.dense(n.inputs[0]), y = b.result(n.outputs[0]);
  const auto initial = static_cast<float>(start->number(0));
  const auto kind = body == "add" ? kernels::Pool::sum : kernels::Pool::maximum;
  b.step(&n, "pool", {x.storage, y.storage}, [=, a0 = axes[0], a1 = axes[1], a2 = axes[2]](const Frame& f) {
    const kernels::SpatialAxis all[3] = {a0, a1, a2};
    kernels::pool(kind, initial, planes, all, floats(f, x), floats(f, y));
  });
  return "";
}

}  // namespace bascule::device::cpu
