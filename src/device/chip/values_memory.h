// device/chip/values_memory.h — the memories of a modelled chip as bytes, and beside them who wrote and last read each: a read of what was never
// written, or was overwritten by another buffer's data, and an access that no wait orders after the one before it, are DeviceErrors. Computes nothing.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/budget.h"
#include "device/chip/program.h"
#include "device/chip/values_order.h"
#include "graph/tensor.h"

namespace bascule::device::chip {

// "chip:trainium1: instruction 12 (matmul on tensor of core 0) of MatMul 'encoder/q'"
std::string where(const Program& program, int64_t instruction);

// An access whose place is known: bits, because 4-bit types are packed.
struct Span {
  const Access* access = nullptr;
  DType dtype = DType::f32;
  int32_t buffer = -1;
  int32_t image = -1;  // -1: a weight, in memory of its own
  int rank = 0;        // dimensions of size 1 dropped, neighbours merged where one stride runs through both
  int64_t sizes[Access::kMostDims] = {}, strides[Access::kMostDims] = {};  // strides in elements of dtype
  int64_t first = 0;                                                      // element of the image (or weight) at index 0
  int64_t elements = 0;
};

class Memories {
 public:
  // Weights are converted once and kept. UsageError: a weight without value (its file is absent), an integer beyond its buffer's type.
  Memories(const Chip& chip, const Program& program, const Graph& graph);

  // Forgets all but the weights, and puts the inputs in.
  void start(const Graph& graph, std::span<const Tensor> inputs);
  // The value of an output in the graph's type; DeviceError where the program never wrote it.
  Tensor output(const Graph& graph, Value v, const std::vector<int64_t>& dims) const;
  // The main-memory buffer that holds a value of the graph; -1: none does.
  int32_t buffer_of(Value v) const;
  Tensor read(int32_t buffer, DType t, const std::vector<int64_t>& dims, const std::string& reader) const;
  void write(int32_t buffer, const Tensor& t, const std::string& writer);

  // `broadcast`: read as if of these sizes, dimensions of size 1 (or missing at the end) repeating.
  Span span(const Access& a, const Access* broadcast = nullptr) const;
  void load(const Span& s, int64_t instruction, float* out) const;
  void store(const Span& s, int64_t instruction, int output, const float* in);
  void load_ints(const Span& s, int64_t instruction, int64_t* out) const;
  void store_ints(const Span& s, int64_t instruction, int output, const int64_t* in);
  // Same type, same bits.
  void move(const Span& to, const Span& from, int64_t instruction);

 private:
  struct Image {
    MemoryCharge charge;
    std::unique_ptr<std::byte[], void (*)(void*)> bytes{nullptr, nullptr};
    std::unique_ptr<uint32_t[], void (*)(void*)> writers{nullptr, nullptr};  // of each granule: 0 nobody; see writer()
    std::unique_ptr<uint32_t[], void (*)(void*)> readers{nullptr, nullptr};  // the last one: 0 nobody, else 1 + instruction
    int64_t origin = 0;   // address of byte 0
    int64_t pitch = 0;    // bytes of a partition
    int64_t rows = 1;     // partitions
    int granule_bytes = 8;
  };
  struct Key {
    Role role;
    int32_t core;
    int32_t buffer;  // one that is spread over cores has bytes of its own; check() looks at its place. Else -1
    friend bool operator==(const Key&, const Key&) = default;
  };
  uint32_t preloaded(int32_t buffer) const { return 1 + static_cast<uint32_t>(buffer); }
  uint32_t writer(int64_t instruction, int output) const { return static_cast<uint32_t>(1 + program_.buffers.size()) + static_cast<uint32_t>(2 * instruction + output); }
  int32_t buffer_of_writer(uint32_t w) const;
  int64_t instruction_of(uint32_t w) const { return w <= program_.buffers.size() ? -1 : (static_cast<int64_t>(w) - 1 - static_cast<int64_t>(program_.buffers.size())) / 2; }
  void require(const Span& s, int64_t instruction, const std::string* reader = nullptr) const;
  void mark(const Span& s, uint32_t w);
  void after(int64_t earlier, int64_t instruction, const Span& s, const char* what) const {
    if (earlier >= 0 && instruction >= 0 && !order_.before(earlier, instruction)) unordered(earlier, instruction, s, what);
  }
  [[noreturn]] void unordered(int64_t earlier, int64_t instruction, const Span& s, const char* what) const;
  [[noreturn]] void refuse(const Span& s, uint32_t found, int64_t element, const std::string& reader) const;
  const std::byte* base(const Span& s) const;
  std::byte* base(const Span& s);
  void put(int32_t buffer, const Tensor& t, const std::string& what);
  Span whole(int32_t buffer) const;

  const Chip& chip_;
  const Program& program_;
  Order order_;
  std::vector<int32_t> image_of_;  // of each buffer
  std::vector<Image> images_;
  std::vector<std::vector<std::byte>> weights_;  // of each buffer that is one, padded
  std::vector<MemoryCharge> charges_;
};

}  // namespace bascule::device::chip
