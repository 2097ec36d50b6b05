// ops/sequence_construct.cc — a sequence of the operands, in order.
#include "ops/sequence.h"

namespace bascule::ops {

const OpDef sequence_construct{
    .name = "sequence_construct",
    .dialect = "bascule",
    .doc = "y = [items...]; all of one kind and element type",
    .inputs = {{"items", DTypes::any, kVariadic}},
    .host = true,
    .type =
        [](const OpView& op) {
          if (op.inputs.empty()) op.fail("at least one item", "none");
          Type item = op.in(0);
          for (size_t i = 1; i < op.inputs.size(); ++i) {
            const auto t = join(item, op.in(i));
            if (!t) op.fail("items of one kind and element type", item.text() + " and " + op.in(i).text());
            item = *t;
          }
          return std::vector<Type>{Type::sequence(item)};
        },
    .reference = [](const Call& call) { return HostValues{HostValue::sequence({call.inputs.begin(), call.inputs.end()})}; },
};
BASCULE_OP(sequence_construct);

}  // namespace bascule::ops
