// ops/optional_has_element.cc — whether an optional value is present.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef optional_has_element{
    .name = "optional_has_element",
    .dialect = "bascule",
    .doc = "y = x is present (anything but an optional is), a scalar i1",
    .inputs = {{"x", DTypes::any, kHostInput}},
    .host = true,
    .type = [](const OpView&) { return std::vector<Type>{Type::tensor(DType::i1, {})}; },
    .reference =
        [](const Call& call) {
          const HostValue& x = call.inputs[0];
          return one(Tensor::scalar_int(DType::i1, x.kind() != HostValue::Kind::optional || !x.items().empty()));
        },
};
BASCULE_OP(optional_has_element);

}  // namespace bascule::ops
