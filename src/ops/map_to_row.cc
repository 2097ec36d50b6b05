// ops/map_to_row.cc — a map's values in the order of a vocabulary, as one row.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef map_to_row{
    .name = "map_to_row",
    .dialect = "bascule",
    .doc = "y[0, k] = m[vocabulary[k]], 0 or '' where m has no such key",
    .inputs = {{.name = "m", .kind = kHostInput}},
    .attrs = {{"vocabulary", AttrKind::tensor}},
    .host = true,
    .type =
        [](const OpView& op) {
          const Type& m = op.in(0);
          const Tensor& words = op.attrs.tensor("vocabulary");
          op.require(m.kind == Type::Kind::map && m.elements.size() == 1 && m.elements[0].is_tensor(), "a map to tensors", m.text());
          op.require(m.dtype == words.dtype(), "a map whose keys have the vocabulary's element type", m.text() + " and " + words.type_text());
          return std::vector<Type>{Type::tensor(m.elements[0].dtype, {Dim(1), Dim(words.elements())})};
        },
    .reference =
        [](const Call& call) {
          const HostValue& m = call.inputs[0];
          const Tensor &words = call.op.attrs.tensor("vocabulary"), &keys = m.keys();
          Tensor y = call.result();
          const HostValue& values = m.items().at(0);
          for (int64_t k = 0; k < words.elements(); ++k)
            for (int64_t i = 0; i < keys.elements(); ++i) {
              const auto a = static_cast<size_t>(k), c = static_cast<size_t>(i);
              if (is_string(words.dtype()) ? words.strings()[a] != keys.strings()[c] : words.integer(k) != keys.integer(i)) continue;
              if (values.is_tensor()) copy_element(values.tensor(), i, y, k);
              else copy_element(values.items().at(c).tensor(), 0, y, k);
            }
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{.name = "texts", .build = [](Builder& b) {
                 return Values{b.op("map_to_row", {b.input(Type::map(DType::string, Type::tensor(DType::f32, {})))}, {{"vocabulary", Tensor::from_strings({3}, {"a", "b", "c"})}})};
               },
               .inputs = [] { return HostValues{HostValue::map(Tensor::from_strings({2}, {"c", "a"}), Tensor::from_doubles(DType::f32, {2}, std::vector<double>{1, 2}))}; }}},
};
BASCULE_OP(map_to_row);

}  // namespace bascule::ops
