// ops/reshape.cc — the same elements in row-major order under other dims.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef reshape{
    .name = "reshape",
    .doc = "y = x with dims `dims`; the element counts are equal",
    .inputs = {{"operand"}},
    .attrs = {{"dims", AttrKind::dims}},
    .type =
        [](const OpView& op) {
          const Type out = Type::tensor(op.in(0).dtype, op.attrs.dims("dims"));
          for (const Dim& d : out.dims) op.require(!d.is_constant() || d.value() >= 0, "dims of 0 or more", out.text());
          const Dim before = op.in(0).elements_count(), after = out.elements_count();
          if (before.is_constant() && after.is_constant() && !(before == after)) op.fail("a result of " + before.text() + " elements", out.text(), "C2");
          return std::vector<Type>{out};
        },
    .reference = [](const Call& call) { return one(call.in(0).reshaped(call.result_dims())); },
    .symbolic = [](const OpView&, std::span<const Dims* const> in, const Type&) -> std::optional<Dims> { return in[0] ? std::optional(*in[0]) : std::nullopt; },
    .work = no_arithmetic(),
    .cases = {{"flatten", {{2, 3, 4}}, {{"dims", Dims{24}}}}, {"scalar", {{1, 1}}, {{"dims", Dims{}}}}, {"empty", {{0, 3}}, {{"dims", Dims{3, 0, 2}}}}},
};
BASCULE_OP(reshape);

}  // namespace bascule::ops
