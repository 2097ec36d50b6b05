// tests/import/onnx_graph_test.cc — scopes, subgraphs, functions and sizes that only a run knows: whole small models against answers by hand.
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
  const fs::path path = fs::temp_directory_path() / ("bascule_graph_" + std::to_string(::getpid()) + ".onnx");
  std::ofstream(path, std::ios::binary) << file;
  auto session = runtime::Session::load(path.string());
  return session;
}

HostValues run(const std::shared_ptr<runtime::Session>& s, HostValues inputs) { return s->run(inputs); }
Tensor floats(std::vector<int64_t> dims, std::vector<double> values) { return Tensor::from_doubles(DType::f32, std::move(dims), values); }
Tensor integers(std::vector<int64_t> dims, std::vector<int64_t> values) { return Tensor::from_ints(DType::i64, std::move(dims), values); }
Pb any_rank(std::string_view name, int type = kFloat) { return value_info(name, bytes(1, integer(1, type))); }
Pb i64_tensor(std::string_view name, const std::vector<int64_t>& dims, const std::vector<int64_t>& values) {
  Pb data;
  for (int64_t v : values) data += integer(7, v);
  return tensor(name, kInt64, dims, data);
}

TEST(onnx_graph, branches_may_differ_in_rank) {
  const Pb flat = nodes({node("Flatten", {"x"}, {"f"})}) + outputs({any_rank("f")});
  const Pb wide = nodes({node("Unsqueeze", {"x", "zero"}, {"u"})}) + initializers({i64_tensor("zero", {1}, {0})}) + outputs({any_rank("u")});
  const auto s = load(model(nodes({node("If", {"c"}, {"r"}, attribute_graph("then_branch", flat) + attribute_graph("else_branch", wide)), node("Shape", {"r"}, {"y"})}) +
                            inputs({value_info("c", tensor_type(kBool, {})), value_info("x", tensor_type(kFloat, {-1, 2, 3}))}) + outputs({value_info("y", tensor_type(kInt64, {-1}))})));
  const Tensor x(DType::f32, {4, 2, 3});
  EXPECT_EQ(run(s, {Tensor::scalar_int(DType::i1, 1), x})[0].tensor().ints(), (std::vector<int64_t>{4, 6}));
  EXPECT_EQ(run(s, {Tensor::scalar_int(DType::i1, 0), x})[0].tensor().ints(), (std::vector<int64_t>{1, 4, 2, 3}));
}

TEST(onnx_graph, carried_values_may_grow_and_rows_are_stacked) {
  const Pb body = nodes({node("Concat", {"v", "x"}, {"v2"}, attribute_int("axis", 0)), node("Shape", {"v"}, {"row"})}) +
                  inputs({value_info("i", tensor_type(kInt64, {})), value_info("c", tensor_type(kBool, {})), any_rank("v")}) +
                  outputs({value_info("c", tensor_type(kBool, {})), any_rank("v2"), value_info("row", tensor_type(kInt64, {1}))});
  const auto s = load(model(nodes({node("Loop", {"m", "", "x"}, {"y", "rows"}, attribute_graph("body", body))}) +
                            inputs({value_info("m", tensor_type(kInt64, {})), value_info("x", tensor_type(kFloat, {2}))}) + outputs({any_rank("y"), any_rank("rows", kInt64)})));
  const HostValues out = run(s, {Tensor::scalar_int(DType::i64, 3), floats({2}, {1, 2})});
  EXPECT_EQ(out[0].tensor().doubles(), (std::vector<double>{1, 2, 1, 2, 1, 2, 1, 2}));
  EXPECT_EQ(out[1].tensor().ints(), (std::vector<int64_t>{2, 4, 6}));
  EXPECT_EQ(run(s, {Tensor::scalar_int(DType::i64, 0), floats({2}, {1, 2})})[0].tensor().doubles(), (std::vector<double>{1, 2}));
}

TEST(onnx_graph, a_shape_computed_from_data_shapes_the_rest_of_the_model) {
  const auto s = load(model(nodes({node("Mul", {"s", "s"}, {"s2"}), node("Reshape", {"x", "s2"}, {"r"}), node("Transpose", {"r"}, {"y"})}) +
                            inputs({value_info("x", tensor_type(kFloat, {-1})), value_info("s", tensor_type(kInt64, {2}))}) + outputs({any_rank("y")})));
  EXPECT_EQ(run(s, {floats({4}, {1, 2, 3, 4}), integers({2}, {1, 2})})[0].tensor().dims(), (std::vector<int64_t>{4, 1}));
  EXPECT_EQ(run(s, {floats({4}, {1, 2, 3, 4}), integers({2}, {2, 1})})[0].tensor().dims(), (std::vector<int64_t>{1, 4}));
}

