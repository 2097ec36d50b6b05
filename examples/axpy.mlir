// y = 2 x + 1
module @axpy {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %two = stablehlo.constant dense<2.000000e+00> : tensor<4xf32>
    %one = stablehlo.constant dense<1.000000e+00> : tensor<4xf32>
    %0 = stablehlo.multiply %x, %two : tensor<4xf32>
    %1 = stablehlo.add %0, %one : tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}
