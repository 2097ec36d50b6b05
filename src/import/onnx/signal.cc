// import/onnx/signal.cc — ONNX Fourier transforms, windows and mel weights.
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/budget.h"
#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

// The last axis of x with extent `length`: cut, or filled up with zeros.
Value resized_last(Builder& b, Value x, const Dim& length) {
  const Dim have = b.dim(x, -1);
  if (have == length) return x;
  const Dim kept = Dim::min(have, length);
  x = b.slice_axis(x, -1, 0, kept);
  Dims low(static_cast<size_t>(b.rank(x)), Dim(0)), high = low;
  high.back() = length - kept;
  return b.pad(x, 0, low, high);
}

// x: [..., 1 or 2] (real, or real and imaginary); transform along `axis`. Result [..., 2], or [..., 1] for inverse one-sided.
Value dft(NodeContext& n, Builder& b, Value x, int64_t axis, std::optional<Dim> length, bool inverse, bool onesided) {
  const int64_t rank = b.rank(x);
  if (rank < 2) n.fail("an operand [..., signal, ..., 1 or 2]", b.type(x).text());
  if (!b.dim(x, -1).is_constant()) throw NeedsRun{0, false};  // real or complex
  if (!b.dim(x, -1).is(1) && !b.dim(x, -1).is(2)) n.fail("a last axis of 1 or 2", b.type(x).text());
  const bool real = b.dim(x, -1).is(1);
  axis = n.axis(axis, rank);
  if (axis == rank - 1) n.fail("an axis before the last", std::to_string(axis));
  const DType t = b.dtype(x), wide = t == DType::f64 ? DType::f64 : DType::f32;
  x = b.convert(x, wide);
  // The transformed axis to the end, real and imaginary parts apart.
  Ints order;
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (i != axis) order.push_back(i);
  order.push_back(axis);
  const auto part = [&](int64_t which) { return b.transpose(b.squeeze(b.slice_axis(x, -1, which, which + 1), {rank - 1}), order); };
  Value re = part(0), im = real ? kNoValue : part(1);
  const Dim have = b.dim(re, -1);
  const Dim size = length ? *length : inverse && onesided ? Dim(2) * (have - Dim(1)) : have;
  const Dim half = Dim::floor_div(size, 2) + Dim(1), take_in = inverse && onesided ? half : size;
  re = resized_last(b, re, take_in);
  if (im) im = resized_last(b, im, take_in);
  const auto fft = [&](std::string_view kind, Value v) { return b.op("fft", {v}, {{"fft_type", std::string(kind)}, {"fft_length", Dims{size}}}); };
  Ints back(order.size());
  for (size_t i = 0; i < order.size(); ++i) back[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  const auto restored = [&](Value v) {
    v = b.transpose(v, back);
    return b.unsqueeze(v, {rank - 1});
  };
  const auto complex = [&] { return b.op("complex", {re, im ? im : b.full(b.dims(re), wide, 0)}); };
  if (inverse && onesided) return b.convert(restored(fft("IRFFT", complex())), t);
  Value y;
  if (!inverse && onesided && real) {
    y = fft("RFFT", re);
  } else {
    y = fft(inverse ? "IFFT" : "FFT", complex());
    if (onesided) y = b.slice_axis(y, -1, 0, half);
  }
  return b.convert(b.concatenate({restored(b.unary("real", y)), restored(b.unary("imag", y))}, rank - 1), t);
}

// A cosine sum a0 - a1 cos(2 pi i / m) + a2 cos(4 pi i / m), m = size (periodic) or size - 1.
Value window(NodeContext& n, Builder& b, double a0, double a1, double a2) {
  const Dim size = n.size(0);
  const DType t = n.dtype_attr("output_datatype", DType::f32);
  const bool periodic = n.flag("periodic", true);
  const Value m = b.convert(b.size(periodic ? size : size - Dim(1)), DType::f64);
  const Value angle = b.divide(b.multiply(b.iota(DType::f64, {size}, 0), 2 * std::numbers::pi), m);
  Value y = b.subtract(a0, b.multiply(b.cosine(angle), a1));
  if (a2 != 0) y = b.add(y, b.multiply(b.cosine(b.multiply(angle, 2)), a2));
  return b.convert(y, t);
}

}  // namespace

