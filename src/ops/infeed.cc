// ops/infeed.cc — takes a tensor that the host queued, in the order of its token.
#include "base/error.h"
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef infeed{
    .name = "infeed",
    .doc = "the next tensor of the infeed, and a token",
    .inputs = {{"token", DTypes::any, kHostInput}},
    .attrs = {{"dims", AttrKind::dims}, {"dtype", AttrKind::dtype}, {"infeed_config", AttrKind::text, false, std::string()}},
    .host = true,
    .effect = true,
    .type = tensor_and_token,
    .reference =
        [](const Call& call) {
          Collectives* c = collectives_of(call);
          if (!c) fail_unsupported(call.op.where, "an infeed", "none", "Give the values as inputs of the program");
          return received(call, c->infeed(), "Queue what the program takes");
        },
    .work = no_arithmetic(),
};
BASCULE_OP(infeed);

}  // namespace bascule::ops
