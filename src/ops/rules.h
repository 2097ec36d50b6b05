// ops/rules.h — what operator files are written with: common type rules, elementwise and data-movement references, symbolic rules, work.
#pragma once
#include <complex>
#include <functional>
#include <span>
#include <vector>

#include "graph/builder.h"
#include "graph/op_def.h"

namespace bascule::ops {

// ---- type rules
TypeRule same_as_input(size_t i);       // one result, the type of operand i
TypeRule elementwise_type();            // all operands of one type (dims equal); one result of it
TypeRule predicate_type();              // as elementwise_type, result i1
// The element type that results have when operand 0 has type t, dims kept: e.g. real_of for abs.
TypeRule mapped_type(std::function<DType(DType)> map);
void require_same_dims(const OpView& op, const Type& a, const Type& b, std::string_view label = "");
int64_t require_axis(const OpView& op, int64_t axis, size_t rank, std::string_view what, std::string_view label = "");  // 0 <= axis < rank, returned
void require_axes(const OpView& op, const Ints& axes, size_t rank, std::string_view what, std::string_view label = "");  // in range, unique

// ---- elementwise references. Floats are computed in double and rounded once; integers in int64 (u64 by its bits) and wrapped.
struct Unary {
  double (*floats)(double) = nullptr;
  int64_t (*ints)(int64_t, DType) = nullptr;  // bool too
  std::complex<double> (*complexes)(std::complex<double>) = nullptr;
};
struct Binary {
  double (*floats)(double, double) = nullptr;
  int64_t (*ints)(int64_t, int64_t, DType) = nullptr;  // bool too
  std::complex<double> (*complexes)(std::complex<double>, std::complex<double>) = nullptr;
};
Reference elementwise(Unary f);
Reference elementwise(Binary f);  // for CHLO with differing ranks use the builder's broadcasting before
// The functions behind an operator whose reference is elementwise(); nullptr for others. Regions of scalars run on them directly.
const Unary* unary_function(const OpDef& op);
const Binary* binary_function(const OpDef& op);

// ---- symbolic elements of elementwise operators
SymbolicRule symbolic_unary(Dim (*f)(const Dim&));
SymbolicRule symbolic_binary(std::optional<Dim> (*f)(const Dim&, const Dim&));

// ---- data movement: result element i comes from one element of one operand. One index rule serves the reference and the symbolic rule.
struct Source {
  size_t operand;
  int64_t element;  // row-major index into it
};
// For given concrete operand and result types: result element -> source.
using MovementRule = std::function<std::function<Source(std::span<const int64_t> index)>(const OpView&, const Type& result)>;
Reference movement(MovementRule rule);
SymbolicRule symbolic_movement(MovementRule rule);  // only where dims and attributes are constant

// Copies element i of `from` to element j of `to` (equal types; strings too).
void copy_element(const Tensor& from, int64_t i, Tensor& to, int64_t j);
// Row-major strides in elements; index <-> linear.
std::vector<int64_t> strides_of(std::span<const int64_t> dims);
int64_t linear(std::span<const int64_t> index, std::span<const int64_t> strides);
// Visits every index of a shape in row-major order: f(index). Observes the budget.
void for_each_index(std::span<const int64_t> dims, const std::function<void(std::span<const int64_t>)>& f);
std::vector<int64_t> static_dims(const Type& t);  // InternalError when not static

// ---- work
// Counts per result element, plus bytes of operands and results.
WorkRule per_element(Work each);
WorkRule no_arithmetic();  // bytes only
double elements(const Type& t);  // 1 for symbolic sizes is wrong: InternalError when not static
double bytes(const Type& t);
void add_traffic(const OpView& op, std::span<const Type> results, Work& w);

// ---- cases of elementwise operators: small, scalar, empty and ragged shapes in the default element type, one case for each common type
// among `types`, numbers in [low, high]; then `more`.
std::vector<Case> unary_cases(DTypes types, double low = -2, double high = 2, std::vector<Case> more = {});
std::vector<Case> binary_cases(DTypes types, double low = -2, double high = 2, std::vector<Case> more = {});

// Values of an integer operand as a vector (axes, sizes).
inline HostValues one(Tensor t) { return {HostValue(std::move(t))}; }

}  // namespace bascule::ops
