// ops/dims.cc — sizes as data: a vector of (possibly symbolic) integers that the bound shapes decide. No operands.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef dims_def{
    .name = "dims",
    .dialect = "bascule",
    .doc = "y[i] = value of dims[i] under the run's symbol bindings",
    .attrs = {{"dims", AttrKind::dims}, {"dtype", AttrKind::dtype}},
    .type =
        [](const OpView& op) {
          const DType t = op.attrs.dtype("dtype");
          op.require(is_int(t), "an integer element type", std::string(info(t).name));
          return std::vector<Type>{Type::tensor(t, {static_cast<int64_t>(op.attrs.dims("dims").size())})};
        },
    .reference = [](const Call& call) { return one(Tensor::vector_int(call.op.attrs.static_dims("dims"), call.op.attrs.dtype("dtype"))); },
    .symbolic = [](const OpView& op, std::span<const Dims* const>, const Type&) -> std::optional<Dims> { return op.attrs.dims("dims"); },
    .work = no_arithmetic(),
    .cases = {{.name = "two", .attrs = {{"dims", Dims{2, 3}}, {"dtype", DType::i64}}}},
};
BASCULE_OP(dims_def);

}  // namespace bascule::ops
