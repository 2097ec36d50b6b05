// graph/tensor.h — host data: a Tensor (dense array, row-major) and HostValue (tensor, sequence, optional or map). No graph, no device.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace bascule {

// Product of the dims; -1 when it overflows int64 or a dim is negative. {} -> 1.
int64_t element_count(std::span<const int64_t> dims);
// "f32[2,3]"
std::string type_text(DType t, std::span<const int64_t> dims);

// Copies share storage; mutable_data() makes it private first (copy on write). Storage is charged to the thread's budget while it lives.
class Tensor {
 public:
  Tensor() = default;                                   // f32[0]
  Tensor(DType t, std::vector<int64_t> dims);           // zeros (empty strings). CapacityError over budget, UsageError on bad dims
  // A view of memory that `owner` keeps alive (a mapped file, a caller's array). Read-only: the first write copies.
  static Tensor view(DType t, std::vector<int64_t> dims, const std::byte* data, std::shared_ptr<const void> owner);

  template <class T> static Tensor of(DType t, std::vector<int64_t> dims, std::span<const T> values);
  static Tensor from_doubles(DType t, std::vector<int64_t> dims, std::span<const double> values);  // rounds; size must match
  static Tensor from_ints(DType t, std::vector<int64_t> dims, std::span<const int64_t> values);    // wraps
  static Tensor from_strings(std::vector<int64_t> dims, std::vector<std::string> values);
  static Tensor scalar(DType t, double value);
  static Tensor scalar_int(DType t, int64_t value);
  static Tensor vector_int(std::span<const int64_t> values, DType t = DType::i64);  // rank 1

  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& dims() const { return dims_; }
  int64_t dim(size_t axis) const { return dims_[axis]; }
  size_t rank() const { return dims_.size(); }
  int64_t elements() const { return elements_; }
  int64_t bytes() const { return storage_bytes(dtype_, elements_); }
  std::string type_text() const { return bascule::type_text(dtype_, dims_); }

  const std::byte* data() const { return data_; }
  std::byte* mutable_data();
  template <class T> std::span<const T> as() const {  // T must be the storage type: f32 -> float, bf16 -> uint16_t, i1 -> uint8_t
    return {reinterpret_cast<const T*>(data_), static_cast<size_t>(elements_)};
  }
  template <class T> std::span<T> as_mutable() { return {reinterpret_cast<T*>(mutable_data()), static_cast<size_t>(elements_)}; }
  const std::vector<std::string>& strings() const;
  std::vector<std::string>& mutable_strings();

  double number(int64_t i) const { return load_double(dtype_, data_, i); }
  int64_t integer(int64_t i) const { return load_int(dtype_, data_, i); }
  std::complex<double> complex(int64_t i) const { return load_complex(dtype_, data_, i); }
  std::vector<double> doubles() const;  // all elements
  std::vector<int64_t> ints() const;

  Tensor reshaped(std::vector<int64_t> dims) const;  // same elements and storage, other dims. InternalError if the count differs
  Tensor retyped(DType t) const;                     // same bits seen as a type of equal storage_bits
  // Same type, dims and bits (NaN equals itself; padding bits of packed types are ignored).
  bool identical(const Tensor& other) const;

 private:
  struct Storage;
  DType dtype_ = DType::f32;
  std::vector<int64_t> dims_{0};
  int64_t elements_ = 0;
  std::shared_ptr<Storage> storage_;
  const std::byte* data_ = nullptr;
};

// What a model's input or output may be. Tensors go to devices, the rest stays on the host.
class HostValue {
 public:
  enum class Kind { tensor, sequence, optional, map, token };
  HostValue() = default;                          // an empty optional
  HostValue(Tensor t) : kind_(Kind::tensor), tensor_(std::move(t)) {}  // NOLINT: implicit on purpose
  static HostValue sequence(std::vector<HostValue> items);
  static HostValue optional(HostValue inside);  // present
  static HostValue none() { return {}; }        // absent optional
  static HostValue token();
  static HostValue tuple(std::vector<HostValue> items) { return sequence(std::move(items)); }
  static HostValue map(Tensor keys, HostValue values);  // keys: rank 1, integer or string; values: a tensor or sequence with one per key

  Kind kind() const { return kind_; }
  bool is_tensor() const { return kind_ == Kind::tensor; }
  const Tensor& tensor() const;  // InternalError on another kind
  Tensor& tensor();
  const std::vector<HostValue>& items() const { return items_; }  // sequence; optional: 0 or 1; map: {values}
  std::vector<HostValue>& items() { return items_; }
  const Tensor& keys() const { return tensor_; }  // map

 private:
  Kind kind_ = Kind::optional;
  Tensor tensor_;
  std::vector<HostValue> items_;
};
using HostValues = std::vector<HostValue>;

template <class T>
Tensor Tensor::of(DType t, std::vector<int64_t> dims, std::span<const T> values) {
  Tensor out(t, std::move(dims));
  std::copy(values.begin(), values.end(), out.as_mutable<T>().begin());
  return out;
}

}  // namespace bascule
