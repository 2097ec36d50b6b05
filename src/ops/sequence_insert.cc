// ops/sequence_insert.cc — a sequence with one more item.
#include "ops/sequence.h"

namespace bascule::ops {

const OpDef sequence_insert{
    .name = "sequence_insert",
    .dialect = "bascule",
    .doc = "y = x with `item` before `position` (negative: from the end; absent: at the end)",
    .inputs = {{"x", DTypes::any, kHostInput}, {"item", DTypes::any, kHostInput}, {"position", DTypes::ints, kOptional}},
    .host = true,
    .type =
        [](const OpView& op) {
          require_sequence(op, 0);
          if (op.in(0).kind == Type::Kind::any || op.in(0).elements.empty()) return std::vector<Type>{Type::sequence(with_symbols(op.in(1), {}))};
          const auto t = join(op.in(0).elements[0], op.in(1));
          if (!t) op.fail("an item like those of " + op.in(0).text(), op.in(1).text());
          return std::vector<Type>{Type::sequence(*t)};
        },
    .reference =
        [](const Call& call) {
          std::vector<HostValue> items = call.inputs[0].items();
          const auto n = static_cast<int64_t>(items.size());
          items.insert(items.begin() + (call.op.has(2) ? position(call, 2, n, true) : n), call.inputs[1]);
          return HostValues{HostValue::sequence(std::move(items))};
        },
};
BASCULE_OP(sequence_insert);

}  // namespace bascule::ops
