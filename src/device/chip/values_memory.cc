// device/chip/values_memory.cc — see values_memory.h.
#include "device/chip/values_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "device/chip/values_kernels.h"

namespace bascule::device::chip {
namespace {

constexpr int64_t kPadding = 64;

// Calls f(first element, count, stride) for each run along the innermost dimension, outermost first.
template <class F>
void for_runs(const Span& s, F f) {
  if (s.elements == 0) return;
  if (s.rank == 0) {
    f(s.first, int64_t{1}, int64_t{1});
    return;
  }
  const int last = s.rank - 1;
  int64_t index[Access::kMostDims] = {};
  int64_t at = s.first;
  for (;;) {
    f(at, s.sizes[last], s.strides[last]);
    int k = last;
    while (k > 0) {
      --k;
      at += s.strides[k];
      if (++index[k] < s.sizes[k]) break;
      at -= s.strides[k] * s.sizes[k];
      index[k] = 0;
      if (k == 0) return;
    }
    if (last == 0) return;
  }
}

// f(first granule, one past the last) for each contiguous piece of a run.
template <class F>
void for_granules(int64_t first, int64_t n, int64_t stride, int bits, int64_t granule_bits, F f) {
  if (stride == 1 || n == 1) {
    f(first * bits / granule_bits, ((first + n) * bits + granule_bits - 1) / granule_bits);
    return;
  }
  if (stride == 0) n = 1;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t e = first + i * stride;
    f(e * bits / granule_bits, ((e + 1) * bits + granule_bits - 1) / granule_bits);
  }
}

template <class T>
T* zeroed(int64_t count) {
  void* p = std::calloc(static_cast<size_t>(std::max<int64_t>(count, 1)), sizeof(T));
  if (!p) fail_capacity("memory of a modelled chip", std::to_string(count * static_cast<int64_t>(sizeof(T))) + " bytes from the system", "none left", "Use a smaller model");
  return static_cast<T*>(p);
}

// The tensor's elements as type t. UsageError where an integer does not fit.
void convert(const Tensor& from, DType t, std::byte* to, const std::string& what) {
  const int64_t n = from.elements();
  if (n == 0) return;
  if (from.dtype() == t) {
    std::memcpy(to, from.data(), static_cast<size_t>(from.bytes()));
    return;
  }
  if (is_complex(t) || is_complex(from.dtype()) || is_string(from.dtype())) fail_unsupported(what, "real numbers", from.type_text(), "Place it on the host");
  if (is_float(from.dtype()) && from.dtype() != DType::f64 && is_float(t)) {
    constexpr int64_t kChunk = 1024;
    float chunk[kChunk];
    for (int64_t i = 0; i < n; i += kChunk) {
      const int64_t count = std::min(kChunk, n - i);
      load_f32(from.dtype(), from.data(), i, 1, count, chunk);
      store_f32(t, to, i, 1, count, chunk);
    }
    return;
  }
  if (is_float(from.dtype()) || is_float(t)) {
    for (int64_t i = 0; i < n; ++i) store_double(t, to, i, from.number(i));
    return;
  }
  const bool narrower = info(t).bits < 64 && t != DType::i1;
  const int64_t low = narrower ? int_min(t) : INT64_MIN, high = narrower ? int_max(t) : INT64_MAX;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t x = from.integer(i);
    if (x < low || x > high)
      fail_usage(what + ", element " + std::to_string(i), "an integer that fits the chip's " + std::string(info(t).name), std::to_string(x), "Use smaller numbers, or another device");
    store_int(t, to, i, x);
  }
}

