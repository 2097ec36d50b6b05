// import/onnx/ms_other.cc — com.microsoft: operators that ONNX has too, and single ones.
#include "import/onnx/indexing.h"
#include "import/onnx/ms.h"

namespace bascule::onnx {

ONNX_MS_OP(GatherND, 1) { return n.as("", "GatherND", 12); }
ONNX_MS_OP(Range, 1) { return n.as("", "Range", 11); }
ONNX_MS_OP(Trilu, 1) { return n.as("", "Trilu", 14); }
ONNX_MS_OP(Pad, 1) { return n.as("", "Pad", 11); }
ONNX_MS_OP(GridSample, 1) { return n.as("", "GridSample", 16); }
ONNX_MS_OP(Rfft, 1) { n.unsupported("a discrete Fourier transform of ONNX", "com.microsoft.Rfft", "Export it as DFT"); }
ONNX_MS_OP(Irfft, 1) { n.unsupported("a discrete Fourier transform of ONNX", "com.microsoft.Irfft", "Export it as DFT"); }

// y in the order of first appearance, the place of each element in y, the count of each
ONNX_MS_OP(Unique, 1) {
  const Values r = b.ops("unique", {n.in(0)}, {{"sorted", false}});
  return {r[0], r[2], r[3]};
}

ONNX_MS_OP(ExpandDims, 1) {
  const Value x = n.in(0);
  return b.unsqueeze(x, {n.axis(n.constant(1), b.rank(x) + 1)});
}

ONNX_MS_OP(Inverse, 1) { return b.op("inverse", {n.in(0)}); }

// d[i, j] = |a[i] - b[j]|, or its square
ONNX_MS_OP(CDist, 1) {
  const std::string metric = n.text("metric", "sqeuclidean");
  if (metric != "euclidean" && metric != "sqeuclidean") n.unsupported("metric euclidean or sqeuclidean", "'" + metric + "'", "Export the distance as standard operators");
  const Value square = b.op("squared_distance", {n.in(0), n.in(1)});
  return metric == "euclidean" ? b.sqrt(square) : square;
}

// Elements of x whose mask is 0 do not count; a window without any gives the smallest value.
ONNX_MS_OP(MaxpoolWithMask, 1) {
  const Value x = n.in(0);
  if (!is_float(b.dtype(x))) n.fail("floats", b.type(x).text());
  const Value counts = b.compare(n.in(1), 0, "NE");
  const Value shown = b.select(counts, x, -float_info(b.dtype(x)).largest);
  n.ignore("storage_order");
  return b.maximum(n.as("", "MaxPool", 8, {{0, shown}, {1, kNoValue}})[0], -float_info(b.dtype(x)).largest);
}

// Boxes (y1, x1, y2, x2 as fractions of the extent minus 1) of images, resampled to crop_size; samples outside the image give extrapolation_value.
ONNX_MS_OP(CropAndResize, 1) {
  const Value x = n.in(0), boxes = n.in(1), batch = n.in(2);
  const std::string mode = n.text("mode", "bilinear");
  const double outside = n.number("extrapolation_value", 0);
  if (mode != "bilinear" && mode != "nearest") n.fail("mode bilinear or nearest", "'" + mode + "'");
  const Dims crop = n.sizes(3);
  if (b.rank(x) != 4 || b.rank(boxes) != 2 || crop.size() != 2) n.fail("X of rank 4, boxes of rank 2 and 2 sizes", b.type(x).text() + ", " + b.type(boxes).text());
  require_rank(n, batch, {1}, "batch_indices");
  const DType t = b.dtype(x);
  const Dim count = b.dim(boxes, 0);
  Value inside[2], weight[2];
  for (int64_t a = 0; a < 2; ++a) {
    const Dim extent = b.dim(x, a + 2), size = crop[static_cast<size_t>(a)];
    const Value last = b.convert(b.size(extent - Dim(1)), t);
    const Value low = b.slice_axis(boxes, 1, a, a + 1), high = b.slice_axis(boxes, 1, a + 2, a + 3);
    Value at;  // [boxes, size]
    if (size.is(1)) {
      at = b.multiply(b.multiply(b.add(low, high), 0.5), last);
    } else {
      const Value step = b.divide(b.multiply(b.subtract(high, low), last), b.convert(b.size(size - Dim(1)), t));
      at = b.add(b.multiply(low, last), b.multiply(step, b.iota(t, {Dim(1), size}, 1)));
    }
    inside[a] = b.logical_and(b.compare(at, 0, "GE"), b.compare(at, last, "LE"));
    if (mode == "nearest") at = b.unary("round_nearest_afz", at);
    // [boxes, size, extent]: the share of each source element, a hat of width 1 around the sample
    const Value apart = b.abs(b.subtract(b.unsqueeze(at, {2}), b.iota(t, {Dim(1), Dim(1), extent}, 2)));
    weight[a] = b.maximum(b.subtract(1, apart), 0);
  }
  const Value images = take(b, x, from_end(b, batch, b.dim(x, 0)), 0);                                        // [boxes, C, H, W]
  const Value rows = b.dot_general(images, weight[0], {0}, {0}, {2}, {2});                                    // [boxes, C, W, h]
  const Value y = b.dot_general(rows, weight[1], {0}, {0}, {2}, {2});                                         // [boxes, C, h, w]
  const Dims d{count, b.dim(x, 1), crop[0], crop[1]};
  const Value counts = b.logical_and(b.unsqueeze(inside[0], {2}), b.unsqueeze(inside[1], {1}));               // [boxes, h, w]
  return b.select(b.broadcast_to(b.unsqueeze(counts, {1}), d), y, outside);
}

// A word is a row of character ids, ended by 0 or the row's end: tanh of the largest response of each filter over the windows of its characters' vectors.
// inputs: ids[words, L], filters[M, 1, window, E], bias[M], vectors[characters, E]
ONNX_MS_OP(WordConvEmbedding, 1) {
  const Value ids = n.in(0), filters = n.in(1), bias = n.in(2), table = n.in(3);
  for (const char* name : {"embedding_size", "conv_window_size", "char_embedding_size"}) n.ignore(name);
  if (b.rank(ids) < 1 || b.rank(filters) != 4 || b.rank(table) != 2) n.fail("ids, filters of rank 4 and vectors of rank 2", b.type(ids).text() + ", " + b.type(filters).text());
  require_rank(n, bias, {1}, "bias");
  const Dims d = b.dims(ids);
  const Dim length = d.back(), words = product(Dims(d.begin(), d.end() - 1)), M = b.dim(filters, 0), window = b.dim(filters, 2), E = b.dim(table, 1);
  if (!window.is_constant() || window.value() < 1 || window.value() > 4096) n.unsupported("a window known before the run", window.text(), "Declare the shape of the filters");
  const Value flat = b.reshape(ids, {words, length});
  // characters before the first 0
  const Value ended = cumulative(b, "add", b.convert(b.compare(flat, 0, "EQ"), DType::i32), 1, false, false);
  const Value alive = b.compare(ended, 0, "EQ");
  Value vectors = take(b, table, flat, 0);  // [words, L, E]
  const Dim places = length - window + Dim(1);
  Value response = b.broadcast_to(b.reshape(bias, {Dim(1), Dim(1), M}), {words, places, M});
  for (int64_t k = 0; k < window.value(); ++k) {
    const Value part = b.slice_axis(vectors, 1, k, places + Dim(k));
    const Value filter = b.reshape(b.slice_axis(filters, 2, k, k + 1), {M, E});
    response = b.add(response, b.dot_general(part, filter, {}, {}, {2}, {1}));
  }
  response = b.tanh(response);
  // A window counts if its last character does; a word shorter than the window has its first window.
  const Value whole = b.slice_axis(alive, 1, window - Dim(1), length);
  const Value first = b.compare(b.iota(DType::i64, {words, places}, 1), 0, "EQ");
  const Value counts = b.unsqueeze(b.logical_or(whole, first), {2});
  Value y = b.reduce("maximum", b.select(b.broadcast_to(counts, b.dims(response)), response, -2), {1}, false);
  Dims out(d.begin(), d.end() - 1);
  out.push_back(M);
  return b.reshape(y, out);
}

// The identity: ONNX Runtime's example of a contributed operator.
ONNX_MS_OP(SampleOp, 1) { return n.in(0); }

// ConvTranspose whose pads are an operand.
ONNX_MS_OP(ConvTransposeWithDynamicPads, 1) { n.unsupported("pads in an attribute", "pads in an operand", "Export it as ConvTranspose"); }

}  // namespace bascule::onnx
