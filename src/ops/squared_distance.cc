// ops/squared_distance.cc — squared Euclidean distances between the rows of two matrices, by differences: |a|^2 - 2 ab + |b|^2 would cancel.
#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef squared_distance{
    .name = "squared_distance",
    .dialect = "bascule",
    .doc = "y[i, j] = sum over f of (a[i, f] - b[j, f])^2",
    .inputs = {{"a", DTypes::floats}, {"b", DTypes::floats}},
    .type =
        [](const OpView& op) {
          const Type &a = op.in(0), &b = op.in(1);
          op.require(a.rank() == 2 && b.rank() == 2 && a.dtype == b.dtype, "two matrices of one element type", a.text() + " and " + b.text());
          op.require_equal(a.dims[1], b.dims[1], "rows of one length");
          return std::vector<Type>{Type::tensor(a.dtype, {a.dims[0], b.dims[0]})};
        },
    .reference =
        [](const Call& call) {
          const std::vector<double> a = call.in(0).doubles(), b = call.in(1).doubles();
          const auto rows = static_cast<size_t>(call.in(0).dim(0)), columns = static_cast<size_t>(call.in(1).dim(0)), features = static_cast<size_t>(call.in(0).dim(1));
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          for (size_t i = 0; i < rows; ++i)
            for (size_t j = 0; j < columns; ++j) {
              check_budget();
              double sum = 0;
              for (size_t f = 0; f < features; ++f) sum += (a[i * features + f] - b[j * features + f]) * (a[i * features + f] - b[j * features + f]);
              store_double(y.dtype(), out, static_cast<int64_t>(i * columns + j), sum);
            }
          return one(std::move(y));
        },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          const double products = elements(results[0]) * elements(Type::tensor(DType::f32, {op.in(0).dims[1]}));
          Work w{.multiply_adds = products, .adds = products};
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"small", {{2, 3}, {4, 3}}}, {"ragged", {{7, 129}, {5, 129}}}, {"no_features", {{2, 0}, {3, 0}}}, {"empty", {{0, 3}, {2, 3}}}},
};
BASCULE_OP(squared_distance);

}  // namespace bascule::ops
