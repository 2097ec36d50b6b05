// ops/ordering.h — how the operators order values: maximum, minimum, clamp and compare share it.
#pragma once
#include <complex>
#include <cstdint>

#include "base/dtype.h"

namespace bascule::ops {

// IEEE-754 maximum and minimum: NaN if either is, -0 < +0.
double max_floats(double a, double b);
double min_floats(double a, double b);
int64_t max_ints(int64_t a, int64_t b, DType t);
int64_t min_ints(int64_t a, int64_t b, DType t);
// By real part, then by imaginary part; NaN in any part of either wins.
std::complex<double> max_complexes(std::complex<double> a, std::complex<double> b);
std::complex<double> min_complexes(std::complex<double> a, std::complex<double> b);

// -1, 0, 1. IEEE-754 totalOrder: -NaN < -inf < ... < -0 < +0 < ... < inf < NaN.
int total_order(double a, double b);

}  // namespace bascule::ops
