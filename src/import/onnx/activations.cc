// import/onnx/activations.cc — elementwise activations.
#include "import/onnx/op.h"

namespace bascule::onnx {

// y = max(x, 0)
ONNX_OP(Relu, 1) {
  n.ignore("consumed_inputs");
  return b.maximum(n.in(0), 0);
}

}  // namespace bascule::onnx
