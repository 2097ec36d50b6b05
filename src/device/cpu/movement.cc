// device/cpu/movement.cc — concatenate, pad, gather and dynamic slices: bytes moved in runs.
#include <algorithm>
#include <cstring>

#include "base/deadline.h"
#include "base/error.h"
#include "base/threads.h"
#include "device/cpu/binder.h"

namespace bascule::device::cpu {
namespace {

// A box of elements copied between two dense arrays, row by row. Strides and offsets in bytes.
struct Box {
  std::vector<int64_t> extents, from, to;  // outer axes
  int64_t run = 0;                         // bytes of a row
};

// dims: of the box; strides in elements.
Box make_box(const std::vector<int64_t>& dims, const std::vector<int64_t>& from, const std::vector<int64_t>& to, int64_t width) {
  Box b;
  b.run = width;
  size_t inner = dims.size();
  int64_t next = 1;
  while (inner > 0 && (dims[inner - 1] == 1 || (from[inner - 1] == next && to[inner - 1] == next))) next *= dims[--inner];
  b.run = width * next;
  for (size_t k = 0; k < inner; ++k) {
    b.extents.push_back(dims[k]);
    b.from.push_back(from[k] * width);
    b.to.push_back(to[k] * width);
  }
  return b;
}

void copy_box(const Box& b, const std::byte* from, std::byte* to) {
  const int64_t rows = element_count(b.extents);
  if (b.run == 0 || rows == 0) return;
  const int64_t group = std::max<int64_t>(1, 65536 / b.run);
  parallel_for((rows + group - 1) / group, [&](int64_t task) {
    for (int64_t r = task * group; r < std::min(rows, (task + 1) * group); ++r) {
      int64_t rest = r, at_from = 0, at_to = 0;
      for (size_t k = b.extents.size(); k-- > 0;) {
        const int64_t i = rest % b.extents[k];
        rest /= b.extents[k];
        at_from += i * b.from[k];
        at_to += i * b.to[k];
      }
      std::memcpy(to + at_to, from + at_from, static_cast<size_t>(b.run));
    }
  });
}

int64_t width_of(DType t) { return info(t).storage_bits / 8; }
bool whole_bytes(DType t) { return info(t).storage_bits >= 8; }

void fill(std::byte* to, int64_t bytes, const std::byte* element, int64_t width) {
  if (bytes == 0) return;
  std::memcpy(to, element, static_cast<size_t>(width));
  for (int64_t done = width; done < bytes; done *= 2) std::memcpy(to + done, to, static_cast<size_t>(std::min(done, bytes - done)));
}

}  // namespace

CPU_KERNEL(concatenate) {
  const DType t = b.type(n.outputs[0]).dtype;
  if (!whole_bytes(t)) return "elements smaller than a byte";
  const auto axis = static_cast<size_t>(n.attrs.integer("dimension"));
  const int64_t width = width_of(t);
  std::vector<Placed> parts;
  for (const Value v : n.inputs) parts.push_back(b.dense(v));
  const Placed y = b.result(n.outputs[0]);
  int64_t at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto d = b.dims(n.inputs[i]);
    const Box box = make_box(d, parts[i].layout.strides, y.layout.strides, width);
    const int64_t from = parts[i].layout.offset * width, to = at * y.layout.strides[axis] * width;
    at += d[axis];
    if (element_count(d) == 0) continue;
    b.step(&n, "copy part", {parts[i].storage, y.storage}, [box, from, to, x = parts[i].storage, out = y.storage](const Frame& f) {
      copy_box(box, f.base[static_cast<size_t>(x)] + from, f.base[static_cast<size_t>(out)] + to);
    });
  }
  return "";
}

