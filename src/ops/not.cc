// ops/not.cc — bitwise complement; logical for i1.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef not_def{
    .name = "not",
    .doc = "y = ~x",
    .inputs = {{"operand", DTypes::bools | DTypes::ints}},
    .type = same_as_input(0),
    .reference = elementwise(Unary{.ints = [](int64_t x, DType t) { return is_bool(t) ? int64_t{x == 0} : ~x; }}),
    .symbolic = [](const OpView& op, std::span<const Dims* const> in, const Type&) -> std::optional<Dims> {
      if (!in[0] || !is_bool(op.in(0).dtype)) return std::nullopt;
      Dims out;
      for (const Dim& d : *in[0]) out.push_back(Dim(1) - d);
      return out;
    },
    .work = per_element({.compares = 1}),
    .cases = unary_cases(DTypes::bools | DTypes::ints, 0, 100),
};
BASCULE_OP(not_def);

}  // namespace bascule::ops
