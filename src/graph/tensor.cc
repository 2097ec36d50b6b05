// graph/tensor.cc — storage of host data, charged to the thread's budget.
#include "graph/tensor.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "base/budget.h"
#include "base/error.h"

namespace bascule {

// One allocation, charged to the budget it was made under, or one borrowed view.
struct Tensor::Storage {
  MemoryCharge charge;
  std::byte* owned = nullptr;
  std::shared_ptr<const void> owner;
  std::vector<std::string> strings;

  Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage() { std::free(owned); }
};

int64_t element_count(std::span<const int64_t> dims) {
  int64_t n = 1;
  bool empty = false;
  for (const int64_t d : dims) {
    if (d < 0) return -1;
    empty |= d == 0;
  }
  if (empty) return 0;
  for (const int64_t d : dims)
    if (__builtin_mul_overflow(n, d, &n)) return -1;
  return n;
}

std::string type_text(DType t, std::span<const int64_t> dims) {
  std::string text(info(t).name);
  text += '[';
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? "," : "") + std::to_string(dims[i]);
  return text + ']';
}

Tensor::Tensor(DType t, std::vector<int64_t> dims) : dtype_(t), dims_(std::move(dims)), elements_(element_count(dims_)) {
  if (elements_ < 0) fail_usage("tensor " + bascule::type_text(t, dims_), "dims >= 0 whose product fits 63 bits", "these", "Use smaller sizes");
  storage_ = std::make_shared<Storage>();
  if (t == DType::string) {
    int64_t bytes;
    if (__builtin_mul_overflow(elements_, static_cast<int64_t>(sizeof(std::string)), &bytes)) bytes = -1;
    storage_->charge = MemoryCharge(bytes, "string tensor");
    storage_->strings.resize(static_cast<size_t>(elements_));
    return;
  }
  const int64_t bytes = storage_bytes(t, elements_);
  storage_->charge = MemoryCharge(bytes, "tensor");
  // Zeroed pages come from the system untouched; 64-byte alignment for vector loads where it is small enough to matter.
  const size_t size = (static_cast<size_t>(bytes) + 127) / 64 * 64;
  constexpr size_t kLazy = size_t{1} << 20;
  if (size >= kLazy) {
    storage_->owned = static_cast<std::byte*>(std::calloc(size, 1));
  } else {
    storage_->owned = static_cast<std::byte*>(std::aligned_alloc(64, size));
    if (storage_->owned) std::memset(storage_->owned, 0, size);
  }
  if (!storage_->owned) fail_capacity("tensor " + type_text(), std::to_string(bytes) + " bytes from the system", "none left", "Use smaller inputs");
  data_ = storage_->owned;
}

Tensor Tensor::view(DType t, std::vector<int64_t> dims, const std::byte* data, std::shared_ptr<const void> owner) {
  Tensor out;
  out.dtype_ = t;
  out.dims_ = std::move(dims);
  out.elements_ = element_count(out.dims_);
  if (out.elements_ < 0 || t == DType::string) fail_internal("Tensor::view", "a numeric type and valid dims", out.type_text());
  out.storage_ = std::make_shared<Storage>();
  out.storage_->owner = std::move(owner);
  out.data_ = data;
  return out;
}

std::byte* Tensor::mutable_data() {
  if (storage_ && storage_.use_count() == 1 && storage_->owned) return storage_->owned;
  Tensor copy(dtype_, dims_);
  if (dtype_ == DType::string) copy.storage_->strings = storage_->strings;
  else if (bytes() > 0) std::memcpy(copy.storage_->owned, data_, static_cast<size_t>(bytes()));
  *this = std::move(copy);
  return storage_->owned;
}

const std::vector<std::string>& Tensor::strings() const {
  if (dtype_ != DType::string) fail_internal("Tensor::strings", "a string tensor", type_text());
  return storage_->strings;
}
std::vector<std::string>& Tensor::mutable_strings() {
  if (dtype_ != DType::string) fail_internal("Tensor::mutable_strings", "a string tensor", type_text());
  if (storage_.use_count() != 1) mutable_data();
  return storage_->strings;
}