CPU_KERNEL(pad) {
  const DType t = b.type(n.outputs[0]).dtype;
  if (!whole_bytes(t)) return "elements smaller than a byte";
  const auto xd = b.dims(n.inputs[0]), yd = b.dims(n.outputs[0]);
  const auto low = n.attrs.static_dims("edge_padding_low"), high = n.attrs.static_dims("edge_padding_high");
  const Ints interior = n.attrs.has("interior_padding") ? n.attrs.ints("interior_padding") : Ints(xd.size(), 0);
  const int64_t width = width_of(t);
  const Placed x = b.dense(n.inputs[0]), value = b.dense(n.inputs[1]), y = b.result(n.outputs[0]);
  // Elements that stay: x[i] goes to low + i * (interior + 1) where that lies in the result.
  std::vector<int64_t> box_dims, to_strides;
  int64_t from = x.layout.offset, to = 0;
  for (size_t k = 0; k < xd.size(); ++k) {
    const int64_t step = interior[k] + 1;
    const int64_t first = low[k] >= 0 ? 0 : (-low[k] + step - 1) / step;
    const int64_t room = yd[k] - 1 - low[k];
    const int64_t end = room < 0 ? 0 : std::min(xd[k], room / step + 1);
    box_dims.push_back(std::max<int64_t>(0, end - first));
    from += first * x.layout.strides[k];
    to += (low[k] + first * step) * y.layout.strides[k];
    to_strides.push_back(step * y.layout.strides[k]);
  }
  const bool empty = element_count(box_dims) == 0;
  const Box box = make_box(box_dims, x.layout.strides, to_strides, width);
  const int64_t bytes = storage_bytes(t, element_count(yd));
  b.step(&n, "pad", {x.storage, value.storage, y.storage}, [=](const Frame& f) {
    std::byte* out = f.base[static_cast<size_t>(y.storage)];
    fill(out, bytes, f.base[static_cast<size_t>(value.storage)] + value.layout.offset * width, width);
    if (!empty) copy_box(box, f.base[static_cast<size_t>(x.storage)] + from * width, out + to * width);
  });
  return "";
}

