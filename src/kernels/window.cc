// kernels/window.cc — see window.h. Dense channels: a matrix product whose right side is gathered panel by panel (never stored whole);
// one channel a group: rows times taps.
#include "kernels/window.h"

#include <algorithm>
#include <cstring>

#include "base/deadline.h"
#include "base/threads.h"
#include "kernels/gemm.h"

namespace bascule::kernels {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Outputs [from, to) of an axis whose tap k lies inside the input.
struct Range {
  int64_t from, to;
};
Range inside(const SpatialAxis& a, int64_t k) {
  const int64_t shift = k * a.dilation - a.low;  // input = o * stride + shift
  const int64_t from = shift >= 0 ? 0 : ceil_div(-shift, a.stride);
  const int64_t room = a.in - 1 - shift;
  const int64_t to = room < 0 ? 0 : std::min(a.out, room / a.stride + 1);
  return {std::min(from, to), to};
}

// Rows of one plane: f(output row, input row or -1 taps...) applied for each tap along the last axis.
template <class F>
void over_taps(std::span<const SpatialAxis, 3> ax, int64_t z, int64_t y, const F& f) {
  for (int64_t kz = 0; kz < ax[0].taps; ++kz) {
    const int64_t iz = z * ax[0].stride + kz * ax[0].dilation - ax[0].low;
    if (iz < 0 || iz >= ax[0].in) continue;
    for (int64_t ky = 0; ky < ax[1].taps; ++ky) {
      const int64_t iy = y * ax[1].stride + ky * ax[1].dilation - ax[1].low;
      if (iy < 0 || iy >= ax[1].in) continue;
      for (int64_t kx = 0; kx < ax[2].taps; ++kx) f((iz * ax[1].in + iy) * ax[2].in, (kz * ax[1].taps + ky) * ax[2].taps + kx, kx);
    }
  }
}

void add_scaled(float* out, const float* x, int64_t stride, float w, int64_t n) { table().axpy(out, x, stride, w, n); }
void add_scaled(int32_t* out, const int32_t* x, int64_t stride, int32_t w, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<int32_t>(static_cast<uint32_t>(out[i]) + static_cast<uint32_t>(w) * static_cast<uint32_t>(x[i * stride]));
}

template <class T>
void depthwise(const ConvolutionShape& s, const T* x, const T* w, T* y) {
  const auto& ax = s.axis;
  const int64_t in_plane = ax[0].in * ax[1].in * ax[2].in, out_plane = ax[0].out * ax[1].out * ax[2].out, taps = ax[0].taps * ax[1].taps * ax[2].taps;
  const int64_t planes = s.batch * s.groups * s.out_channels;
  const int64_t group = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, out_plane * taps));
  parallel_for(ceil_div(planes, group), [&](int64_t task) {
    check_deadline();
    for (int64_t p = task * group; p < std::min(planes, (task + 1) * group); ++p) {
      const int64_t image = p / (s.groups * s.out_channels), channel = p % (s.groups * s.out_channels);
      const T* plane = x + (image * s.groups + channel / s.out_channels) * in_plane;
      const T* weights = w + channel * taps;
      T* out = y + p * out_plane;
      std::memset(out, 0, 4 * static_cast<size_t>(out_plane));
      for (int64_t z = 0; z < ax[0].out; ++z)
        for (int64_t r = 0; r < ax[1].out; ++r) {
          T* row = out + (z * ax[1].out + r) * ax[2].out;
          over_taps(ax, z, r, [&](int64_t base, int64_t tap, int64_t kx) {
            const Range in = inside(ax[2], kx);
            if (in.from < in.to) add_scaled(row + in.from, plane + base + in.from * ax[2].stride + kx * ax[2].dilation - ax[2].low, ax[2].stride, weights[tap], in.to - in.from);
          });
        }
    }
  });
}

// Panels of the matrix [C * taps, output places] for one image and group.
template <class T>
void gather_panels(const ConvolutionShape& s, const T* x, int64_t nr, int64_t k0, int64_t kn, int64_t j0, int64_t jn, T* to) {
  const auto& ax = s.axis;
  const int64_t taps_x = ax[2].taps, taps_xy = ax[1].taps * taps_x, taps = ax[0].taps * taps_xy;
  const int64_t in_plane = ax[0].in * ax[1].in * ax[2].in;
  for (int64_t j = 0; j < jn; j += nr, to += kn * nr) {
    const int64_t columns = std::min(nr, jn - j);
    for (int64_t kk = 0; kk < kn; ++kk) {
      const int64_t channel = (k0 + kk) / taps, tap = (k0 + kk) % taps;
      const int64_t kz = tap / taps_xy, ky = tap % taps_xy / taps_x, kx = tap % taps_x;
      const T* plane = x + channel * in_plane;
      T* row = to + kk * nr;
      // Runs of outputs within one row of the output.
      int64_t place = j0 + j, done = 0;
      while (done < columns) {
        const int64_t ox = place % ax[2].out, oy = place / ax[2].out % ax[1].out, oz = place / (ax[2].out * ax[1].out);
        const int64_t run = std::min(columns - done, ax[2].out - ox);
        const int64_t iz = oz * ax[0].stride + kz * ax[0].dilation - ax[0].low, iy = oy * ax[1].stride + ky * ax[1].dilation - ax[1].low;
        T* out = row + done;
        if (iz < 0 || iz >= ax[0].in || iy < 0 || iy >= ax[1].in) {
          for (int64_t i = 0; i < run; ++i) out[i] = 0;
        } else {
          const int64_t ix = ox * ax[2].stride + kx * ax[2].dilation - ax[2].low;
          const T* line = plane + (iz * ax[1].in + iy) * ax[2].in;
          if (ax[2].stride == 1 && ix >= 0 && ix + run <= ax[2].in) {
            std::memcpy(out, line + ix, 4 * static_cast<size_t>(run));
          } else {
            for (int64_t i = 0; i < run; ++i) {
              const int64_t at = ix + i * ax[2].stride;
              out[i] = at >= 0 && at < ax[2].in ? line[at] : 0;
            }
          }
        }
        done += run;
        place += run;
      }
      for (int64_t i = columns; i < nr; ++i) row[i] = 0;
    }
  }
}

}  // namespace

