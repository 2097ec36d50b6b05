// device/cpu/movement.cc — concatenate, pad, gather and dynamic slices: bytes moved in runs.
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

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
  constexpr int64_t kMost = int64_t{1} << 40;  // far beyond any array: sums of such offsets stay in 64 bits
  for (size_t k = 0; k < xd.size(); ++k)
    if (std::max({low[k], high[k], interior[k]}) > kMost || std::min(low[k], high[k]) < -kMost) return "padding over 2^40";
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

namespace {
// The windows of a gather, one for each index vector. Strides in elements.
struct Windows {
  std::vector<int64_t> extents, index_strides, operand_strides, result_strides;  // of the axes that number the windows
  std::vector<int64_t> most, steps;  // of each element of an index vector: its largest value, what it moves by in the operand
  DType index_type;
  int64_t vector_stride = 0, count = 0, width = 0;
  Box slice;  // one window
  std::string mode, where;
};

// Where each window starts in the operand (-1: dropped) and in the result, in elements.
struct Starts {
  std::vector<int64_t> from, to;
};

int64_t window_start(const Windows& w, const std::byte* index, int64_t at_index) {
  int64_t at = 0;
  bool dropped = false;
  for (size_t q = 0; q < w.most.size(); ++q) {
    int64_t start = load_int(w.index_type, index, at_index + static_cast<int64_t>(q) * w.vector_stride);
    if (start < 0 || start > w.most[q]) {
      if (w.mode == "error") fail_usage(w.where, "index in [0, " + std::to_string(w.most[q] + 1) + ")", std::to_string(start), "Check the values of the index input");
      dropped |= w.mode == "drop";
      start = std::clamp<int64_t>(start, 0, std::max<int64_t>(w.most[q], 0));
    }
    at += start * w.steps[q];
  }
  return dropped ? -1 : at;
}

Starts window_starts(const Windows& w, const std::byte* index) {
  Starts starts{std::vector<int64_t>(static_cast<size_t>(w.count)), std::vector<int64_t>(static_cast<size_t>(w.count))};
  constexpr int64_t kIndices = 2048;  // of a task
  parallel_for((w.count + kIndices - 1) / kIndices, [&](int64_t task) {
    check_deadline();
    for (int64_t i = task * kIndices; i < std::min(w.count, (task + 1) * kIndices); ++i) {
      int64_t rest = i, at_index = 0, at_from = 0, at_to = 0;
      for (size_t k = w.extents.size(); k-- > 0;) {
        const int64_t c = rest % w.extents[k];
        rest /= w.extents[k];
        at_index += c * w.index_strides[k];
        at_from += c * w.operand_strides[k];
        at_to += c * w.result_strides[k];
      }
      const int64_t start = window_start(w, index, at_index);
      starts.from[static_cast<size_t>(i)] = start < 0 ? -1 : at_from + start;
      starts.to[static_cast<size_t>(i)] = at_to;
    }
  });
  return starts;
}

// Bytes from a window's start to its row, in the operand and in the result.
std::pair<int64_t, int64_t> row_offsets(const Box& slice, int64_t row) {
  int64_t from = 0, to = 0;
  for (size_t k = slice.extents.size(); k-- > 0;) {
    const int64_t c = row % slice.extents[k];
    row /= slice.extents[k];
    from += c * slice.from[k];
    to += c * slice.to[k];
  }
  return {from, to};
}

// Single elements of 4 bytes along an inner axis: all windows for one row, so that lines of both arrays are used whole.
void copy_by_rows(const Windows& w, const Starts& starts, const std::byte* from, std::byte* to) {
  const int64_t rows = element_count(w.slice.extents), group = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, w.count));
  parallel_for((rows + group - 1) / group, [&](int64_t task) {
    check_deadline();
    for (int64_t r = task * group; r < std::min(rows, (task + 1) * group); ++r) {
      const auto [extra_from, extra_to] = row_offsets(w.slice, r);
      const auto* line = reinterpret_cast<const uint32_t*>(from + extra_from);
      auto* out = reinterpret_cast<uint32_t*>(to + extra_to);
      for (size_t i = 0; i < starts.from.size(); ++i) out[starts.to[i]] = starts.from[i] < 0 ? 0 : line[starts.from[i]];
    }
  });
}