CPU_KERNEL(gather) {
  const DType t = b.type(n.outputs[0]).dtype, it = b.type(n.inputs[1]).dtype;
  if (!whole_bytes(t) || !whole_bytes(it) || it == DType::u64) return "elements smaller than a byte, or u64 indices";
  const Ints &offset_dims = n.attrs.ints("offset_dims"), &collapsed = n.attrs.ints("collapsed_slice_dims"), &map = n.attrs.ints("start_index_map");
  const Ints &batching = n.attrs.ints("operand_batching_dims"), &index_batching = n.attrs.ints("start_indices_batching_dims");
  const auto vector_dim = static_cast<size_t>(n.attrs.integer("index_vector_dim"));
  const auto sizes = n.attrs.static_dims("slice_sizes");
  const auto xd = b.dims(n.inputs[0]), id = b.dims(n.inputs[1]), yd = b.dims(n.outputs[0]);
  const std::string& mode = n.attrs.text("out_of_bounds");
  const int64_t width = width_of(t);
  const Placed x = b.dense(n.inputs[0]), indices = b.dense(n.inputs[1]), y = b.result(n.outputs[0]);
  if (element_count(yd) == 0) return "";
  const auto has = [](const Ints& list, size_t k) { return std::find(list.begin(), list.end(), static_cast<int64_t>(k)) != list.end(); };
  // Batch axes of the result run along the axes of the indices but the vector's.
  std::vector<int64_t> batch_extents, batch_index_strides, batch_result_strides, slice_dims, slice_from, slice_to;
  std::vector<int64_t> batch_operand_strides;  // of operand batching axes
  const Layout il = dense_layout(id);
  size_t index_axis = 0;
  for (size_t k = 0; k < yd.size(); ++k) {
    if (has(offset_dims, k)) continue;
    if (index_axis == vector_dim) ++index_axis;
    batch_extents.push_back(yd[k]);
    batch_index_strides.push_back(il.strides[index_axis]);
    batch_result_strides.push_back(y.layout.strides[k]);
    int64_t along = 0;
    for (size_t q = 0; q < index_batching.size(); ++q)
      if (index_batching[q] == static_cast<int64_t>(index_axis)) along = x.layout.strides[static_cast<size_t>(batching[q])];
    batch_operand_strides.push_back(along);
    ++index_axis;
  }
  size_t offset_at = 0;
  for (size_t k = 0; k < xd.size(); ++k) {
    if (has(collapsed, k) || has(batching, k)) continue;
    slice_dims.push_back(sizes[k]);
    slice_from.push_back(x.layout.strides[k]);
    slice_to.push_back(y.layout.strides[static_cast<size_t>(offset_dims[offset_at++])]);
  }
  const Box box = make_box(slice_dims, slice_from, slice_to, width);
  const int64_t vector_stride = vector_dim < id.size() ? il.strides[vector_dim] : 0;
  std::vector<int64_t> most, steps;
  for (const int64_t a : map) {
    most.push_back(xd[static_cast<size_t>(a)] - sizes[static_cast<size_t>(a)]);
    steps.push_back(x.layout.strides[static_cast<size_t>(a)]);
  }
  const int64_t count = element_count(batch_extents), slice_bytes = width * element_count(slice_dims), rows = element_count(box.extents);
  const std::string where = "gather of " + text(n.origin);
  b.step(&n, "gather", {x.storage, indices.storage, y.storage}, [=](const Frame& f) {
    const std::byte* from = f.base[static_cast<size_t>(x.storage)] + x.layout.offset * width;
    const std::byte* index = f.base[static_cast<size_t>(indices.storage)] + indices.layout.offset * width_of(it);
    std::byte* to = f.base[static_cast<size_t>(y.storage)];
    // Where each window starts: in the operand (-1: dropped) and in the result, in elements.
    std::vector<int64_t> starts(static_cast<size_t>(count)), places(static_cast<size_t>(count));
    constexpr int64_t kIndices = 2048;  // of a task
    parallel_for((count + kIndices - 1) / kIndices, [&](int64_t task) {
      check_deadline();
      for (int64_t i = task * kIndices; i < std::min(count, (task + 1) * kIndices); ++i) {
        int64_t rest = i, at_index = 0, at_from = 0, at_to = 0;
        for (size_t k = batch_extents.size(); k-- > 0;) {
          const int64_t c = rest % batch_extents[k];
          rest /= batch_extents[k];
          at_index += c * batch_index_strides[k];
          at_from += c * batch_operand_strides[k];
          at_to += c * batch_result_strides[k];
        }
        bool dropped = false;
        for (size_t q = 0; q < most.size(); ++q) {
          int64_t start = load_int(it, index, at_index + static_cast<int64_t>(q) * vector_stride);
          if (start < 0 || start > most[q]) {
            if (mode == "error") fail_usage(where, "index in [0, " + std::to_string(most[q] + 1) + ")", std::to_string(start), "Check the values of the index input");
            dropped |= mode == "drop";
            start = std::clamp<int64_t>(start, 0, std::max<int64_t>(most[q], 0));
          }
          at_from += start * steps[q];
        }
        starts[static_cast<size_t>(i)] = dropped ? -1 : at_from;
        places[static_cast<size_t>(i)] = at_to;
      }
    });
    const auto row_offsets = [&box](int64_t row, int64_t& extra_from, int64_t& extra_to) {
      extra_from = extra_to = 0;
      for (size_t k = box.extents.size(); k-- > 0;) {
        const int64_t c = row % box.extents[k];
        row /= box.extents[k];
        extra_from += c * box.from[k];
        extra_to += c * box.to[k];
      }
    };
    if (box.run == 4 && rows > 1) {  // single elements along an inner axis: all windows for one row, so that lines of both arrays are used whole
      const int64_t group = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, count));
      parallel_for((rows + group - 1) / group, [&](int64_t task) {
        check_deadline();
        for (int64_t r = task * group; r < std::min(rows, (task + 1) * group); ++r) {
          int64_t extra_from, extra_to;
          row_offsets(r, extra_from, extra_to);
          const auto* line = reinterpret_cast<const uint32_t*>(from + extra_from);
          auto* out = reinterpret_cast<uint32_t*>(to + extra_to);
          for (int64_t i = 0; i < count; ++i) {
            const int64_t at = starts[static_cast<size_t>(i)];
            out[places[static_cast<size_t>(i)]] = at < 0 ? 0 : line[at];
          }
        }
      });
      return;
    }
    const int64_t group = std::max<int64_t>(1, 65536 / std::max<int64_t>(64, slice_bytes));
    parallel_for((count + group - 1) / group, [&](int64_t task) {
      check_deadline();
      for (int64_t i = task * group; i < std::min(count, (task + 1) * group); ++i) {
        const int64_t at = starts[static_cast<size_t>(i)];
        for (int64_t r = 0; r < rows; ++r) {
          int64_t extra_from, extra_to;
          row_offsets(r, extra_from, extra_to);
          std::byte* out = to + places[static_cast<size_t>(i)] * width + extra_to;
          if (at < 0) std::memset(out, 0, static_cast<size_t>(box.run));
          else std::memcpy(out, from + at * width + extra_from, static_cast<size_t>(box.run));
        }
      }
    });
  });
  return "";
}