TEST(onnx_graph, sizes_flow_symbolically_from_shape_to_reshape) {
  const auto s = load(model(nodes({node("Shape", {"x"}, {"s"}), node("Gather", {"s", "zero"}, {"batch"}), node("Concat", {"batch", "minus"}, {"t"}, attribute_int("axis", 0)),
                                   node("Reshape", {"x", "t"}, {"y"})}) +
                            initializers({i64_tensor("zero", {1}, {0}), i64_tensor("minus", {1}, {-1})}) + inputs({value_info("x", tensor_type(kFloat, {-1, 2, 3}))}) + outputs({any_rank("y")})));
  EXPECT_TRUE(s->outputs()[0].type.ranked);
  EXPECT_EQ(s->outputs()[0].type.dims[1], Dim(6));
  EXPECT_EQ(run(s, {Tensor(DType::f32, {5, 2, 3})})[0].tensor().dims(), (std::vector<int64_t>{5, 6}));
}

TEST(onnx_graph, functions_take_attributes_and_overloads_are_told_apart) {
  const auto function = [](const std::string& overload, const Pb& inside, const Pb& attributes) {
    return bytes(25, bytes(1, "Scale") + bytes(4, "a") + bytes(5, "b") + inside + attributes + bytes(9, integer(2, 17)) + bytes(10, "f") + (overload.empty() ? Pb() : bytes(13, overload)));
  };
  const Pb reference = attribute("value_float", 1, bytes(21, "by"));
  const Pb by_attribute = bytes(7, node("Constant", {}, {"k"}, reference)) + bytes(7, node("Mul", {"a", "k"}, {"b"}));
  const Pb twice = bytes(7, node("Add", {"a", "a"}, {"b"}));
  const Pb by = attribute("by", 1, varint(2 << 3 | 5) + Pb("\0\0\x40\x40", 4));  // 3.0
  const Pb file = model(nodes({node("Scale", {"x"}, {"h"}, by, "f"), node("Scale", {"h"}, {"y"}, bytes(8, "twice"), "f")}) + inputs({value_info("x", tensor_type(kFloat, {2}))}) +
                        outputs({any_rank("y")})) +
                  bytes(8, bytes(1, "f") + integer(2, 1)) + function("", by_attribute, bytes(6, "by")) + function("twice", twice, "");
  EXPECT_EQ(run(load(file), {floats({2}, {1, -2})})[0].tensor().doubles(), (std::vector<double>{6, -12}));
}

TEST(onnx_graph, an_initializer_that_is_an_input_may_be_fed) {
  const Pb w = tensor("w", kFloat, {2}, raw(Pb("\0\0\x80\x3f\0\0\0\x40", 8)));
  const auto s = load(model(nodes({node("Mul", {"x", "w"}, {"y"})}) + initializers({w}) + inputs({value_info("x", tensor_type(kFloat, {2})), value_info("w", tensor_type(kFloat, {2}))}) +
                                outputs({any_rank("y")}),
                            9, 3));
  EXPECT_EQ(s->run(std::map<std::string, HostValue>{{"x", floats({2}, {3, 3})}}).at("y").tensor().doubles(), (std::vector<double>{3, 6}));
  EXPECT_EQ(s->run(std::map<std::string, HostValue>{{"x", floats({2}, {3, 3})}, {"w", floats({2}, {5, 7})}}).at("y").tensor().doubles(), (std::vector<double>{15, 21}));
}

TEST(onnx_graph, slices_with_negative_steps_and_bounds_past_the_end_are_clamped) {
  const auto slice = [](int64_t start, int64_t end, int64_t step) {
    const Pb more = initializers({i64_tensor("s", {1}, {start}), i64_tensor("e", {1}, {end}), i64_tensor("a", {1}, {0}), i64_tensor("t", {1}, {step})});
    const auto s = load(model(nodes({node("Slice", {"x", "s", "e", "a", "t"}, {"y"})}) + more + inputs({value_info("x", tensor_type(kFloat, {-1}))}) + outputs({any_rank("y")})));
    return run(s, {floats({5}, {0, 1, 2, 3, 4})})[0].tensor().doubles();
  };
  using V = std::vector<double>;
  EXPECT_EQ(slice(-1, -100, -1), (V{4, 3, 2, 1, 0}));
  EXPECT_EQ(slice(100, INT64_MIN, -2), (V{4, 2, 0}));
  EXPECT_EQ(slice(3, 0, -1), (V{3, 2, 1}));
  EXPECT_EQ(slice(-3, INT64_MAX, 1), (V{2, 3, 4}));
  EXPECT_EQ(slice(-100, -1, 3), (V{0, 3}));
  EXPECT_EQ(slice(4, 2, 1), V{});
  EXPECT_EQ(slice(1, 100, INT64_MAX), V{1});
}

}  // namespace
}  // namespace bascule
