// ops/norm.cc — moments, scale and bias of the normalising composites.
#include "ops/norm.h"

#include <numeric>

#include "base/budget.h"

namespace bascule::ops {

void require_affine(const OpView& op, size_t i) {
  if (!op.has(i)) return;
  const Type &x = op.in(0), &v = op.in(i);
  const std::string what = "operand '" + std::string(op.def.inputs[i].name) + "'";
  if (v.rank() > x.rank()) op.fail(what + " of at most the rank of " + x.text(), v.text());
  for (size_t d = 0; d < v.rank(); ++d) {
    const Dim& extent = v.dims[v.rank() - 1 - d];
    if (!extent.is(1)) op.require_equal(extent, x.dims[x.rank() - 1 - d], what + " that broadcasts to " + x.text());
  }
}

int64_t broadcast_index(const Tensor& v, std::span<const int64_t> x_index) {
  int64_t at = 0;
  for (size_t d = 0; d < v.rank(); ++d) at = at * v.dim(d) + (v.dim(d) == 1 ? 0 : x_index[x_index.size() - v.rank() + d]);
  return at;
}

Value normalized(Builder& b, Value x, const Ints& axes, double epsilon, bool centred) {
  x = b.convert(x, wide_type(b.dtype(x)));
  if (centred) x = b.subtract(x, b.mean(x, axes, true));
  const Value variance = b.mean(b.multiply(x, x), axes, true);
  return b.multiply(x, b.rsqrt(b.add(variance, epsilon)));
}

Value affine(Builder& b, Value y, Value scale, Value bias) {
  if (scale) y = b.multiply(y, b.convert(scale, b.dtype(y)));
  if (bias) y = b.add(y, b.convert(bias, b.dtype(y)));
  return y;
}

std::vector<Type> trailing_norm_type(const OpView& op) {
  require_axis(op, op.attrs.integer("axis"), op.in(0).rank(), "axis");
  for (size_t i = 1; i < op.inputs.size(); ++i) require_affine(op, i);
  return {op.in(0)};
}

HostValues trailing_norm(const Call& call, bool centred) {
  const Tensor& x = call.in(0);
  const auto axis = static_cast<size_t>(call.op.attrs.integer("axis"));
  const double epsilon = call.op.attrs.number("epsilon");
  const int64_t n = std::accumulate(x.dims().begin() + static_cast<int64_t>(axis), x.dims().end(), int64_t{1}, std::multiplies<>());
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  double mean = 0, factor = 0;
  int64_t i = 0;
  for_each_index(x.dims(), [&](std::span<const int64_t> index) {
    if (i % n == 0) {
      mean = 0;
      for (int64_t k = 0; centred && k < n; ++k) mean += x.number(i + k);
      mean /= static_cast<double>(n);
      double square = 0;
      for (int64_t k = 0; k < n; ++k) square += (x.number(i + k) - mean) * (x.number(i + k) - mean);
      factor = 1 / std::sqrt(square / static_cast<double>(n) + epsilon);
    }
    double v = (x.number(i) - mean) * factor;
    if (call.op.has(1)) v *= call.in(1).number(broadcast_index(call.in(1), index));
    if (call.op.has(2)) v += call.in(2).number(broadcast_index(call.in(2), index));
    store_double(y.dtype(), out, i++, v);
  });
  return one(std::move(y));
}

WorkRule norm_work() { return per_element({.multiply_adds = 2, .adds = 3}); }

}  // namespace bascule::ops