namespace {
template <class T, class Sum>
void running_sum(const T* x, T* y, int64_t outer, int64_t count, int64_t inner, bool exclusive, bool reverse) {
  parallel_for(outer, [&](int64_t o) {
    check_deadline();
    std::vector<Sum> sum(static_cast<size_t>(inner), Sum{});
    for (int64_t k = 0; k < count; ++k) {
      const int64_t at = (o * count + (reverse ? count - 1 - k : k)) * inner;
      for (int64_t i = 0; i < inner; ++i) {
        const auto j = static_cast<size_t>(i);
        if (exclusive) y[at + i] = static_cast<T>(sum[j]);
        sum[j] += static_cast<Sum>(x[at + i]);
        if (!exclusive) y[at + i] = static_cast<T>(sum[j]);
      }
    }
  });
}
}  // namespace

CPU_KERNEL(cumulative) {
  const DType t = b.type(n.outputs[0]).dtype;
  if (n.attrs.text("body") != "add" || (t != DType::f32 && t != DType::i32 && t != DType::i64)) return "running " + n.attrs.text("body") + " of " + std::string(info(t).name);
  const auto d = b.dims(n.inputs[0]);
  const auto axis = static_cast<size_t>(n.attrs.integer("axis"));
  int64_t outer = 1, inner = 1;
  for (size_t k = 0; k < d.size(); ++k) (k < axis ? outer : inner) *= k == axis ? 1 : d[k];
  const int64_t count = d[axis];
  const bool exclusive = n.attrs.flag("exclusive"), reverse = n.attrs.flag("reverse");
  const Placed x = b.dense(n.inputs[0]), y = b.result(n.outputs[0]);
  b.step(&n, "running sum", {x.storage, y.storage}, [=](const Frame& f) {
    // Integers wrap: sums are kept unsigned.
    if (t == DType::f32) running_sum<float, double>(floats(f, x), floats(f, y), outer, count, inner, exclusive, reverse);
    else if (t == DType::i32) running_sum<int32_t, uint32_t>(pointer<int32_t>(f, x), pointer<int32_t>(f, y), outer, count, inner, exclusive, reverse);
    else running_sum<int64_t, uint64_t>(pointer<int64_t>(f, x), pointer<int64_t>(f, y), outer, count, inner, exclusive, reverse);
  });
  return "";
}

CPU_KERNEL(dims) {
  b.own(n.outputs[0], Tensor::vector_int(n.attrs.static_dims("dims"), n.attrs.dtype("dtype")));
  return "";
}

