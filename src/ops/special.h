// ops/special.h — special functions in double, for references and for constant tables. Relative error below 1e-14 away from zeros.
#pragma once

namespace bascule::ops {

double digamma_value(double x);               // d/dx ln gamma(x); NaN at 0, -1, -2 ...
double zeta_value(double s, double q);        // sum over k >= 0 of (k + q)^-s, s > 1; see the definition for other arguments
double polygamma_value(double n, double x);   // n-th derivative of digamma, n = 0, 1, 2 ...; NaN for other n
double lgamma_value(double x);                // ln |gamma(x)|
double erf_inv_value(double x);               // y with erf(y) = x
double bessel_i1e_value(double x);            // e^-|x| I1(x)

}  // namespace bascule::ops
