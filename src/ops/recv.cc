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
    .type = [](const OpView& op) { return std::vector<Type>{Type::tensor(op.attrs.dtype("dtype"), op.attrs.dims("dims")), Type::token()}; },
    .reference =
        [](const Call& call) {
          Collectives* c = collectives_of(call);
          if (!c)
            fail_unsupported(call.op.where, "another process to receive from", "one process", "Run the program on the processes it was made for");
          HostValues out = c->receive(call.op.attrs.integer("channel_id"));
          if (out.size() != 1 || !compatible(Type::of(out[0]), call.results[0]))
            fail_usage(call.op.where, call.results[0].text(), out.empty() ? "nothing" : Type::of(out[0]).text(), "Send what is received");
          out.push_back(HostValue::token());
          return out;
        },
    .work = no_arithmetic(),
};
BASCULE_OP(recv);

}  // namespace bascule::ops