namespace {
// Start indices of a dynamic slice, clamped so that the window lies inside.
int64_t start_offset(const Frame& f, const std::vector<Placed>& starts, const std::vector<DType>& types, const std::vector<int64_t>& most, const std::vector<int64_t>& strides) {
  int64_t at = 0;
  for (size_t k = 0; k < starts.size(); ++k) {
    const int64_t s = load_int(types[k], f.base[static_cast<size_t>(starts[k].storage)], starts[k].layout.offset);
    at += std::clamp<int64_t>(s, 0, most[k]) * strides[k];
  }
  return at;
}
}  // namespace

CPU_KERNEL(dynamic_slice) {
  const DType t = b.type(n.outputs[0]).dtype;
  if (!whole_bytes(t)) return "elements smaller than a byte";
  const auto xd = b.dims(n.inputs[0]), yd = b.dims(n.outputs[0]);
  const Placed x = b.dense(n.inputs[0]), y = b.result(n.outputs[0]);
  std::vector<Placed> starts;
  std::vector<DType> types;
  std::vector<int64_t> most;
  std::vector<int32_t> used{x.storage, y.storage};
  for (size_t k = 0; k < xd.size(); ++k) {
    if (b.type(n.inputs[k + 1]).dtype == DType::u64) return "u64 start indices";
    starts.push_back(b.dense(n.inputs[k + 1]));
    types.push_back(b.type(n.inputs[k + 1]).dtype);
    most.push_back(xd[k] - yd[k]);
    used.push_back(starts.back().storage);
  }
  if (element_count(yd) == 0) return "";
  const int64_t width = width_of(t);
  const Box box = make_box(yd, x.layout.strides, y.layout.strides, width);
  b.step(&n, "dynamic slice", used, [=](const Frame& f) {
    const int64_t at = start_offset(f, starts, types, most, x.layout.strides) + x.layout.offset;
    copy_box(box, f.base[static_cast<size_t>(x.storage)] + at * width, f.base[static_cast<size_t>(y.storage)]);
  });
  return "";
}

CPU_KERNEL(dynamic_update_slice) {
  const DType t = b.type(n.outputs[0]).dtype;
  if (!whole_bytes(t)) return "elements smaller than a byte";
  const auto xd = b.dims(n.inputs[0]), ud = b.dims(n.inputs[1]);
  const Placed x = b.dense(n.inputs[0]), u = b.dense(n.inputs[1]), y = b.result(n.outputs[0]);
  std::vector<Placed> starts;
  std::vector<DType> types;
  std::vector<int64_t> most;
  std::vector<int32_t> used{x.storage, u.storage, y.storage};
  for (size_t k = 0; k < xd.size(); ++k) {
    if (b.type(n.inputs[k + 2]).dtype == DType::u64) return "u64 start indices";
    starts.push_back(b.dense(n.inputs[k + 2]));
    types.push_back(b.type(n.inputs[k + 2]).dtype);
    most.push_back(xd[k] - ud[k]);
    used.push_back(starts.back().storage);
  }
  const int64_t width = width_of(t), bytes = storage_bytes(t, element_count(xd));
  const bool empty = element_count(ud) == 0;
  const Box box = make_box(ud, u.layout.strides, y.layout.strides, width);
  b.step(&n, "dynamic update", used, [=](const Frame& f) {
    std::byte* out = f.base[static_cast<size_t>(y.storage)];
    if (bytes > 0) std::memcpy(out, f.base[static_cast<size_t>(x.storage)] + x.layout.offset * width, static_cast<size_t>(bytes));
    if (!empty) copy_box(box, f.base[static_cast<size_t>(u.storage)] + u.layout.offset * width, out + start_offset(f, starts, types, most, y.layout.strides) * width);
  });
  return "";
}

}  // namespace bascule::device::cpu