// The weight as its buffer holds it.
Tensor arranged(const Tensor& t, const Arrangement& a, const std::string& what) {
  int64_t low = a.offset, high = a.offset;
  for (size_t k = 0; k < a.dims.size(); ++k) {
    if (a.dims[k] == 0) return Tensor(t.dtype(), a.dims);
    const int64_t reach = (a.dims[k] - 1) * a.strides[k];
    (reach < 0 ? low : high) += reach;
  }
  if (low < 0)
    fail_device(what, "an arrangement of the " + std::to_string(t.elements()) + " elements of the weight", "elements " + std::to_string(low) + " to " + std::to_string(high), "This is a bug of the mapper");
  Tensor out(t.dtype(), a.dims);
  const int bits = info(t.dtype()).storage_bits;
  std::byte* to = out.mutable_data();
  const std::byte* from = t.data();
  std::vector<int64_t> index(a.dims.size(), 0);
  const size_t last = a.dims.size();
  const int64_t inner = last > 0 ? a.dims[last - 1] : 1, stride = last > 0 ? a.strides[last - 1] : 1;
  const auto within = [&](int64_t at) {  // elements of a row that lie in the value: the others stay 0
    if (high < t.elements()) return inner;
    if (stride <= 0) return at < t.elements() ? inner : 0;
    return std::clamp<int64_t>((t.elements() - at + stride - 1) / stride, 0, inner);
  };
  const auto row = [&]<class T>(int64_t at, int64_t done, T) {
    const T* x = reinterpret_cast<const T*>(from) + at;
    T* y = reinterpret_cast<T*>(to) + done;
    for (int64_t i = 0, n = within(at); i < n; ++i) y[i] = x[i * stride];
  };
  int64_t at = a.offset;
  for (int64_t done = 0; done < out.elements(); done += inner) {
    if (bits == 32) row(at, done, uint32_t{});
    else if (bits == 16) row(at, done, uint16_t{});
    else if (bits == 8) row(at, done, uint8_t{});
    else if (bits == 64) row(at, done, uint64_t{});
    else
      for (int64_t i = 0, n = within(at); i < n; ++i) store_double(t.dtype(), to, done + i, load_double(t.dtype(), from, at + i * stride));
    for (size_t k = last > 0 ? last - 1 : 0; k-- > 0;) {
      at += a.strides[k];
      if (++index[k] < a.dims[k]) break;
      at -= a.strides[k] * a.dims[k];
      index[k] = 0;
    }
  }
  return out;
}

// A weight's values as its buffer takes them.
Tensor weight_of(const Program& program, const Graph& graph, const Buffer& buffer) {
  const std::string what = "chip:" + program.chip + ": weight '" + escaped(buffer.name) + "'";
  const Tensor* t = buffer.value ? graph.constant(buffer.value) : nullptr;
  if (!t) {
    const Node* n = buffer.value ? graph.producer(buffer.value) : nullptr;
    if (n && n->op->name == "absent")
      fail_usage(what, "its values", n->attrs.text("reason"), "Put the weights file beside the model; without it a model can be compiled and timed, not run for values");
    fail_device(what, "a constant of the graph", n ? "the result of " + std::string(n->op->name) : "none", "This is a bug of the mapper");
  }
  if (buffer.arrangement >= 0) return arranged(*t, program.arrangements[static_cast<size_t>(buffer.arrangement)], what);
  if (t->elements() != buffer.elements()) fail_device(what, std::to_string(buffer.elements()) + " elements", t->type_text(), "This is a bug of the mapper");
  return *t;
}

}  // namespace

std::string where(const Program& p, int64_t instruction) {
  std::string out = "chip:" + p.chip;
  if (instruction < 0 || instruction >= static_cast<int64_t>(p.code.size())) return out;
  const Instruction& i = p.code[static_cast<size_t>(instruction)];
  out += ": instruction " + std::to_string(instruction) + " (" + name(i.op);
  if (i.queue >= 0 && i.queue < static_cast<int32_t>(p.queues.size())) {
    const Queue& q = p.queues[static_cast<size_t>(i.queue)];
    out += " on " + q.name + (p.cores_of_rank() > 1 ? " of core " + std::to_string(q.core) : "");
  }
  out += ")";
  if (i.step >= 0 && i.step < static_cast<int32_t>(p.steps.size())) {
    const StepInfo& s = p.steps[static_cast<size_t>(i.step)];
    const std::string origin = text(s.origin);
    out += " of " + (origin.empty() ? s.name : origin);
  }
  return out;
}