ONNX_OP(DFT, 17) {
  const std::optional<Dim> length = n.has(1) ? std::optional(n.size(1)) : std::nullopt;
  return dft(n, b, n.in(0), n.integer("axis", 1), length, n.flag("inverse", false), n.flag("onesided", false));
}
ONNX_OP(DFT, 20) {
  const std::optional<Dim> length = n.has(1) ? std::optional(n.size(1)) : std::nullopt;
  return dft(n, b, n.in(0), n.has(2) ? n.constant(2) : -2, length, n.flag("inverse", false), n.flag("onesided", false));
}

// Frames of the signal [batch, length, 1 or 2], each weighed by the window and transformed.
ONNX_OP(STFT, 17) {
  const Value x = n.in(0), weights = n.in_or_none(2);
  if (b.rank(x) != 3) n.fail("signal [batch, length, 1 or 2]", b.type(x).text());
  if (weights && b.rank(weights) != 1) n.fail("a window of rank 1", b.type(weights).text());
  const Dim step = n.size(1);
  const Dim signal = b.dim(x, 1);
  const Dim length = n.has(3) ? n.size(3) : weights ? b.dim(weights, 0) : signal;
  const Dim frames = Dim::floor_div(signal - length, step) + Dim(1);
  const Dims grid{frames, weights ? b.dim(weights, 0) : length};
  const Value start = b.multiply(b.iota(DType::i64, grid, 0), b.size(step));
  const Value index = b.minimum(b.add(start, b.iota(DType::i64, grid, 1)), b.size(signal - Dim(1)));
  Value cut = take(b, x, index, 1);  // batch x frames x frame x 1 or 2
  if (weights) cut = b.multiply(cut, b.broadcast_in_dim(b.convert(weights, b.dtype(x)), b.dims(cut), {2}));
  return dft(n, b, cut, 2, length, false, n.flag("onesided", true));
}

ONNX_OP(HannWindow, 17) { return window(n, b, 0.5, 0.5, 0); }
ONNX_OP(HammingWindow, 17) { return window(n, b, 25.0 / 46, 21.0 / 46, 0); }
ONNX_OP(BlackmanWindow, 17) { return window(n, b, 0.42, 0.5, 0.08); }

// Triangular filters, evenly spaced on the mel scale, over the bins of a one-sided spectrum.
ONNX_OP(MelWeightMatrix, 17) {
  const int64_t bins = n.constant(0), length = n.constant(1), rate = n.constant(2);
  const Tensor low_edge = n.tensor(3), high_edge = n.tensor(4);
  const DType t = n.dtype_attr("output_datatype", DType::f32);
  if (bins < 1 || bins > 1 << 16 || length < 1 || length > 1 << 24 || rate < 1)
    n.fail("num_mel_bins, dft_length and sample_rate of 1 or more",
           std::to_string(bins) + ", " + std::to_string(length) + ", " + std::to_string(rate));
  const int64_t rows = length / 2 + 1;
  if (low_edge.elements() != 1 || high_edge.elements() != 1) n.fail("edges of one element", low_edge.type_text() + " and " + high_edge.type_text());
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double low = mel(low_edge.number(0)), step = (mel(high_edge.number(0)) - low) / static_cast<double>(bins + 2);
  const auto point = [&](int64_t i) {
    const double hertz = 700 * std::expm1((low + static_cast<double>(i) * step) / 2595 * std::numbers::ln10);
    const double at = std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate));
    if (!(at >= 0 && at < static_cast<double>(rows))) n.fail("edges within the spectrum (0 to sample_rate / 2)", std::to_string(hertz) + " Hz");
    return static_cast<int64_t>(at);
  };
  check_room(rows * bins * 8, "mel weights");
  std::vector<double> y(static_cast<size_t>(rows * bins), 0);
  for (int64_t i = 0; i < bins; ++i) {
    const int64_t left = point(i), center = point(i + 1), right = point(i + 2);
    const auto at = [&](int64_t j) -> double& { return y[static_cast<size_t>(j * bins + i)]; };
    if (center == left) at(center) = 1;
    else
      for (int64_t j = left; j <= center; ++j) at(j) = static_cast<double>(j - left) / static_cast<double>(center - left);
    for (int64_t j = center; j < right; ++j) at(j) = static_cast<double>(right - j) / static_cast<double>(right - center);
  }
  return b.constant(Tensor::from_doubles(t, {rows, bins}, y));
}

}  // namespace bascule::onnx
