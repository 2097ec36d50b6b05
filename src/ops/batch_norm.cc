// ops/batch_norm.cc — see batch_norm.h.
#include "ops/batch_norm.h"

namespace bascule::ops {

size_t require_features(const OpView& op, const std::vector<size_t>& vectors, std::string_view label) {
  const Type& x = op.in(0);
  const auto axis = static_cast<size_t>(require_axis(op, op.attrs.integer("feature_index"), x.rank(), "feature_index", "C1"));
  for (const size_t i : vectors) {
    if (op.in(i).rank() != 1 || op.in(i).dtype != x.dtype) op.fail("operand " + std::to_string(i) + " of type " + Type::tensor(x.dtype, {x.dims[axis]}).text(), op.in(i).text(), label);
    op.require_equal(op.in(i).dims[0], x.dims[axis], "one entry of operand " + std::to_string(i) + " for each feature", label);
  }
  return axis;
}

Tensor feature_result(const Call& call, size_t i, const std::vector<double>& values) {
  Tensor out = call.result(i);
  for (size_t f = 0; f < values.size(); ++f) store_double(out.dtype(), out.mutable_data(), static_cast<int64_t>(f), values[f]);
  return out;
}

Ints all_but(const Builder& b, Value x, int64_t axis) {
  Ints out;
  for (int64_t a = 0; a < b.rank(x); ++a)
    if (a != axis) out.push_back(a);
  return out;
}

}  // namespace bascule::ops
