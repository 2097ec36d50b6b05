// ops/outfeed.cc — gives values to the host's queue, in the order of its token.
#include "base/error.h"
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef outfeed{
    .name = "outfeed",
    .doc = "puts the operands before the token into the outfeed; the result is a token",
    .inputs = {{"inputs", DTypes::any, kVariadicHost}},
    .attrs = {{"outfeed_config", AttrKind::text, false, std::string()}},
    .host = true,
    .effect = true,
    .type = token_after_operands,
    .reference =
        [](const Call& call) {
          Collectives* c = collectives_of(call);
          if (!c) fail_unsupported(call.op.where, "an outfeed", "none", "Return the values as results of the program");
          c->outfeed(HostValues(call.inputs.begin(), call.inputs.end() - 1));
          return HostValues{HostValue::token()};
        },
    .work = no_arithmetic(),
};
BASCULE_OP(outfeed);

}  // namespace bascule::ops
