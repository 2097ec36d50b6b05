// kernels/gemm.cc — blocking. A block of B of kBlockK x 256 floats (256 KiB) stays in a second-level cache while all rows of a task pass it.
#include "kernels/gemm.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/deadline.h"
#include "base/error.h"
#include "base/threads.h"

namespace bascule::kernels {
namespace {

constexpr int64_t kBlockK = 256;      // a panel of 256 x 32 floats is 32 KiB: the first-level cache
constexpr int64_t kBlockM = 384;
constexpr int64_t kMostDirectRows = 24;
constexpr int64_t kTasks = 16;        // wanted at least, so that threads of unequal speed end together

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

template <> const Gemm<float>& gemm_of(const Table& t) { return t.gemm_f32; }
template <> const Gemm<double>& gemm_of(const Table& t) { return t.gemm_f64; }
template <> const Gemm<int32_t>& gemm_of(const Table& t) { return t.gemm_i32; }

void* scratch(int64_t bytes) {
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<void, Free> buffer;
  thread_local int64_t size = 0;
  if (bytes > size) {
    buffer.reset();
    size = 0;
    buffer.reset(std::aligned_alloc(64, static_cast<size_t>(ceil_div(bytes, 64) * 64)));
    if (!buffer) fail_capacity("scratch of a kernel", std::to_string(bytes) + " bytes from the system", "none left", "Use smaller inputs");
    size = bytes;
  }
  return buffer.get();
}

template <class T>
void gemm(int64_t m, int64_t n, int64_t k, View<const T> a, View<const T> b, View<T> c, std::span<const Offsets> batch) {
  if (m == 0 || n == 0 || batch.empty()) return;
  const auto count = static_cast<int64_t>(batch.size());
  if (k == 0) {
    for (const Offsets& o : batch)
      for (int64_t i = 0; i < m; ++i) std::memset(c.data + o.c + i * c.row, 0, sizeof(T) * static_cast<size_t>(n));
    return;
  }
  const Gemm<T>& g = gemm_of<T>(table());
  // Work of fewer multiply-adds than this is not worth another thread: about 10 us.
  constexpr double kSmall = 1 << 18;
  const double each = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);

  const bool direct = b.column == 1 && m <= kMostDirectRows;
  const bool transposed = b.row == 1 && a.column == 1 && m <= 4 && b.column != 1;
  if (direct || transposed) {
    // Columns of a task: whole tiles, near kSmall work.
    const double columns = kSmall / std::max(1.0, static_cast<double>(m) * static_cast<double>(k));
    const int64_t step = std::clamp<int64_t>(static_cast<int64_t>(columns) / 128 * 128, 128, std::max<int64_t>(128, ceil_div(n, 128) * 128));
    const int64_t parts = ceil_div(n, step);
    const int64_t group = std::max<int64_t>(1, static_cast<int64_t>(kSmall / std::max(1.0, each)));  // small matrices of one task
    const auto one = [&](int64_t which, int64_t j) {
      const Offsets& o = batch[static_cast<size_t>(which)];
      const int64_t columns_here = std::min(step, n - j);
      T* to = c.data + o.c + j;
      if (direct) g.direct(m, columns_here, k, a.data + o.a, a.row, a.column, b.data + o.b + j, b.row, to, c.row, false);
      else g.transposed(m, columns_here, k, a.data + o.a, a.row, b.data + o.b + j * b.column, b.column, to, c.row);
    };
    if (parts == 1) {
      parallel_for(ceil_div(count, group), [&](int64_t t) {
        for (int64_t i = t * group; i < std::min(count, (t + 1) * group); ++i) one(i, 0);
      });
    } else {
      parallel_for(count * parts, [&](int64_t t) { one(t / parts, t % parts * step); });
    }
    return;
  }
  const int64_t rows_step = std::min(kBlockM, ceil_div(m, g.mr) * g.mr), row_parts = ceil_div(m, rows_step);
  int64_t step = std::max<int64_t>(g.nr, 256);
  while (step / 2 >= 2 * g.nr && count * row_parts * ceil_div(n, step) < kTasks) step /= 2;
  step = std::min(step, ceil_div(n, g.nr) * g.nr);
  const int64_t parts = ceil_div(n, step);
  const int64_t group = std::max<int64_t>(1, static_cast<int64_t>(kSmall / std::max(1.0, each)));
  const auto one = [&](int64_t which, int64_t i, int64_t j) {
    const Offsets& o = batch[static_cast<size_t>(which)];
    const int64_t rows = std::min(rows_step, m - i), columns = std::min(step, n - j);
    T* panels = static_cast<T*>(scratch(static_cast<int64_t>(sizeof(T)) * std::min(k, kBlockK) * step));
    for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
      check_deadline();
      const int64_t kn = std::min(kBlockK, k - k0);
      g.pack(kn, columns, b.data + o.b + k0 * b.row + j * b.column, b.row, b.column, panels);
      g.panels(rows, columns, kn, a.data + o.a + i * a.row + k0 * a.column, a.row, a.column, panels, c.data + o.c + i * c.row + j, c.row, k0 > 0);
    }
  };
  if (row_parts * parts == 1) {
    parallel_for(ceil_div(count, group), [&](int64_t t) {
      for (int64_t i = t * group; i < std::min(count, (t + 1) * group); ++i) one(i, 0, 0);
    });
  } else {
    parallel_for(count * row_parts * parts, [&](int64_t t) { one(t / (row_parts * parts), t / parts % row_parts * rows_step, t % parts * step); });
  }
}
template void gemm<float>(int64_t, int64_t, int64_t, View<const float>, View<const float>, View<float>, std::span<const Offsets>);
template void gemm<double>(int64_t, int64_t, int64_t, View<const double>, View<const double>, View<double>, std::span<const Offsets>);
template void gemm<int32_t>(int64_t, int64_t, int64_t, View<const int32_t>, View<const int32_t>, View<int32_t>, std::span<const Offsets>);

template <class T>
void gemm_tile(int64_t m, int64_t n, int64_t k, View<const T> a, const PackB<T>& pack, int64_t j0, View<T> c) {
  const Gemm<T>& g = gemm_of<T>(table());
  T* panels = static_cast<T*>(scratch(static_cast<int64_t>(sizeof(T)) * std::min(k, kBlockK) * ceil_div(n, g.nr) * g.nr));
  if (k == 0)
    for (int64_t i = 0; i < m; ++i) std::memset(c.data + i * c.row, 0, sizeof(T) * static_cast<size_t>(n));
  for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
    const int64_t kn = std::min(kBlockK, k - k0);
    pack(k0, kn, j0, n, panels);
    g.panels(m, n, kn, a.data + k0 * a.column, a.row, a.column, panels, c.data, c.row, k0 > 0);
  }
}
template void gemm_tile<float>(int64_t, int64_t, int64_t, View<const float>, const PackB<float>&, int64_t, View<float>);
template void gemm_tile<int32_t>(int64_t, int64_t, int64_t, View<const int32_t>, const PackB<int32_t>&, int64_t, View<int32_t>);

}  // namespace bascule::kernels
