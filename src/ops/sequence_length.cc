// ops/sequence_length.cc — the number of items.
#include "ops/sequence.h"

namespace bascule::ops {

const OpDef sequence_length{
    .name = "sequence_length",
    .dialect = "bascule",
    .doc = "y = number of items of x, a scalar i64",
    .inputs = {{"x", DTypes::any, kHostInput}},
    .host = true,
    .type =
        [](const OpView& op) {
          require_sequence(op, 0);
          return std::vector<Type>{Type::tensor(DType::i64, {})};
        },
    .reference = [](const Call& call) { return one(Tensor::scalar_int(DType::i64, static_cast<int64_t>(call.inputs[0].items().size()))); },
};
BASCULE_OP(sequence_length);

}  // namespace bascule::ops
