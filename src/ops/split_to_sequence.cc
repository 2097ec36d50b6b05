// ops/split_to_sequence.cc — a tensor cut along an axis into a sequence.
#include "ops/sequence.h"

namespace bascule::ops {
namespace {

// [first, last) of x along the axis.
Tensor part(const Tensor& x, int64_t axis, int64_t first, int64_t last) {
  std::vector<int64_t> dims = x.dims();
  dims[static_cast<size_t>(axis)] = last - first;
  Tensor out(x.dtype(), dims);
  int64_t inner = 1, outer = 1;
  for (size_t i = 0; i < dims.size(); ++i) (static_cast<int64_t>(i) < axis ? outer : inner) *= static_cast<int64_t>(i) == axis ? 1 : dims[i];
  const int64_t extent = x.dim(static_cast<size_t>(axis));
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t k = first; k < last; ++k)
      for (int64_t i = 0; i < inner; ++i) copy_element(x, (o * extent + k) * inner + i, out, (o * (last - first) + k - first) * inner + i);
  return out;
}

HostValues reference(const Call& call) {
  const Tensor& x = call.in(0);
  const int64_t axis = call.op.attrs.integer("axis"), extent = x.dim(static_cast<size_t>(axis));
  const bool given = call.op.has(1);
  std::vector<int64_t> sizes;
  if (!given || call.in(1).rank() == 0) {
    const int64_t each = given ? call.in(1).integer(0) : 1;
    if (each < 1) call.op.fail("parts of 1 or more", std::to_string(each));
    for (int64_t at = 0; at < extent; at += each) sizes.push_back(std::min(each, extent - at));
  } else {
    sizes = call.in(1).ints();
  }
  std::vector<HostValue> items;
  int64_t at = 0;
  for (const int64_t s : sizes) {
    if (s < 0 || s > extent - at) call.op.fail("parts that add up to " + std::to_string(extent), "a part of " + std::to_string(s) + " after " + std::to_string(at));
    Tensor item = part(x, axis, at, at + s);
    at += s;
    if (!given && !call.op.attrs.flag("keepdims")) {
      std::vector<int64_t> dims = item.dims();
      dims.erase(dims.begin() + axis);
      item = item.reshaped(std::move(dims));
    }
    items.emplace_back(std::move(item));
  }
  if (at != extent) call.op.fail("parts that add up to " + std::to_string(extent), std::to_string(at));
  return {HostValue::sequence(std::move(items))};
}

}  // namespace

const OpDef split_to_sequence{
    .name = "split_to_sequence",
    .dialect = "bascule",
    .doc = "y = x cut along `axis` into parts of `split` (scalar: each, the last may be smaller; absent: 1, and without keepdims the axis goes)",
    .inputs = {{"x"}, {"split", DTypes::ints, kOptional}},
    .attrs = {{"axis", AttrKind::integer}, {"keepdims", AttrKind::flag, false, true, false}},
    .host = true,
    .type =
        [](const OpView& op) {
          Type item = op.in(0);
          const int64_t axis = require_axis(op, op.attrs.integer("axis"), item.rank(), "axis");
          if (!op.has(1) && !op.attrs.flag("keepdims")) item.dims.erase(item.dims.begin() + axis);
          else item.dims[static_cast<size_t>(axis)] = op.has(1) ? fresh_dim("part") : Dim(1);
          return std::vector<Type>{Type::sequence(std::move(item))};
        },
    .reference = reference,
};
BASCULE_OP(split_to_sequence);

}  // namespace bascule::ops
