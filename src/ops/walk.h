// ops/walk.h — visiting a strided box of elements in row-major order without a call per element.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace bascule::ops {

// offset() = sum_k index[k] * strides[k]. for (Walk w(dims, strides); w; w.next()) ...
class Walk {
 public:
  Walk(std::vector<int64_t> dims, std::vector<int64_t> strides) : dims_(std::move(dims)), strides_(std::move(strides)), index_(dims_.size(), 0) {
    for (const int64_t d : dims_) more_ &= d > 0;
  }
  explicit operator bool() const { return more_; }
  int64_t offset() const { return offset_; }
  const std::vector<int64_t>& index() const { return index_; }
  void next() {
    for (size_t a = dims_.size(); a-- > 0;) {
      offset_ += strides_[a];
      if (++index_[a] < dims_[a]) return;
      offset_ -= dims_[a] * strides_[a];
      index_[a] = 0;
    }
    more_ = false;
  }

 private:
  std::vector<int64_t> dims_, strides_, index_;
  int64_t offset_ = 0;
  bool more_ = true;
};

}  // namespace bascule::ops
