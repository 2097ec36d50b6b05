// ops/nonzero.cc — the indices of elements that are not zero; how many is known only after the run.
#include "base/budget.h"
#include "ops/rules.h"
#include "ops/walk.h"

namespace bascule::ops {

const OpDef nonzero{
    .name = "nonzero",
    .dialect = "bascule",
    .doc = "y[axis, j] = index along `axis` of the j-th element, in row-major order, that is not 0 (false, \"\"); i64[rank, n]",
    .inputs = {{"operand"}},
    .data_dependent = true,
    .type = [](const OpView& op) { return std::vector<Type>{Type::tensor(DType::i64, {static_cast<int64_t>(op.in(0).rank()), fresh_dim("nonzero")})}; },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const auto holds = [&x](int64_t i) {
            if (is_string(x.dtype())) return !x.strings()[static_cast<size_t>(i)].empty();
            if (is_complex(x.dtype())) return x.complex(i) != std::complex<double>(0);
            return is_float(x.dtype()) ? x.number(i) != 0 : x.integer(i) != 0;
          };
          int64_t n = 0;
          for (int64_t i = 0; i < x.elements(); ++i) {
            check_budget();
            n += holds(i);
          }
          Tensor y(DType::i64, {static_cast<int64_t>(x.rank()), n});
          const auto out = y.as_mutable<int64_t>();
          int64_t i = 0, j = 0;
          for (Walk w(x.dims(), std::vector<int64_t>(x.rank(), 0)); w; w.next(), ++i) {
            if (!holds(i)) continue;
            for (size_t a = 0; a < x.rank(); ++a) out[a * static_cast<size_t>(n) + static_cast<size_t>(j)] = w.index()[a];
            ++j;
          }
          return one(std::move(y));
        },
    .work =
        [](const OpView& op, std::span<const Type>) {
          Work w;
          w.compares = elements(op.in(0));
          w.bytes_read = bytes(op.in(0));
          return w;
        },
    .cases = {{.name = "some", .shapes = {{5, 4}}, .dtypes = {DType::i8}, .low = -1, .high = 1}, {.name = "empty", .shapes = {{0, 4}}}},
};
BASCULE_OP(nonzero);

}  // namespace bascule::ops
