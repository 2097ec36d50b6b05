// ops/cholesky.cc — triangular factor of symmetric (Hermitian) positive definite matrices.
#include <cmath>
#include <limits>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

using Complex = std::complex<double>;

HostValues cholesky_reference(const Call& call) {
  const Tensor& x = call.in(0);
  const bool lower = call.op.attrs.flag("lower"), complex = is_complex(x.dtype());
  Tensor y = call.result();
  const int64_t n = x.dim(x.rank() - 1), batch = n == 0 ? 0 : x.elements() / (n * n);
  std::vector<Complex> l(static_cast<size_t>(n * n));
  std::byte* out = y.mutable_data();
  for (int64_t b = 0; b < batch; ++b) {
    const auto a = [&](int64_t i, int64_t j) {  // lower triangle of A, read from the triangle that `lower` names
      const int64_t at = b * n * n + (lower ? i * n + j : j * n + i);
      const Complex v = complex ? x.complex(at) : Complex(x.number(at));
      return lower ? v : std::conj(v);
    };
    bool definite = true;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j <= i; ++j) {
        check_budget();
        Complex sum = a(i, j);
        for (int64_t k = 0; k < j; ++k) sum -= l[static_cast<size_t>(i * n + k)] * std::conj(l[static_cast<size_t>(j * n + k)]);
        if (i == j) definite &= sum.real() > 0;
        l[static_cast<size_t>(i * n + j)] = i == j ? Complex(std::sqrt(sum.real())) : sum / l[static_cast<size_t>(j * n + j)];
      }
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const bool inside = lower ? j <= i : j >= i;
        Complex v = !inside ? Complex(0) : lower ? l[static_cast<size_t>(i * n + j)] : std::conj(l[static_cast<size_t>(j * n + i)]);
        if (inside && !definite) v = std::numeric_limits<double>::quiet_NaN();
        if (complex) store_complex(y.dtype(), out, (b * n + i) * n + j, v);
        else store_double(y.dtype(), out, (b * n + i) * n + j, v.real());
      }
  }
  return one(std::move(y));
}

}  // namespace

const OpDef cholesky{
    .name = "cholesky",
    .doc = "lower: L with L L^H = a, else U with U^H U = a; the other triangle is 0; NaN if a is not positive definite",
    .inputs = {{"a", DTypes::floats | DTypes::complexes}},
    .attrs = {{"lower", AttrKind::flag, false, false}},
    .type =
        [](const OpView& op) {
          const Type& a = op.in(0);
          if (a.rank() < 2) op.fail("an operand of rank 2 or more", a.text(), "C2");
          op.require_equal(a.dims[a.rank() - 1], a.dims[a.rank() - 2], "square matrices", "C3");
          return std::vector<Type>{a};
        },
    .reference = cholesky_reference,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          const auto n = static_cast<double>(op.in(0).dims.back().value());
          w.multiply_adds = elements(op.in(0)) * n / 6;
          w.divides = elements(op.in(0)) / 2;
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "two", .shapes = {{2, 2}}, .attrs = {{"lower", true}}, .inputs = [] { return HostValues{Tensor::from_doubles(DType::f32, {2, 2}, std::vector<double>{4, 2, 2, 5})}; }}},
};
BASCULE_OP(cholesky);

}  // namespace bascule::ops
