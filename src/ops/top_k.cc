// ops/top_k.cc — the k largest elements along the last axis, with their indices.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/budget.h"
#include "ops/integer.h"
#include "ops/ordering.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef top_k{
    .name = "top_k",
    .dialect = "chlo",
    .doc = "values, indices (i32) of the k largest elements of each row, largest first, equal ones by index; floats in IEEE total order",
    .inputs = {{"operand", DTypes::reals | DTypes::bools}},
    .attrs = {{"k", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          Type values = op.in(0);
          const int64_t k = op.attrs.integer("k");
          op.require(values.rank() >= 1, "an operand of rank 1 or more", values.text());
          const bool enough = k >= 0 && (!values.dims.back().is_constant() || k <= values.dims.back().value());
          op.require(enough, "k in [0, last extent of " + values.text() + "]", std::to_string(k));
          values.dims.back() = k;
          Type indices = values;
          indices.dtype = DType::i32;
          return std::vector<Type>{values, indices};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const DType t = x.dtype();
          Tensor values = call.result(0), indices = call.result(1);
          const int64_t n = x.dims().back(), k = call.op.attrs.integer("k"), rows = n == 0 ? 0 : x.elements() / n;
          std::vector<int64_t> order(static_cast<size_t>(n));
          std::byte* at = indices.mutable_data();
          for (int64_t r = 0; r < rows; ++r) {
            check_budget();
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
              if (is_float(t)) return total_order(x.number(r * n + a), x.number(r * n + b)) > 0;
              return less_ints(x.integer(r * n + b), x.integer(r * n + a), t);
            });
            for (int64_t j = 0; j < k; ++j) {
              copy_element(x, r * n + order[static_cast<size_t>(j)], values, r * k + j);
              store_int(DType::i32, at, r * k + j, order[static_cast<size_t>(j)]);
            }
          }
          return HostValues{std::move(values), std::move(indices)};
        },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          const double n = elements(op.in(0));
          w.compares = n * std::log2(std::max(2.0, static_cast<double>(op.attrs.integer("k"))));
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"rows", {{5, 7}}, {{"k", 3}}},
              {"ties", {{4, 33}}, {{"k", 33}}, {DType::i8}, -3, 3},
              {"vector", {{6}}, {{"k", 1}}, {DType::bf16}},
              {"none", {{3, 5}}, {{"k", 0}}},
              {"unsigned", {{3, 5}}, {{"k", 2}}, {DType::u64}, 0, 9}},
};
BASCULE_OP(top_k);

}  // namespace bascule::ops
