// device/device.h — all that a back-end is asked for. device/reference is the template to copy; tests/device runs on each device by name.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/budget.h"
#include "graph/op_def.h"

namespace bascule::device {

struct DeviceInfo {
  std::string name;         // as --device takes it: "cpu"
  std::string description;
  int64_t memory_bytes = 0;
  int cores = 1;
  bool symbolic = true;     // compile takes graphs with symbols; otherwise the runtime compiles for each binding
  std::vector<std::string> precisions = {"f32"};
};

// Yes, or no with the reason in words.
struct Support {
  bool yes = true;
  std::string reason;
  explicit operator bool() const { return yes; }
  static Support no(std::string why) { return {false, std::move(why)}; }
};

// Device memory. Freed when the last reference goes.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual int64_t bytes() const = 0;
  virtual std::byte* host() = 0;  // where the host may read (and, unless it was wrapped, write) it in place; nullptr if it cannot
};
using BufferRef = std::shared_ptr<Buffer>;

// Work that was started. wait() throws the first error of it; an Event of finished work is empty.
class Event {
 public:
  void wait() const {}
};

// A dense row-major array in a buffer.
struct Array {
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  BufferRef buffer;
  int64_t offset_bytes = 0;
};

// A node that ran otherwise than asked: never silent.
struct Fallback {
  std::string node;    // origin and operator
  std::string reason;
};

// What changes during one run: limits, status, report. One run at a time; kept for the next to reuse its workspace.
class Context {
 public:
  std::shared_ptr<Budget> budget;  // memory, deadline, cancellation; null: the thread's
  int threads = 0;                 // 0: all of the process
  std::atomic<int64_t> status{0};  // first out-of-range index found by a kernel: 1 + the node's number in its plan; 0: none
  BufferRef workspace;             // grown by the executable

  void add_fallback(Fallback f);
  std::vector<Fallback> take_fallbacks();

 private:
  std::mutex mutex_;
  std::vector<Fallback> fallbacks_;
};

struct Options {
  std::string precision = "f32";
  Accumulate accumulate = Accumulate::exact;  // the reference's; others may refuse `element`
  std::string dump_passes;                    // folder for the graph after each pass of compile, "" for none
  bool fuse = true;
};

// Immutable, shared by threads.
class Executable {
 public:
  virtual ~Executable() = default;
  // Runs on arrays whose types fit the graph's inputs. symbols: every symbol of the graph. out[i] without a buffer is allocated; one with a
  // buffer is written there (its bytes must suffice). Types of the results are set.
  virtual Event run(Context& context, const Bindings& symbols, std::span<const Array> in, std::span<Array> out) const = 0;
  // The program, readable: regions, loops, kernels.
  virtual std::string text() const { return ""; }
  // Nodes that this device runs by their reference, known at compile time.
  virtual std::vector<Fallback> fallbacks() const { return {}; }
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  // Types may be symbolic. Control and host operators are never asked.
  virtual Support supports(const Graph& graph, const Node& node) const = 0;
  virtual std::unique_ptr<Executable> compile(Graph graph, const Options& options) const = 0;
  virtual BufferRef allocate(int64_t bytes) const = 0;  // CapacityError; contents undefined
  // Host memory that `owner` keeps alive, read in place where the device can, copied where not. Never written.
  virtual BufferRef wrap(std::span<const std::byte> host, std::shared_ptr<const void> owner) const = 0;
  virtual Event copy(BufferRef to, int64_t to_offset, BufferRef from, int64_t from_offset, int64_t bytes) const = 0;  // UsageError outside a buffer
};

// Devices by name. An instance is made on first use and lives as long as the process.
using Factory = std::unique_ptr<Device> (*)();
bool register_device(std::string_view name, Factory factory);
const Device& find_device(const std::string& name);  // UsageError lists what there is
std::vector<std::string> device_names();

// Buffers in host memory, for devices that compute there.
BufferRef host_allocate(int64_t bytes);
BufferRef host_wrap(std::span<const std::byte> host, std::shared_ptr<const void> owner);
Event host_copy(const BufferRef& to, int64_t to_offset, const BufferRef& from, int64_t from_offset, int64_t bytes);

// Between host tensors and arrays of a device; without a copy when the buffer is host memory.
Array to_device(const Device& d, const Tensor& t);
Tensor to_host(const Device& d, const Array& a);

}  // namespace bascule::device