Memories::Memories(const Chip& chip, const Program& program, const Graph& graph) : chip_(chip), program_(program), order_(program), image_of_(program.buffers.size(), -1), weights_(program.buffers.size()) {
  // One image for each memory that holds anything but weights.
  std::vector<Key> keys;
  struct Extent {
    int64_t low = INT64_MAX, high = 0, rows = 1;
    int granule = 8;
  };
  std::vector<Extent> extents;
  for (size_t b = 0; b < program.buffers.size(); ++b) {
    const Buffer& buffer = program.buffers[b];
    if (buffer.use == Buffer::weight && buffer.memory == Role::main) {
      const Tensor t = weight_of(program, graph, buffer);
      const int64_t bytes = storage_bytes(buffer.dtype, buffer.elements());
      charges_.emplace_back(bytes + kPadding, "weights of a modelled chip");
      weights_[b].resize(static_cast<size_t>(bytes + kPadding));
      convert(t, buffer.dtype, weights_[b].data(), "chip:" + program.chip + ": weight '" + escaped(buffer.name) + "'");
      continue;
    }
    const Key key{buffer.memory, buffer.memory == Role::main ? -1 : buffer.core, buffer.spread > 1 ? static_cast<int32_t>(b) : -1};
    size_t k = static_cast<size_t>(std::find(keys.begin(), keys.end(), key) - keys.begin());
    if (k == keys.size()) {
      keys.push_back(key);
      extents.emplace_back();
    }
    image_of_[b] = static_cast<int32_t>(k);
    Extent& e = extents[k];
    const Memory* m = buffer.memory == Role::scratchpad ? chip.scratchpad() : buffer.memory == Role::accumulator ? chip.accumulator() : nullptr;
    const bool partitioned = m && m->partitions > 1;
    e.low = std::min(e.low, buffer.address);
    e.high = std::max(e.high, buffer.address + (partitioned ? buffer.row_bytes() : storage_bytes(buffer.dtype, buffer.elements())));
    e.rows = std::max(e.rows, partitioned ? m->partitions : 1);
    e.granule = std::min(e.granule, std::max(1, info(buffer.dtype).storage_bits / 8));
    while (buffer.address % e.granule != 0) e.granule /= 2;
  }
  for (const Extent& e : extents) {
    Image image;
    image.origin = e.low / 64 * 64;
    image.pitch = (e.high - image.origin + 63) / 64 * 64;
    image.rows = e.rows;
    image.granule_bytes = e.granule;
    image.charge = MemoryCharge(image.pitch * image.rows * (1 + 2 * static_cast<int64_t>(sizeof(uint32_t)) / e.granule), "memory of a modelled chip");
    images_.push_back(std::move(image));
  }
}

void Memories::start(const Graph& graph, std::span<const Tensor> inputs) {
  for (Image& image : images_) {
    const int64_t bytes = image.pitch * image.rows;
    image.bytes = {zeroed<std::byte>(bytes + kPadding), &std::free};
    image.writers = {zeroed<uint32_t>(bytes / image.granule_bytes), &std::free};
    image.readers = {zeroed<uint32_t>(bytes / image.granule_bytes), &std::free};
  }
  for (size_t b = 0; b < program_.buffers.size(); ++b) {
    const Buffer& buffer = program_.buffers[b];
    if (image_of_[b] < 0 || !buffer.value) continue;
    if (buffer.use == Buffer::weight) put(static_cast<int32_t>(b), weight_of(program_, graph, buffer), "weight");
    if (buffer.use != Buffer::input) continue;
    for (size_t i = 0; i < graph.inputs.size() && i < inputs.size(); ++i)
      if (graph.inputs[i] == buffer.value) put(static_cast<int32_t>(b), inputs[i], "input '" + escaped(graph.at(buffer.value).name) + "'");
  }
}

void Memories::put(int32_t b, const Tensor& t, const std::string& what) {
  const Buffer& buffer = program_.buffers[static_cast<size_t>(b)];
  if (t.elements() != buffer.elements()) fail_device("chip:" + program_.chip + ": " + what, std::to_string(buffer.elements()) + " elements", t.type_text(), "This is a bug of the mapper");
  std::vector<std::byte> dense(static_cast<size_t>(storage_bytes(buffer.dtype, buffer.elements()) + kPadding));
  convert(t, buffer.dtype, dense.data(), "chip:" + program_.chip + ": " + what);
  const Span s = whole(b);
  std::byte* to = base(s);
  const int bits = info(buffer.dtype).storage_bits;
  int64_t done = 0;
  for_runs(s, [&](int64_t first, int64_t n, int64_t stride) {
    if (stride == 1 && bits >= 8) std::memcpy(to + first * bits / 8, dense.data() + done * bits / 8, static_cast<size_t>(n * bits / 8));
    else
      for (int64_t i = 0; i < n; ++i) store_double(buffer.dtype, to, first + i * stride, load_double(buffer.dtype, dense.data(), done + i));
    done += n;
  });
  mark(s, preloaded(b));
}

