// ops/sequence_erase.cc — a sequence without one of its items.
#include "ops/sequence.h"

namespace bascule::ops {

const OpDef sequence_erase{
    .name = "sequence_erase",
    .dialect = "bascule",
    .doc = "y = x without the item at `position` (negative: from the end; absent: the last)",
    .inputs = {{"x", DTypes::any, kHostInput}, {"position", DTypes::ints, kOptional}},
    .host = true,
    .type =
        [](const OpView& op) {
          require_sequence(op, 0);
          return std::vector<Type>{op.in(0)};
        },
    .reference =
        [](const Call& call) {
          std::vector<HostValue> items = call.inputs[0].items();
          const auto n = static_cast<int64_t>(items.size());
          if (n == 0) call.op.fail("a sequence of one item or more", "an empty one");
          items.erase(items.begin() + (call.op.has(1) ? position(call, 1, n, false) : n - 1));
          return HostValues{HostValue::sequence(std::move(items))};
        },
};
BASCULE_OP(sequence_erase);

}  // namespace bascule::ops
