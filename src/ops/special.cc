// ops/special.cc — special functions in double.
#include "ops/special.h"

#include <math.h>  // lgamma_r

#include <cmath>
#include <limits>
#include <numbers>

namespace bascule::ops {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
// B_2, B_4, ... B_24: Bernoulli numbers.
constexpr double kBernoulli[] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510, 43867.0 / 798, -174611.0 / 330, 854513.0 / 138, -236364091.0 / 2730};

}  // namespace

// Reflection psi(1 - x) - psi(x) = pi / tan(pi x); recurrence psi(x + 1) = psi(x) + 1/x up to x >= 10; then
// psi(x) = ln x - 1/(2x) - sum_k B_2k / (2k x^2k).
double digamma_value(double x) {
  if (std::isnan(x) || x == -kInf) return kNaN;
  if (x == kInf) return kInf;
  if (x <= 0) {
    if (x == std::floor(x)) return kNaN;
    const double part = x - std::floor(x);  // pi / tan(pi x) from the part in (0, 1), where x loses nothing
    const double cot = part == 0.5 ? 0 : std::numbers::pi / std::tan(std::numbers::pi * part);
    return digamma_value(1 - x) - cot;
  }
  double shift = 0;
  for (; x < 10; x += 1) shift += 1 / x;
  const double square = 1 / (x * x);
  double tail = 0, power = square;
  for (int k = 1; k <= 8; ++k, power *= square) tail += kBernoulli[k - 1] / (2 * k) * power;
  return std::log(x) - 0.5 / x - tail - shift;
}

// Euler-Maclaurin: zeta(s, q) = sum_{k<N} (q+k)^-s + a^(1-s)/(s-1) + a^-s/2 + sum_k B_2k/(2k)! s(s+1)...(s+2k-2) a^(-s-2k+1), a = q + N.
// s = 1: infinite; s < 1: NaN. q <= 0: infinite at the poles 0, -1, ...; else NaN unless s is an integer (a real power).
double zeta_value(double s, double q) {
  if (std::isnan(s) || std::isnan(q) || s < 1) return kNaN;
  if (s == 1) return kInf;
  if (q <= 0) {
    if (q == std::floor(q)) return s == std::floor(s) && std::fmod(s, 2) == 1 && q != 0 ? kNaN : kInf;
    if (s != std::floor(s)) return kNaN;
  }
  if (q == kInf) return 0;
  double sum = 0, a = q;
  for (int k = 0; k < 12 || a < 12; ++k, a += 1) {
    const double term = std::pow(a, -s);
    sum += term;
    if (a > 1 && std::fabs(term) < std::fabs(sum) * 1e-18) return sum;
  }
  const double last = std::pow(a, -s);
  sum += last * a / (s - 1) + last / 2;
  double factor = s, term = last / a;  // s (s+1) ... (s+2k-2) / (2k)!, built up beside a^(-s-2k+1)
  double factorial = 2;
  for (int k = 1; k <= 12; ++k) {
    const double add = kBernoulli[k - 1] / factorial * factor * term;
    sum += add;
    if (std::fabs(add) < std::fabs(sum) * 1e-17) break;
    factor *= (s + 2 * k - 1) * (s + 2 * k);
    factorial *= (2 * k + 1) * (2 * k + 2);
    term /= a * a;
  }
  return sum;
}

double polygamma_value(double n, double x) {
  if (std::isnan(n) || std::isnan(x) || n < 0 || n != std::floor(n)) return kNaN;
  if (n == 0) return digamma_value(x);
  const double sign = std::fmod(n, 2) == 0 ? -1 : 1;
  return sign * std::exp(lgamma_value(n + 1)) * zeta_value(n + 1, x);
}

double lgamma_value(double x) {
  int sign;
  return std::isinf(x) ? kInf : ::lgamma_r(x, &sign);
}

// Halley's steps on erf (|x| < 1/2) or erfc from a closed form good to 1e-2.
double erf_inv_value(double x) {
  if (std::isnan(x) || x < -1 || x > 1) return kNaN;
  if (x == 1 || x == -1) return x * kInf;
  if (x == 0) return x;
  const double a = std::fabs(x), rest = 1 - a;  // exact for a >= 1/2
  const double logarithm = std::log(rest * (1 + a)), half = 2 / (std::numbers::pi * 0.147) + logarithm / 2;
  double y = std::sqrt(std::sqrt(half * half - logarithm / 0.147) - half);
  for (int step = 0; step < 4; ++step) {
    const double error = a < 0.5 ? std::erf(y) - a : rest - std::erfc(y);
    const double slope = 2 * std::numbers::inv_sqrtpi * std::exp(-y * y);
    const double newton = error / slope;
    y -= newton / (1 + y * newton);
  }
  return std::copysign(y, x);
}

// I1(x) = sum_k (x/2)^(2k+1) / (k! (k+1)!), all terms of one sign; beyond 30 the asymptotic series
// e^-x I1(x) = 1/sqrt(2 pi x) sum_k (-1)^k prod_{j<=k} (4 - (2j-1)^2) / (k! (8x)^k).
double bessel_i1e_value(double x) {
  const double a = std::fabs(x);
  if (std::isnan(x)) return x;
  double y;
  if (a <= 30) {
    double term = a / 2, sum = term;
    for (int k = 1; k < 200; ++k) {
      term *= a * a / 4 / (static_cast<double>(k) * (k + 1));
      sum += term;
      if (term < sum * 1e-18) break;
    }
    y = std::exp(-a) * sum;
  } else {
    double term = 1, sum = 1;
    for (int k = 1; k < 40; ++k) {
      const double odd = 2 * k - 1, next = -term * (4 - odd * odd) / (8 * a * k);
      if (std::fabs(next) > std::fabs(term)) break;
      term = next;
      sum += term;
      if (std::fabs(term) < 1e-18) break;
    }
    y = std::isinf(a) ? 0 : sum / std::sqrt(2 * std::numbers::pi * a);
  }
  return std::copysign(y, x);
}

}  // namespace bascule::ops
