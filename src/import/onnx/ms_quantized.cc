// import/onnx/ms_quantized.cc — com.microsoft: linear quantisation, products of quantised matrices, elementwise operators and pools on quantised values.
#include <memory>

#include "import/onnx/indexing.h"
#include "import/onnx/ms.h"

namespace bascule::onnx {
namespace {

// Operands i, i+1, i+2 as a quantised value with its scale and zero point, in f32.
Value read_quantized(const NodeContext& n, size_t i) { return dequantized(n.b, n.in(i), along(n.b, n.in(i + 1), 0, 0), n.has(i + 2) ? along(n.b, n.in(i + 2), 0, 0) : kNoValue); }
// x at the scale and zero point of operands i, i+1.
Value write_quantized(const NodeContext& n, Value x, size_t i, DType t) { return quantized(n.b, x, along(n.b, n.in(i), 0, 0), n.has(i + 1) ? along(n.b, n.in(i + 1), 0, 0) : kNoValue, t); }

// As write_quantized, but rounded after the zero point is added: what ONNX Runtime's sums, products and pools do with values half-way between two.
Value write_shifted(const NodeContext& n, Value ratio, size_t zero_at, DType t) {
  Builder& b = n.b;
  if (n.has(zero_at)) ratio = b.add(ratio, b.convert(along(b, n.in(zero_at), 0, 0), DType::f32));
  const Value y = b.unary("round_nearest_even", ratio);
  return b.convert(b.minimum(b.maximum(y, static_cast<double>(int_min(t))), static_cast<double>(int_max(t))), t);
}
Value scale_operand(const NodeContext& n, size_t i) { return along(n.b, n.in(i), 0, 0); }

// (A - zero) as i32, for exact integer products
Value centred(Builder& b, Value q, Value zero) {
  const Value x = b.convert(q, DType::i32);
  return zero ? b.subtract(x, b.convert(zero, DType::i32)) : x;
}

// A[..., K] B[K, N] of integers, exact, as f32
Value integer_product(Builder& b, Value x, Value xz, Value w, Value wz) { return b.convert(b.matmul(centred(b, x, xz), centred(b, w, wz), DType::i32), DType::f32); }

// Moves channels from last to second and back, around an operator that wants them second.
Value channels_second(Builder& b, Value x) {
  Ints order{0, b.rank(x) - 1};
  for (int64_t i = 1; i + 1 < b.rank(x); ++i) order.push_back(i);
  return b.transpose(x, order);
}
Value channels_last(Builder& b, Value x) {
  Ints order{0};
  for (int64_t i = 2; i < b.rank(x); ++i) order.push_back(i);
  order.push_back(1);
  return b.transpose(x, order);
}

Ints spatial_axes(int64_t rank, bool last) {
  Ints axes;
  for (int64_t i = last ? 1 : 2; i < (last ? rank - 1 : rank); ++i) axes.push_back(i);
  return axes;
}

// Bytes that hold 8 / bits values each, low bits first, as a tensor of those values with these dims: the same memory for a constant.
Value small_ints(const NodeContext& n, Value bytes, int64_t bits, const Dims& dims) {
  Builder& b = n.b;
  if (bits == 8) return b.reshape(bytes, dims);
  const DType t = bits == 4 ? DType::u4 : DType::u2;
  const Tensor* held = b.constant(bytes);
  const auto fixed = constants(dims);
  if (!held || !fixed) return b.convert(b.reshape(unpacked(b, bytes, bits), dims), t);
  if (element_count(*fixed) != held->elements() * (8 / bits)) n.fail("bytes for " + text(dims) + " values of " + std::to_string(bits) + " bits", held->type_text());
  const auto owner = std::make_shared<const Tensor>(*held);
  return b.constant(Tensor::view(t, *fixed, owner->data(), owner));
}
// The same with the last axis longer by 8 / bits.
Value small_ints(const NodeContext& n, Value bytes, int64_t bits) {
  Dims d = n.b.dims(bytes);
  if (d.empty()) n.fail("packed values of rank 1 or more", n.b.type(bytes).text());
  d.back() = d.back() * Dim(8 / bits);
  return small_ints(n, bytes, bits, d);
}

// q[..., K] with scale and zero [..., blocks] along the last axis -> f32; without zero, `middle` stands for it.
Value blockwise(const NodeContext& n, Value q, Value scale, Value zero, int64_t size, double middle) {
  Builder& b = n.b;
  const Attrs attrs{{"axis", b.rank(q) - 1}, {"block_size", size}};
  const Value s = b.convert(scale, DType::f32);
  if (!zero && middle != 0) zero = b.full(b.dims(scale), b.dtype(q), middle);
  if (!zero || b.dtype(zero) == b.dtype(q)) return b.op("dequantize", {q, s, zero}, attrs);
  // A zero point that is a fraction: q s - z s, the second spread over each block
  const Value shift = b.op("dequantize", {b.full(b.dims(q), b.dtype(q), 1), b.multiply(b.convert(zero, DType::f32), s)}, attrs);
  return b.subtract(b.op("dequantize", {q, s}, attrs), shift);
}

}  // namespace

ONNX_MS_OP(QuantizeLinear, 1) { return n.as("", "QuantizeLinear", 21); }
ONNX_MS_OP(DequantizeLinear, 1) { return n.as("", "DequantizeLinear", 21); }

// y = A dequantised(B)' + bias: B[N, blocks, bytes] holds N rows of K values of `bits` each, low bits first, in blocks that share a scale and zero point (default: the middle value).
ONNX_MS_OP(MatMulNBits, 1) {
  const int64_t K = n.integer("K"), N = n.integer("N"), bits = n.integer("bits", 4), size = n.integer("block_size");
  n.integer("accuracy_level", 0);  // a lower bound on the precision of the product: f32 satisfies each
  n.ignore("weight_prepacked");
  if (bits != 2 && bits != 4 && bits != 8) n.unsupported("bits 2, 4 or 8", std::to_string(bits), "Quantise to 4 bits");
  constexpr int64_t kMost = int64_t{1} << 40;
  if (K <= 0 || N <= 0 || K > kMost || N > kMost || size <= 0 || size > (int64_t{1} << 30) || size * bits % 8 != 0) n.fail("positive K, N and a block_size of whole bytes", std::to_string(K) + ", " + std::to_string(N) + ", " + std::to_string(size));
  const int64_t blocks = K / size + (K % size != 0);
  const Value x = n.in(0), packed = n.in(1);
  if (b.dtype(packed) != DType::u8) n.fail("B of type uint8", b.type(packed).text());
  const double middle = static_cast<double>(int64_t{1} << (bits - 1));
  Value q = small_ints(n, packed, bits, {Dim(N), Dim(blocks * size)});
  if (blocks * size != K) q = b.slice_axis(q, 1, 0, K);
  const Value scale = b.reshape(n.in(2), {Dim(N), Dim(blocks)});
  Value zero;
  if (n.has(3)) {
    zero = n.in(3);
    if (b.dtype(zero) == DType::u8) {  // packed like the weights, each row padded to whole bytes
      zero = small_ints(n, zero, bits, {Dim(N), Dim((blocks * bits + 7) / 8 * (8 / bits))});
      zero = b.slice_axis(zero, 1, 0, blocks);
    } else {
      zero = b.reshape(zero, {Dim(N), Dim(blocks)});
    }
  }
  Value w;
  if (n.has(4)) {  // g_idx: the block of each k
    const Value block = from_end(b, b.reshape(n.in(4), {Dim(K)}), Dim(blocks));
    const Value v = b.convert(q, DType::f32), s = take(b, b.convert(scale, DType::f32), block, 1);
    w = b.multiply(zero ? b.subtract(v, take(b, b.convert(zero, DType::f32), block, 1)) : b.subtract(v, middle), s);
  } else {
    w = blockwise(n, q, scale, zero, size, middle);
  }
  const Ints last{b.rank(x) - 1};
  Value y = b.dot_general(b.convert(x, DType::f32), w, {}, {}, last, {1});
  if (n.has(5)) y = b.add(y, b.convert(n.in(5), DType::f32));
  return b.convert(y, b.dtype(x));
}

// Rows (slices along gather_axis) of a block-quantised table. Bytes hold 8 / bits values along the last axis; their default zero point is the middle value, that of int4 types 0.
ONNX_MS_OP(GatherBlockQuantized, 1) {
  Value table = n.in(0);
  const Value index = n.in(1);
  const int64_t bits = n.integer("bits", 4), size = n.integer("block_size", 128), rank = b.rank(table);
  const int64_t axis = n.axis(n.integer("gather_axis", 0), rank), along_axis = n.axis(n.integer("quantize_axis", 1), rank);
  if (bits != 2 && bits != 4 && bits != 8) n.unsupported("bits 2, 4 or 8", std::to_string(bits), "Quantise to 4 bits");
  if (size < 1) n.fail("block_size of 1 or more", std::to_string(size));
  if (axis == along_axis) n.fail("gather_axis unlike quantize_axis", std::to_string(axis));
  if (along_axis != rank - 1) n.unsupported("quantize_axis on the last axis", std::to_string(along_axis), "Quantise along the last axis");
  const bool bytes = b.dtype(table) == DType::u8;
  if (bytes) table = small_ints(n, table, bits);
  const Value scale = n.in(2);
  require_rank(n, scale, {rank}, "scales");
  Value zero = n.in_or_none(3);
  if (zero && bytes) zero = b.slice_axis(small_ints(n, zero, bits), rank - 1, 0, b.dim(scale, -1));
  const Value places = from_end(b, index, b.dim(table, axis));
  const auto rows = [&](Value v) { return take(b, v, places, axis); };
  const Value y = blockwise(n, rows(table), rows(scale), zero ? rows(zero) : kNoValue, size, bytes ? static_cast<double>(int64_t{1} << (bits - 1)) : 0);
  return b.convert(y, b.dtype(scale));
}

// i32 = i16 x i16
ONNX_MS_OP(MatMulInteger16, 1) { return b.matmul(b.convert(n.in(0), DType::i32), b.convert(n.in(1), DType::i32), DType::i32); }

// inputs: A, B, A scale, B scale, A zero point, B zero point, bias; those of B may differ by column
ONNX_MS_OP(MatMulIntegerToFloat, 1) {
  const auto row = [&](size_t i) { return n.has(i) ? along(b, n.in(i), 1, 2) : kNoValue; };
  require_rank(n, n.in(3), {0, 1}, "B scale");
  const Value scale = b.multiply(along(b, n.in(2), 0, 0), row(3));
  Value y = integer_product(b, n.in(0), n.has(4) ? along(b, n.in(4), 0, 0) : kNoValue, n.in(1), row(5));
  y = b.multiply(y, b.rank(scale) == 2 && b.rank(y) > 2 ? b.reshape(scale, {b.dim(scale, 1)}) : scale);
  return n.has(6) ? b.add(y, n.in(6)) : y;
}

// A is quantised at run time to u8 by its smallest and largest element. inputs: A, B, B scale, B zero point, bias
ONNX_MS_OP(DynamicQuantizeMatMul, 1) {
  const Values a = n.as("", "DynamicQuantizeLinear", 11);
  const auto row = [&](size_t i) { return n.has(i) ? along(b, n.in(i), 1, 2) : kNoValue; };
  require_rank(n, n.in(2), {0, 1}, "B scale");
  const Value scale = b.multiply(a.at(1), row(2));
  Value y = integer_product(b, a[0], a[2], n.in(1), row(3));
  y = b.multiply(y, b.rank(scale) == 2 ? b.reshape(scale, {b.dim(scale, 1)}) : scale);
  return n.has(4) ? b.add(y, n.in(4)) : y;
}

// LSTM with weights W[directions, input, 4 hidden] and R quantised by direction, or by direction and column. ONNX Runtime rounds x and h to 8 bits at every step; here they
// stay as they are, which is nearer to the model that was quantised. inputs: X, W, R, B, sequence_lens, initial_h, initial_c, P, W scale, W zero, R scale, R zero
ONNX_MS_OP(DynamicQuantizeLSTM, 1) {
  const auto weights = [&](size_t i, size_t scale) {
    const Value q = n.in(i);
    if (b.rank(q) != 3) n.fail("weights of rank 3", b.type(q).text());
    const auto each = [&](Value v) { return b.rank(v) == 1 ? b.unsqueeze(v, {1, 2}) : b.rank(v) == 2 ? b.unsqueeze(v, {1}) : v; };
    return b.transpose(dequantized(b, q, each(n.in(scale)), each(n.in(scale + 1))), {0, 2, 1});
  };
  return n.as("", "LSTM", 14, {{1, weights(1, 8)}, {2, weights(2, 10)}});
}

// inputs: A, scale, zero, B, scale, zero, C (i32, at scale alpha * A scale * B scale), y scale, y zero; without a y scale the result is f32
ONNX_MS_OP(QGemm, 1) {
  const bool ta = n.flag("transA", false), tb = n.flag("transB", false);
  const double alpha = n.number("alpha", 1);
  const auto oriented = [&](Value v, bool t) {
    if (b.rank(v) != 2) n.fail("matrices", b.type(v).text());
    return t ? b.transpose(v, {1, 0}) : v;
  };
  const Value x = n.in(0);
  Value y = b.matmul(centred(b, oriented(x, ta), n.has(2) ? along(b, n.in(2), 0, 0) : kNoValue), centred(b, oriented(n.in(3), tb), n.has(5) ? along(b, n.in(5), 1, 2) : kNoValue), DType::i32);
  if (n.has(6)) y = b.add(y, n.in(6));
  const Value scale = b.multiply(b.multiply(along(b, n.in(1), 0, 0), along(b, n.in(4), 1, 2)), alpha);
  const Value real = b.multiply(b.convert(y, DType::f32), scale);
  return n.has(7) ? write_quantized(n, real, 7, n.has(8) ? b.dtype(n.in(8)) : b.dtype(x)) : real;
}

// inputs: A, scale, zero, B, scale, zero, C scale, C zero
ONNX_MS_OP(QLinearAdd, 1) { return write_shifted(n, b.divide(b.add(read_quantized(n, 0), read_quantized(n, 3)), scale_operand(n, 6)), 7, b.dtype(n.in(0))); }
ONNX_MS_OP(QLinearMul, 1) {
  const Value ratio = b.divide(b.multiply(scale_operand(n, 1), scale_operand(n, 4)), scale_operand(n, 6));
  const auto part = [&](size_t i) { return centred(b, n.in(i), n.has(i + 2) ? scale_operand(n, i + 2) : kNoValue); };
  return write_shifted(n, b.multiply(b.convert(b.multiply(part(0), part(3)), DType::f32), ratio), 7, b.dtype(n.in(0)));
}

// inputs: x, scale, zero, y scale, y zero
ONNX_MS_OP(QLinearLeakyRelu, 1) {
  const Value x = read_quantized(n, 0);
  return write_quantized(n, b.select(b.compare(x, 0, "LT"), b.multiply(x, n.number("alpha", 0.01)), x), 3, b.dtype(n.in(0)));
}
ONNX_MS_OP(QLinearSigmoid, 1) { return write_quantized(n, b.logistic(read_quantized(n, 0)), 3, b.dtype(n.in(0))); }
ONNX_MS_OP(QLinearReduceMean, 1) {
  const Value x = read_quantized(n, 0);
  Ints axes = n.ints("axes", Ints{});
  if (axes.empty())
    for (int64_t i = 0; i < b.rank(x); ++i) axes.push_back(i);
  return write_quantized(n, b.mean(x, n.axes(axes, b.rank(x)), n.flag("keepdims", true)), 3, b.dtype(n.in(0)));
}
// attribute opset: before 13 the axes from `axis` on count as one
ONNX_MS_OP(QLinearSoftmax, 1) {
  const Value x = read_quantized(n, 0);
  const Dims d = b.dims(x);
  const int64_t axis = n.axis(n.integer("axis", -1), b.rank(x));
  Value y;
  if (n.integer("opset", 13) < 13) {
    y = b.reshape(softmax_last(b, b.reshape(x, {product(Dims(d.begin(), d.begin() + axis)), product(Dims(d.begin() + axis, d.end()))})), d);
  } else {
    Ints order;
    for (int64_t i = 0; i < b.rank(x); ++i) order.push_back(i);
    std::swap(order[static_cast<size_t>(axis)], order.back());
    y = b.transpose(softmax_last(b, b.transpose(x, order)), order);
  }
  return write_quantized(n, y, 3, b.dtype(n.in(0)));
}

// inputs: y scale, y zero, then x, scale, zero of each part
ONNX_MS_OP(QLinearConcat, 1) {
  if (n.inputs() < 5 || (n.inputs() - 2) % 3 != 0) n.fail("2 operands and 3 for each part", std::to_string(n.inputs()));
  Values parts;
  for (size_t i = 2; i < n.inputs(); i += 3) parts.push_back(read_quantized(n, i));
  return write_quantized(n, b.concatenate(parts, n.axis(n.integer("axis"), b.rank(parts[0]))), 0, b.dtype(n.in(2)));
}

// inputs: condition, X, scale, zero, Y, scale, zero, z scale, z zero
ONNX_MS_OP(QLinearWhere, 1) { return write_quantized(n, b.select(n.in(0), read_quantized(n, 1), read_quantized(n, 4)), 7, b.dtype(n.in(1))); }

// inputs: X, scale, zero, y scale, y zero
ONNX_MS_OP(QLinearAveragePool, 1) {
  const bool last = n.flag("channels_last", false);
  Value x = read_quantized(n, 0);
  require_rank(n, x, {3, 4, 5}, "X");
  if (last) x = channels_second(b, x);
  Value y = n.as("", "AveragePool", 11, {{0, x}})[0];
  if (last) y = channels_last(b, y);
  return write_shifted(n, b.divide(y, scale_operand(n, 3)), 4, b.dtype(n.in(0)));
}
ONNX_MS_OP(QLinearGlobalAveragePool, 1) {
  const Value x = read_quantized(n, 0);
  if (b.rank(x) < 3) n.fail("an input of rank 3 or more", b.type(x).text());
  return write_quantized(n, b.mean(x, spatial_axes(b.rank(x), n.flag("channels_last", false)), true), 3, b.dtype(n.in(0)));
}
// Max pooling of [N, spatial..., C]
ONNX_MS_OP(NhwcMaxPool, 1) {
  require_rank(n, n.in(0), {3, 4, 5}, "x");
  return channels_last(b, n.as("", "MaxPool", 12, {{0, channels_second(b, n.in(0))}})[0]);
}

}  // namespace bascule::onnx
