// What any device must pass first: run these while porting.
#include <gtest/gtest.h>

#include <cmath>

#include "device/device.h"
#include "graph/builder.h"
#include "runtime/session.h"

namespace bascule {
namespace {

class First : public testing::TestWithParam<std::string> {
 protected:
  Tensor run(Builder& b, Value out, HostValues in) { return runtime::Session::from_graph(b.finish({out}, {"y"}), {.device = GetParam()})->run(in)[0].tensor(); }
  static Tensor row(std::vector<double> v) { return Tensor::from_doubles(DType::f32, {static_cast<int64_t>(v.size())}, v); }
  static Tensor matrix(int64_t m, int64_t n, std::vector<double> v) { return Tensor::from_doubles(DType::f32, {m, n}, v); }
};

TEST_P(First, constant) {
  Builder b;
  EXPECT_EQ(run(b, b.constant(row({1, 2})), {}).doubles(), (std::vector<double>{1, 2}));
}
TEST_P(First, copy) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {3}), "x");
  EXPECT_EQ(run(b, x, {row({1, 2, 3})}).doubles(), (std::vector<double>{1, 2, 3}));
}
TEST_P(First, add) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {3}), "x");
  EXPECT_EQ(run(b, b.add(x, 1), {row({1, 2, 3})}).doubles(), (std::vector<double>{2, 3, 4}));
}
TEST_P(First, zero_size) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {0, 4}), "x");
  EXPECT_EQ(run(b, b.exp(x), {Tensor(DType::f32, {0, 4})}).dims(), (std::vector<int64_t>{0, 4}));
}
TEST_P(First, scalar) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {}), "x");
  EXPECT_EQ(run(b, b.multiply(x, x), {Tensor::scalar(DType::f32, 3)}).number(0), 9);
}
TEST_P(First, matmul) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {2, 3}), "x"), y = b.input(Type::tensor(DType::f32, {3, 1}), "y");
  EXPECT_EQ(run(b, b.matmul(x, y), {matrix(2, 3, {1, 2, 3, 4, 5, 6}), matrix(3, 1, {1, 10, 100})}).doubles(), (std::vector<double>{321, 654}));
}
TEST_P(First, sum_along_each_axis) {
  for (const int64_t axis : {0, 1}) {
    Builder b;
    const Value x = b.input(Type::tensor(DType::f32, {2, 2}), "x");
    EXPECT_EQ(run(b, b.sum(x, {axis}, false), {matrix(2, 2, {1, 2, 3, 4})}).doubles(), axis == 0 ? (std::vector<double>{4, 6}) : (std::vector<double>{3, 7}));
  }
}
TEST_P(First, softmax) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {1, 3}), "x");
  const Value e = b.exp(b.subtract(x, b.reduce("maximum", x, {1}, true)));
  const Tensor y = run(b, b.divide(e, b.sum(e, {1}, true)), {matrix(1, 3, {1, 2, 3})});
  EXPECT_NEAR(y.number(2), std::exp(2) / (1 + std::exp(1) + std::exp(2)), 1e-6);
}
TEST_P(First, transpose) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {2, 3}), "x");
  EXPECT_EQ(run(b, b.transpose(x, {1, 0}), {matrix(2, 3, {1, 2, 3, 4, 5, 6})}).doubles(), (std::vector<double>{1, 4, 2, 5, 3, 6}));
}
TEST_P(First, reverse_of_a_slice) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {5}), "x");
  EXPECT_EQ(run(b, b.reverse(b.slice_axis(x, 0, 1, 5, 2), {0}), {row({1, 2, 3, 4, 5})}).doubles(), (std::vector<double>{4, 2}));
}

INSTANTIATE_TEST_SUITE_P(Devices, First, testing::Values("reference", "cpu"), [](const auto& p) { return p.param; });

}  // namespace
}  // namespace bascule
