// kernels/gemm.h — matrix products over strided operands, split over threads by size alone.
#pragma once
#include <cstdint>
#include <functional>
#include <span>

#include "kernels/table.h"

namespace bascule::kernels {

template <class T> const Gemm<T>& gemm_of(const Table& t);

// A matrix inside an array: element (i, j) at data[i * row + j * column].
template <class T>
struct View {
  T* data = nullptr;
  int64_t row = 0, column = 0;
};

struct Offsets {
  int64_t a = 0, b = 0, c = 0;  // elements from the operands' data to one matrix of the batch
};

// C[i] = A[i] · B[i] for each i of the batch: M x K times K x N. K may be 0 (then C = 0). C's columns lie side by side; C overlaps nothing.
// T: float, double, int32_t (wraps).
template <class T>
void gemm(int64_t m, int64_t n, int64_t k, View<const T> a, View<const T> b, View<T> c, std::span<const Offsets> batch);

// The same for one matrix, with B made as it is needed: pack(k0, kn, j0, jn, panels) writes rows k0.. and columns j0.. of it in panels as Gemm::pack.
template <class T>
using PackB = std::function<void(int64_t k0, int64_t kn, int64_t j0, int64_t jn, T* panels)>;
template <class T>  // float, int32_t
void gemm_tile(int64_t m, int64_t n, int64_t k, View<const T> a, const PackB<T>& pack, int64_t j0, View<T> c);

// Scratch of the calling thread, at least this large; contents undefined; valid until the next call on the thread.
void* scratch(int64_t bytes);

}  // namespace bascule::kernels