Span Memories::whole(int32_t b) const {
  const Buffer& buffer = program_.buffers[static_cast<size_t>(b)];
  Access a;
  a.buffer = b;
  if (buffer.rows > 1) {
    a.rank = 2;
    a.sizes = {static_cast<int32_t>(buffer.rows), static_cast<int32_t>(buffer.row_elements)};
    a.strides = {buffer.row_elements, 1};
    return span(a);
  }
  Span s = span(a);  // one element: its place
  s.access = nullptr;
  s.elements = s.sizes[0] = buffer.row_elements;
  s.strides[0] = 1;
  s.rank = 1;
  return s;
}

int32_t Memories::buffer_of(Value v) const {
  for (size_t b = 0; b < program_.buffers.size(); ++b)
    if (program_.buffers[b].value == v && program_.buffers[b].memory == Role::main) return static_cast<int32_t>(b);
  return -1;
}

Tensor Memories::output(const Graph& graph, Value v, const std::vector<int64_t>& dims) const {
  for (size_t b = 0; b < program_.buffers.size(); ++b)
    if (program_.buffers[b].value == v && program_.buffers[b].use == Buffer::output) return read(static_cast<int32_t>(b), graph.type(v).dtype, dims, "chip:" + program_.chip + ": output '" + escaped(program_.buffers[b].name) + "'");
  const int32_t b = buffer_of(v);
  if (b < 0 && element_count(dims) == 0) return Tensor(graph.type(v).dtype, dims);
  if (b < 0) fail_device("chip:" + program_.chip, "a buffer for each output of the graph", "none for '" + escaped(graph.at(v).name) + "'", "This is a bug of the mapper");
  return read(b, graph.type(v).dtype, dims, "chip:" + program_.chip + ": output '" + escaped(graph.at(v).name) + "'");
}

Tensor Memories::read(int32_t b, DType t, const std::vector<int64_t>& dims, const std::string& reader) const {
  const Buffer& buffer = program_.buffers[static_cast<size_t>(b)];
  Tensor out(t, dims);
  if (out.elements() != buffer.elements()) fail_device(reader, out.type_text(), std::to_string(buffer.elements()) + " elements", "This is a bug of the mapper");
  const Span s = whole(b);
  require(s, -1, &reader);
  const std::byte* from = base(s);
  const int bits = info(buffer.dtype).storage_bits;
  int64_t done = 0;
  std::byte* to = out.mutable_data();
  for_runs(s, [&](int64_t first, int64_t n, int64_t stride) {
    if (stride == 1 && buffer.dtype == t && bits >= 8) std::memcpy(to + done * bits / 8, from + first * bits / 8, static_cast<size_t>(n * bits / 8));
    else if (t == DType::f32) load_f32(buffer.dtype, from, first, stride, n, reinterpret_cast<float*>(to) + done);
    else if (is_float(buffer.dtype))
      for (int64_t i = 0; i < n; ++i) store_double(t, to, done + i, load_double(buffer.dtype, from, first + i * stride));
    else
      for (int64_t i = 0; i < n; ++i) store_int(t, to, done + i, load_int(buffer.dtype, from, first + i * stride));
    done += n;
  });
  return out;
}

void Memories::write(int32_t b, const Tensor& t, const std::string& writer) { put(b, t, writer); }

Span Memories::span(const Access& a, const Access* broadcast) const {
  const Buffer& b = program_.buffers[static_cast<size_t>(a.buffer)];
  Span s;
  s.access = &a;
  s.dtype = b.dtype;
  s.buffer = a.buffer;
  s.image = image_of_[static_cast<size_t>(a.buffer)];
  int64_t row_step = 0;  // image elements between partitions; 0: linear
  int64_t start = 0;
  if (s.image >= 0) {
    const Image& image = images_[static_cast<size_t>(s.image)];
    const int bits = info(b.dtype).storage_bits;
    if (image.rows > 1) row_step = image.pitch * 8 / bits;
    start = (b.address - image.origin) * 8 / bits;
  }
  const auto step = [&](int64_t stride) {
    if (row_step == 0 || b.row_elements == 0 || stride % b.row_elements != 0) return stride;
    return stride / b.row_elements * row_step;
  };
  s.first = start + (row_step == 0 || b.row_elements == 0 ? a.offset : a.offset / b.row_elements * row_step + a.offset % b.row_elements);
  s.elements = 1;
  const int rank = broadcast ? broadcast->rank : a.rank;
  for (int k = 0; k < rank; ++k) {
    const auto i = static_cast<size_t>(k);
    const int64_t size = broadcast ? broadcast->sizes[i] : a.sizes[i];
    const int64_t own = k < a.rank ? a.sizes[i] : 1;
    // Row steps: dimension 0, and whatever steps by whole rows. A row of one element: only dimension 0 can be the partition.
    int64_t stride = own == 1 ? 0 : b.row_elements == 1 && k > 0 && row_step > 0 ? a.strides[i] : step(a.strides[i]);
    s.elements *= size;
    if (size == 1) continue;
    if (s.rank > 0 && s.strides[s.rank - 1] == stride * size) {
      s.sizes[s.rank - 1] *= size;
      s.strides[s.rank - 1] = stride;
      continue;
    }
    s.sizes[s.rank] = size;
    s.strides[s.rank++] = stride;
  }
  return s;
}

