// device/cpu/binder.h — makes the plan of one binding of a graph's symbols: storages, layouts (views cost nothing) and the steps that fill them.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "device/common/lower.h"
#include "device/device.h"
#include "graph/builder.h"

namespace bascule::device::cpu {

// Memory of one array at least; where it lies is decided when all steps are known.
struct Storage {
  enum Kind { input, constant, arena, output } kind = arena;
  int32_t index = 0;                 // of the graph's input or output
  const std::byte* data = nullptr;   // constant
  int64_t bytes = 0;
  int64_t offset = 0;                // arena
  int32_t first = INT32_MAX, last = -1;  // steps that touch it
};

// Where each storage lies during a run.
struct Frame {
  std::vector<std::byte*> base;
  Context* context = nullptr;
};

struct Step {
  std::string name;
  Origin origin;
  std::function<void(const Frame&)> run;
};

struct Placed {
  int32_t storage = -1;
  Layout layout;
};

// The plan of one binding.
struct Bound {
  std::vector<Storage> storages;
  std::vector<Step> steps;
  std::vector<std::shared_ptr<const void>> owned;  // constants made when binding
  std::vector<Type> output_types;
  std::vector<int32_t> output_storage;
  int64_t arena_bytes = 0;
  std::vector<Fallback> fallbacks;
  std::string text;
};

class Binder {
 public:
  Binder(const Graph& graph, const std::vector<passes::Region>& regions, Accumulate accumulate);  // all symbols bound
  std::shared_ptr<const Bound> bind();

  // ---- for kernels
  const Graph& graph() const { return g_; }
  const Type& type(Value v) const { return g_.type(v); }
  std::vector<int64_t> dims(Value v) const;
  const Placed& placed(Value v);              // where v lies, strided
  // v's elements dense in the given type (its own by default); copied only if they are not. The offset is in elements.
  Placed dense(Value v);
  Placed dense_as(Value v, DType t);
  // The same for a layout of a value under other dims and strides.
  Placed dense_of(const Placed& p, const std::vector<int64_t>& dims, DType from, DType to);
  bool is_dense(const Placed& p, const std::vector<int64_t>& dims) const;
  int32_t fresh(int64_t bytes);               // an arena storage
  // The result of a node, dense and new.
  Placed result(Value v);
  void place(Value v, Placed p) { placed_[v] = std::move(p); }
  // storages: all that the step reads or writes.
  void step(const Node* n, std::string name, const std::vector<int32_t>& storages, std::function<void(const Frame&)> run);
  // A value known now that it is bound.
  void own(Value v, Tensor t);
  // Fills an output value from an array of another type (a sum kept wider than the result).
  void convert_into(const Node& n, const Placed& from, DType t, Value result);

 private:
  void region(const passes::Region& r);
  bool view(const Node& n);
  void fallback(const Node& n, const std::string& reason);
  void plan_arena();

  const Graph& g_;
  const std::vector<passes::Region>& regions_;
  Accumulate accumulate_;
  std::shared_ptr<Bound> out_;
  std::map<Value, Placed> placed_;
  std::map<std::pair<Value, DType>, Placed> dense_;
};

// Kernels by operator. Adds steps and places the results, or returns the reason why it cannot ("" when done).
using Kernel = std::string (*)(Binder&, const Node&);
bool register_kernel(std::string_view op, Kernel kernel);
Kernel find_kernel(std::string_view op);  // nullptr
// Whether a composite has a kernel for its types and attributes (types may be symbolic); others are decomposed.
bool takes(const Graph& g, const Node& n);
#define CPU_KERNEL(name)                                                                           \
  std::string cpu_##name(Binder& b, const Node& n);                                                \
  [[maybe_unused]] const bool cpu_##name##_registered = register_kernel(#name, &cpu_##name);       \
  std::string cpu_##name(Binder& b, const Node& n)

inline float* floats(const Frame& f, const Placed& p) { return reinterpret_cast<float*>(f.base[static_cast<size_t>(p.storage)]) + p.layout.offset; }
template <class T>
T* pointer(const Frame& f, const Placed& p) { return reinterpret_cast<T*>(f.base[static_cast<size_t>(p.storage)]) + p.layout.offset; }

}  // namespace bascule::device::cpu
