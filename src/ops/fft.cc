// ops/fft.cc — discrete Fourier transforms over the last one to three axes.
#include <cmath>
#include <complex>
#include <numbers>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

using Complex = std::complex<double>;

// X[k] = sum_j x[j] * e^(sign * 2 pi i j k / n), split by the smallest prime factor of n; a prime length is summed directly.
class Transform {
 public:
  Transform(int64_t n, bool inverse) : n_(n), roots_(static_cast<size_t>(n)) {
    check_room(n * 3 * static_cast<int64_t>(sizeof(Complex)), "a Fourier transform");
    for (int64_t j = 0; j < n; ++j) roots_[static_cast<size_t>(j)] = std::polar(1.0, (inverse ? 2 : -2) * std::numbers::pi * static_cast<double>(j) / static_cast<double>(n));
  }
  void run(const Complex* in, Complex* out) { step(in, out, n_, 1); }

 private:
  void step(const Complex* in, Complex* out, int64_t n, int64_t stride) {
    check_budget();
    if (n == 1) {
      out[0] = in[0];
      return;
    }
    int64_t p = 2;
    while (p * p <= n && n % p != 0) ++p;
    if (n % p != 0) p = n;
    const int64_t m = n / p;
    for (int64_t r = 0; r < p; ++r) step(in + r * stride, out + r * m, m, stride * p);
    std::vector<Complex> parts(static_cast<size_t>(p));
    for (int64_t k = 0; k < m; ++k) {
      for (int64_t r = 0; r < p; ++r) parts[static_cast<size_t>(r)] = out[r * m + k];
      for (int64_t q = 0; q < p; ++q) {
        check_budget();
        Complex sum = 0;
        for (int64_t r = 0; r < p; ++r) sum += parts[static_cast<size_t>(r)] * roots_[static_cast<size_t>(r * (k + q * m) % n * stride)];
        out[q * m + k] = sum;
      }
    }
  }
  int64_t n_;
  std::vector<Complex> roots_;
};

enum class Kind { fft, ifft, rfft, irfft };
Kind kind_of(const OpView& op) {
  const std::string& t = op.attrs.text("fft_type");
  if (t == "FFT") return Kind::fft;
  if (t == "IFFT") return Kind::ifft;
  if (t == "RFFT") return Kind::rfft;
  if (t == "IRFFT") return Kind::irfft;
  op.fail("fft_type FFT, IFFT, RFFT or IRFFT", "'" + escaped(t) + "'");
}

std::vector<Type> fft_type(const OpView& op) {
  const Kind kind = kind_of(op);
  const Type& x = op.in(0);
  const Dims length = op.attrs.dims("fft_length");
  if (length.empty() || length.size() > 3) op.fail("1 to 3 entries of fft_length", std::to_string(length.size()), "C3");
  if (length.size() > x.rank()) op.fail("at most " + std::to_string(x.rank()) + " entries of fft_length", std::to_string(length.size()), "C1");
  for (const Dim& d : length) op.require(!d.is_constant() || d.value() >= 0, "fft_length of 0 or more", d.text());
  if (kind == Kind::rfft ? !is_float(x.dtype) || (x.dtype != DType::f32 && x.dtype != DType::f64) : !is_complex(x.dtype))
    op.fail(kind == Kind::rfft ? "an operand of f32 or f64" : "a complex operand", x.text(), "C2");
  Type y = x;
  const size_t first = x.rank() - length.size();
  for (size_t i = 0; i < length.size(); ++i) {
    const bool last = i + 1 == length.size();
    const Dim half = Dim::floor_div(length[i], 2) + 1;
    op.require_equal(x.dims[first + i], last && kind == Kind::irfft ? half : length[i], "operand extents that fit fft_length", "C4");
    y.dims[first + i] = last && kind == Kind::rfft ? half : length[i];
  }
  if (kind == Kind::rfft) y.dtype = x.dtype == DType::f64 ? DType::c128 : DType::c64;
  if (kind == Kind::irfft) y.dtype = real_of(x.dtype);
  return {y};
}

// Transforms every lane along `axis` of data with these dims.
void along(std::vector<Complex>& data, const std::vector<int64_t>& dims, size_t axis, bool inverse) {
  const int64_t n = dims[axis];
  if (n == 0) return;
  std::vector<int64_t> lanes = dims;
  const std::vector<int64_t> strides = strides_of(dims);
  lanes[axis] = 1;
  Transform transform(n, inverse);
  std::vector<Complex> in(static_cast<size_t>(n)), out(static_cast<size_t>(n));
  const double scale = inverse ? 1 / static_cast<double>(n) : 1;
  for (Walk w(lanes, strides); w; w.next()) {
    for (int64_t i = 0; i < n; ++i) in[static_cast<size_t>(i)] = data[static_cast<size_t>(w.offset() + i * strides[axis])];
    transform.run(in.data(), out.data());
    for (int64_t i = 0; i < n; ++i) data[static_cast<size_t>(w.offset() + i * strides[axis])] = out[static_cast<size_t>(i)] * scale;
  }
}