const std::byte* Memories::base(const Span& s) const {
  return s.image < 0 ? weights_[static_cast<size_t>(s.buffer)].data() : images_[static_cast<size_t>(s.image)].bytes.get();
}
std::byte* Memories::base(const Span& s) { return const_cast<std::byte*>(std::as_const(*this).base(s)); }

int32_t Memories::buffer_of_writer(uint32_t w) const {
  if (w <= program_.buffers.size()) return static_cast<int32_t>(w) - 1;
  const int64_t k = static_cast<int64_t>(w) - 1 - static_cast<int64_t>(program_.buffers.size());
  const Instruction& i = program_.code[static_cast<size_t>(k / 2)];
  return k % 2 == 0 ? i.out.buffer : i.out2.buffer;
}

void Memories::require(const Span& s, int64_t instruction, const std::string* reader) const {
  if (s.image < 0) return;
  const Image& image = images_[static_cast<size_t>(s.image)];
  const int bits = info(s.dtype).storage_bits;
  const uint32_t* writers = image.writers.get();
  uint32_t* readers = image.readers.get();
  uint32_t known = 0;  // a writer that is the buffer's own, and before us
  for_runs(s, [&](int64_t first, int64_t n, int64_t stride) {
    for_granules(first, n, stride, bits, image.granule_bytes * 8, [&](int64_t g, int64_t end) {
      if (instruction >= 0) std::fill(readers + g, readers + end, 1 + static_cast<uint32_t>(instruction));
      while (g < end) {
        if (known != 0) {
          uint32_t other = 0;
          const int64_t stop = std::min(end, g + 256);
          for (int64_t i = g; i < stop; ++i) other |= writers[i] ^ known;
          if (other == 0) {
            g = stop;
            continue;
          }
          while (writers[g] == known) ++g;
        }
        const uint32_t w = writers[g];
        if (w == 0 || buffer_of_writer(w) != s.buffer) refuse(s, w, g * image.granule_bytes * 8 / bits, reader ? *reader : where(program_, instruction));
        after(instruction_of(w), instruction, s, "writes");
        known = w;
      }
    });
  });
}

void Memories::unordered(int64_t earlier, int64_t instruction, const Span& s, const char* what) const {
  fail_device(where(program_, instruction), std::string("a wait for who ") + what + " buffer '" + escaped(program_.buffers[static_cast<size_t>(s.buffer)].name) + "' before",
              "none for " + where(program_, earlier), "Wait for it: on the chip the two may run in either order");
}

void Memories::refuse(const Span& s, uint32_t found, int64_t element, const std::string& reader) const {
  const Buffer& b = program_.buffers[static_cast<size_t>(s.buffer)];
  const Image& image = images_[static_cast<size_t>(s.image)];
  const int64_t byte = element * info(b.dtype).storage_bits / 8;
  const std::string at = "buffer '" + escaped(b.name) + "'" + (image.rows > 1 ? ", partition " + std::to_string(byte / image.pitch) : "") + ", byte " + std::to_string(byte % image.pitch + image.origin - b.address);
  if (found == 0) fail_device(reader, "data that was written before in " + at, "none was ever written", "Order the instructions, or fill the buffer first");
  std::string by = "buffer '" + escaped(program_.buffers[static_cast<size_t>(buffer_of_writer(found))].name) + "'";
  if (instruction_of(found) >= 0) by += " by " + where(program_, instruction_of(found));
  fail_device(reader, "data of " + at, "it was overwritten by data of " + by, "Buffers that are alive together must not overlap");
}

