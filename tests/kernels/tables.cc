// Innermost loops: every instruction set this machine can run, against plain loops in double, at awkward sizes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "kernels/table.h"
#include "loops/interpret.h"

namespace bascule::kernels {
namespace {

std::vector<float> wave(size_t n, double step = 0.7, double size = 1) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = static_cast<float>(size * std::sin(step * static_cast<double>(i + 1)));
  return v;
}

template <class F>
void each_table(const F& f) {
  int count = 0;
  const Table* const* list = tables(&count);
  ASSERT_GE(count, 1);
  for (int i = 0; i < count; ++i) {
    SCOPED_TRACE(list[i]->isa);
    f(*list[i]);
  }
}

// Within K eps sum |a||b| of the exact product.
void check_product(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& c, int64_t m, int64_t n, int64_t k, bool transposed) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double want = 0, size = 0;
      for (int64_t p = 0; p < k; ++p) {
        const double t = static_cast<double>(a[static_cast<size_t>(i * k + p)]) * static_cast<double>(b[static_cast<size_t>(transposed ? j * k + p : p * n + j)]);
        want += t;
        size += std::abs(t);
      }
      ASSERT_NEAR(c[static_cast<size_t>(i * n + j)], want, (static_cast<double>(k) + 1) * 6e-8 * size + 1e-30) << m << "x" << k << "x" << n << " at " << i << "," << j;
    }
}

TEST(Kernels, matrix_products_of_every_instruction_set) {
  each_table([](const Table& t) {
    const auto& g = t.gemm_f32;
    for (const int64_t m : {int64_t{1}, int64_t{2}, g.mr - 1, g.mr, g.mr + 1, 2 * g.mr + 3})
      for (const int64_t n : {int64_t{1}, g.nr - 1, g.nr, g.nr + 1, 8 * g.nr + 5})
        for (const int64_t k : {1, 7, 65}) {
          const auto a = wave(static_cast<size_t>(m * k)), b = wave(static_cast<size_t>(n * k), 1.3);
          std::vector<float> c(static_cast<size_t>(m * n), -1);
          std::vector<float> panels(static_cast<size_t>((n + g.nr - 1) / g.nr * g.nr * k));
          g.pack(k, n, b.data(), n, 1, panels.data());
          g.panels(m, n, k, a.data(), k, 1, panels.data(), c.data(), n, false);
          check_product(a, b, c, m, n, k, false);
          g.pack(k, n, b.data(), 1, k, panels.data());
          g.panels(m, n, k, a.data(), k, 1, panels.data(), c.data(), n, false);
          check_product(a, b, c, m, n, k, true);
          g.direct(m, n, k, a.data(), k, 1, b.data(), n, c.data(), n, false);
          check_product(a, b, c, m, n, k, false);
          g.transposed(m, n, k, a.data(), k, b.data(), k, c.data(), n);
          check_product(a, b, c, m, n, k, true);
        }
  });
}

TEST(Kernels, functions_of_floats_are_within_a_few_units_of_the_last_place) {
  using loops::Op;
  each_table([](const Table& t) {
    for (const Op op : {Op::exponential, Op::log, Op::tanh, Op::logistic, Op::erf, Op::sqrt, Op::rsqrt, Op::floor, Op::ceil, Op::round_nearest_even, Op::round_nearest_afz, Op::sign, Op::negate, Op::abs}) {
      const bool positive = op == Op::log || op == Op::sqrt || op == Op::rsqrt;
      std::vector<float> x;
      for (double v = -30; v < 30; v += 0.0137) x.push_back(static_cast<float>(positive ? std::exp(v) : v));
      for (const float v : {0.0f, 1e-30f, 1e-42f, 0.5f, 1.5f, 2.5f, 88.0f, 100.0f, INFINITY, NAN}) x.push_back(v);
      std::vector<float> y(x.size());
      t.op(op, Hold::f32)(y.data(), x.data(), nullptr, nullptr, static_cast<int64_t>(x.size()));
      for (size_t i = 0; i < x.size(); ++i) {
        const double want = loops::apply(op, DType::f64, DType::f64, {static_cast<double>(x[i]), 0}, {}, {}).number, got = static_cast<double>(y[i]);
        if (std::isnan(want)) {
          EXPECT_TRUE(std::isnan(got)) << loops::name(op) << " of " << x[i];
        } else if (got != static_cast<double>(static_cast<float>(want))) {
          ASSERT_NEAR(got, want, 1e-6 * std::abs(want) + (op == Op::erf || op == Op::tanh || op == Op::log ? 3e-7 : 2e-45)) << loops::name(op) << " of " << x[i];
        }
      }
    }
  });
}

TEST(Kernels, half_floats_round_as_the_element_types_do) {
  each_table([](const Table& t) {
    std::vector<float> x = wave(4000, 0.37, 70000);
    for (double v = -26; v < 17; v += 0.01) x.push_back(static_cast<float>(std::exp2(v) * 1.00048828125));
    for (const float v : {0.0f, -0.0f, 65504.0f, 65519.9f, 65520.0f, 1e30f, INFINITY, -INFINITY, 5.96e-8f, 2.98e-8f}) x.push_back(v);
    for (const auto& [cell, type] : {std::pair(Cell::f16, DType::f16), std::pair(Cell::bf16, DType::bf16)}) {
      std::vector<uint16_t> h(x.size());
      std::vector<float> back(x.size());
      t.store(cell)(h.data(), 1, x.data(), static_cast<int64_t>(x.size()));
      t.load(cell)(back.data(), h.data(), 1, static_cast<int64_t>(x.size()));
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(static_cast<double>(back[i]), round_to(type, static_cast<double>(x[i]))) << info(type).name << " of " << x[i];
    }
  });
}

TEST(Kernels, folds_take_every_element_once) {
  each_table([](const Table& t) {
    for (const int64_t n : {0, 1, 15, 16, 17, 33, 512}) {
      std::vector<int32_t> x(static_cast<size_t>(n));
      int64_t sum = 0, got = 0, most = INT32_MIN, top = INT32_MIN;
      for (int64_t i = 0; i < n; ++i) {
        x[static_cast<size_t>(i)] = static_cast<int32_t>(i * 37 % 101 - 50);
        sum += x[static_cast<size_t>(i)];
        most = std::max<int64_t>(most, x[static_cast<size_t>(i)]);
      }
      t.fold(loops::Op::add, Hold::i32)(x.data(), n, &got);
      t.fold(loops::Op::maximum, Hold::i32)(x.data(), n, &top);
      EXPECT_EQ(got, sum);
      EXPECT_EQ(top, most);
    }
  });
}

TEST(Kernels, softmax_and_norm_of_rows) {
  each_table([](const Table& t) {
    for (const int64_t n : {1, 5, 16, 100, 1031}) {
      const auto x = wave(static_cast<size_t>(n), 0.7, 9);
      std::vector<float> y(x.size());
      t.softmax(x.data(), y.data(), n);
      double total = 0, mean = 0, square = 0;
      for (const float v : y) total += static_cast<double>(v);
      EXPECT_NEAR(total, 1, 1e-5);
      t.norm(x.data(), nullptr, nullptr, 1e-5f, false, y.data(), n);
      for (const float v : y) {
        mean += static_cast<double>(v) / static_cast<double>(n);
        square += static_cast<double>(v) * static_cast<double>(v) / static_cast<double>(n);
      }
      EXPECT_NEAR(mean, 0, 1e-5);
      if (n > 1) {
        EXPECT_NEAR(square, 1, 1e-3);
      }
    }
  });
}

}  // namespace
}  // namespace bascule::kernels
