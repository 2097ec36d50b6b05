// ops/inverse.cc — inverses of square matrices.
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// Gauss-Jordan elimination with row pivots on [a | y], in place; a singular matrix gives infinities and NaN.
void invert(std::vector<double>& a, std::vector<double>& y, size_t n) {
  std::fill(y.begin(), y.end(), 0.0);
  for (size_t i = 0; i < n; ++i) y[i * n + i] = 1;
  for (size_t c = 0; c < n; ++c) {
    check_budget();
    size_t pivot = c;
    for (size_t r = c + 1; r < n; ++r)
      if (std::abs(a[r * n + c]) > std::abs(a[pivot * n + c])) pivot = r;
    for (size_t k = 0; k < n && pivot != c; ++k) {
      std::swap(a[pivot * n + k], a[c * n + k]);
      std::swap(y[pivot * n + k], y[c * n + k]);
    }
    const double d = a[c * n + c];
    for (size_t k = 0; k < n; ++k) {
      a[c * n + k] /= d;
      y[c * n + k] /= d;
    }
    for (size_t r = 0; r < n; ++r) {
      if (r == c) continue;
      const double f = a[r * n + c];
      for (size_t k = 0; k < n; ++k) {
        a[r * n + k] -= f * a[c * n + k];
        y[r * n + k] -= f * y[c * n + k];
      }
    }
  }
}

}  // namespace

const OpDef inverse{
    .name = "inverse",
    .dialect = "bascule",
    .doc = "y[..., :, :] = x[..., :, :]^-1",
    .inputs = {{"x", DTypes::floats}},
    .type =
        [](const OpView& op) {
          const Type& x = op.in(0);
          op.require(x.rank() >= 2, "x of rank 2 or more", x.text());
          op.require_equal(x.dims[x.rank() - 1], x.dims[x.rank() - 2], "square matrices");
          return std::vector<Type>{x};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          Tensor out = call.result();
          const auto n = static_cast<size_t>(x.dims().back());
          std::vector<double> a(n * n), y(n * n);
          std::byte* to = out.mutable_data();
          for (int64_t at = 0; n > 0 && at < x.elements(); at += static_cast<int64_t>(n * n)) {
            for (size_t i = 0; i < n * n; ++i) a[i] = x.number(at + static_cast<int64_t>(i));
            invert(a, y, n);
            for (size_t i = 0; i < n * n; ++i) store_double(out.dtype(), to, at + static_cast<int64_t>(i), y[i]);
          }
          return one(std::move(out));
        },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          const double n = elements(Type::tensor(DType::f32, {results[0].dims.back()}));
          Work w{.multiply_adds = 2 * n * elements(results[0])};
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"pair", {{2, 3, 3}}}, {"one", {{1, 1}}}, {"empty", {{0, 2, 2}}}},
};
BASCULE_OP(inverse);

}  // namespace bascule::ops
