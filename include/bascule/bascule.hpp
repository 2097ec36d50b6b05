// bascule/bascule.hpp — Bascule's C++ interface: load a model once, run it from any thread. Nothing else is API.
//
//   bascule::Model model = bascule::Model::load("model.onnx");
//   std::vector<float> pixels(3 * 224 * 224);
//   auto outputs = model.run({bascule::Array::of<float>({1, 3, 224, 224}, pixels)});
//   const float* logits = outputs[0].as<float>();
//
// Every failure is a bascule::Failure whose text says where, what was expected, what was found and what to do.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace bascule {

// Element types of ONNX and StableHLO. i1 (bool) takes a byte, 2- and 4-bit types are packed with the low bits first.
enum class Element : uint8_t {
  i1, i2, i4, i8, i16, i32, i64, u2, u4, u8, u16, u32, u64,
  f4e2m1fn, f6e2m3fn, f6e3m2fn, f8e3m4, f8e4m3, f8e4m3fn, f8e4m3fnuz, f8e4m3b11fnuz, f8e5m2, f8e5m2fnuz, f8e8m0fnu,
  bf16, f16, f32, f64, c64, c128, string,
};
const char* name_of(Element e);  // "f32"

// Whose fault a failure is; the value is the command line's exit code.
enum class FailureKind : int { usage = 2, unsupported = 3, device = 4, capacity = 5, invalid_file = 6, internal = 70 };
class Failure : public std::runtime_error {
 public:
  Failure(FailureKind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
  FailureKind kind() const { return kind_; }

 private:
  FailureKind kind_;
};

template <class T> struct element_of;
template <> struct element_of<float> { static constexpr Element value = Element::f32; };
template <> struct element_of<double> { static constexpr Element value = Element::f64; };
template <> struct element_of<int8_t> { static constexpr Element value = Element::i8; };
template <> struct element_of<int16_t> { static constexpr Element value = Element::i16; };
template <> struct element_of<int32_t> { static constexpr Element value = Element::i32; };
template <> struct element_of<int64_t> { static constexpr Element value = Element::i64; };
template <> struct element_of<uint8_t> { static constexpr Element value = Element::u8; };
template <> struct element_of<uint16_t> { static constexpr Element value = Element::u16; };
template <> struct element_of<uint32_t> { static constexpr Element value = Element::u32; };
template <> struct element_of<uint64_t> { static constexpr Element value = Element::u64; };

// A dense array in row-major order. Copies share storage; writing through data() copies it first if it is shared.
class Array {
 public:
  Array();                                           // f32 of no elements
  Array(Element e, std::vector<int64_t> dims);       // zeros
  static Array strings(std::vector<int64_t> dims, std::vector<std::string> values);
  // Reads `data` in place, without a copy, for as long as the array or a copy of it lives; `owner` is kept until then.
  static Array view(Element e, std::vector<int64_t> dims, const void* data, std::shared_ptr<const void> owner);
  // A copy of as many values as the dims hold.
  template <class T> static Array of(std::vector<int64_t> dims, std::span<const T> values) { return copy(element_of<T>::value, std::move(dims), values.data(), values.size_bytes()); }
  template <class T> static Array of(std::vector<int64_t> dims, const std::vector<T>& values) { return of<T>(std::move(dims), std::span<const T>(values)); }
  static Array copy(Element e, std::vector<int64_t> dims, const void* data, size_t bytes);

  Element element() const;
  const std::vector<int64_t>& dims() const;
  int64_t size() const;   // elements
  int64_t bytes() const;
  const void* data() const;
  void* mutable_data();
  const std::vector<std::string>& text() const;  // of an array of strings
  // The elements as T; Failure when they are of another type.
  template <class T> const T* as() const { return static_cast<const T*>(checked(element_of<T>::value)); }

 private:
  friend class Model;
  struct State;
  explicit Array(std::shared_ptr<State> state) : state_(std::move(state)) {}
  const void* checked(Element e) const;
  std::shared_ptr<State> state_;
};

// An input or output. A size that only a run fixes is -1 in dims; its name or formula stands in `type`: "f32[batch,2*seq]".
struct Port {
  std::string name;
  std::string type;
  Element element = Element::f32;
  bool ranked = true;     // false: any number of dims
  bool is_array = true;   // false: a sequence, optional or map, which this interface does not pass
  bool optional = false;  // has a value in the file
  std::vector<int64_t> dims;
};

struct LoadOptions {
  std::string device = "cpu";
  int threads = 0;                  // 0: all that the process may use; never changes an answer
  std::string precision;            // of products; "": the device's own
  int64_t memory_limit_bytes = 0;   // of the load and of each run; 0: the machine's or the cgroup's
  double time_limit_s = 0;          // of the load and of each run; 0: none
};

// A loaded model. Copies share it; run() may be called from many threads at once, with any shapes that the model accepts.
class Model {
 public:
  static Model load(const std::string& path, const LoadOptions& options = {});
  const std::vector<Port>& inputs() const;
  const std::vector<Port>& outputs() const;
  std::vector<Array> run(const std::vector<Array>& inputs) const;  // in the order of inputs(); results in the order of outputs()
  std::map<std::string, Array> run(const std::map<std::string, Array>& inputs) const;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

const char* version();  // "0.1.0"

}  // namespace bascule