template <class T>
void convolve(const ConvolutionShape& s, const T* x, const T* w, T* y) {
  const auto& ax = s.axis;
  const int64_t in_plane = ax[0].in * ax[1].in * ax[2].in, places = ax[0].out * ax[1].out * ax[2].out, taps = ax[0].taps * ax[1].taps * ax[2].taps;
  if (places == 0 || s.batch == 0) return;
  if (s.in_channels == 1 && s.groups > 1) {
    depthwise(s, x, w, y);
    return;
  }
  const int64_t k = s.in_channels * taps, m = s.out_channels;
  bool pointwise = taps == 1;
  for (const SpatialAxis& a : ax) pointwise &= a.stride == 1 && a.low == 0 && a.in == a.out;
  if (pointwise) {
    std::vector<Offsets> batch;
    for (int64_t i = 0; i < s.batch; ++i)
      for (int64_t g = 0; g < s.groups; ++g) batch.push_back({g * m * k, (i * s.groups + g) * k * places, (i * s.groups + g) * m * places});
    gemm<T>(m, places, k, {w, k, 1}, {x, places, 1}, {y, places, 1}, batch);
    return;
  }
  const int64_t nr = gemm_of<T>(table()).nr, mr = gemm_of<T>(table()).mr;
  // Tasks: column tiles first (each gathers its own part of x), rows too where there are few columns.
  constexpr int64_t kTasks = 16;
  int64_t step = 256;
  while (step / 2 >= 2 * nr && s.batch * s.groups * ceil_div(places, step) < kTasks) step /= 2;
  step = std::min(step, ceil_div(places, nr) * nr);
  const int64_t column_parts = ceil_div(places, step);
  int64_t rows = m;
  while (rows > 16 * mr && s.batch * s.groups * column_parts * ceil_div(m, rows) < kTasks) rows = ceil_div(ceil_div(rows, 2), mr) * mr;
  const int64_t row_parts = ceil_div(m, rows);
  parallel_for(s.batch * s.groups * row_parts * column_parts, [&](int64_t task) {
    check_deadline();
    const int64_t j = task % column_parts * step, i = task / column_parts % row_parts * rows, which = task / (column_parts * row_parts);
    const int64_t group = which % s.groups;
    const T* image = x + which * s.in_channels * in_plane;
    const PackB<T> gather = [&](int64_t k0, int64_t kn, int64_t j0, int64_t jn, T* to) { gather_panels(s, image, nr, k0, kn, j0, jn, to); };
    gemm_tile<T>(std::min(rows, m - i), std::min(step, places - j), k, {w + (group * m + i) * k, k, 1}, gather, j, {y + (which * m + i) * places + j, places, 1});
  });
}
template void convolve<float>(const ConvolutionShape&, const float*, const float*, float*);
template void convolve<int32_t>(const ConvolutionShape&, const int32_t*, const int32_t*, int32_t*);

void pool(Pool kind, float initial, int64_t planes, std::span<const SpatialAxis, 3> ax, const float* x, float* y) {
  const Table& t = table();
  const int64_t in_plane = ax[0].in * ax[1].in * ax[2].in, out_plane = ax[0].out * ax[1].out * ax[2].out, taps = ax[0].taps * ax[1].taps * ax[2].taps;
  const int64_t group = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, out_plane * taps));
  parallel_for(ceil_div(planes, group), [&](int64_t task) {
    check_deadline();
    for (int64_t p = task * group; p < std::min(planes, (task + 1) * group); ++p) {
      const float* plane = x + p * in_plane;
      float* out = y + p * out_plane;
      std::fill_n(out, out_plane, initial);
      for (int64_t z = 0; z < ax[0].out; ++z)
        for (int64_t r = 0; r < ax[1].out; ++r) {
          float* row = out + (z * ax[1].out + r) * ax[2].out;
          over_taps(ax, z, r, [&](int64_t base, int64_t, int64_t kx) {
            const Range in = inside(ax[2], kx);
            if (in.from >= in.to) return;
            const float* from = plane + base + in.from * ax[2].stride + kx * ax[2].dilation - ax[2].low;
            if (kind == Pool::sum) t.axpy(row + in.from, from, ax[2].stride, 1.0f, in.to - in.from);
            else t.max_into(row + in.from, from, ax[2].stride, in.to - in.from);
          });
        }
    }
  });
}

}  // namespace bascule::kernels
