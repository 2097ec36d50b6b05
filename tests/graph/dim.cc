// tests/graph/dim.cc — symbolic integers: one form per value, and values that agree with plain arithmetic.
#include "graph/dim.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace bascule {
namespace {

const Dim h = Dim::symbol("h"), w = Dim::symbol("w");

TEST(Dim, equal_expressions_are_equal_values) {
  EXPECT_EQ((h + 1) * (h - 1), h * h - 1);
  EXPECT_EQ(Dim::floor_div(h * w * 4, w * 2), h * 2);
  EXPECT_EQ(Dim::floor_div(h * 6 + 7, 3), h * 2 + 2);
  EXPECT_EQ(Dim::mod(h * 8, 4), Dim(0));
  EXPECT_EQ(Dim::floor_div(Dim::floor_div(h - 1, 4), 2), Dim::floor_div(h - 1, 8));
  EXPECT_EQ(Dim::broadcast(h, 1), h);
}

TEST(Dim, chains_of_strided_windows_stay_short) {
  Dim size = h;
  for (int i = 0; i < 40; ++i) size = Dim::floor_div(size - 1, 2) + 1;  // ceil(size / 2)
  EXPECT_LT(size.text().size(), 60u) << size.text();
}

TEST(Dim, division_agrees_with_plain_arithmetic) {
  for (int64_t k = 1; k < 5; ++k)
    for (int64_t m = 1; m < 5; ++m)
      for (int64_t r = -6; r < 7; ++r) {
        const Dim d = Dim::floor_div(Dim::floor_div(h * 3 + r, k) + r, m) + Dim::mod(h + r, m);
        for (int64_t x = 0; x < 20; ++x) {
          const auto floor = [](int64_t a, int64_t b) { return a / b - ((a % b != 0) && (a < 0)); };
          const int64_t want = floor(floor(3 * x + r, k) + r, m) + (x + r - m * floor(x + r, m));
          EXPECT_EQ(d.evaluate({{"h", x}}), want) << d.text() << " at h = " << x;
        }
      }
}

TEST(Dim, text_parses_back) {
  for (const Dim& d : {Dim(-7), h * 2 + 1, Dim::floor_div(h * 3 - 1, 7) * w, Dim::max(h, w) - Dim::min(h, 3), Dim::broadcast(h, w)}) {
    const auto back = Dim::parse(d.text());
    ASSERT_TRUE(back) << d.text();
    EXPECT_EQ(*back, d) << d.text();
  }
  EXPECT_FALSE(Dim::parse("2*"));
  EXPECT_FALSE(Dim::parse(std::string(1000, '(')));
}

TEST(Dim, overflow_and_division_by_zero_are_errors) {
  EXPECT_THROW(Dim(INT64_MAX) + 1, Error);
  EXPECT_THROW(h * INT64_MAX * 2, Error);
  EXPECT_THROW(Dim::floor_div(4, 0), Error);
}

}  // namespace
}  // namespace bascule