Tensor Tensor::from_doubles(DType t, std::vector<int64_t> dims, std::span<const double> values) {
  Tensor out(t, std::move(dims));
  if (static_cast<size_t>(out.elements()) != values.size()) fail_internal("Tensor::from_doubles", out.type_text(), std::to_string(values.size()) + " values");
  std::byte* p = out.mutable_data();
  for (size_t i = 0; i < values.size(); ++i) store_double(t, p, static_cast<int64_t>(i), values[i]);
  return out;
}
Tensor Tensor::from_ints(DType t, std::vector<int64_t> dims, std::span<const int64_t> values) {
  Tensor out(t, std::move(dims));
  if (static_cast<size_t>(out.elements()) != values.size()) fail_internal("Tensor::from_ints", out.type_text(), std::to_string(values.size()) + " values");
  std::byte* p = out.mutable_data();
  for (size_t i = 0; i < values.size(); ++i) store_int(t, p, static_cast<int64_t>(i), values[i]);
  return out;
}
Tensor Tensor::from_strings(std::vector<int64_t> dims, std::vector<std::string> values) {
  Tensor out(DType::string, std::move(dims));
  if (static_cast<size_t>(out.elements()) != values.size()) fail_internal("Tensor::from_strings", out.type_text(), std::to_string(values.size()) + " values");
  out.storage_->strings = std::move(values);
  return out;
}
// Importers make constants like their operands: one of strings is the caller's or the file's mistake.
static void require_number(DType t) {
  if (is_string(t)) fail_usage("a constant like an operand", "an operand of numbers", "strings", "Check the element types of the operator's inputs");
}
Tensor Tensor::scalar(DType t, double value) {
  require_number(t);
  return from_doubles(t, {}, std::span(&value, 1));
}
Tensor Tensor::scalar_int(DType t, int64_t value) {
  require_number(t);
  return from_ints(t, {}, std::span(&value, 1));
}
Tensor Tensor::vector_int(std::span<const int64_t> values, DType t) { return from_ints(t, {static_cast<int64_t>(values.size())}, values); }

std::vector<double> Tensor::doubles() const {
  std::vector<double> out(static_cast<size_t>(elements_));
  for (int64_t i = 0; i < elements_; ++i) out[static_cast<size_t>(i)] = number(i);
  return out;
}
std::vector<int64_t> Tensor::ints() const {
  std::vector<int64_t> out(static_cast<size_t>(elements_));
  for (int64_t i = 0; i < elements_; ++i) out[static_cast<size_t>(i)] = integer(i);
  return out;
}

Tensor Tensor::reshaped(std::vector<int64_t> dims) const {
  Tensor out = *this;
  out.dims_ = std::move(dims);
  if (element_count(out.dims_) != elements_) fail_internal("Tensor::reshaped", std::to_string(elements_) + " elements", out.type_text());
  return out;
}
Tensor Tensor::retyped(DType t) const {
  if (info(t).storage_bits != info(dtype_).storage_bits || t == DType::string) fail_internal("Tensor::retyped", "a type of equal size", std::string(info(t).name));
  Tensor out = *this;
  out.dtype_ = t;
  return out;
}

bool Tensor::identical(const Tensor& other) const {
  if (dtype_ != other.dtype_ || dims_ != other.dims_) return false;
  if (dtype_ == DType::string) return strings() == other.strings();
  if (info(dtype_).storage_bits < 8) {
    for (int64_t i = 0; i < elements_; ++i)
      if (is_float(dtype_) ? number(i) != other.number(i) : integer(i) != other.integer(i)) return false;
    return true;
  }
  return bytes() == 0 || data_ == other.data_ || std::memcmp(data_, other.data_, static_cast<size_t>(bytes())) == 0;
}

HostValue HostValue::sequence(std::vector<HostValue> items) {
  HostValue v;
  v.kind_ = Kind::sequence;
  v.items_ = std::move(items);
  return v;
}
HostValue HostValue::optional(HostValue inside) {
  HostValue v;
  v.items_.push_back(std::move(inside));
  return v;
}
HostValue HostValue::token() {
  HostValue v;
  v.kind_ = Kind::token;
  return v;
}
HostValue HostValue::map(Tensor keys, HostValue values) {
  HostValue v;
  v.kind_ = Kind::map;
  v.tensor_ = std::move(keys);
  v.items_.push_back(std::move(values));
  return v;
}
const Tensor& HostValue::tensor() const {
  if (kind_ != Kind::tensor) fail_internal("HostValue::tensor", "a tensor", "another kind of value");
  return tensor_;
}
Tensor& HostValue::tensor() {
  if (kind_ != Kind::tensor) fail_internal("HostValue::tensor", "a tensor", "another kind of value");
  return tensor_;
}

}  // namespace bascule
