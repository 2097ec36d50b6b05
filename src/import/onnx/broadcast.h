// import/onnx/broadcast.h — how operands of elementwise operators meet: NumPy's rule from operator set 7 on, the `broadcast` and `axis` attributes before.
#pragma once
#include "import/onnx/op.h"

namespace bascule::onnx {

// Operand `i` of a node before operator set 7, shaped so that trailing alignment gives what `broadcast` and `axis` say: its dims match a
// run of operand 0's dims that starts at `axis` (default: the last ones).
inline Value legacy_operand(NodeContext& n, Builder& b, size_t i) {
  n.ignore("consumed_inputs");
  const Value a = n.in(0), x = n.in(i);
  const bool broadcast = n.flag("broadcast", false);
  if (!n.has_attr("axis")) {
    if (!broadcast && b.rank(x) != b.rank(a)) n.fail("operands of one shape (broadcast is 0)", b.type(a).text() + " and " + b.type(x).text());
    return x;
  }
  const int64_t at = n.axis(n.integer("axis"), b.rank(a) + 1);
  if (!broadcast) return x;
  Dims out = b.dims(x);
  if (at + b.rank(x) > b.rank(a)) n.fail("axis + rank of operand " + std::to_string(i) + " <= " + std::to_string(b.rank(a)), std::to_string(at + b.rank(x)));
  out.resize(static_cast<size_t>(b.rank(a) - at), Dim(1));
  return b.reshape(x, out);
}

// Left fold of all operands with NumPy broadcasting.
inline Value fold_operands(NodeContext& n, Builder& b, std::string_view op) {
  n.ignore("consumed_inputs");
  if (n.inputs() == 0) n.fail("at least one operand", "none");
  Value y = n.in(0);
  for (size_t i = 1; i < n.inputs(); ++i) y = b.binary(op, y, n.in(i));
  return y;
}

}  // namespace bascule::onnx
