// ops/ordering.cc — order of floats, integers and complex numbers.
#include "ops/ordering.h"

#include <bit>
#include <cmath>

#include "ops/integer.h"

namespace bascule::ops {
namespace {

bool is_nan(std::complex<double> a) { return std::isnan(a.real()) || std::isnan(a.imag()); }
bool less(std::complex<double> a, std::complex<double> b) { return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag()); }

}  // namespace

double max_floats(double a, double b) {
  if (std::isnan(a)) return a;
  if (std::isnan(b)) return b;
  if (a == b) return std::signbit(a) ? b : a;
  return a < b ? b : a;
}
double min_floats(double a, double b) {
  if (std::isnan(a)) return a;
  if (std::isnan(b)) return b;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
int64_t max_ints(int64_t a, int64_t b, DType t) { return less_ints(a, b, t) ? b : a; }
int64_t min_ints(int64_t a, int64_t b, DType t) { return less_ints(a, b, t) ? a : b; }
std::complex<double> max_complexes(std::complex<double> a, std::complex<double> b) {
  if (is_nan(a)) return a;
  if (is_nan(b)) return b;
  return less(a, b) ? b : a;
}
std::complex<double> min_complexes(std::complex<double> a, std::complex<double> b) {
  if (is_nan(a)) return a;
  if (is_nan(b)) return b;
  return less(b, a) ? b : a;
}

int total_order(double a, double b) {
  const auto key = [](double x) {  // monotone in the total order
    const auto bits = std::bit_cast<int64_t>(x);
    return bits < 0 ? static_cast<int64_t>(~static_cast<uint64_t>(bits) ^ (uint64_t{1} << 63)) : bits;
  };
  const int64_t x = key(a), y = key(b);
  return x < y ? -1 : x > y ? 1 : 0;
}

}  // namespace bascule::ops
