// ops/recv.cc — takes a tensor from a channel, in the order of its token.
#include "base/error.h"
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef recv{
    .name = "recv",
    .doc = "the next tensor of channel channel_id, and a token",
    .inputs = {{"token", DTypes::any, kHostInput}},
    .attrs = {{"dims", AttrKind::dims},
              {"dtype", AttrKind::dtype},
              {"channel_id", AttrKind::integer, false, int64_t{0}},
              {"channel_type", AttrKind::integer, false, int64_t{0}},
              {"is_host_transfer", AttrKind::flag, false, false},
              {"source_target_pairs", AttrKind::tensor, false, false, true}},
    .host = true,
    .effect = true,
    .type = tensor_and_token,
    .reference =
        [](const Call& call) {
          Collectives* c = collectives_of(call);
          if (!c)
            fail_unsupported(call.op.where, "another process to receive from", "one process", "Run the program on the processes it was made for");
          return received(call, c->receive(call.op.attrs.integer("channel_id")), "Send what is received");
        },
    .work = no_arithmetic(),
};
BASCULE_OP(recv);

}  // namespace bascule::ops
