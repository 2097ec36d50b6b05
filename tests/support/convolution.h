// tests/support/convolution.h — attributes of a two-dimensional convolution of images [n, c, h, w] by kernels [out, in / groups, h, w].
#pragma once
#include "graph/op_def.h"

namespace bascule {

inline Attrs nchw(int64_t groups) {
  return {{"input_batch_dimension", int64_t{0}},
          {"input_feature_dimension", int64_t{1}},
          {"input_spatial_dimensions", Ints{2, 3}},
          {"kernel_output_feature_dimension", int64_t{0}},
          {"kernel_input_feature_dimension", int64_t{1}},
          {"kernel_spatial_dimensions", Ints{2, 3}},
          {"output_batch_dimension", int64_t{0}},
          {"output_feature_dimension", int64_t{1}},
          {"output_spatial_dimensions", Ints{2, 3}},
          {"feature_group_count", groups},
          {"dtype", DType::f32}};
}

}  // namespace bascule
