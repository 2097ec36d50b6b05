// ops/optional_get_element.cc — the value inside an optional.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef optional_get_element{
    .name = "optional_get_element",
    .dialect = "bascule",
    .doc = "y = the value inside x, which must be present; anything but an optional is its own",
    .inputs = {{"x", DTypes::any, kHostInput}},
    .host = true,
    .type =
        [](const OpView& op) {
          if (op.in(0).kind != Type::Kind::optional) return std::vector<Type>{op.in(0)};
          return std::vector<Type>{op.in(0).elements.empty() ? Type::any() : op.in(0).elements[0]};
        },
    .reference =
        [](const Call& call) {
          const HostValue& x = call.inputs[0];
          if (x.kind() != HostValue::Kind::optional) return HostValues{x};
          if (x.items().empty()) call.op.fail("a present optional", "an absent one");
          return HostValues{x.items()[0]};
        },
};
BASCULE_OP(optional_get_element);

}  // namespace bascule::ops