HostValues fft_reference(const Call& call) {
  const Kind kind = kind_of(call.op);
  const Tensor& x = call.in(0);
  const std::vector<int64_t> length = call.op.attrs.static_dims("fft_length");
  Tensor y = call.result();
  if (y.elements() == 0) return one(std::move(y));
  const size_t rank = x.rank(), first = rank - length.size();
  // In full complex form of the longer of operand and result, cut at the end.
  std::vector<int64_t> dims = x.dims();
  dims[rank - 1] = length.back();
  const int64_t rows = element_count(dims) / std::max<int64_t>(length.back(), 1), n = length.back(), in_row = x.dim(rank - 1), out_row = y.dim(rank - 1);
  check_room(rows * n * static_cast<int64_t>(sizeof(Complex)), "a Fourier transform");
  std::vector<Complex> data(static_cast<size_t>(rows * n));
  const bool inverse = kind == Kind::ifft || kind == Kind::irfft;
  if (kind == Kind::irfft) {
    // The outer axes while rows hold their first halves; then rows are completed: X[n - k] = conj X[k].
    std::vector<Complex> half(static_cast<size_t>(x.elements()));
    for (int64_t i = 0; i < x.elements(); ++i) half[static_cast<size_t>(i)] = x.complex(i);
    for (size_t a = first; a + 1 < rank; ++a) along(half, x.dims(), a, true);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = 0; k < n; ++k) {
        const Complex v = half[static_cast<size_t>(r * in_row + std::min(k, n - k))];
        data[static_cast<size_t>(r * n + k)] = k == 0 || 2 * k == n ? Complex(v.real()) : 2 * k < n ? v : std::conj(v);
      }
    along(data, dims, rank - 1, true);
  } else {
    for (int64_t i = 0; i < x.elements(); ++i) data[static_cast<size_t>(i)] = is_complex(x.dtype()) ? x.complex(i) : Complex(x.number(i));
    for (size_t a = rank; a-- > first;) along(data, dims, a, inverse);
  }
  std::byte* out = y.mutable_data();
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t k = 0; k < out_row; ++k) {
      const Complex v = data[static_cast<size_t>(r * n + k)];
      if (is_complex(y.dtype())) store_complex(y.dtype(), out, r * out_row + k, v);
      else store_double(y.dtype(), out, r * out_row + k, v.real());
    }
  return one(std::move(y));
}

Attrs with(std::string_view type, Dims length) { return {{"fft_type", std::string(type)}, {"fft_length", std::move(length)}}; }

}  // namespace

const OpDef fft{
    .name = "fft",
    .doc = "X[k] = sum_j x[j] e^(-2 pi i j k / n) over each of the last axes (IFFT: e^(+...) / n); RFFT keeps the first n/2 + 1 of real input; IRFFT inverts it",
    .inputs = {{"operand", DTypes(DType::f32) | DTypes(DType::f64) | DTypes::complexes}},
    .attrs = {{"fft_type", AttrKind::text}, {"fft_length", AttrKind::dims}},
    .type = fft_type,
    .reference = fft_reference,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          double points = 1;
          for (const Dim& d : op.attrs.dims("fft_length")) points *= static_cast<double>(d.value());
          w.multiply_adds = std::max(elements(op.in(0)), elements(results[0])) * 2 * std::log2(std::max(points, 2.0));
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "forward", .shapes = {{3, 12}}, .attrs = with("FFT", {12}), .dtypes = {DType::c64}},
              {.name = "inverse_two_axes", .shapes = {{5, 8}}, .attrs = with("IFFT", {5, 8}), .dtypes = {DType::c64}},
              {.name = "real", .shapes = {{3, 17}}, .attrs = with("RFFT", {17}), .dtypes = {DType::f32}},
              {.name = "real_two_axes", .shapes = {{6, 10}}, .attrs = with("RFFT", {6, 10}), .dtypes = {DType::f32}},
              {.name = "real_inverse", .shapes = {{3, 9}}, .attrs = with("IRFFT", {16}), .dtypes = {DType::c64}}},
};
BASCULE_OP(fft);

}  // namespace bascule::ops
