// runtime/compare.h — an answer against an expected one: by the largest error relative to the largest value, or elementwise as numpy.allclose.
#pragma once
#include <string>

#include "graph/tensor.h"

namespace bascule::runtime {

struct Tolerance {
  // relative: max|got - want| <= limit * max|want|, over one array.  allclose: |got - want| <= atol + rtol |want|, for each element.
  // shape: element type and dims only (random outputs).
  enum class Rule { relative, allclose, shape } rule = Rule::relative;
  double limit = 1e-4;
  double rtol = 0, atol = 0;
  // allclose only: integers, bools and floats of 8 bits or fewer must be equal; rtol is at least one step of the element type; and for f32,
  // f64 and complex types atol is at least two steps at the largest expected value, since an expected 0 holds the rounding of what cancelled.
  bool by_type = false;

  static Tolerance relative(double limit) { return {Rule::relative, limit, 0, 0, false}; }
  static Tolerance allclose(double rtol, double atol) { return {Rule::allclose, 0, rtol, atol, false}; }
  static Tolerance shape() { return {Rule::shape, 0, 0, 0, false}; }
  // What ONNX's own runner uses: rtol 1e-3, atol 1e-7 unless the type is coarser.
  static Tolerance onnx() { return {Rule::allclose, 0, 1e-3, 1e-7, true}; }
};

struct Difference {
  bool same = true;     // within the tolerance
  double error = 0;     // max|got - want| / max|want| (max|want| = 0: max|got - want|); strings: the share that differs
  std::string message;  // why not the same, with the worst element; empty if same
};

// Integers, bools and strings are equal or not under `relative`. NaN equals NaN, infinities must agree. Sequences, optionals and maps
// (keys in any order) compare part by part; the message names the part.
Difference compare(const HostValue& got, const HostValue& want, const Tolerance& tolerance);
Difference compare(const Tensor& got, const Tensor& want, const Tolerance& tolerance);

// (max - min) of a real tensor's finite elements; 0 for none.
double spread(const Tensor& t);

}  // namespace bascule::runtime
