// ops/scales.cc — scales and zero points over a tensor.
#include "ops/scales.h"

namespace bascule::ops {
namespace {

bool single(const Type& t) { return t.rank() == 0 || (t.rank() == 1 && t.dims[0].is(1)); }

}  // namespace

void require_scales(const OpView& op, size_t i) {
  if (!op.has(i)) return;
  const Type &x = op.in(0), &s = op.in(i);
  const int64_t block = op.attrs.integer("block_size");
  op.require(block >= 0, "block_size of 0 or more", std::to_string(block));
  if (block == 0 && single(s)) return;
  const auto axis = static_cast<size_t>(require_axis(op, op.attrs.integer("axis"), x.rank(), "axis"));
  const std::string what = "'" + std::string(op.def.inputs[i].name) + "'";
  if (block == 0) {
    if (s.rank() != 1) op.fail(what + " of rank 0 or 1 without block_size", s.text());
    op.require_equal(s.dims[0], x.dims[axis], what + " for each index of axis " + std::to_string(axis) + " of " + x.text());
    return;
  }
  if (s.rank() != x.rank()) op.fail(what + " of the rank of " + x.text(), s.text());
  for (size_t d = 0; d < x.rank(); ++d)
    op.require_equal(s.dims[d], d == axis ? Dim::ceil_div(x.dims[d], block) : x.dims[d], what + " for each block of " + std::to_string(block) + " along axis " + std::to_string(axis) + " of " + x.text());
}

int64_t scale_index(const Attrs& attrs, const Tensor& scales, std::span<const int64_t> index) {
  if (scales.elements() == 1) return 0;
  const auto axis = static_cast<size_t>(attrs.integer("axis"));
  const int64_t block = attrs.integer("block_size");
  if (block == 0) return index[axis];
  int64_t at = 0;
  for (size_t d = 0; d < index.size(); ++d) at = at * scales.dim(d) + (d == axis ? index[d] / block : index[d]);
  return at;
}

Value spread_scales(Builder& b, const Attrs& attrs, Value scales, const Dims& dims) {
  const int64_t block = attrs.integer("block_size"), axis = attrs.integer("axis");
  if (block == 0 && single(b.type(scales))) return b.broadcast_to(b.reshape(scales, {}), dims);
  if (block == 0) return b.broadcast_in_dim(scales, dims, {axis});
  const auto a = static_cast<size_t>(axis);
  Dims split = b.dims(scales), merged = split;
  const Dim blocks = split[a];
  split.insert(split.begin() + axis + 1, Dim(block));
  merged[a] = blocks * block;
  Ints axes;
  for (int64_t d = 0; d < static_cast<int64_t>(dims.size()); ++d) axes.push_back(d <= axis ? d : d + 1);
  const Value wide = b.reshape(b.broadcast_in_dim(scales, split, axes), merged);
  return b.slice_axis(wide, axis, 0, dims[a]);
}

}  // namespace bascule::ops
