// import/onnx/ms_fused.cc — com.microsoft: activations, normalisations and products that optimisers fuse.
#include <numeric>

#include "import/onnx/indexing.h"
#include "import/onnx/ms.h"

namespace bascule::onnx {
namespace {

// A matrix operand of FusedMatMul: batch_first moves axis 0 before the last two to its place as rows; swap exchanges the last two.
Value matrix_operand(const NodeContext& n, Value x, bool swap, bool batch_last) {
  const int64_t rank = n.b.rank(x);
  if (rank < 2) return x;
  Ints order(static_cast<size_t>(rank));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (batch_last) {
    if (rank < 3) n.fail("an operand of rank 3 or more with transBatch", n.b.type(x).text());
    for (int64_t i = 0; i + 2 < rank; ++i) order[static_cast<size_t>(i)] = i + 1;
    order[static_cast<size_t>(rank - 2)] = 0;
  }
  if (swap) std::swap(order[static_cast<size_t>(rank - 1)], order[static_cast<size_t>(rank - 2)]);
  return n.b.transpose(x, order);
}

Value fused_matmul(const NodeContext& n) {
  Builder& b = n.b;
  const Value x = matrix_operand(n, n.in(0), n.flag("transA", false), n.flag("transBatchA", false));
  const Value y = matrix_operand(n, n.in(1), n.flag("transB", false), n.flag("transBatchB", false));
  const double alpha = n.number("alpha", 1);
  const Value z = b.matmul(x, y);
  return alpha == 1 ? z : b.multiply(z, alpha);
}

Results trailing_norm(const NodeContext& n, bool centred) {
  Builder& b = n.b;
  const Value x = n.in(0);
  const int64_t axis = n.axis(n.integer("axis", -1), b.rank(x));
  n.ignore("stash_type");
  const Normed y = layer_normed(b, x, axis, n.in(1), centred ? n.in_or_none(2) : kNoValue, n.number("epsilon", 1e-5), centred, n.wants(1) || n.wants(2));
  if (!y.mean) return y.y;
  return centred ? Results{y.y, y.mean, y.inverse} : Results{y.y, y.inverse};
}

// y = norm(input + skip + bias); results y, mean, inverse deviation, the sum
Results skip_norm(const NodeContext& n, bool centred) {
  Builder& b = n.b;
  const size_t bias_at = centred ? 4 : 3;
  Value sum = b.add(n.in(0), n.in(1));
  require_rank(n, sum, {1, 2, 3, 4}, "input");
  if (n.has(bias_at)) sum = b.add(sum, n.in(bias_at));
  const Normed y = layer_normed(b, sum, b.rank(sum) - 1, n.in(2), centred ? n.in_or_none(3) : kNoValue, n.number("epsilon", 1e-12), centred, n.wants(1) || n.wants(2));
  return {y.y, y.mean, y.inverse, sum};
}

}  // namespace

ONNX_MS_OP(Gelu, 1) { return gelu(b, n.in(0)); }
ONNX_MS_OP(BiasGelu, 1) { return gelu(b, b.add(n.in(0), n.in(1))); }
ONNX_MS_OP(FastGelu, 1) { return gelu_tanh(b, n.has(1) ? b.add(n.in(0), n.in(1)) : n.in(0)); }
// x / (1 + e^(-alpha x))
ONNX_MS_OP(QuickGelu, 1) {
  const Value x = n.in(0);
  return b.multiply(x, b.logistic(b.multiply(x, n.number("alpha", 1.702))));
}
// out = gelu(left half + bias) * right half of the last axis
ONNX_MS_OP(BiasSplitGelu, 1) {
  const Value x = b.add(n.in(0), n.in(1));
  if (b.rank(x) < 1) n.fail("an input of rank 1 or more", b.type(x).text());
  const int64_t last = b.rank(x) - 1;
  const Dim half = Dim::floor_div(b.dim(x, last), 2);
  return b.multiply(b.slice_axis(x, last, 0, half), gelu(b, b.slice_axis(x, last, half, b.dim(x, last))));
}
// input + bias + skip
ONNX_MS_OP(BiasAdd, 1) { return b.add(b.add(n.in(0), n.in(1)), n.in(2)); }
// softmax(data + bias) from `axis` on; a bias of equal rank may broadcast over any axes, one of lower rank over the outer ones
ONNX_MS_OP(BiasSoftmax, 1) {
  const Value x = n.in(0);
  const Value bias = n.in(1);
  const int64_t axis = n.axis(n.integer("axis", 1), b.rank(x));
  if (n.flag("is_inner_broadcast", true) && b.rank(bias) != b.rank(x)) n.unsupported("a bias of the data's rank with is_inner_broadcast", b.type(bias).text(), "Export the bias with extents of 1");
  const Value sum = b.add(x, bias);
  const Dims d = b.dims(sum);
  const Dims flat{product(Dims(d.begin(), d.begin() + axis)), product(Dims(d.begin() + axis, d.end()))};
  return b.reshape(softmax_last(b, b.reshape(sum, flat)), d);
}

// ONNX Runtime's own operators of the default domain, before ONNX had them.
ONNX_OP(LayerNormalization, 1) { return trailing_norm(n, true); }
ONNX_OP(SimplifiedLayerNormalization, 1) { return trailing_norm(n, false); }
ONNX_MS_OP(LayerNormalization, 1) { return trailing_norm(n, true); }
ONNX_MS_OP(SimplifiedLayerNormalization, 1) { return trailing_norm(n, false); }
ONNX_MS_OP(SkipLayerNormalization, 1) { return skip_norm(n, true); }
ONNX_MS_OP(SkipSimplifiedLayerNormalization, 1) { return skip_norm(n, false); }

// word[ids] + position[p] + segment[s], normalised; results y, the number of unmasked tokens of each row, the sum
ONNX_MS_OP(EmbedLayerNormalization, 1) {
  const Value ids = n.in(0);
  if (b.rank(ids) != 2) n.fail("input_ids of shape [batch, sequence]", b.type(ids).text());
  const Dims d = b.dims(ids);
  for (const size_t i : {2, 3}) require_rank(n, n.in(i), {2}, "embeddings");
  Value sum = take(b, n.in(2), ids, 0);
  const Value positions = n.in(3);
  sum = b.add(sum, n.has(8) ? take(b, positions, n.in(8), 0) : b.slice_axis(positions, 0, 0, d[1]));
  if (n.has(1)) sum = b.add(sum, take(b, n.in(4), n.in(1), 0));
  const Normed y = layer_normed(b, sum, 2, n.in(5), n.in(6), n.number("epsilon", 1e-12), true, false);
  n.integer("mask_index_type", 0);
  const Value count = n.has(7) ? b.sum(b.convert(b.compare(n.in(7), 1, "EQ"), DType::i32), {1}, false) : b.full({d[0]}, DType::i32, 0);
  return {y.y, count, sum};
}

ONNX_MS_OP(FusedMatMul, 1) { return fused_matmul(n); }
ONNX_MS_OP(TransposeMatMul, 1) { return fused_matmul(n); }

ONNX_MS_OP(FusedGemm, 1) {
  Numbers params;
  for (const char* name : {"activation_alpha", "activation_beta", "activation_gamma"})
    if (n.has_attr(name)) params.push_back(n.number(name));
  const std::string name = n.text("activation", "");
  return activation(n, n.as("", "Gemm", 13)[0], name, params);
}

ONNX_MS_OP(GemmFastGelu, 1) {
  const Value y = b.matmul(n.in(0), n.in(1));
  return gelu_tanh(b, n.has(2) ? b.add(y, n.in(2)) : y);
}

ONNX_MS_OP(FusedMatMulActivation, 1) {
  Numbers params;
  for (const char* name : {"activation_alpha", "activation_beta", "activation_gamma"})
    if (n.has_attr(name)) params.push_back(n.number(name));
  for (const char* name : {"activation_axis"}) n.ignore(name);
  return activation(n, fused_matmul(n), n.text("activation"), params);
}

namespace {

// Groups of channels normalised; activation 1: SiLU. x is [N, spatial..., C] with channels_last.
Value grouped_norm(const NodeContext& n, Value x) {
  Builder& b = n.b;
  const bool last = n.flag("channels_last", true);
  const int64_t act = n.integer("activation", 0), rank = b.rank(x);
  if (act != 0 && act != 1) n.unsupported("activation 0 (none) or 1 (SiLU)", std::to_string(act), "Export the activation as a node of its own");
  if (rank < 3) n.fail("X of rank 3 or more", b.type(x).text());
  Ints first{0, rank - 1}, back{0};
  for (int64_t i = 1; i + 1 < rank; ++i) first.push_back(i), back.push_back(i + 1);
  back.push_back(1);
  const Value y = b.op("group_norm", {last ? b.transpose(x, first) : x, n.in(1), n.in(2)}, {{"groups", n.integer("groups")}, {"epsilon", n.number("epsilon", 1e-5)}});
  const Value shown = act == 1 ? silu(b, y) : y;
  return last ? b.transpose(shown, back) : shown;
}

}  // namespace

ONNX_MS_OP(GroupNorm, 1) { return grouped_norm(n, n.in(0)); }
// inputs: X, gamma, beta, skip, bias; results y and the sum. skip may be [N, C] or [N, 1, 1, C].
ONNX_MS_OP(SkipGroupNorm, 1) {
  Value sum = n.in(0), skip = n.in(3);
  if (!n.flag("channels_last", true)) n.unsupported("channels_last = 1", "0", "Export it as standard operators");
  if (b.rank(skip) == 2) skip = b.unsqueeze(skip, {1, 2});
  sum = b.add(sum, skip);
  if (n.has(4)) sum = b.add(sum, n.in(4));
  return {grouped_norm(n, sum), sum};
}

// activation(conv(X, W, B) + Z)
ONNX_MS_OP(FusedConv, 1) {
  const std::string name = n.text("activation", "");
  const Numbers params = n.numbers("activation_params", Numbers{});
  Value y = n.as("", "Conv", 11)[0];
  if (n.has(3)) y = b.add(y, n.in(3));
  return activation(n, y, name, params);
}

// Experts: y = sum over the k best experts e of p[e] W2[e] act(W1[e] x + b1[e]) + b2[e]; p = softmax of the router's scores, of the chosen ones again summing to 1 if asked.
ONNX_MS_OP(MoE, 1) {
  const Value given = n.in(0);
  const int64_t k = n.integer("k", 1);
  const bool normalise = n.flag("normalize_routing_weights", false);
  const std::string act = n.text("activation_type", "relu");
  if (n.flag("use_sparse_mixer", false)) n.unsupported("use_sparse_mixer = 0", "1", "Export the router without the sparse mixer");
  if (n.has(6) || n.has(7)) n.unsupported("experts of two products", "a third", "Export the experts as standard operators");
  const DType t = b.dtype(given);
  const Dims d = b.dims(given);
  require_rank(n, given, {2, 3}, "input");
  require_rank(n, n.in(1), {2}, "router scores");
  require_rank(n, n.in(2), {3}, "fc1 weights");
  require_rank(n, n.in(4), {3}, "fc2 weights");
  const Value x = b.convert(b.reshape(given, {product(Dims(d.begin(), d.end() - 1)), d.back()}), wide_type(t));
  const Value p = softmax_last(b, b.convert(n.in(1), wide_type(t)));  // [rows, experts]
  const Dim experts = b.dim(p, 1);
  if (k < 1 || (experts.is_constant() && k > experts.value())) n.fail("k in [1, " + experts.text() + "]", std::to_string(k));
  const Values best = b.ops("topk", {p}, {{"axis", int64_t{1}}, {"k", Dims{Dim(k)}}});
  Value weight = best[0];
  if (normalise) weight = b.divide(weight, b.sum(weight, {1}, true));
  // [rows, experts]: the weight of each chosen expert, 0 of the others
  const Value chosen = b.compare(b.unsqueeze(best[1], {2}), b.iota(b.dtype(best[1]), {Dim(1), Dim(1), experts}, 2), "EQ");
  const Value share = b.sum(b.select(chosen, b.unsqueeze(weight, {2}), 0), {1}, false);
  // h[experts, rows, inner]
  Value h = b.transpose(b.dot_general(x, b.convert(n.in(2), wide_type(t)), {}, {}, {1}, {2}), {1, 0, 2});
  if (n.has(3)) h = b.add(h, b.unsqueeze(b.convert(n.in(3), wide_type(t)), {1}));
  if (act == "relu") h = b.maximum(h, 0);
  else if (act == "gelu") h = gelu_tanh(b, h);
  else if (act == "silu") h = silu(b, h);
  else if (act != "identity") n.unsupported("activation_type relu, gelu, silu or identity", "'" + act + "'", "Export the experts as standard operators");
  Value y = b.dot_general(h, b.convert(n.in(4), wide_type(t)), {0}, {0}, {2}, {2});  // [experts, rows, hidden]
  if (n.has(5)) y = b.add(y, b.unsqueeze(b.convert(n.in(5), wide_type(t)), {1}));
  y = b.sum(b.multiply(y, b.unsqueeze(b.transpose(share, {1, 0}), {2})), {0}, false);
  return b.convert(b.reshape(y, d), t);
}

}  // namespace bascule::onnx
