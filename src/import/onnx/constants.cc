// import/onnx/constants.cc — constants, casts and values passed through.
#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

// Float types with special casts: `saturate` decides what a value beyond the largest becomes.
bool is_narrow(DType t) { return is_float(t) && info(t).bits <= 8; }

// Element types by the names that Cast_1 writes ("FLOAT").
DType dtype_by_name(NodeContext& n, const std::string& name) {
  constexpr std::string_view kNames[] = {"UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128"};
  for (int32_t i = 1; i < static_cast<int32_t>(std::size(kNames)); ++i)
    if (kNames[i] == name) return *dtype_of(i);
  n.fail("the name of an element type in attribute 'to'", "'" + escaped(name) + "'");
}

Results cast(NodeContext& n, Builder& b, DType to) {
  Value x = n.in(0);
  const DType from = b.dtype(x);
  const bool saturate = n.version >= 19 ? n.flag("saturate", true) : true;
  std::string rounding = n.version >= 24 ? n.text("round_mode", "up") : "up";
  if (rounding != "up" && rounding != "down" && rounding != "nearest") n.fail("round_mode up, down or nearest", "'" + escaped(rounding) + "'");
  if (is_string(from) && is_string(to)) return x;
  if (is_string(from)) return b.op("number_from_string", {x}, {{"dtype", to}});
  if (is_string(to)) return b.op("string_from_number", {x});
  if (from == to) return x;
  Attrs attrs{{"dtype", to}};
  // Out of range is undefined in ONNX; NumPy and its own test data keep the low bits of small integers, and make NaN a -0 where a type has none.
  if (is_float(from) && is_int(to) && info(to).bits < 32) attrs.set("overflow", std::string("wrap"));
  if (is_float(from) && is_float(to) && !float_info(to).has_nan) x = b.select(b.compare(x, x, "NE"), b.constant_like(-0.0, from), x);
  if (is_narrow(to)) attrs.set("saturate", saturate);
  if (to == DType::f8e8m0fnu) attrs.set("round_mode", rounding);
  return b.op("convert", {x}, attrs);
}

}  // namespace

ONNX_OP(Constant, 1) {
  if (n.has_attr("value")) return b.constant(n.attr_tensor("value"));
  if (n.has_attr("sparse_value")) return b.constant(n.attr_sparse("sparse_value"));
  if (n.has_attr("value_int")) return b.constant(Tensor::scalar_int(DType::i64, n.integer("value_int")));
  if (n.has_attr("value_float")) return b.constant(Tensor::scalar(DType::f32, n.number("value_float")));
  if (n.has_attr("value_string")) return b.constant(Tensor::from_strings({}, {n.text("value_string")}));
  if (n.has_attr("value_ints")) return b.ints(n.ints("value_ints"));
  if (n.has_attr("value_floats")) {
    const Numbers values = n.numbers("value_floats");
    return b.constant(Tensor::from_doubles(DType::f32, {static_cast<int64_t>(values.size())}, values));
  }
  if (n.has_attr("value_strings")) {
    const Texts values = n.texts("value_strings");
    return b.constant(Tensor::from_strings({static_cast<int64_t>(values.size())}, values));
  }
  n.fail("one of the attributes value, sparse_value, value_int(s), value_float(s), value_string(s)", "none");
}

ONNX_OP(ConstantOfShape, 9) {
  const Dims dims = n.sizes(0);
  for (const Dim& d : dims)
    if (d.is_constant() && d.value() < 0) n.fail("sizes of 0 or more", text(dims));
  product(dims);  // an overflow is an error of the size, here where the node is known
  const Tensor value = n.has_attr("value") ? n.attr_tensor("value") : Tensor::scalar(DType::f32, 0);
  if (value.elements() != 1) n.fail("a value of one element", value.type_text());
  return b.broadcast_to(b.constant(value.reshaped({})), dims);
}

ONNX_OP(Identity, 1) { return n.any(0); }

ONNX_OP(Cast, 1) { return cast(n, b, dtype_by_name(n, n.text("to"))); }
ONNX_OP(Cast, 6) { return cast(n, b, n.dtype_attr("to")); }
ONNX_OP(CastLike, 15) {
  const Value like = n.any(1);
  if (!b.type(like).is_tensor()) throw NeedsRun{1, false};
  return cast(n, b, b.dtype(like));
}

ONNX_OP(BitCast, 26) {
  const Value x = n.in(0);
  const DType to = n.dtype_attr("to");
  const int bits = info(b.dtype(x)).storage_bits;  // a bool is a byte here
  if (info(to).storage_bits != bits || is_string(to)) n.fail("a type of " + std::to_string(bits) + " bits", std::string(info(to).name));
  if (b.dtype(x) == to) return x;
  // StableHLO's i1 is one bit wide, so a bool's byte goes through u8.
  if (is_bool(to)) return b.convert(b.dtype(x) == DType::u8 ? x : b.op("bitcast_convert", {x}, {{"dtype", DType::u8}}), to);
  const Value from = is_bool(b.dtype(x)) ? b.convert(x, DType::u8) : x;
  return b.dtype(from) == to ? from : b.op("bitcast_convert", {from}, {{"dtype", to}});
}

ONNX_OP(Unique, 11) {
  const Value x = n.in(0);
  Attrs attrs{{"sorted", n.flag("sorted", true)}};
  if (n.has_attr("axis")) attrs.set("axis", n.axis(n.integer("axis"), b.rank(x)));
  return b.ops("unique", {x}, attrs);
}

}  // namespace bascule::onnx
