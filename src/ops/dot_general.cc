// ops/dot_general.cc — batched matrix product over any axes.
#include <algorithm>
#include <complex>

#include "base/budget.h"
#include "ops/scalar_region.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

// Axes of an operand that are neither batch nor contracted, in order.
Ints free_axes(size_t rank, const Ints& batch, const Ints& contract) {
  Ints out;
  for (int64_t a = 0; a < static_cast<int64_t>(rank); ++a)
    if (std::find(batch.begin(), batch.end(), a) == batch.end() && std::find(contract.begin(), contract.end(), a) == contract.end()) out.push_back(a);
  return out;
}

std::vector<Type> dot_type(const OpView& op) {
  const Ints &lb = op.attrs.ints("lhs_batching_dimensions"), &rb = op.attrs.ints("rhs_batching_dimensions");
  const Ints &lc = op.attrs.ints("lhs_contracting_dimensions"), &rc = op.attrs.ints("rhs_contracting_dimensions");
  const Type &l = op.in(0), &r = op.in(1);
  if (lb.size() != rb.size()) op.fail("as many batching axes left as right", std::to_string(lb.size()) + " and " + std::to_string(rb.size()), "C1");
  if (lc.size() != rc.size()) op.fail("as many contracting axes left as right", std::to_string(lc.size()) + " and " + std::to_string(rc.size()), "C2");
  const auto joined = [](Ints a, const Ints& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  require_axes(op, joined(lb, lc), l.rank(), "lhs axes", "C3, C5, C6");
  require_axes(op, joined(rb, rc), r.rank(), "rhs axes", "C4, C7, C8");
  const auto same = [&](const Ints& a, const Ints& b, std::string_view label) {
    for (size_t i = 0; i < a.size(); ++i) {
      const Dim &x = l.dims[static_cast<size_t>(a[i])], &y = r.dims[static_cast<size_t>(b[i])];
      if (x.is_constant() && y.is_constant() && !(x == y)) op.fail("equal extents of lhs axis " + std::to_string(a[i]) + " and rhs axis " + std::to_string(b[i]), l.text() + " and " + r.text(), label);
    }
  };
  same(lb, rb, "C9");
  same(lc, rc, "C10");
  if (op.attrs.has("precision_config")) {
    const Texts& p = op.attrs.texts("precision_config");
    if (!p.empty() && p.size() != 2) op.fail("2 entries of precision_config", std::to_string(p.size()), "C11");
    for (const std::string& s : p) op.require(s == "DEFAULT" || s == "HIGH" || s == "HIGHEST", "precision DEFAULT, HIGH or HIGHEST", s, "C11");
  }
  const DType t = op.attrs.dtype("dtype");
  const auto kind = [](DType x) { return is_complex(x) ? 3 : is_float(x) ? 2 : is_bool(x) ? 0 : 1; };
  if (kind(l.dtype) > kind(t) || kind(r.dtype) > kind(t) || is_string(t)) op.fail("a result type that holds the operands' products", l.text() + " x " + r.text() + " -> " + std::string(info(t).name), "C13");
  Dims dims;
  for (size_t i = 0; i < lb.size(); ++i) {
    const Dim &x = l.dims[static_cast<size_t>(lb[i])], &y = r.dims[static_cast<size_t>(rb[i])];
    dims.push_back(x.is_constant() ? x : y.is_constant() ? y : x);
  }
  for (const int64_t a : free_axes(l.rank(), lb, lc)) dims.push_back(l.dims[static_cast<size_t>(a)]);
  for (const int64_t a : free_axes(r.rank(), rb, rc)) dims.push_back(r.dims[static_cast<size_t>(a)]);
  return {Type::tensor(t, dims)};
}

template <class T>
T load_as(DType t, const std::byte* p, int64_t i) {
  if constexpr (std::is_same_v<T, double>) return load_double(t, p, i);
  else if constexpr (std::is_same_v<T, uint64_t>) return static_cast<uint64_t>(load_int(t, p, i));
  else return is_complex(t) ? load_complex(t, p, i) : std::complex<double>(load_double(t, p, i));
}
template <class T>
void store_as(DType t, std::byte* p, int64_t i, T x) {
  if constexpr (std::is_same_v<T, double>) store_double(t, p, i, x);
  else if constexpr (std::is_same_v<T, uint64_t>) store_int(t, p, i, static_cast<int64_t>(x));
  else store_complex(t, p, i, x);
}
template <class T>
T round_as(DType t, T x) {
  if constexpr (std::is_same_v<T, double>) return t == DType::f32 ? static_cast<double>(static_cast<float>(x)) : round_to(t, x);
  else if constexpr (std::is_same_v<T, uint64_t>) return x;
  else return t == DType::c64 ? T(std::complex<float>(x)) : x;
}

// The elements of x with its axes in the given order, converted once.
template <class T>
std::vector<T> packed(const Tensor& x, std::initializer_list<const Ints*> order) {
  const std::vector<int64_t> strides = strides_of(x.dims());
  std::vector<int64_t> dims, steps;
  for (const Ints* axes : order)
    for (const int64_t a : *axes) {
      dims.push_back(x.dims()[static_cast<size_t>(a)]);
      steps.push_back(strides[static_cast<size_t>(a)]);
    }
  check_room(x.elements() * static_cast<int64_t>(sizeof(T)), "a matrix product's operand");
  std::vector<T> out;
  out.reserve(static_cast<size_t>(x.elements()));
  for (Walk w(dims, steps); w; w.next()) out.push_back(load_as<T>(x.dtype(), x.data(), w.offset()));
  return out;
}

int64_t extent(const Tensor& x, const Ints& axes) {
  int64_t n = 1;
  for (const int64_t a : axes) n *= x.dims()[static_cast<size_t>(a)];
  return n;
}

template <class T>
Tensor product_of(const Call& call) {
  const Attrs& a = call.op.attrs;
  const Ints &lb = a.ints("lhs_batching_dimensions"), &rb = a.ints("rhs_batching_dimensions"), &lc = a.ints("lhs_contracting_dimensions"), &rc = a.ints("rhs_contracting_dimensions");
  const Tensor &l = call.in(0), &r = call.in(1);
  const Ints lf = free_axes(l.rank(), lb, lc), rf = free_axes(r.rank(), rb, rc);
  const int64_t B = extent(l, lb), M = extent(l, lf), K = extent(l, lc), N = extent(r, rf);
  Tensor y = call.result();
  if (y.elements() == 0) return y;
  const std::vector<T> left = packed<T>(l, {&lb, &lf, &lc}), right = packed<T>(r, {&rb, &rc, &rf});
  const DType t = y.dtype();
  const bool each = call.context.accumulate == Accumulate::element && t != DType::f64 && t != DType::c128;
  const DType sum = is_float(t) && info(t).bits < 32 ? DType::f32 : t;  // sums of small floats are kept in f32, as every machine does
  std::byte* out = y.mutable_data();
  std::vector<T> row(static_cast<size_t>(N));
  for (int64_t b = 0; b < B; ++b)
    for (int64_t m = 0; m < M; ++m) {
      std::fill(row.begin(), row.end(), T{});
      for (int64_t k = 0; k < K; ++k) {
        check_budget();
        const T x = left[static_cast<size_t>((b * M + m) * K + k)];
        const T* w = right.data() + (b * K + k) * N;
        if (each)
          for (int64_t n = 0; n < N; ++n) row[static_cast<size_t>(n)] = round_as<T>(sum, row[static_cast<size_t>(n)] + round_as<T>(sum, x * w[n]));
        else
          for (int64_t n = 0; n < N; ++n) row[static_cast<size_t>(n)] += x * w[n];
      }
      for (int64_t n = 0; n < N; ++n) store_as<T>(t, out, (b * M + m) * N + n, row[static_cast<size_t>(n)]);
    }
  return y;
}

Attrs axes(Ints lb, Ints rb, Ints lc, Ints rc, DType t = DType::f32) {
  return {{"lhs_batching_dimensions", std::move(lb)}, {"rhs_batching_dimensions", std::move(rb)}, {"lhs_contracting_dimensions", std::move(lc)}, {"rhs_contracting_dimensions", std::move(rc)}, {"dtype", t}};
}

}  // namespace

