// ops/send.cc — gives values to a channel, in the order of its token.
#include "base/error.h"
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef send{
    .name = "send",
    .doc = "puts the operands before the token into channel channel_id; the result is a token",
    .inputs = {{"inputs", DTypes::any, kVariadicHost}},
    .attrs = {{"channel_id", AttrKind::integer, false, int64_t{0}},
              {"channel_type", AttrKind::integer, false, int64_t{0}},
              {"is_host_transfer", AttrKind::flag, false, false},
              {"source_target_pairs", AttrKind::tensor, false, false, true}},
    .host = true,
    .effect = true,
    .type = token_after_operands,
    .reference =
        [](const Call& call) {
          Collectives* c = collectives_of(call);
          if (!c) fail_unsupported(call.op.where, "another process to send to", "one process", "Run the program on the processes it was made for");
          c->send(call.op.attrs.integer("channel_id"), HostValues(call.inputs.begin(), call.inputs.end() - 1));
          return HostValues{HostValue::token()};
        },
    .work = no_arithmetic(),
};
BASCULE_OP(send);

}  // namespace bascule::ops
