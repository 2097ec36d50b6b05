// kernels/window.h — convolution (f32, i32) and pooling (f32) over planes of up to three spatial axes, everything dense and row-major.
#pragma once
#include <cstdint>
#include <span>

namespace bascule::kernels {

// One spatial axis. Output o reads input o * stride + k * dilation - low for tap k, where that lies in [0, in).
struct SpatialAxis {
  int64_t in = 1, out = 1, taps = 1, stride = 1, dilation = 1, low = 0;
};

struct ConvolutionShape {
  int64_t batch = 1, groups = 1;
  int64_t in_channels = 1, out_channels = 1;  // of one group
  SpatialAxis axis[3];
};

// y[n, g*O + o, p] = sum over c, t of w[g*O + o, c, t] * x[n, g*C + c, p at tap t];  x [N, G*C, spatial], w [G*O, C, taps], y [N, G*O, spatial].
template <class T>  // float, int32_t (wraps)
void convolve(const ConvolutionShape& s, const T* x, const T* w, T* y);

enum class Pool { sum, maximum };
// y[plane, p] = fold over taps of x[plane, p at tap], from `initial`.
void pool(Pool kind, float initial, int64_t planes, std::span<const SpatialAxis, 3> axes, const float* x, float* y);

}  // namespace bascule::kernels
