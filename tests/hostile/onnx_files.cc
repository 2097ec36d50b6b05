// tests/hostile/onnx_files.cc — files that lie: each ends in its error with its exact message and exit code, without a crash, a hang or much memory.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "runtime/session.h"
#include "tests/support/onnx_bytes.h"

namespace bascule {
namespace {
namespace fs = std::filesystem;
using namespace bascule::test;

const Pb kX = value_info("x", tensor_type(kFloat, {2, 3}));
const Pb kY = value_info("y", tensor_type(kFloat, {}));
const Pb kAnyY = value_info("y", bytes(1, integer(1, kFloat)));  // of unknown rank

struct Outcome {
  int exit_code = 0;
  std::string text = "ran";
};

// Loads and runs a file with these bytes; file names are cut from the message.
Outcome outcome(const Pb& file, const HostValues& inputs = {Tensor(DType::f32, {2, 3})}, const runtime::Options& options = {}) {
  const fs::path folder = fs::temp_directory_path() / ("bascule_hostile_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const std::string path = (folder / "m.onnx").string();
  std::ofstream(path, std::ios::binary) << file;
  Outcome out;
  try {
    const auto session = runtime::Session::load(path, options);
    session->run(inputs);
  } catch (const Error& e) {
    out = {e.exit_code(), e.what()};
    for (size_t at; (at = out.text.find(folder.string() + "/")) != std::string::npos;) out.text.erase(at, folder.string().size() + 1);
  }
  fs::remove_all(folder);
  return out;
}

Pb with_nodes(const std::vector<Pb>& list, int64_t opset = 17, const Pb& more = "") { return model(nodes(list) + inputs({kX}) + outputs({kAnyY}) + more, opset); }

void expect_refused(const Pb& file, int exit_code, const std::string& text) {
  const Outcome o = outcome(file);
  EXPECT_EQ(o.exit_code, exit_code) << o.text;
  EXPECT_EQ(o.text, text);
}

TEST(onnx_files, cycles_undefined_inputs_and_second_definitions_name_the_value) {
  expect_refused(with_nodes({node("Relu", {"b"}, {"y"}), node("Relu", {"y"}, {"b"})}), 6,
                 "m.onnx: Relu_1 'y': expected nodes in the order of use, found input 'b' that a later node makes (or a cycle). Sort the nodes topologically and export again");
  expect_refused(with_nodes({node("Relu", {"nothing"}, {"y"})}), 6,
                 "m.onnx: Relu_1 'y': expected inputs that are graph inputs, initializers or results of nodes, found 'nothing', which nothing defines. Export the model again");
  expect_refused(with_nodes({node("Relu", {"x"}, {"y"}), node("Relu", {"x"}, {"y"})}), 6,
                 "m.onnx: Relu_1 'y': expected one definition of each name, found a second one of 'y'. Export the model again");
}

TEST(onnx_files, operator_sets_out_of_range_are_refused) {
  expect_refused(with_nodes({node("Relu", {"x"}, {"y"})}, 0), 6, "m.onnx: opset_import '': expected a version of 1 or more, found 0. Export the model again");
  expect_refused(with_nodes({node("Relu", {"x"}, {"y"})}, -1), 6, "m.onnx: opset_import '': expected a version of 1 or more, found -1. Export the model again");
  expect_refused(with_nodes({node("Relu", {"x"}, {"y"})}, 1'000'000'000), 3,
                 "m.onnx: opset_import '': expected a version up to 28, found 1000000000. Export with an older opset");
}

TEST(onnx_files, all_unsupported_nodes_are_listed_together) {
  const Outcome o = outcome(with_nodes({node("Nonsense", {"x"}, {"a"}), node("Relu", {"a"}, {"c"}), node("Other", {"x"}, {"y"}, "", "my.domain")}, 17));
  EXPECT_EQ(o.exit_code, 3);
  EXPECT_NE(o.text.find("'Nonsense'"), std::string::npos) << o.text;
  EXPECT_NE(o.text.find("'Other' of domain 'my.domain'"), std::string::npos) << o.text;
}

TEST(onnx_files, names_are_escaped) {
  const Outcome o = outcome(with_nodes({node("Relu", {"a\x1b[31m\n\xff"}, {"y"})}));
  EXPECT_EQ(o.exit_code, 6);
  EXPECT_NE(o.text.find("'a\\x1B[31m\\x0A\\xFF'"), std::string::npos) << o.text;
}

TEST(onnx_files, attributes_of_wrong_type_length_or_value_are_refused) {
  const Pb conv_x = value_info("x", tensor_type(kFloat, {1, 2, 5, 5}));
  const auto conv = [&](const Pb& attributes) {
    return model(nodes({node("Conv", {"x", "w"}, {"y"}, attributes)}) + inputs({conv_x, value_info("w", tensor_type(kFloat, {2, 2, 3, 3}))}) + outputs({kAnyY}), 17);
  };
  for (const Pb& attributes : {attribute_ints("dilations", {1, 1, 1}), attribute_ints("strides", {0, 1}), attribute_int("group", 0), attribute_int("group", -3),
                               attribute_ints("group", {1}), attribute_ints("pads", {1}), attribute_ints("kernel_shape", {7, 7}), attribute_ints("dilations", {0, 1})}) {
    const Outcome o = outcome(conv(attributes));
    EXPECT_EQ(o.exit_code, 6) << o.text;
    EXPECT_EQ(o.text.rfind("m.onnx: Conv_", 0), 0U) << o.text;
  }
  for (const auto& [op, attributes] : std::vector<std::pair<std::string, Pb>>{{"Softmax", attribute_int("axis", 9)}, {"Flatten", attribute_int("axis", -9)},
                                                                             {"Transpose", attribute_ints("perm", {0, 0})}, {"Concat", attribute_int("axis", 2)},
                                                                             {"Concat", ""}, {"Transpose", attribute_int("perm", 1)}}) {
    const Outcome o = outcome(with_nodes({node(op, {"x"}, {"y"}, attributes)}));
    EXPECT_EQ(o.exit_code, 6) << op << o.text;
    EXPECT_EQ(o.text.rfind("m.onnx: " + op, 0), 0U) << o.text;
  }
  const Outcome unknown = outcome(with_nodes({node("Relu", {"x"}, {"y"}, attribute_int("made_up", 1))}));
  EXPECT_EQ(unknown.exit_code, 3) << unknown.text;
  EXPECT_NE(unknown.text.find("'made_up'"), std::string::npos) << unknown.text;
}

TEST(onnx_files, indices_out_of_range_are_errors_in_every_gathering_operator) {
  const auto index = [](const std::vector<int64_t>& dims, const std::vector<int64_t>& values) {
    Pb data;
    for (int64_t v : values) data += integer(7, v);
    return initializers({tensor("i", kInt64, dims, data)});
  };
  const Pb updates = initializers({tensor("u", kFloat, {1, 3}, raw(Pb(12, '\0')))});
  const Pb one_by_one = initializers({tensor("u", kFloat, {1, 1}, raw(Pb(4, '\0')))});
  for (int64_t bad : {int64_t{2}, int64_t{-3}, INT64_MAX, INT64_MIN}) {
    for (const Pb& file : {with_nodes({node("Gather", {"x", "i"}, {"y"})}, 17, index({2}, {0, bad})), with_nodes({node("Gather", {"x", "i"}, {"y"})}, 17, index({}, {bad})),
                           with_nodes({node("GatherElements", {"x", "i"}, {"y"})}, 17, index({1, 1}, {bad})),
                           with_nodes({node("GatherND", {"x", "i"}, {"y"})}, 17, index({1, 1}, {bad})),
                           with_nodes({node("ScatterElements", {"x", "i", "u"}, {"y"})}, 17, index({1, 1}, {bad}) + one_by_one),
                           with_nodes({node("ScatterND", {"x", "i", "u"}, {"y"})}, 17, index({1, 1}, {bad}) + updates)}) {
      const Outcome o = outcome(file);
      EXPECT_TRUE(o.exit_code == 6 || o.exit_code == 2) << bad << ": " << o.exit_code << o.text;
    }
  }
}

TEST(onnx_files, a_loop_without_end_stops_at_the_time_limit) {
  const Pb body = nodes({node("Identity", {"c"}, {"c2"}), node("Identity", {"v"}, {"v2"})}) +
                  inputs({value_info("i", tensor_type(kInt64, {})), value_info("c", tensor_type(kBool, {})), value_info("v", tensor_type(kFloat, {2, 3}))}) +
                  outputs({value_info("c2", tensor_type(kBool, {})), value_info("v2", tensor_type(kFloat, {2, 3}))});
  runtime::Options options;
  options.time_limit_s = 0.5;
  const Pb file = with_nodes({node("Loop", {"m", "", "x"}, {"y"}, attribute_graph("body", body))}, 17, initializers({tensor("m", kInt64, {}, integer(7, INT64_MAX))}));
  const Outcome o = outcome(file, {Tensor(DType::f32, {2, 3})}, options);
  EXPECT_EQ(o.exit_code, 5) << o.text;
}

TEST(onnx_files, a_petabyte_stops_at_the_memory_limit) {
  runtime::Options options;
  options.memory_limit_bytes = int64_t{1} << 30;
  const Pb file = with_nodes({node("ConstantOfShape", {"s"}, {"y"})}, 17, initializers({tensor("s", kInt64, {2}, integer(7, 1 << 24) + integer(7, 1 << 24))}));
  const Outcome o = outcome(file, {Tensor(DType::f32, {2, 3})}, options);
  EXPECT_EQ(o.exit_code, 5) << o.text;
  const Pb overflow = with_nodes({node("ConstantOfShape", {"s"}, {"y"})}, 17, initializers({tensor("s", kInt64, {2}, integer(7, int64_t{1} << 40) + integer(7, int64_t{1} << 40))}));
  EXPECT_TRUE(outcome(overflow).exit_code == 5 || outcome(overflow).exit_code == 6) << outcome(overflow).text;
}

TEST(onnx_files, ifs_nested_too_deep_are_refused) {
  for (int depth : {20, 80, 1000}) {
    Pb graph = nodes({node("Identity", {"x"}, {"r"})}) + outputs({value_info("r", tensor_type(kFloat, {2, 3}))});
    for (int k = 0; k < depth; ++k) {
      const std::string out = "o" + std::to_string(k);
      graph = nodes({node("If", {"c"}, {out}, attribute_graph("then_branch", graph) + attribute_graph("else_branch", nodes({node("Identity", {"x"}, {"e" + out})}) + outputs({value_info("e" + out, tensor_type(kFloat, {2, 3}))})))}) +
              outputs({value_info(out, tensor_type(kFloat, {2, 3}))});
    }
    const Pb file = model(graph + inputs({kX, value_info("c", tensor_type(kBool, {}))}), 17);
    const Outcome o = outcome(file, {Tensor(DType::f32, {2, 3}), Tensor::scalar_int(DType::i1, 1)});
    if (depth == 20) {
      EXPECT_EQ(o.text, "ran");
    }
    if (depth == 1000) {
      EXPECT_EQ(o.exit_code, 6) << o.text;
      EXPECT_NE(o.text.find("messages nested at most 256 deep"), std::string::npos) << o.text;
    }
  }
}

TEST(onnx_files, functions_that_call_themselves_are_refused) {
  const auto function = [](const std::string& name, const std::string& calls) {
    return bytes(25, bytes(1, name) + bytes(4, "a") + bytes(5, "b") + bytes(7, node(calls, {"a"}, {"b"}, "", "f")) + bytes(9, bytes(1, "f") + integer(2, 1)) + bytes(10, "f"));
  };
  const Pb file = with_nodes({node("One", {"x"}, {"y"}, "", "f")}) + bytes(8, bytes(1, "f") + integer(2, 1)) + function("One", "Two") + function("Two", "One");
  const Outcome o = outcome(file);
  EXPECT_EQ(o.exit_code, 6) << o.text;
  EXPECT_NE(o.text.find("expected functions that do not call themselves, found a recursive call of 'One'"), std::string::npos) << o.text;
}

}  // namespace
}  // namespace bascule
