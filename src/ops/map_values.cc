// ops/map_values.cc — a map's values as one row: in the order of the keys, or each at the place its key names.
#include <algorithm>
#include <numeric>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef map_values{
    .name = "map_values",
    .dialect = "bascule",
    .doc = "y[0, k] = the value of the k-th smallest key (width -1), or y[0, key] = m[key] with zeros between (integer keys in [0, width))",
    .inputs = {{.name = "m", .kind = kHostInput}},
    .attrs = {{"width", AttrKind::integer}},
    .host = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          const Type& m = op.in(0);
          const int64_t width = op.attrs.integer("width");
          op.require(m.kind == Type::Kind::map && m.elements.size() == 1 && m.elements[0].is_tensor(), "a map to tensors", m.text());
          op.require(width >= -1, "width of -1 or more", std::to_string(width));
          op.require(width < 0 || !is_string(m.dtype), "integer keys", m.text());
          return std::vector<Type>{Type::tensor(m.elements[0].dtype, {Dim(1), width < 0 ? fresh_dim("keys") : Dim(width)})};
        },
    .reference =
        [](const Call& call) {
          const HostValue& m = call.inputs[0];
          const Tensor& keys = m.keys();
          const int64_t width = call.op.attrs.integer("width"), count = keys.elements();
          Tensor y(call.results[0].dtype, {1, width < 0 ? count : width});
          std::vector<int64_t> order(static_cast<size_t>(count));
          std::iota(order.begin(), order.end(), 0);
          std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
            return is_string(keys.dtype()) ? keys.strings()[static_cast<size_t>(a)] < keys.strings()[static_cast<size_t>(b)] : keys.integer(a) < keys.integer(b);
          });
          const HostValue& values = m.items().at(0);
          int64_t at = 0;
          for (const int64_t i : order) {
            int64_t place = at++;
            if (width >= 0) {
              place = keys.integer(i);
              if (place < 0 || place >= width) fail_usage(call.op.where, "keys in [0, " + std::to_string(width) + ")", std::to_string(place), "Drop the key, or raise max_map in the model");
            }
            if (values.is_tensor()) copy_element(values.tensor(), i, y, place);
            else copy_element(values.items().at(static_cast<size_t>(i)).tensor(), 0, y, place);
          }
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{.name = "sparse", .build = [](Builder& b) { return Values{b.op("map_values", {b.input(Type::map(DType::i64, Type::tensor(DType::f32, {})))}, {{"width", int64_t{4}}})}; },
               .inputs = [] { return HostValues{HostValue::map(Tensor::vector_int(std::vector<int64_t>{3, 0}), Tensor::from_doubles(DType::f32, {2}, std::vector<double>{1, 2}))}; }}},
};
BASCULE_OP(map_values);

}  // namespace bascule::ops
