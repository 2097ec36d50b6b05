// ops/unique.cc — distinct elements, or distinct slices along an axis; how many is known only after the run.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// -1, 0, 1; NaN is the largest and equals itself, as in NumPy.
int order(const Tensor& x, int64_t i, int64_t j) {
  const auto sign = [](auto a, auto b) { return a < b ? -1 : b < a ? 1 : 0; };
  const DType t = x.dtype();
  if (is_string(t)) return sign(x.strings()[static_cast<size_t>(i)], x.strings()[static_cast<size_t>(j)]);
  if (is_float(t)) {
    const double a = x.number(i), b = x.number(j);
    if (std::isnan(a) || std::isnan(b)) return sign(std::isnan(a), std::isnan(b));
    return sign(a, b);
  }
  if (is_complex(t)) {
    const auto a = x.complex(i), b = x.complex(j);
    const int real = sign(a.real(), b.real());
    return real != 0 ? real : sign(a.imag(), b.imag());
  }
  return t == DType::u64 ? sign(static_cast<uint64_t>(x.integer(i)), static_cast<uint64_t>(x.integer(j))) : sign(x.integer(i), x.integer(j));
}

HostValues unique_reference(const Call& call) {
  const bool flat = !call.op.attrs.has("axis");
  const Tensor x = flat ? call.in(0).reshaped({call.in(0).elements()}) : call.in(0);
  const auto axis = flat ? size_t{0} : static_cast<size_t>(call.op.attrs.integer("axis"));
  // Slice s holds elements (o * n + s) * inner + i for o < outer, i < inner.
  const int64_t n = x.dim(axis);
  int64_t outer = 1, inner = 1;
  for (size_t a = 0; a < x.rank(); ++a) (a < axis ? outer : a > axis ? inner : outer) *= a == axis ? 1 : x.dim(a);
  const auto compare = [&](int64_t a, int64_t b) {
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i) {
        const int c = order(x, (o * n + a) * inner + i, (o * n + b) * inner + i);
        if (c != 0) return c;
      }
    return 0;
  };
  std::vector<int64_t> sorted(static_cast<size_t>(n));
  std::iota(sorted.begin(), sorted.end(), 0);
  std::stable_sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) {
    check_budget();
    return compare(a, b) < 0;
  });
  std::vector<int64_t> first, counts, inverse(static_cast<size_t>(n));
  for (size_t k = 0; k < sorted.size(); ++k) {
    if (k == 0 || compare(sorted[k - 1], sorted[k]) != 0) {
      first.push_back(sorted[k]);
      counts.push_back(0);
    }
    ++counts.back();
    inverse[static_cast<size_t>(sorted[k])] = static_cast<int64_t>(first.size()) - 1;
  }
  if (!call.op.attrs.flag("sorted")) {  // by first appearance
    std::vector<int64_t> by(first.size()), place(first.size());
    std::iota(by.begin(), by.end(), 0);
    std::sort(by.begin(), by.end(), [&](int64_t a, int64_t b) { return first[static_cast<size_t>(a)] < first[static_cast<size_t>(b)]; });
    std::vector<int64_t> first_by, counts_by;
    for (size_t k = 0; k < by.size(); ++k) {
      place[static_cast<size_t>(by[k])] = static_cast<int64_t>(k);
      first_by.push_back(first[static_cast<size_t>(by[k])]);
      counts_by.push_back(counts[static_cast<size_t>(by[k])]);
    }
    for (int64_t& i : inverse) i = place[static_cast<size_t>(i)];
    first = std::move(first_by);
    counts = std::move(counts_by);
  }
  std::vector<int64_t> dims = x.dims();
  const auto u = static_cast<int64_t>(first.size());
  dims[axis] = u;
  Tensor y(x.dtype(), dims);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t s = 0; s < u; ++s)
      for (int64_t i = 0; i < inner; ++i) copy_element(x, (o * n + first[static_cast<size_t>(s)]) * inner + i, y, (o * u + s) * inner + i);
  return {y, Tensor::vector_int(first), Tensor::vector_int(inverse), Tensor::vector_int(counts)};
}

}  // namespace

const OpDef unique{
    .name = "unique",
    .dialect = "bascule",
    .doc = "distinct elements of x flattened (or slices along `axis`), ascending or by first appearance; index of the first of each; where each element went; counts",
    .inputs = {{"operand"}},
    .attrs = {{"axis", AttrKind::integer, false, int64_t{0}, true}, {"sorted", AttrKind::flag, false, true}},
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          const Dim n = fresh_dim("unique");
          Dims dims = {n};
          Dim all = op.in(0).elements_count();
          if (op.attrs.has("axis")) {
            const auto axis = static_cast<size_t>(require_axis(op, op.attrs.integer("axis"), op.in(0).rank(), "axis"));
            dims = op.in(0).dims;
            all = dims[axis];
            dims[axis] = n;
          }
          return std::vector<Type>{Type::tensor(op.in(0).dtype, dims), Type::tensor(DType::i64, {n}), Type::tensor(DType::i64, {all}), Type::tensor(DType::i64, {n})};
        },
    .reference = unique_reference,
    .work =
        [](const OpView& op, std::span<const Type>) {
          Work w;
          const double n = elements(op.in(0));
          w.compares = n * std::log2(std::max(n, 2.0));
          w.bytes_read = bytes(op.in(0));
          return w;
        },
    .cases = {{.name = "flat", .shapes = {{4, 5}}, .dtypes = {DType::i8}, .low = -3, .high = 3},
              {.name = "unsorted", .shapes = {{20}}, .attrs = {{"sorted", false}}, .dtypes = {DType::i8}, .low = -3, .high = 3},
              {.name = "slices", .shapes = {{2, 9}}, .attrs = {{"axis", int64_t{1}}}, .dtypes = {DType::i8}, .low = 0, .high = 1},
              {.name = "empty", .shapes = {{0}}}},
};
BASCULE_OP(unique);

}  // namespace bascule::ops
