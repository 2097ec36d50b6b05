// tests/import/stablehlo.cc — StableHLO files as models: sizes as operands, quantised types, custom calls, composites, names.
#include <gtest/gtest.h>

#include "base/error.h"
#include "graph/evaluate.h"
#include "graph/op_def.h"
#include "import/stablehlo/import.h"

namespace bascule::stablehlo {
namespace {

std::string error_of(const std::string& source) {
  try {
    (void)import_text(source, "m.mlir");
  } catch (const Error& e) {
    return std::string(e.kind_name()) + " " + e.what();
  }
  return "none";
}

TEST(StableHlo, sizes_computed_from_input_shapes_become_symbols) {
  const Graph g = import_text(R"(
    func.func @main(%x: tensor<?x4xf32>) -> (tensor<?x2x2xf32> {jax.result_info = "result['y']"}) {
      %n = stablehlo.get_dimension_size %x, dim = 0 : (tensor<?x4xf32>) -> tensor<i32>
      %n1 = stablehlo.reshape %n : (tensor<i32>) -> tensor<1xi32>
      %c = stablehlo.constant dense<2> : tensor<2xi32>
      %s = stablehlo.concatenate %n1, %c, dim = 0 : (tensor<1xi32>, tensor<2xi32>) -> tensor<3xi32>
      %y = stablehlo.dynamic_reshape %x, %s : (tensor<?x4xf32>, tensor<3xi32>) -> tensor<?x2x2xf32>
      return %y : tensor<?x2x2xf32>
    })",
                              "m.mlir");
  EXPECT_EQ(g.type(g.outputs[0]).text(), "f32[x_0,2,2]");
  EXPECT_EQ(g.output_names, std::vector<std::string>{"y"});
  EXPECT_EQ(g.at(g.inputs[0]).name, "x");
  EvalContext context;
  EXPECT_EQ(evaluate(g, {Tensor(DType::f32, {5, 4})}, context)[0].tensor().dims(), (std::vector<int64_t>{5, 2, 2}));
}

TEST(StableHlo, a_size_that_only_the_run_knows_makes_the_operator_then) {
  const Graph g = import_text(R"(func.func @main(%x: tensor<4xf32>, %s: tensor<2xi32>) -> tensor<?x?xf32> {
      %y = stablehlo.dynamic_reshape %x, %s : (tensor<4xf32>, tensor<2xi32>) -> tensor<?x?xf32>
      %z = stablehlo.add %y, %y : tensor<?x?xf32>
      return %z : tensor<?x?xf32> })",
                              "m.mlir");
  EvalContext context;
  const Tensor x(DType::f32, {4});
  EXPECT_EQ(evaluate(g, {x, Tensor::from_ints(DType::i32, {2}, std::vector<int64_t>{2, 2})}, context)[0].tensor().dims(),
            (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(evaluate(g, {x, Tensor::from_ints(DType::i32, {2}, std::vector<int64_t>{4, 1})}, context)[0].tensor().dims(),
            (std::vector<int64_t>{4, 1}));
  try {
    (void)evaluate(g, {x, Tensor::from_ints(DType::i32, {2}, std::vector<int64_t>{3, 1})}, context);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage) << e.what();
  }
}

TEST(StableHlo, quantised_operands_are_dequantised_and_results_quantised) {
  const Graph g = import_text(R"(func.func @main(%x: tensor<2x!quant.uniform<i8:f32, 0.1:-30>>) -> tensor<2xi8> {
      %y = stablehlo.add %x, %x : tensor<2x!quant.uniform<i8:f32, 0.1:-30>>
      %z = stablehlo.bitcast_convert %y : (tensor<2x!quant.uniform<i8:f32, 0.1:-30>>) -> tensor<2xi8>
      return %z : tensor<2xi8> })",
                              "m.mlir");
  EvalContext context;
  // 10 and 110 store 4 and 14: 8 and 28 store 50 and 250, of which 127 is kept.
  EXPECT_EQ(evaluate(g, {Tensor::from_ints(DType::i8, {2}, std::vector<int64_t>{10, 110})}, context)[0].tensor().ints(),
            (std::vector<int64_t>{50, 127}));
}

