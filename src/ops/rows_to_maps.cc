// ops/rows_to_maps.cc — each row of a matrix as a map from column keys to values.
#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef rows_to_maps{
    .name = "rows_to_maps",
    .dialect = "bascule",
    .doc = "y[n] = the map keys[k] -> x[n, k]",
    .inputs = {{"x"}},
    .attrs = {{"keys", AttrKind::tensor}},
    .host = true,
    .type =
        [](const OpView& op) {
          const Type& x = op.in(0);
          const Tensor& keys = op.attrs.tensor("keys");
          op.require(x.ranked && x.rank() == 2, "x of shape [rows, keys]", x.text());
          op.require_equal(x.dims[1], Dim(keys.elements()), "a key for each column");
          return std::vector<Type>{Type::sequence(Type::map(keys.dtype(), Type::tensor(x.dtype, {})))};
        },
    .reference =
        [](const Call& call) {
          const Tensor &x = call.in(0), &keys = call.op.attrs.tensor("keys");
          std::vector<HostValue> rows;
          for (int64_t n = 0; n < x.dim(0); ++n) {
            check_budget();
            Tensor values(x.dtype(), {x.dim(1)});
            for (int64_t k = 0; k < x.dim(1); ++k) copy_element(x, n * x.dim(1) + k, values, k);
            rows.push_back(HostValue::map(keys.reshaped({keys.elements()}), std::move(values)));
          }
          return HostValues{HostValue::sequence(std::move(rows))};
        },
    .work = no_arithmetic(),
    .cases = {{.name = "two", .shapes = {{3, 2}}, .attrs = {{"keys", Tensor::vector_int(std::vector<int64_t>{5, 7})}}}},
};
BASCULE_OP(rows_to_maps);

}  // namespace bascule::ops
