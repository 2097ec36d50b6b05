// ops/triangular_solve.cc — solves op(a) x = b or x op(a) = b for triangular a.
#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

using Complex = std::complex<double>;

std::vector<Type> solve_type(const OpView& op) {
  const Type &a = op.in(0), &b = op.in(1);
  if (a.dtype != b.dtype) op.fail("operands of one element type", a.text() + " and " + b.text(), "C1");
  if (a.rank() < 2 || a.rank() != b.rank()) op.fail("operands of one rank, 2 or more", a.text() + " and " + b.text(), "C2");
  const size_t r = a.rank();
  for (size_t i = 0; i + 2 < r; ++i) op.require_equal(a.dims[i], b.dims[i], "operands of one batch", "C3");
  op.require_equal(a.dims[r - 1], a.dims[r - 2], "square matrices a", "C3");
  op.require_equal(a.dims[r - 1], b.dims[op.attrs.flag("left_side") ? r - 2 : r - 1], "a and b that fit", "C3");
  const std::string& t = op.attrs.text("transpose_a");
  op.require(t == "NO_TRANSPOSE" || t == "TRANSPOSE" || t == "ADJOINT", "transpose_a NO_TRANSPOSE, TRANSPOSE or ADJOINT", "'" + escaped(t) + "'");
  return {b};
}

HostValues solve_reference(const Call& call) {
  const Tensor &a = call.in(0), &b = call.in(1);
  const bool left = call.op.attrs.flag("left_side"), unit = call.op.attrs.flag("unit_diagonal");
  const std::string& t = call.op.attrs.text("transpose_a");
  const bool transposed = t != "NO_TRANSPOSE", adjoint = t == "ADJOINT", complex = is_complex(a.dtype());
  const size_t r = a.rank();
  const int64_t n = a.dim(r - 1), rows = b.dim(r - 2), columns = b.dim(r - 1), m = left ? columns : rows;
  Tensor y = call.result();
  if (y.elements() == 0) return one(std::move(y));
  const auto load = [complex](const Tensor& x, int64_t i) { return complex ? x.complex(i) : Complex(x.number(i)); };
  std::vector<Complex> x(static_cast<size_t>(n));
  std::byte* out = y.mutable_data();
  // A row-vector equation x op(a) = b is op(a)^T x^T = b^T: one more transposition.
  const bool swap = transposed != !left;
  const bool lower = call.op.attrs.flag("lower") != swap;
  for (int64_t batch = 0; batch < b.elements() / (rows * columns); ++batch) {
    const auto coefficient = [&](int64_t i, int64_t j) {
      const Complex v = load(a, (batch * n + (swap ? j : i)) * n + (swap ? i : j));
      return adjoint ? std::conj(v) : v;
    };
    for (int64_t k = 0; k < m; ++k) {
      const auto at = [&](int64_t i) { return batch * rows * columns + (left ? i * columns + k : k * columns + i); };
      for (int64_t step = 0; step < n; ++step) {
        const int64_t i = lower ? step : n - 1 - step;
        Complex sum = load(b, at(i));
        for (int64_t j = lower ? 0 : i + 1; j < (lower ? i : n); ++j) {
          check_budget();
          sum -= coefficient(i, j) * x[static_cast<size_t>(j)];
        }
        x[static_cast<size_t>(i)] = unit ? sum : complex ? sum / coefficient(i, i) : Complex(sum.real() / coefficient(i, i).real());
      }
      for (int64_t i = 0; i < n; ++i) {
        if (complex) store_complex(y.dtype(), out, at(i), x[static_cast<size_t>(i)]);
        else store_double(y.dtype(), out, at(i), x[static_cast<size_t>(i)].real());
      }
    }
  }
  return one(std::move(y));
}

Attrs how(bool left, bool lower, std::string_view transpose) { return {{"left_side", left}, {"lower", lower}, {"unit_diagonal", true}, {"transpose_a", std::string(transpose)}}; }

}  // namespace

const OpDef triangular_solve{
    .name = "triangular_solve",
    .doc = "x with op(a) x = b (left_side) or x op(a) = b; only the triangle that `lower` names is read; op: transpose_a",
    .inputs = {{"a", DTypes::floats | DTypes::complexes}, {"b", DTypes::floats | DTypes::complexes}},
    .attrs = {{"left_side", AttrKind::flag}, {"lower", AttrKind::flag}, {"unit_diagonal", AttrKind::flag}, {"transpose_a", AttrKind::text}},
    .type = solve_type,
    .reference = solve_reference,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          w.multiply_adds = elements(op.in(1)) * static_cast<double>(op.in(0).dims.back().value()) / 2;
          w.divides = elements(op.in(1));
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"left_lower", {{2, 4, 4}, {2, 4, 3}}, how(true, true, "NO_TRANSPOSE")}, {"left_upper_transposed", {{4, 4}, {4, 3}}, how(true, false, "TRANSPOSE")}, {"right_upper", {{4, 4}, {3, 4}}, how(false, false, "NO_TRANSPOSE")}},
};
BASCULE_OP(triangular_solve);

}  // namespace bascule::ops
