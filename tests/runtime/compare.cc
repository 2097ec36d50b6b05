// tests/runtime/compare.cc — the two measures of error, and what is never within a tolerance.
#include "runtime/compare.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bascule::runtime {
namespace {

Tensor f32(std::vector<double> v) { return Tensor::from_doubles(DType::f32, {static_cast<int64_t>(v.size())}, v); }

TEST(Compare, relative_error_is_over_the_largest_expected_value) {
  const Difference d = compare(f32({1, 2.5, 0.1}), f32({1, 2, 0}), Tolerance::relative(0.2));
  EXPECT_FALSE(d.same);
  EXPECT_DOUBLE_EQ(d.error, 0.25);
  EXPECT_NE(d.message.find("worst at [1]: got 2.5, want 2"), std::string::npos) << d.message;
  EXPECT_TRUE(compare(f32({1, 2.5, 0.1}), f32({1, 2, 0}), Tolerance::relative(0.25)).same);
}

TEST(Compare, allclose_judges_each_element_by_its_own_size) {
  EXPECT_TRUE(compare(f32({100.05}), f32({100}), Tolerance::allclose(1e-3, 0)).same);
  const Difference d = compare(f32({100.05, 0.001}), f32({100, 0}), Tolerance::allclose(1e-3, 1e-4));
  EXPECT_FALSE(d.same);
  EXPECT_NE(d.message.find("worst at [1]"), std::string::npos) << d.message;
}

TEST(Compare, nan_equals_nan_and_infinities_must_agree) {
  const double inf = INFINITY;
  EXPECT_TRUE(compare(f32({NAN, inf, -inf}), f32({NAN, inf, -inf}), Tolerance::relative(0)).same);
  EXPECT_FALSE(compare(f32({inf}), f32({-inf}), Tolerance::allclose(1, 1)).same);
  EXPECT_FALSE(compare(f32({0}), f32({NAN}), Tolerance::allclose(1, 1)).same);
}

TEST(Compare, types_and_dims_must_agree_and_integers_match_exactly) {
  EXPECT_FALSE(compare(f32({1}), Tensor::scalar(DType::f32, 1), Tolerance::relative(1)).same);
  EXPECT_FALSE(compare(Tensor::scalar(DType::i64, 1000001), Tensor::scalar(DType::i64, 1000000), Tolerance::relative(0.1)).same);
  EXPECT_FALSE(compare(Tensor::scalar_int(DType::i64, INT64_MAX), Tensor::scalar_int(DType::i64, INT64_MAX - 1), Tolerance::relative(0.1)).same);
  EXPECT_TRUE(compare(Tensor::scalar(DType::i64, 11), Tensor::scalar(DType::i64, 10), Tolerance::allclose(0.1, 0)).same);
}

TEST(Compare, sequences_name_the_part_and_maps_ignore_the_order_of_keys) {
  const auto seq = [](double x) { return HostValue::sequence({Tensor::scalar(DType::f32, 1), Tensor::scalar(DType::f32, x)}); };
  EXPECT_NE(compare(seq(2), seq(3), Tolerance::relative(0.01)).message.find("part 1"), std::string::npos);
  const auto map = [](int64_t a, int64_t b) {
    const int64_t keys[] = {a, b};
    return HostValue::map(Tensor::vector_int(keys), f32({double(a), double(b)}));
  };
  EXPECT_TRUE(compare(map(1, 2), map(2, 1), Tolerance::relative(0)).same);
  EXPECT_FALSE(compare(map(1, 2), map(1, 3), Tolerance::relative(0)).same);
}

}  // namespace
}  // namespace bascule::runtime
