// ops/sequence_at.cc — one item of a sequence.
#include "ops/sequence.h"

namespace bascule::ops {

const OpDef sequence_at{
    .name = "sequence_at",
    .dialect = "bascule",
    .doc = "y = x[position]; negative: from the end",
    .inputs = {{"x", DTypes::any, kHostInput}, {"position", DTypes::ints}},
    .host = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          require_sequence(op, 0);
          return std::vector<Type>{item_type(op.in(0))};
        },
    .reference =
        [](const Call& call) {
          const auto& items = call.inputs[0].items();
          return HostValues{items[static_cast<size_t>(position(call, 1, static_cast<int64_t>(items.size()), false))]};
        },
};
BASCULE_OP(sequence_at);

}  // namespace bascule::ops
