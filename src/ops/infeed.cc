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
    .type = [](const OpView& op) { return std::vector<Type>{Type::tensor(op.attrs.dtype("dtype"), op.attrs.dims("dims")), Type::token()}; },
    .reference =
        [](const Call& call) {
          Collectives* c = collectives_of(call);
          if (!c) fail_unsupported(call.op.where, "an infeed", "none", "Give the values as inputs of the program");
          HostValues out = c->infeed();
          if (out.size() != 1 || !compatible(Type::of(out[0]), call.results[0]))
            fail_usage(call.op.where, call.results[0].text(), out.empty() ? "nothing" : Type::of(out[0]).text(), "Queue what the program takes");
          out.push_back(HostValue::token());
          return out;
        },
    .work = no_arithmetic(),
};
BASCULE_OP(infeed);

}  // namespace bascule::ops
