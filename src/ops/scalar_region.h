// ops/scalar_region.h — a region of scalar operators as a flat program, so that reduce, scatter, sort and their kind need not interpret a graph per element.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "ops/rules.h"

namespace bascule::ops {

// One element of any numeric type: floats in `real`, complex in both, integers and bools (u64 by its bits) in `integer`.
struct Scalar {
  double real = 0, imaginary = 0;
  int64_t integer = 0;
};
Scalar load_scalar(DType t, const std::byte* p, int64_t i);
void store_scalar(DType t, std::byte* p, int64_t i, const Scalar& x);  // rounds or wraps
Scalar rounded(DType t, const Scalar& x);

// Region r of a call, with arguments of rank 0 and these element types. Regions of elementwise operators on scalars are compiled; any other is run
// through the call's context. With Accumulate::exact a region of one operator does not round its result: sums stay in double until they are stored.
class ScalarRegion {
 public:
  ScalarRegion(const Call& call, size_t region);
  ~ScalarRegion();
  ScalarRegion(const ScalarRegion&) = delete;
  ScalarRegion& operator=(const ScalarRegion&) = delete;

  void operator()(std::span<const Scalar> arguments, std::span<Scalar> results);
  size_t results() const { return result_types_.size(); }
  DType result_type(size_t i) const { return result_types_[i]; }
  // The function of a compiled region that is one elementwise operator f(a, b) on floats, with no rounding owed; nullptr otherwise.
  double (*float_fold() const)(double, double) { return float_fold_; }

 private:
  struct Program;
  const Call& call_;
  size_t region_;
  std::vector<DType> argument_types_, result_types_;
  std::unique_ptr<Program> program_;  // null: interpreted
  double (*float_fold_)(double, double) = nullptr;
};

// Whether region r only returns its arguments [first, first + results): scatter's plain assignment.
bool returns_arguments(const Graph& region, size_t first);

// Type rule of a region on scalars: block arguments of rank 0 with these element types, as many results as `results` says, of rank 0; their element types.
std::vector<DType> require_scalar_region(const OpView& op, size_t region, const std::vector<DType>& arguments, size_t results, std::string_view label);

// Whether values of type `from` may be taken as `to` where the specification says is_promotable_element_type.
bool promotable(DType from, DType to);

}  // namespace bascule::ops
