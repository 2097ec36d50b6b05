// ops/indexed.cc — see indexed.h.
#include "ops/indexed.h"

#include <algorithm>

namespace bascule::ops {
namespace {

bool contains(const Ints& v, int64_t x) { return std::find(v.begin(), v.end(), x) != v.end(); }
Ints joined(Ints a, const Ints& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
std::string listed(const Ints& v) {
  std::string s;
  for (const int64_t x : v) s += (s.empty() ? "[" : ",") + std::to_string(x);
  return s.empty() ? "[]" : s + "]";
}
void require_sorted(const OpView& op, const Ints& v, std::string_view what, std::string_view label) {
  if (!std::is_sorted(v.begin(), v.end())) op.fail("ascending " + std::string(what), listed(v), label);
}

}  // namespace

void Indexed::check(const OpView& op, const Type& operand, const Type& indices, size_t full_rank, const Labels& labels) const {
  const size_t rank = operand.rank();
  if (window_dims.size() + collapsed.size() + operand_batching.size() != rank)
    op.fail("window, collapsed and batching dimensions that add up to the operand's rank " + std::to_string(rank), listed(window_dims) + ", " + listed(collapsed) + ", " + listed(operand_batching), labels.rank);
  if (index_vector_dim < 0 || index_vector_dim > static_cast<int64_t>(indices.rank())) op.fail("index_vector_dim in [0, " + std::to_string(indices.rank()) + "]", std::to_string(index_vector_dim), labels.index_vector);
  const Dim components = index_vector_dim < static_cast<int64_t>(indices.rank()) ? indices.dims[static_cast<size_t>(index_vector_dim)] : Dim(1);
  op.require_equal(components, static_cast<int64_t>(index_map.size()), "one mapped dimension for each component of an index", labels.index_map_size);
  require_sorted(op, window_dims, "window dimensions", labels.window_order);
  require_axes(op, window_dims, full_rank, "window dimensions", labels.window_range);
  require_axes(op, joined(collapsed, operand_batching), rank, "collapsed and batching dimensions", labels.collapsed_unique);
  require_sorted(op, collapsed, "collapsed dimensions", labels.collapsed_order);
  require_sorted(op, operand_batching, "batching dimensions", labels.batching_order);
  require_axes(op, indices_batching, indices.rank(), "batching dimensions of the indices", labels.indices_range);
  if (contains(indices_batching, index_vector_dim)) op.fail("batching dimensions of the indices without index_vector_dim", listed(indices_batching), labels.indices_vector);
  if (operand_batching.size() != indices_batching.size()) op.fail("as many batching dimensions of operand and indices", listed(operand_batching) + " and " + listed(indices_batching), labels.batching_size);
  for (size_t i = 0; i < operand_batching.size(); ++i)
    op.require_equal(operand.dims[static_cast<size_t>(operand_batching[i])], indices.dims[static_cast<size_t>(indices_batching[i])], "batching dimensions of equal extent", labels.batching_extent);
  require_axes(op, joined(index_map, operand_batching), rank, "index map and batching dimensions", labels.index_map_unique);
}

bool Indexed::is_window_axis(size_t full_axis) const { return contains(window_dims, static_cast<int64_t>(full_axis)); }

Ints Indexed::position_axes(size_t indices_rank) const {
  Ints out;
  for (int64_t a = 0; a < static_cast<int64_t>(indices_rank); ++a)
    if (a != index_vector_dim) out.push_back(a);
  return out;
}

OutOfBounds out_of_bounds(const OpView& op) {
  const std::string& mode = op.attrs.text("out_of_bounds");
  if (mode == "error") return OutOfBounds::error;
  if (mode == "clamp") return OutOfBounds::clamp;
  if (mode == "drop") return OutOfBounds::drop;
  op.fail("out_of_bounds error, clamp or drop", "'" + escaped(mode) + "'");
}

Locator::Locator(const Indexed& g, const std::vector<int64_t>& operand_dims, const std::vector<int64_t>& indices_dims, size_t full_rank) {
  const std::vector<int64_t> strides = strides_of(indices_dims);
  if (g.index_vector_dim < static_cast<int64_t>(indices_dims.size())) vector_stride_ = strides[static_cast<size_t>(g.index_vector_dim)];
  const Ints positions = g.position_axes(indices_dims.size());
  for (size_t a = 0; a < full_rank; ++a)
    if (!g.is_window_axis(a)) position_axes_.push_back(a);
  for (const int64_t a : positions) position_strides_.push_back(strides[static_cast<size_t>(a)]);
  for (const int64_t d : g.index_map) map_.push_back(static_cast<size_t>(d));
  for (size_t i = 0; i < g.operand_batching.size(); ++i) {
    const auto at = std::find(positions.begin(), positions.end(), g.indices_batching[i]) - positions.begin();
    batching_.emplace_back(static_cast<size_t>(g.operand_batching[i]), position_axes_[static_cast<size_t>(at)]);
  }
  size_t next = 0;
  for (size_t d = 0; d < operand_dims.size(); ++d)
    if (!contains(g.collapsed, static_cast<int64_t>(d)) && !contains(g.operand_batching, static_cast<int64_t>(d))) offsets_.emplace_back(d, static_cast<size_t>(g.window_dims[next++]));
}

}  // namespace bascule::ops
