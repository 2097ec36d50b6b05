// ops/optional_construct.cc — an optional value, present or not.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef optional_construct{
    .name = "optional_construct",
    .dialect = "bascule",
    .doc = "y = the operand as a present optional; without an operand: absent",
    .inputs = {{"x", DTypes::any, kVariadic}},
    .host = true,
    .type =
        [](const OpView& op) {
          if (op.inputs.size() > 1) op.fail("at most one operand", std::to_string(op.inputs.size()));
          Type t = Type::optional(op.inputs.empty() ? Type::any() : op.in(0));
          if (op.inputs.empty()) t.elements.clear();
          return std::vector<Type>{std::move(t)};
        },
    .reference = [](const Call& call) { return HostValues{call.inputs.empty() ? HostValue::none() : HostValue::optional(call.inputs[0])}; },
};
BASCULE_OP(optional_construct);

}  // namespace bascule::ops
