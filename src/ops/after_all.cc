// ops/after_all.cc — a token that stands for all its operands: orders side effects.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef after_all{
    .name = "after_all",
    .doc = "a token after all the tokens given",
    .inputs = {{"inputs", DTypes::any, kVariadicHost}},
    .host = true,
    .type =
        [](const OpView& op) {
          for (const Type& t : op.inputs) op.require(t.kind == Type::Kind::token, "tokens", t.text());
          return std::vector<Type>{Type::token()};
        },
    .reference = [](const Call&) { return HostValues{HostValue::token()}; },
    .work = no_arithmetic(),
    .cases = {{.name = "none"}},
};
BASCULE_OP(after_all);

}  // namespace bascule::ops
