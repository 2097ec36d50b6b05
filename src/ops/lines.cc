// ops/lines.cc — lines of a tensor along one axis.
#include "ops/lines.h"

#include "base/budget.h"

namespace bascule::ops {

std::vector<Type> line_type(const OpView& op) {
  require_axis(op, op.attrs.integer("axis"), op.in(0).rank(), "axis");
  return {op.in(0)};
}

Reference on_lines(void (*f)(std::span<double>)) {
  return [f](const Call& call) {
    const Tensor& x = call.in(0);
    Tensor y = call.result();
    const auto axis = static_cast<size_t>(call.op.attrs.integer("axis"));
    const int64_t n = x.dim(axis), inner = strides_of(x.dims())[axis], lines = n == 0 ? 0 : x.elements() / n;
    std::vector<double> line(static_cast<size_t>(n));
    std::byte* out = y.mutable_data();
    for (int64_t l = 0; l < lines; ++l) {
      check_budget();
      const int64_t start = l / inner * n * inner + l % inner;
      for (int64_t i = 0; i < n; ++i) line[static_cast<size_t>(i)] = x.number(start + i * inner);
      f(line);
      for (int64_t i = 0; i < n; ++i) store_double(y.dtype(), out, start + i * inner, line[static_cast<size_t>(i)]);
    }
    return one(std::move(y));
  };
}

std::vector<Case> line_cases() {
  return {{"last", {{2, 3}}, {{"axis", int64_t{1}}}},
          {"first", {{5, 4}}, {{"axis", int64_t{0}}}},
          {"middle", {{3, 7, 5}}, {{"axis", int64_t{1}}}, {}, -5, 5},
          {"ragged", {{7, 129}}, {{"axis", int64_t{1}}}, {}, -20, 20},
          {"one", {{3, 1}}, {{"axis", int64_t{1}}}},
          {"empty", {{0, 3}}, {{"axis", int64_t{1}}}},
          {"bf16", {{3, 33}}, {{"axis", int64_t{1}}}, {DType::bf16}},
          {"f64", {{3, 33}}, {{"axis", int64_t{1}}}, {DType::f64}}};
}

}  // namespace bascule::ops
