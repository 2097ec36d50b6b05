// tests/import/onnx_operators_test.cc — arithmetic, windows, sampling and quantisation as ONNX means them, on shapes that only a run knows.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "runtime/session.h"
#include "tests/support/onnx_bytes.h"

namespace bascule {
namespace {
namespace fs = std::filesystem;
using namespace bascule::test;

std::shared_ptr<runtime::Session> load(const Pb& file) {
  const fs::path path = fs::temp_directory_path() / ("bascule_operators_" + std::to_string(::getpid()) + ".onnx");
  std::ofstream(path, std::ios::binary) << file;
  return runtime::Session::load(path.string());
}
Tensor floats(std::vector<int64_t> dims, std::vector<double> values) { return Tensor::from_doubles(DType::f32, std::move(dims), values); }
Tensor counting(std::vector<int64_t> dims) {
  std::vector<double> v(static_cast<size_t>(element_count(dims)));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i);
  return floats(std::move(dims), v);
}
Pb any_rank(std::string_view name, int type = kFloat) { return value_info(name, bytes(1, integer(1, type))); }
Pb text_attribute(std::string_view name, std::string_view v) { return attribute(name, 3, bytes(4, v)); }
Pb f32_tensor(std::string_view name, const std::vector<int64_t>& dims, const std::vector<float>& values) {
  return tensor(name, kFloat, dims, raw({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}));
}
std::shared_ptr<runtime::Session> one_operand(const Pb& n, const std::vector<int64_t>& dims, int64_t opset = 17, const std::vector<Pb>& weights = {}) {
  return load(model(nodes({n}) + initializers(weights) + inputs({value_info("x", tensor_type(kFloat, dims))}) + outputs({any_rank("y")}), opset));
}

TEST(onnx_operators, a_pool_with_ceil_mode_serves_every_extent) {
  const auto s = one_operand(node("MaxPool", {"x"}, {"y"}, attribute_ints("kernel_shape", {2}) + attribute_ints("strides", {2}) + attribute_int("ceil_mode", 1)), {1, 1, -1});
  EXPECT_EQ(s->run({counting({1, 1, 5})})[0].tensor().doubles(), (std::vector<double>{1, 3, 4}));
  EXPECT_EQ(s->run({counting({1, 1, 4})})[0].tensor().doubles(), (std::vector<double>{1, 3}));
}

TEST(onnx_operators, same_upper_pads_by_the_extent_of_the_run) {
  const auto s = one_operand(node("Conv", {"x", "w"}, {"y"}, text_attribute("auto_pad", "SAME_UPPER") + attribute_ints("strides", {2})), {1, 1, -1}, 17, {f32_tensor("w", {1, 1, 3}, {1, 1, 1})});
  EXPECT_EQ(s->run({counting({1, 1, 5})})[0].tensor().doubles(), (std::vector<double>{1, 6, 7}));
  EXPECT_EQ(s->run({counting({1, 1, 4})})[0].tensor().doubles(), (std::vector<double>{3, 5}));
}

TEST(onnx_operators, a_scale_of_seven_tenths_acts_as_a_fraction) {
  const auto s = one_operand(node("Upsample", {"x", "f"}, {"y"}), {-1}, 9, {f32_tensor("f", {1}, {0.7f})});
  EXPECT_EQ(s->run({counting({10})})[0].tensor().dims(), (std::vector<int64_t>{7}));
  EXPECT_EQ(s->run({counting({3})})[0].tensor().dims(), (std::vector<int64_t>{2}));
}

TEST(onnx_operators, before_version_7_an_axis_says_where_the_second_operand_lies) {
  const auto s = one_operand(node("Add", {"x", "c"}, {"y"}, attribute_int("broadcast", 1) + attribute_int("axis", 0)), {2, 3}, 6, {f32_tensor("c", {2}, {10, 20})});
  EXPECT_EQ(s->run({counting({2, 3})})[0].tensor().doubles(), (std::vector<double>{10, 11, 12, 23, 24, 25}));
}

TEST(onnx_operators, einsum_takes_diagonals_and_sums_the_rest) {
  const auto diagonal = one_operand(node("Einsum", {"x"}, {"y"}, text_attribute("equation", "...ii->...i")), {-1, 2, 2});
  EXPECT_EQ(diagonal->run({counting({2, 2, 2})})[0].tensor().doubles(), (std::vector<double>{0, 3, 4, 7}));
  const auto trace = one_operand(node("Einsum", {"x"}, {"y"}, text_attribute("equation", "bii")), {-1, 2, 2});
  EXPECT_EQ(trace->run({counting({2, 2, 2})})[0].tensor().doubles(), (std::vector<double>{3, 11}));
}

TEST(onnx_operators, quantised_values_saturate_and_round_half_to_even) {
  const auto s = load(model(nodes({node("QuantizeLinear", {"x", "s"}, {"y"})}) + initializers({f32_tensor("s", {}, {2})}) + inputs({value_info("x", tensor_type(kFloat, {-1}))}) + outputs({any_rank("y", 2)})));
  EXPECT_EQ(s->run({floats({5}, {1, 3, 5, -9, 1000})})[0].tensor().ints(), (std::vector<int64_t>{0, 2, 2, 0, 255}));
}

TEST(onnx_operators, mod_takes_the_sign_of_the_divisor_and_fmod_that_of_the_dividend) {
  const std::vector<int64_t> divisors{3, -3, 3, -3};
  const Pb data = raw({reinterpret_cast<const char*>(divisors.data()), 32});
  const auto with = [&](const Pb& attributes) {
    return load(model(nodes({node("Mod", {"x", "d"}, {"y"}, attributes)}) + initializers({tensor("d", kInt64, {4}, data)}) + inputs({value_info("x", tensor_type(kInt64, {4}))}) + outputs({any_rank("y", kInt64)})));
  };
  const Tensor x = Tensor::vector_int(std::vector<int64_t>{-5, 5, 6, -6});
  EXPECT_EQ(with("")->run({x})[0].tensor().ints(), (std::vector<int64_t>{1, -1, 0, 0}));
  EXPECT_EQ(with(attribute_int("fmod", 1))->run({x})[0].tensor().ints(), (std::vector<int64_t>{-2, 2, 0, 0}));
}

}  // namespace
}  // namespace bascule
