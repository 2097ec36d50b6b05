// ops/string_equal.cc — whether two texts have the same bytes, elementwise with NumPy broadcasting.
#include "ops/rules.h"
#include "ops/text.h"

namespace bascule::ops {

const OpDef string_equal{
    .name = "string_equal",
    .dialect = "bascule",
    .doc = "z = (x = y) byte by byte, shapes broadcast",
    .inputs = {{"x", DTypes::strings}, {"y", DTypes::strings}},
    .host = true,
    .type = [](const OpView& op) { return broadcast_type(op, DType::i1); },
    .reference =
        [](const Call& call) {
          const Tensor &x = call.in(0), &y = call.in(1);
          Tensor z = call.result();
          std::byte* out = z.mutable_data();
          for_each_pair(x, y, z.dims(), [&](int64_t i, int64_t a, int64_t b) { store_int(DType::i1, out, i, x.strings()[static_cast<size_t>(a)] == y.strings()[static_cast<size_t>(b)]); });
          return one(std::move(z));
        },
    .work = per_element({.compares = 1}),
    .cases = {{.name = "broadcast", .build = [](Builder& b) { return Values{b.op("string_equal", {b.input(Type::tensor(DType::string, {2, 1})), b.input(Type::tensor(DType::string, {2}))})}; },
               .inputs = [] { return HostValues{Tensor::from_strings({2, 1}, {"a", "b"}), Tensor::from_strings({2}, {"b", "c"})}; }}},
};
BASCULE_OP(string_equal);

}  // namespace bascule::ops
