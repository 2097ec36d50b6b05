// import/onnx/sequences.cc — operators on sequences and optionals.
#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {

ONNX_OP(SequenceConstruct, 11) {
  Values items;
  for (size_t i = 0; i < n.inputs(); ++i) items.push_back(n.any(i));
  return b.op("sequence_construct", items);
}
ONNX_OP(SequenceEmpty, 11) { return b.op("sequence_empty", {}, {{"dtype", n.dtype_attr("dtype", DType::f32)}}); }
ONNX_OP(SequenceInsert, 11) { return b.op("sequence_insert", {n.any(0), n.any(1), n.in_or_none(2)}); }
ONNX_OP(SequenceErase, 11) { return b.op("sequence_erase", {n.any(0), n.in_or_none(1)}); }
ONNX_OP(SequenceAt, 11) { return b.op("sequence_at", {n.any(0), n.in(1)}); }
ONNX_OP(SequenceLength, 11) { return b.op("sequence_length", {n.any(0)}); }

ONNX_OP(SplitToSequence, 11) {
  const Value x = n.in(0);
  const Attrs attrs{{"axis", n.axis(n.integer("axis", 0), b.rank(x))}, {"keepdims", n.flag("keepdims", true)}};
  return b.op("split_to_sequence", {x, n.in_or_none(1)}, attrs);
}
ONNX_OP(ConcatFromSequence, 11) { return b.op("concat_from_sequence", {n.any(0)}, {{"axis", n.integer("axis")}, {"new_axis", n.flag("new_axis", false)}}); }

ONNX_OP(Optional, 15) {
  n.ignore("type");  // of an absent value: nothing can be taken out of it
  return b.op("optional_construct", n.has(0) ? Values{n.any(0)} : Values{});
}
ONNX_OP(OptionalGetElement, 15) { return b.op("optional_get_element", {n.any(0)}); }
ONNX_OP(OptionalHasElement, 15) {
  if (!n.has(0)) return b.constant(Tensor::scalar_int(DType::i1, 0));
  return b.op("optional_has_element", {n.any(0)});
}

}  // namespace bascule::onnx
