// ops/get_dimension_size.cc — an extent of the operand as a value.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef get_dimension_size{
    .name = "get_dimension_size",
    .doc = "y = extent of axis `dimension`, as i32",
    .inputs = {{"operand"}},
    .attrs = {{"dimension", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          require_axis(op, op.attrs.integer("dimension"), op.in(0).rank(), "dimension", "C1");
          return std::vector<Type>{Type::tensor(DType::i32, {})};
        },
    .reference = [](const Call& call) { return one(Tensor::scalar_int(DType::i32, call.in(0).dim(static_cast<size_t>(call.op.attrs.integer("dimension"))))); },
    .symbolic = [](const OpView& op, std::span<const Dims* const>, const Type&) -> std::optional<Dims> { return Dims{op.in(0).dims[static_cast<size_t>(op.attrs.integer("dimension"))]}; },
    .work = no_arithmetic(),
    .cases = {{"rows", {{7, 129}}, {{"dimension", int64_t{0}}}}, {"empty", {{2, 0}}, {{"dimension", int64_t{1}}}}},
};
BASCULE_OP(get_dimension_size);

}  // namespace bascule::ops