TEST(StableHlo, custom_calls_are_known_or_refused_by_name) {
  const std::string head = "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {\n", tail = "  return %y : tensor<4xf32>\n}";
  EXPECT_EQ(
      import_text(head + "  %y = stablehlo.custom_call @Sharding(%x) {mhlo.sharding = \"{replicated}\"} : (tensor<4xf32>) -> tensor<4xf32>\n" + tail,
                  "m")
          .nodes.size(),
      0U);
  const Graph erf = import_text(
      head + "  %y = stablehlo.custom_call @mhlo.erf(%x) {mhlo.attributes = {}, mhlo.version = 1 : i64} : (tensor<4xf32>) -> tensor<4xf32>\n" + tail,
      "m");
  ASSERT_EQ(erf.nodes.size(), 1U);
  EXPECT_EQ(erf.nodes[0].op->name, "erf");
  EXPECT_NE(error_of(head + "  %y = stablehlo.custom_call @lapack_sgetrf_ffi(%x) {backend_config = \"\"} : (tensor<4xf32>) -> tensor<4xf32>\n" + tail)
                .find("custom call @lapack_sgetrf_ffi"),
            std::string::npos);
}

TEST(StableHlo, all_unknown_operations_are_reported_together) {
  const std::string e = error_of(R"(func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = call @f(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "vendor.a"(%0) : (tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}
func.func private @f(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.custom_call @b(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = "vendor.a"(%0) : (tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
})");
  EXPECT_EQ(e,
            "UnsupportedError m.mlir:3:8: expected operations that Bascule knows, found 'vendor.a'. Export the model for a platform whose lowering "
            "uses StableHLO's own operators\n"
            "m.mlir:7:8: expected operations that Bascule knows, found custom call @b. Export the model for a platform whose lowering uses "
            "StableHLO's own operators");
}

TEST(StableHlo, a_composite_is_its_operator_or_its_decomposition) {
  const std::string source = R"(module @m {
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = stablehlo.composite "vendor.twice" %x {decomposition = @twice} : (tensor<4xf32>) -> tensor<4xf32>
      %z = stablehlo.composite "chlo.sinh" %y {decomposition = @twice, version = 1 : i32} : (tensor<4xf32>) -> tensor<4xf32>
      return %z : tensor<4xf32>
    }
    func.func private @twice(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = stablehlo.add %x, %x : tensor<4xf32>
      return %y : tensor<4xf32>
    }
  })";
  const Graph g = import_text(source, "m.mlir");
  EXPECT_EQ(g.name, "m");
  ASSERT_EQ(g.nodes.size(), 2U);
  EXPECT_EQ(g.nodes[0].op->name, "add");
  EXPECT_EQ(g.nodes[1].op->name, "sinh");
  EXPECT_EQ(g.nodes[0].location, "m.mlir:8:12");
  EXPECT_EQ(text(g.nodes[1].origin), "composite 'm.mlir:4:12'");
}

TEST(StableHlo, regions_capture_what_they_use) {
  const Graph g = import_text(R"(func.func @main(%n: tensor<i32>, %step: tensor<f32>) -> tensor<f32> {
      %zero = stablehlo.constant dense<0> : tensor<i32>
      %start = stablehlo.constant dense<1.0> : tensor<f32>
      %r:2 = stablehlo.while(%i = %zero, %x = %start) : tensor<i32>, tensor<f32>
      cond {
        %c = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %c : tensor<i1>
      } do {
        %one = stablehlo.constant dense<1> : tensor<i32>
        %j = stablehlo.add %i, %one : tensor<i32>
        %y = stablehlo.multiply %x, %step : tensor<f32>
        stablehlo.return %j, %y : tensor<i32>, tensor<f32>
      }
      return %r#1 : tensor<f32> })",
                              "m");
  EvalContext context;
  EXPECT_EQ(evaluate(g, {Tensor::scalar_int(DType::i32, 5), Tensor::scalar(DType::f32, 2)}, context)[0].tensor().number(0), 32);
}

TEST(StableHlo, bytecode_is_refused_with_the_remedy) {
  EXPECT_NE(error_of(std::string("ML\xEFR\x0D\x00", 6)).find("Export text: in JAX"), std::string::npos);
}

}  // namespace
}  // namespace bascule::stablehlo
