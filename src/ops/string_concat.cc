// ops/string_concat.cc — two texts joined, elementwise with NumPy broadcasting.
#include "ops/rules.h"
#include "ops/text.h"

namespace bascule::ops {

const OpDef string_concat{
    .name = "string_concat",
    .dialect = "bascule",
    .doc = "z = x followed by y, shapes broadcast",
    .inputs = {{"x", DTypes::strings}, {"y", DTypes::strings}},
    .host = true,
    .type = [](const OpView& op) { return broadcast_type(op, DType::string); },
    .reference =
        [](const Call& call) {
          const Tensor &x = call.in(0), &y = call.in(1);
          Tensor z = call.result();
          auto& out = z.mutable_strings();
          for_each_pair(x, y, z.dims(), [&](int64_t i, int64_t a, int64_t b) { out[static_cast<size_t>(i)] = x.strings()[static_cast<size_t>(a)] + y.strings()[static_cast<size_t>(b)]; });
          return one(std::move(z));
        },
    .work = no_arithmetic(),
    .cases = {{.name = "broadcast", .build = [](Builder& b) { return Values{b.op("string_concat", {b.input(Type::tensor(DType::string, {2, 1})), b.input(Type::tensor(DType::string, {2}))})}; },
               .inputs = [] { return HostValues{Tensor::from_strings({2, 1}, {"a", "\xC3\xA9"}), Tensor::from_strings({2}, {"", "b"})}; }}},
};
BASCULE_OP(string_concat);

}  // namespace bascule::ops