void copy_by_windows(const Windows& w, const Starts& starts, const std::byte* from, std::byte* to) {
  const int64_t rows = element_count(w.slice.extents), group = std::max<int64_t>(1, 65536 / std::max<int64_t>(64, w.slice.run * rows));
  parallel_for((w.count + group - 1) / group, [&](int64_t task) {
    check_deadline();
    for (int64_t i = task * group; i < std::min(w.count, (task + 1) * group); ++i) {
      const int64_t at = starts.from[static_cast<size_t>(i)];
      for (int64_t r = 0; r < rows; ++r) {
        const auto [extra_from, extra_to] = row_offsets(w.slice, r);
        std::byte* out = to + starts.to[static_cast<size_t>(i)] * w.width + extra_to;
        if (at < 0) std::memset(out, 0, static_cast<size_t>(w.slice.run));
        else std::memcpy(out, from + at * w.width + extra_from, static_cast<size_t>(w.slice.run));
      }
    }
  });
}

// dims and layouts of operand (x), indices (id) and result (y).
Windows windows_of(const Node& n, DType t, const std::vector<int64_t>& xd, const std::vector<int64_t>& id, const std::vector<int64_t>& yd, const Layout& x, const Layout& y) {
  const Ints &offset_dims = n.attrs.ints("offset_dims"), &collapsed = n.attrs.ints("collapsed_slice_dims");
  const Ints &batching = n.attrs.ints("operand_batching_dims"), &index_batching = n.attrs.ints("start_indices_batching_dims");
  const auto vector_dim = static_cast<size_t>(n.attrs.integer("index_vector_dim"));
  const auto sizes = n.attrs.static_dims("slice_sizes");
  const auto has = [](const Ints& list, size_t k) { return std::find(list.begin(), list.end(), static_cast<int64_t>(k)) != list.end(); };
  const Layout indices = dense_layout(id);
  Windows w;
  w.mode = n.attrs.text("out_of_bounds");
  w.where = "gather of " + text(n.origin);
  // Batch axes of the result run along the axes of the indices but the vector's.
  size_t index_axis = 0;
  for (size_t k = 0; k < yd.size(); ++k) {
    if (has(offset_dims, k)) continue;
    if (index_axis == vector_dim) ++index_axis;
    w.extents.push_back(yd[k]);
    w.index_strides.push_back(indices.strides[index_axis]);
    w.result_strides.push_back(y.strides[k]);
    int64_t along = 0;
    for (size_t q = 0; q < index_batching.size(); ++q)
      if (index_batching[q] == static_cast<int64_t>(index_axis)) along = x.strides[static_cast<size_t>(batching[q])];
    w.operand_strides.push_back(along);
    ++index_axis;
  }
  w.count = element_count(w.extents);
  w.vector_stride = vector_dim < id.size() ? indices.strides[vector_dim] : 0;
  for (const int64_t a : n.attrs.ints("start_index_map")) {
    w.most.push_back(xd[static_cast<size_t>(a)] - sizes[static_cast<size_t>(a)]);
    w.steps.push_back(x.strides[static_cast<size_t>(a)]);
  }
  std::vector<int64_t> slice_dims, slice_from, slice_to;
  size_t offset_at = 0;
  for (size_t k = 0; k < xd.size(); ++k) {
    if (has(collapsed, k) || has(batching, k)) continue;
    slice_dims.push_back(sizes[k]);
    slice_from.push_back(x.strides[k]);
    slice_to.push_back(y.strides[static_cast<size_t>(offset_dims[offset_at++])]);
  }
  w.width = width_of(t);
  w.slice = make_box(slice_dims, slice_from, slice_to, w.width);
  return w;
}
}  // namespace

