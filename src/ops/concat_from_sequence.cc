// ops/concat_from_sequence.cc — the items of a sequence joined along an axis.
#include "ops/sequence.h"

namespace bascule::ops {
namespace {

HostValues reference(const Call& call) {
  const auto& items = call.inputs[0].items();
  if (items.empty()) call.op.fail("a sequence of one item or more", "an empty one");
  const bool new_axis = call.op.attrs.flag("new_axis");
  const Tensor& first = items[0].tensor();
  const int64_t rank = static_cast<int64_t>(first.rank()) + new_axis, given = call.op.attrs.integer("axis");
  if (given < -rank || given >= rank) call.op.fail("an axis in [" + std::to_string(-rank) + ", " + std::to_string(rank) + ")", std::to_string(given));
  const auto axis = static_cast<size_t>(given < 0 ? given + rank : given);
  std::vector<Tensor> parts;
  std::vector<int64_t> dims;
  int64_t total = 0;
  for (const HostValue& item : items) {
    std::vector<int64_t> d = item.tensor().dims();
    if (new_axis) d.insert(d.begin() + static_cast<int64_t>(std::min(axis, d.size())), 1);
    if (dims.empty()) dims = d;
    bool fits = d.size() == dims.size() && item.tensor().dtype() == first.dtype();
    for (size_t i = 0; fits && i < d.size(); ++i) fits = i == axis || d[i] == dims[i];
    if (!fits) call.op.fail("items that differ along the axis only, as " + first.type_text(), item.tensor().type_text());
    total += d[axis];
    parts.push_back(item.tensor().reshaped(std::move(d)));
  }
  dims[axis] = total;
  Tensor out(first.dtype(), dims);
  int64_t inner = 1, outer = 1;
  for (size_t i = 0; i < dims.size(); ++i)
    if (i != axis) (i < axis ? outer : inner) *= dims[i];
  int64_t at = 0;
  for (const Tensor& p : parts) {
    const int64_t extent = p.dim(axis);
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < extent * inner; ++i) copy_element(p, o * extent * inner + i, out, (o * total + at) * inner + i);
    at += extent;
  }
  return one(std::move(out));
}

}  // namespace

const OpDef concat_from_sequence{
    .name = "concat_from_sequence",
    .dialect = "bascule",
    .doc = "y = items joined along `axis`; new_axis: stacked along a new one",
    .inputs = {{"x", DTypes::any, kHostInput}},
    .attrs = {{"axis", AttrKind::integer}, {"new_axis", AttrKind::flag, false, false, false}},
    .host = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          require_sequence(op, 0);
          Type item = item_type(op.in(0));
          if (!item.is_tensor() || !item.ranked) return std::vector<Type>{item};
          const bool new_axis = op.attrs.flag("new_axis");
          const int64_t rank = static_cast<int64_t>(item.rank()) + new_axis, given = op.attrs.integer("axis");
          if (given < -rank || given >= rank) op.fail("an axis in [" + std::to_string(-rank) + ", " + std::to_string(rank) + ")", std::to_string(given));
          const int64_t axis = given < 0 ? given + rank : given;
          if (new_axis) item.dims.insert(item.dims.begin() + axis, fresh_dim("n"));
          else item.dims[static_cast<size_t>(axis)] = fresh_dim("n");
          return std::vector<Type>{std::move(item)};
        },
    .reference = reference,
};
BASCULE_OP(concat_from_sequence);

}  // namespace bascule::ops
