// tests/ops/hostile_values_test.cc — empty, infinite and not-a-number operands of operators that compute addresses from values.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/evaluate.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

HostValues run(std::string_view op, const HostValues& inputs, Attrs attrs) {
  Builder b;
  b.blame = ErrorKind::usage;
  Values operands;
  for (const HostValue& v : inputs) operands.push_back(b.input(Type::of(v)));
  const Values out = b.ops(op, operands, std::move(attrs));
  EvalContext context;
  return evaluate(b.finish(out), inputs, context);
}
Tensor f32(std::vector<int64_t> dims, std::vector<double> v) { return Tensor::from_doubles(DType::f32, std::move(dims), v); }
const double kInf = HUGE_VAL, kNan = std::nan("");

TEST(HostileValues, regions_of_an_empty_picture_are_zero) {
  const Attrs size{{"output_height", int64_t{1}}, {"output_width", int64_t{1}}};
  const Tensor y = run("roi_align", {Tensor(DType::f32, {1, 1, 0, 0}), f32({1, 4}, {0, 0, 0, 0}), Tensor::vector_int(std::vector<int64_t>{0})}, size)[0].tensor();
  EXPECT_EQ(y.number(0), 0);
  EXPECT_EQ(run("max_roi_pool", {Tensor(DType::f32, {1, 1, 0, 0}), f32({1, 5}, {0, 0, 0, kInf, kInf})}, size)[0].tensor().number(0), 0);
}
TEST(HostileValues, regions_turned_inside_out_are_zero) {
  const Attrs size{{"output_height", int64_t{1}}, {"output_width", int64_t{1}}, {"half_pixel", true}};
  const Tensor x = f32({1, 1, 2, 2}, {1, 2, 3, 4}), rois = f32({1, 4}, {3e38, 3e38, -3e38, -3e38});
  const Tensor y = run("roi_align", {x, rois, Tensor::vector_int(std::vector<int64_t>{0})}, size)[0].tensor();
  EXPECT_EQ(y.number(0), 0);
}
TEST(HostileValues, corners_that_are_no_numbers_are_refused) {
  const Attrs size{{"output_height", int64_t{1}}, {"output_width", int64_t{1}}};
  EXPECT_THROW(run("max_roi_pool", {f32({1, 1, 2, 2}, {1, 2, 3, 4}), f32({1, 5}, {0, kNan, 0, 1, 1})}, size), Error);
  EXPECT_THROW(run("max_roi_pool", {f32({1, 1, 2, 2}, {1, 2, 3, 4}), f32({1, 5}, {1, 0, 0, 1, 1})}, size), Error);
  EXPECT_THROW(run("roi_align", {f32({1, 1, 2, 2}, {1, 2, 3, 4}), f32({1, 4}, {0, 0, kInf, 1}), Tensor::vector_int(std::vector<int64_t>{0})}, size), Error);
}
TEST(HostileValues, positions_at_infinity_read_nothing) {
  const Tensor x = f32({1, 1, 2, 2}, {1, 2, 3, 4});
  for (const char* padding : {"zeros", "border", "reflection"})
    for (const char* mode : {"linear", "nearest", "cubic"})
      for (const double p : {kInf, -kInf, kNan, 1e300})
        EXPECT_NO_THROW(run("grid_sample", {x, f32({1, 1, 1, 2}, {p, p})}, {{"mode", std::string(mode)}, {"padding_mode", std::string(padding)}}));
  const Tensor y = run("deform_conv", {x, f32({1, 1, 1, 1}, {1}), f32({1, 2, 2, 2}, {kInf, kNan, -kInf, 1e300, 0, 0, 0, 0})}, {})[0].tensor();
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(y.number(i), 0);
}
TEST(HostileValues, indices_of_every_extreme_are_clamped_or_dropped) {
  const Attrs rows{{"offset_dims", Ints{}}, {"collapsed_slice_dims", Ints{0}}, {"start_index_map", Ints{0}}, {"index_vector_dim", int64_t{1}}, {"slice_sizes", Dims{1}}};
  const Tensor ends = Tensor::vector_int(std::vector<int64_t>{INT64_MIN, INT64_MAX, -1});
  EXPECT_TRUE(run("gather", {f32({3}, {5, 6, 7}), ends}, rows)[0].tensor().identical(f32({3}, {5, 7, 5})));
  EXPECT_TRUE(run("gather", {f32({3}, {5, 6, 7}), ends.retyped(DType::u64)}, rows)[0].tensor().identical(f32({3}, {7, 7, 7})));
}

}  // namespace
}  // namespace bascule::ops
