// ops/pairwise_coupling.cc — class probabilities from those of each pair of classes (Wu, Lin and Weng 2004, second method), as SVM classifiers need them.
#include <algorithm>
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

constexpr int kRounds = 100;  // the published method's limit; it ends earlier when the largest change is below 0.005 / classes

// p minimises sum over i, j of (r[j,i] p[i] - r[i,j] p[j])^2 with sum p = 1, by fixed-point steps on Q p = (p' Q p) e.
void couple(const std::vector<double>& r, size_t k, std::vector<double>& p) {
  std::vector<double> q(k * k), qp(k);
  for (size_t i = 0; i < k; ++i) {
    p[i] = 1.0 / static_cast<double>(k);
    for (size_t j = 0; j < k; ++j)
      if (i != j) {
        q[i * k + i] += r[j * k + i] * r[j * k + i];
        q[i * k + j] = -r[j * k + i] * r[i * k + j];
      }
  }
  for (int round = 0; round < kRounds; ++round) {
    double pqp = 0, error = 0;
    for (size_t i = 0; i < k; ++i) {
      qp[i] = 0;
      for (size_t j = 0; j < k; ++j) qp[i] += q[i * k + j] * p[j];
      pqp += p[i] * qp[i];
    }
    for (size_t i = 0; i < k; ++i) error = std::max(error, std::abs(qp[i] - pqp));
    if (error < 0.005 / static_cast<double>(k)) break;
    for (size_t i = 0; i < k; ++i) {
      const double step = (pqp - qp[i]) / q[i * k + i];
      p[i] += step;
      pqp = (pqp + step * (step * q[i * k + i] + 2 * qp[i])) / (1 + step) / (1 + step);
      for (size_t j = 0; j < k; ++j) {
        qp[j] = (qp[j] + step * q[i * k + j]) / (1 + step);
        p[j] /= 1 + step;
      }
    }
  }
}

}  // namespace

const OpDef pairwise_coupling{
    .name = "pairwise_coupling",
    .dialect = "bascule",
    .doc = "p[n, c]: class probabilities that agree best with pair[n, (i,j)] = P(i | i or j), pairs i < j in order (0,1), (0,2), ...",
    .inputs = {{"pair", DTypes::floats}},
    .attrs = {{"classes", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          const int64_t k = op.attrs.integer("classes");
          op.require(k >= 2 && k < 65536, "classes in [2, 65536)", std::to_string(k));
          op.require(op.in(0).rank() == 2, "pair of shape [rows, pairs]", op.in(0).text());
          op.require_equal(op.in(0).dims[1], Dim(k * (k - 1) / 2), "classes (classes - 1) / 2 pairs");
          return std::vector<Type>{Type::tensor(op.in(0).dtype, {op.in(0).dims[0], Dim(k)})};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          Tensor y = call.result();
          const auto k = static_cast<size_t>(call.op.attrs.integer("classes"));
          std::vector<double> r(k * k), p(k);
          std::byte* out = y.mutable_data();
          for (int64_t n = 0; n < x.dim(0); ++n) {
            check_budget();
            int64_t at = n * x.dim(1);
            for (size_t i = 0; i < k; ++i)
              for (size_t j = i + 1; j < k; ++j, ++at) {
                r[i * k + j] = x.number(at);
                r[j * k + i] = 1 - r[i * k + j];
              }
            couple(r, k, p);
            for (size_t i = 0; i < k; ++i) store_double(y.dtype(), out, n * static_cast<int64_t>(k) + static_cast<int64_t>(i), p[i]);
          }
          return one(std::move(y));
        },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          const double k = static_cast<double>(op.attrs.integer("classes"));
          Work w{.multiply_adds = elements(results[0]) * k * 10};
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "three", .shapes = {{4, 3}}, .attrs = {{"classes", int64_t{3}}}, .low = 0.1, .high = 0.9}, {.name = "two", .shapes = {{2, 1}}, .attrs = {{"classes", int64_t{2}}}, .low = 0.1, .high = 0.9}},
};
BASCULE_OP(pairwise_coupling);

}  // namespace bascule::ops
