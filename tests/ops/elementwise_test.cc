// tests/ops/elementwise_test.cc — references where C++ or hardware would differ: integer edges, casts, order of NaN and zeros, shifts.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "graph/builder.h"
#include "graph/evaluate.h"

namespace bascule {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor run(std::string_view op, const std::vector<Tensor>& in, Attrs attrs = {}) {
  Builder b;
  b.fold = false;
  Values operands;
  HostValues values;
  for (const Tensor& t : in) {
    operands.push_back(b.input(Type::tensor(t.dtype(), to_dims(t.dims()))));
    values.push_back(t);
  }
  const Graph g = b.finish({b.op(op, operands, std::move(attrs))});
  EvalContext context;
  return evaluate(g, values, context)[0].tensor();
}
Tensor numbers(DType t, std::vector<double> v) { return Tensor::from_doubles(t, {static_cast<int64_t>(v.size())}, v); }
Tensor ints(DType t, Ints v) { return Tensor::from_ints(t, {static_cast<int64_t>(v.size())}, v); }

TEST(Elementwise, integer_division_truncates_and_is_total) {
  EXPECT_EQ(run("divide", {ints(DType::i8, {17, -17, 17, -17, 5, -128}), ints(DType::i8, {3, 3, -3, -3, 0, -1})}).ints(), (Ints{5, -5, -5, 5, -1, -128}));
  EXPECT_EQ(run("remainder", {ints(DType::i8, {17, -17, 17, -17, 5, -128}), ints(DType::i8, {3, 3, -3, -3, 0, -1})}).ints(), (Ints{2, -2, 2, -2, 5, 0}));
  EXPECT_EQ(run("divide", {ints(DType::u8, {200, 7}), ints(DType::u8, {3, 0})}).ints(), (Ints{66, 255}));
  EXPECT_EQ(run("divide", {ints(DType::u64, {-1}), ints(DType::u64, {2})}).ints(), (Ints{INT64_MAX}));
  EXPECT_EQ(run("divide", {ints(DType::i64, {INT64_MIN}), ints(DType::i64, {-1})}).ints(), (Ints{INT64_MIN}));
}

TEST(Elementwise, integer_power_wraps_and_rounds_negative_exponents_to_zero) {
  EXPECT_EQ(run("power", {ints(DType::i64, {-1, -1, -3, 1, -3, 0, 2}), ints(DType::i64, {1, 0, -3, -3, 3, 2, 64})}).ints(), (Ints{-1, 1, 0, 1, -27, 0, 0}));
}

TEST(Elementwise, shifts_by_the_width_or_more_leave_zero_or_the_sign) {
  const Tensor x = ints(DType::i8, {-128, -1, 1, 64}), n = ints(DType::i8, {7, 8, -1, 1});
  EXPECT_EQ(run("shift_left", {x, n}).ints(), (Ints{0, 0, 0, -128}));
  EXPECT_EQ(run("shift_right_logical", {x, n}).ints(), (Ints{1, 0, 0, 32}));
  EXPECT_EQ(run("shift_right_arithmetic", {x, n}).ints(), (Ints{-1, -1, 0, 32}));
}

TEST(Elementwise, maximum_and_minimum_pass_nan_on_and_order_zeros) {
  const Tensor a = numbers(DType::f32, {kNaN, 1, -0.0, 0.0}), b = numbers(DType::f32, {1, kNaN, 0.0, -0.0});
  const std::vector<double> top = run("maximum", {a, b}).doubles(), low = run("minimum", {a, b}).doubles();
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(std::isnan(top[i]) && std::isnan(low[i]));
  for (size_t i = 2; i < 4; ++i) EXPECT_TRUE(!std::signbit(top[i]) && std::signbit(low[i]));
}

TEST(Elementwise, total_order_places_nan_above_infinity_and_minus_zero_below_zero) {
  const Tensor a = numbers(DType::f32, {kNaN, -0.0, -kNaN, 1}), b = numbers(DType::f32, {kInf, 0.0, -kInf, 1});
  EXPECT_EQ(run("compare", {a, b}, {{"comparison_direction", "GT"}, {"compare_type", "TOTALORDER"}}).ints(), (Ints{1, 0, 0, 0}));
  EXPECT_EQ(run("compare", {a, b}, {{"comparison_direction", "LT"}, {"compare_type", "TOTALORDER"}}).ints(), (Ints{0, 1, 1, 0}));
  EXPECT_EQ(run("compare", {a, b}, {{"comparison_direction", "NE"}}).ints(), (Ints{1, 0, 1, 0}));
}

TEST(Convert, floats_to_integers_saturate_unless_told_to_wrap) {
  const Tensor x = numbers(DType::f32, {-1.9, 300, -300, kNaN, kInf});
  EXPECT_EQ(run("convert", {x}, {{"dtype", DType::i8}}).ints(), (Ints{-1, 127, -128, 0, 127}));
  EXPECT_EQ(run("convert", {x}, {{"dtype", DType::u8}}).ints(), (Ints{0, 255, 0, 0, 255}));
  EXPECT_EQ(run("convert", {numbers(DType::f32, {300, -300})}, {{"dtype", DType::u8}, {"overflow", "wrap"}}).ints(), (Ints{44, 212}));
  EXPECT_EQ(run("convert", {numbers(DType::f64, {0x1p63, 0x1p64, -1})}, {{"dtype", DType::u64}}).ints(), (Ints{INT64_MIN, -1, 0}));
}

TEST(Convert, integers_wrap_and_round_once) {
  EXPECT_EQ(run("convert", {ints(DType::i32, {300, -129, 7})}, {{"dtype", DType::i8}}).ints(), (Ints{44, 127, 7}));
  // 2^62 + 2^38 + 1 lies just above the middle of two f32: rounding to f64 first would fall to the even one below.
  EXPECT_EQ(run("convert", {ints(DType::i64, {(int64_t{1} << 62) + (int64_t{1} << 38) + 1})}, {{"dtype", DType::f32}}).number(0), 0x1p62 + 0x1p39);
}

TEST(Convert, narrow_floats_overflow_to_infinity_nan_or_the_largest) {
  const Tensor x = numbers(DType::f32, {1e6, -1e6});
  EXPECT_TRUE(std::isinf(run("convert", {x}, {{"dtype", DType::f8e5m2}}).number(0)));
  EXPECT_TRUE(std::isnan(run("convert", {x}, {{"dtype", DType::f8e4m3fn}}).number(1)));
  EXPECT_EQ(run("convert", {x}, {{"dtype", DType::f8e4m3fn}, {"saturate", true}}).doubles(), (std::vector<double>{448, -448}));
  EXPECT_EQ(run("convert", {numbers(DType::f32, {3, 3, 0.7})}, {{"dtype", DType::f8e8m0fnu}, {"round_mode", "up"}}).doubles(), (std::vector<double>{4, 4, 1}));
  EXPECT_EQ(run("convert", {numbers(DType::f32, {3, 0.7})}, {{"dtype", DType::f8e8m0fnu}, {"round_mode", "down"}}).doubles(), (std::vector<double>{2, 0.5}));
}

TEST(ReducePrecision, rounds_to_even_and_flushes_what_would_be_subnormal) {
  const Tensor x = numbers(DType::f64, {kInf, 5e-324, 65504, 65505, 65520, 0x1p-14, 0x1p-15});
  EXPECT_EQ(run("reduce_precision", {x}, {{"exponent_bits", 5}, {"mantissa_bits", 10}}).doubles(), (std::vector<double>{kInf, 0, 65504, 65504, kInf, 0x1p-14, 0}));
  EXPECT_EQ(run("reduce_precision", {numbers(DType::f64, {kNaN})}, {{"exponent_bits", 5}, {"mantissa_bits", 0}}).number(0), kInf);
}

TEST(Symbols, sizes_flow_through_shape_arithmetic) {
  Builder b;
  const Dim n = Dim::symbol("n");
  const Value size = b.size(n);
  // (2 n + 6) / 2 cancels; (n - 1) / 2 toward zero needs the sign of n - 1
  EXPECT_EQ(b.known(b.divide(b.add(b.multiply(size, 2), 6), 2)).value()[0], n + 3);
  EXPECT_EQ(b.known(b.remainder(b.multiply(size, 4), 4)).value()[0], Dim(0));
  const Dim half = b.known(b.divide(b.subtract(size, 1), 2)).value()[0];
  EXPECT_EQ(half.evaluate({{"n", 0}}), 0);
  EXPECT_EQ(half.evaluate({{"n", 8}}), 3);
  EXPECT_EQ(b.known(b.compare(b.add(size, 1), size, "GT")).value()[0], Dim(1));
  const Value list = b.concatenate({b.reshape(size, {1}), b.ints({7})}, 0);
  EXPECT_EQ(b.known(b.reverse(list, {0})).value(), (Dims{7, n}));
  EXPECT_EQ(b.known(b.slice_axis(list, 0, 0, 1)).value(), (Dims{n}));
}

TEST(Types, constraints_are_named_by_the_specification) {
  Builder b;
  const Value x = b.input(Type::tensor(DType::f32, {2, Dim::symbol("n")}));
  const auto message = [&](std::string_view op, Values in, Attrs attrs) {
    try {
      b.op(op, std::move(in), std::move(attrs));
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(message("transpose", {x}, {{"permutation", Ints{0, 0}}}).find("stablehlo transpose C2"), std::string::npos);
  EXPECT_NE(message("slice", {x}, {{"start_indices", Dims{0, 0}}, {"limit_indices", Dims{3, 1}}, {"strides", Ints{1, 1}}}).find("stablehlo slice C3"), std::string::npos);
  EXPECT_NE(message("concatenate", {x, x}, {{"dimension", int64_t{2}}}).find("stablehlo concatenate C4"), std::string::npos);
  EXPECT_NE(message("iota", {}, {{"dims", Dims{3}}, {"dtype", DType::i32}, {"iota_dimension", int64_t{1}}}).find("stablehlo iota C1"), std::string::npos);
  EXPECT_NE(message("compare", {x, x}, {{"comparison_direction", "EQ"}, {"compare_type", "SIGNED"}}).find("stablehlo compare C3"), std::string::npos);
}

}  // namespace
}  // namespace bascule
