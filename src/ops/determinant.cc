// ops/determinant.cc — determinants of square matrices.
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef determinant{
    .name = "determinant",
    .dialect = "bascule",
    .doc = "y[batch] = determinant of x[batch, :, :], by elimination with row exchange",
    .inputs = {{"x", DTypes::floats}},
    .type =
        [](const OpView& op) {
          const Type& x = op.in(0);
          if (x.rank() < 2) op.fail("an operand of rank 2 or more", x.text());
          op.require_equal(x.dims[x.rank() - 1], x.dims[x.rank() - 2], "square matrices");
          return std::vector<Type>{Type::tensor(x.dtype, Dims(x.dims.begin(), x.dims.end() - 2))};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const int64_t n = x.dim(x.rank() - 1);
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          std::vector<double> m(static_cast<size_t>(n * n));
          const auto at = [&](int64_t i, int64_t j) -> double& { return m[static_cast<size_t>(i * n + j)]; };
          for (int64_t b = 0; b < y.elements(); ++b) {
            for (int64_t i = 0; i < n * n; ++i) m[static_cast<size_t>(i)] = x.number(b * n * n + i);
            double product = 1;
            for (int64_t k = 0; k < n; ++k) {
              int64_t pivot = k;
              for (int64_t i = k + 1; i < n; ++i)
                if (std::fabs(at(i, k)) > std::fabs(at(pivot, k))) pivot = i;
              if (pivot != k) {
                for (int64_t j = 0; j < n; ++j) std::swap(at(k, j), at(pivot, j));
                product = -product;
              }
              product *= at(k, k);
              if (at(k, k) == 0) break;
              for (int64_t i = k + 1; i < n; ++i) {
                const double f = at(i, k) / at(k, k);
                for (int64_t j = k; j < n; ++j) {
                  check_budget();
                  at(i, j) -= f * at(k, j);
                }
              }
            }
            store_double(y.dtype(), out, b, product);
          }
          return one(std::move(y));
        },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          w.multiply_adds = elements(op.in(0)) * static_cast<double>(op.in(0).dims.back().value()) / 3;
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"batch", {{3, 4, 4}}}, {"one", {{1, 1}}}, {"two", {{2, 2}}}},
};
BASCULE_OP(determinant);

}  // namespace bascule::ops
