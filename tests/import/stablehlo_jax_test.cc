// tests/import/stablehlo_jax_test.cc — what JAX writes beside StableHLO's operators: LAPACK calls of its cpu lowering, windows of symbolic sizes.
#include <gtest/gtest.h>

#include "graph/evaluate.h"
#include "import/stablehlo/import.h"

namespace bascule::stablehlo {
namespace {

HostValues run(std::string_view text, const HostValues& inputs) {
  EvalContext context;
  return evaluate(import_text(text, "model.mlir", {}), inputs, context);
}
Tensor f32(std::vector<int64_t> dims, std::vector<double> v) { return Tensor::from_doubles(DType::f32, std::move(dims), v); }

TEST(StablehloJax, triangular_solve_of_lapack) {
  const Tensor x = run(R"(func.func @main(%a: tensor<2x2xf32>, %b: tensor<2x1xf32>) -> tensor<2x1xf32> {
  %0 = stablehlo.custom_call @lapack_strsm_ffi(%a, %b) {mhlo.backend_config = {diag = 78 : ui8, side = 76 : ui8, trans_x = 78 : ui8, uplo = 76 : ui8}} : (tensor<2x2xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  return %0 : tensor<2x1xf32>
})",
                       {f32({2, 2}, {2, 99, 1, 4}), f32({2, 1}, {4, 10})})[0]
                       .tensor();
  EXPECT_TRUE(x.identical(f32({2, 1}, {2, 2})));
}

TEST(StablehloJax, cholesky_of_lapack_with_its_status) {
  const HostValues out = run(R"(func.func @main(%a: tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<i32>) {
  %0:2 = stablehlo.custom_call @lapack_spotrf_ffi(%a) {mhlo.backend_config = {uplo = 76 : ui8}} : (tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<i32>)
  return %0#0, %0#1 : tensor<2x2xf32>, tensor<i32>
})",
                             {f32({2, 2}, {4, 2, 2, 5})});
  EXPECT_TRUE(out[0].tensor().identical(f32({2, 2}, {2, 0, 1, 2})));
  EXPECT_EQ(out[1].tensor().integer(0), 0);
}

TEST(StablehloJax, running_sum_of_symbolic_length) {
  const Tensor y = run(R"(module {
  func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %one = stablehlo.constant dense<1> : tensor<1xi32>
    %none = stablehlo.constant dense<0> : tensor<1xi32>
    %n = stablehlo.get_dimension_size %x, dim = 0 : (tensor<?xf32>) -> tensor<i32>
    %size = stablehlo.reshape %n : (tensor<i32>) -> tensor<1xi32>
    %before = stablehlo.subtract %size, %one : tensor<1xi32>
    %pad = stablehlo.concatenate %before, %none, dim = 0 : (tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
    %padding = stablehlo.reshape %pad : (tensor<2xi32>) -> tensor<1x2xi32>
    %y = stablehlo.custom_call @stablehlo.dynamic_reduce_window(%x, %zero, %size, %one, %one, %one, %padding) {called_computations = [@plus]}
        : (tensor<?xf32>, tensor<f32>, tensor<1xi32>, tensor<1xi32>, tensor<1xi32>, tensor<1xi32>, tensor<1x2xi32>) -> tensor<?xf32>
    return %y : tensor<?xf32>
  }
  func.func private @plus(%a: tensor<f32>, %b: tensor<f32>) -> tensor<f32> {
    %0 = stablehlo.add %a, %b : tensor<f32>
    return %0 : tensor<f32>
  }
})",
                       {f32({4}, {1, 2, 3, 4})})[0]
                       .tensor();
  EXPECT_TRUE(y.identical(f32({4}, {1, 3, 6, 10})));
}

}  // namespace
}  // namespace bascule::stablehlo