CPU_KERNEL(gather) {
  const DType t = b.type(n.outputs[0]).dtype, it = b.type(n.inputs[1]).dtype;
  if (!whole_bytes(t) || !whole_bytes(it) || it == DType::u64) return "elements smaller than a byte, or u64 indices";
  const auto xd = b.dims(n.inputs[0]), id = b.dims(n.inputs[1]), yd = b.dims(n.outputs[0]);
  const Placed x = b.dense(n.inputs[0]), indices = b.dense(n.inputs[1]), y = b.result(n.outputs[0]);
  if (element_count(yd) == 0) return "";
  Windows w = windows_of(n, t, xd, id, yd, x.layout, y.layout);
  w.index_type = it;
  b.step(&n, "gather", {x.storage, indices.storage, y.storage}, [=](const Frame& f) {
    const std::byte* from = f.base[static_cast<size_t>(x.storage)] + x.layout.offset * w.width;
    const std::byte* index = f.base[static_cast<size_t>(indices.storage)] + indices.layout.offset * width_of(w.index_type);
    std::byte* to = f.base[static_cast<size_t>(y.storage)];
    const Starts starts = window_starts(w, index);
    if (w.slice.run == 4 && element_count(w.slice.extents) > 1) copy_by_rows(w, starts, from, to);
    else copy_by_windows(w, starts, from, to);
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
// Start indices of a dynamic slice: operands of the node from `first` on.
struct SliceStarts {
  std::vector<Placed> at;
  std::vector<DType> types;
  std::vector<int64_t> most, strides;
  std::vector<int32_t> storages;

  // The first element of the window, clamped so that it lies inside.
  int64_t offset(const Frame& f) const {
    int64_t sum = 0;
    for (size_t k = 0; k < at.size(); ++k) {
      const int64_t s = load_int(types[k], f.base[static_cast<size_t>(at[k].storage)], at[k].layout.offset);
      sum += std::clamp<int64_t>(s, 0, most[k]) * strides[k];
    }
    return sum;
  }
};

// nullopt: of a type that is not read here.
std::optional<SliceStarts> slice_starts(Binder& b, const Node& n, size_t first, const std::vector<int64_t>& whole, const std::vector<int64_t>& window, const Layout& layout) {
  SliceStarts s;
  s.strides = layout.strides;
  for (size_t k = 0; k < whole.size(); ++k) {
    const Value v = n.inputs[first + k];
    if (b.type(v).dtype == DType::u64) return std::nullopt;
    s.at.push_back(b.dense(v));
    s.types.push_back(b.type(v).dtype);
    s.most.push_back(whole[k] - window[k]);
    s.storages.push_back(s.at.back().storage);
  }
  return s;
}

std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
}  // namespace

CPU_KERNEL(dynamic_slice) {
  const DType t = b.type(n.outputs[0]).dtype;
  if (!whole_bytes(t)) return "elements smaller than a byte";
  const auto xd = b.dims(n.inputs[0]), yd = b.dims(n.outputs[0]);
  const Placed x = b.dense(n.inputs[0]), y = b.result(n.outputs[0]);
  const auto starts = slice_starts(b, n, 1, xd, yd, x.layout);
  if (!starts) return "u64 start indices";
  if (element_count(yd) == 0) return "";
  const int64_t width = width_of(t);
  const Box box = make_box(yd, x.layout.strides, y.layout.strides, width);
  b.step(&n, "dynamic slice", joined({x.storage, y.storage}, starts->storages), [=, starts = *starts](const Frame& f) {
    const int64_t at = starts.offset(f) + x.layout.offset;
    copy_box(box, f.base[static_cast<size_t>(x.storage)] + at * width, f.base[static_cast<size_t>(y.storage)]);
  });
  return "";
}

CPU_KERNEL(dynamic_update_slice) {
  const DType t = b.type(n.outputs[0]).dtype;
  if (!whole_bytes(t)) return "elements smaller than a byte";
  const auto xd = b.dims(n.inputs[0]), ud = b.dims(n.inputs[1]);
  const Placed x = b.dense(n.inputs[0]), u = b.dense(n.inputs[1]), y = b.result(n.outputs[0]);
  const auto starts = slice_starts(b, n, 2, xd, ud, y.layout);
  if (!starts) return "u64 start indices";
  const int64_t width = width_of(t), bytes = storage_bytes(t, element_count(xd));
  const bool empty = element_count(ud) == 0;
  const Box box = make_box(ud, u.layout.strides, y.layout.strides, width);
  b.step(&n, "dynamic update", joined({x.storage, u.storage, y.storage}, starts->storages), [=, starts = *starts](const Frame& f) {
    std::byte* out = f.base[static_cast<size_t>(y.storage)];
    if (bytes > 0) std::memcpy(out, f.base[static_cast<size_t>(x.storage)] + x.layout.offset * width, static_cast<size_t>(bytes));
    if (!empty) copy_box(box, f.base[static_cast<size_t>(u.storage)] + u.layout.offset * width, out + starts.offset(f) * width);
  });
  return "";
}

}  // namespace bascule::device::cpu
