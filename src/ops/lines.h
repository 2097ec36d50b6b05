// ops/lines.h — what operators that work on lines along one axis (softmax and its kind) share.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/rules.h"

namespace bascule::ops {

// The element type sums are kept in by decompositions: f32 for narrower floats.
inline DType wide_type(DType t) { return info(t).bits < 32 ? DType::f32 : t; }
// One result of operand 0's type; the attribute `axis` is one of its axes.
std::vector<Type> line_type(const OpView& op);
// Each line of operand 0 along `axis`, in double, is replaced by f; rounded once.
Reference on_lines(void (*f)(std::span<double>));
std::vector<Case> line_cases();

// NaN if any is; -inf for no element.
inline double largest(std::span<const double> x) {
  double m = -std::numeric_limits<double>::infinity();
  for (const double v : x) m = std::isnan(v) || std::isnan(m) ? std::numeric_limits<double>::quiet_NaN() : std::max(m, v);
  return m;
}

}  // namespace bascule::ops