void Memories::mark(const Span& s, uint32_t w) {
  Image& image = images_[static_cast<size_t>(s.image)];
  uint32_t *writers = image.writers.get(), *readers = image.readers.get();
  const int bits = info(s.dtype).storage_bits;
  const int64_t instruction = instruction_of(w);
  uint32_t writer = 0, reader = 0;  // those that are known to have ended
  for_runs(s, [&](int64_t first, int64_t n, int64_t stride) {
    for_granules(first, n, stride, bits, image.granule_bytes * 8, [&](int64_t g, int64_t end) {
      for (int64_t i = g; i < end; ++i) {
        if (writers[i] != writer) {
          writer = writers[i];
          after(instruction_of(writer), instruction, s, "writes");
        }
        if (readers[i] != reader) {
          reader = readers[i];
          if (static_cast<int64_t>(reader) - 1 != instruction) after(static_cast<int64_t>(reader) - 1, instruction, s, "reads");
        }
        writers[i] = w;
      }
    });
  });
}

void Memories::load(const Span& s, int64_t instruction, float* out) const {
  require(s, instruction);
  const std::byte* from = base(s);
  for_runs(s, [&](int64_t first, int64_t n, int64_t stride) {
    if (stride == 0) {
      float x;
      load_f32(s.dtype, from, first, 1, 1, &x);
      std::fill(out, out + n, x);
    } else {
      load_f32(s.dtype, from, first, stride, n, out);
    }
    out += n;
  });
}

void Memories::store(const Span& s, int64_t instruction, int output, const float* in) {
  std::byte* to = base(s);
  for_runs(s, [&](int64_t first, int64_t n, int64_t stride) {
    store_f32(s.dtype, to, first, stride, n, in);
    in += n;
  });
  mark(s, writer(instruction, output));
}

void Memories::load_ints(const Span& s, int64_t instruction, int64_t* out) const {
  require(s, instruction);
  const std::byte* from = base(s);
  for_runs(s, [&](int64_t first, int64_t n, int64_t stride) {
    for (int64_t i = 0; i < n; ++i) *out++ = load_int(s.dtype, from, first + i * stride);
  });
}

void Memories::store_ints(const Span& s, int64_t instruction, int output, const int64_t* in) {
  std::byte* to = base(s);
  for_runs(s, [&](int64_t first, int64_t n, int64_t stride) {
    for (int64_t i = 0; i < n; ++i) store_int(s.dtype, to, first + i * stride, *in++);
  });
  mark(s, writer(instruction, output));
}

namespace {
template <class T>
void move_typed(const Span& to, const Span& from, std::byte* to_base, const std::byte* from_base, std::vector<std::byte>& dense) {
  dense.resize(static_cast<size_t>(from.elements) * sizeof(T));
  T* d = reinterpret_cast<T*>(dense.data());
  const T* x = reinterpret_cast<const T*>(from_base);
  for_runs(from, [&](int64_t first, int64_t n, int64_t stride) {
    if (stride == 1) std::memcpy(d, x + first, static_cast<size_t>(n) * sizeof(T));
    else
      for (int64_t i = 0; i < n; ++i) d[i] = x[first + i * stride];
    d += n;
  });
  d = reinterpret_cast<T*>(dense.data());
  T* y = reinterpret_cast<T*>(to_base);
  for_runs(to, [&](int64_t first, int64_t n, int64_t stride) {
    if (stride == 1) std::memcpy(y + first, d, static_cast<size_t>(n) * sizeof(T));
    else
      for (int64_t i = 0; i < n; ++i) y[first + i * stride] = d[i];
    d += n;
  });
}
}  // namespace

void Memories::move(const Span& to, const Span& from, int64_t instruction) {
  require(from, instruction);
  thread_local std::vector<std::byte> dense;
  switch (info(to.dtype).storage_bits) {
    case 8: move_typed<uint8_t>(to, from, base(to), base(from), dense); break;
    case 16: move_typed<uint16_t>(to, from, base(to), base(from), dense); break;
    case 32: move_typed<uint32_t>(to, from, base(to), base(from), dense); break;
    case 64: move_typed<uint64_t>(to, from, base(to), base(from), dense); break;
    default: {  // packed, or of 128 bits
      std::vector<double> values;
      for_runs(from, [&](int64_t first, int64_t n, int64_t stride) {
        for (int64_t i = 0; i < n; ++i) values.push_back(load_double(from.dtype, base(from), first + i * stride));
      });
      size_t k = 0;
      for_runs(to, [&](int64_t first, int64_t n, int64_t stride) {
        for (int64_t i = 0; i < n; ++i) store_double(to.dtype, base(to), first + i * stride, values[k++]);
      });
    }
  }
  mark(to, writer(instruction, 0));
}

}  // namespace bascule::device::chip