const OpDef dot_general{
    .name = "dot_general",
    .doc = "y[batch, lhs free, rhs free] = sum over contracted axes of lhs * rhs, in the result type `dtype` (integers wrap)",
    .inputs = {{"lhs", DTypes::tensors}, {"rhs", DTypes::tensors}},
    .attrs = {{"lhs_batching_dimensions", AttrKind::ints, false, Ints{}},
              {"rhs_batching_dimensions", AttrKind::ints, false, Ints{}},
              {"lhs_contracting_dimensions", AttrKind::ints, false, Ints{}},
              {"rhs_contracting_dimensions", AttrKind::ints, false, Ints{}},
              {"precision_config", AttrKind::texts, false, Texts{}, true},
              {"algorithm", AttrKind::text, false, std::string(), true},  // a hint of how a device may compute it; kept as written
              {"dtype", AttrKind::dtype}},
    .type = dot_type,
    .reference =
        [](const Call& call) {
          const DType t = call.op.attrs.dtype("dtype");
          return one(is_complex(t) ? product_of<std::complex<double>>(call) : is_float(t) ? product_of<double>(call) : product_of<uint64_t>(call));
        },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          double k = 1;
          for (const int64_t a : op.attrs.ints("lhs_contracting_dimensions")) k *= static_cast<double>(op.in(0).dims[static_cast<size_t>(a)].value());
          w.multiply_adds = elements(results[0]) * k;
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"matrices", {{3, 5}, {5, 4}}, axes({}, {}, {1}, {0})},
              {"ragged", {{33, 65}, {65, 17}}, axes({}, {}, {1}, {0})},
              {"batched", {{2, 3, 5}, {2, 5, 4}}, axes({0}, {0}, {2}, {1})},
              {"batch_in_the_middle", {{3, 2, 5}, {5, 4, 2}}, axes({1}, {2}, {2}, {0})},
              {"two_contracted", {{3, 2, 5}, {2, 5, 4}}, axes({}, {}, {1, 2}, {0, 1})},
              {"outer", {{3}, {4}}, axes({}, {}, {}, {})},
              {"dot", {{7}, {7}}, axes({}, {}, {0}, {0})},
              {"nothing_to_sum", {{3, 0}, {0, 4}}, axes({}, {}, {1}, {0})},
              {"empty", {{0, 3}, {3, 4}}, axes({}, {}, {1}, {0})},
              {.name = "i8_to_i32", .shapes = {{3, 40}, {40, 4}}, .attrs = axes({}, {}, {1}, {0}, DType::i32), .dtypes = {DType::i8, DType::i8}, .low = -128, .high = 127},
              {.name = "bf16_to_f32", .shapes = {{3, 40}, {40, 4}}, .attrs = axes({}, {}, {1}, {0}), .dtypes = {DType::bf16, DType::bf16}},
              {.name = "f16", .shapes = {{3, 40}, {40, 4}}, .attrs = axes({}, {}, {1}, {0}, DType::f16), .dtypes = {DType::f16, DType::f16}}},
};
BASCULE_OP(dot_general);

}  // namespace bascule::ops
