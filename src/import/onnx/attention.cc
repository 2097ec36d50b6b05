// import/onnx/attention.cc — ONNX attention, rotary embedding, linear attention, causal convolution with state.
#include <cmath>
#include <limits>

#include "import/onnx/indexing.h"
#include "import/onnx/op.h"

namespace bascule::onnx {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// [B, S, H * D] -> [B, H, S, D]
Value split_heads(NodeContext& n, Builder& b, Value x, int64_t heads) {
  if (b.rank(x) != 3) n.fail("an operand of rank 3", b.type(x).text());
  if (heads < 1) n.fail("a number of heads >= 1", std::to_string(heads));
  const Dim width = b.dim(x, 2);
  if (width.is_constant() && width.value() % heads != 0)
    n.fail("a last axis that divides into " + std::to_string(heads) + " heads", b.type(x).text());
  return b.transpose(b.reshape(x, {b.dim(x, 0), b.dim(x, 1), Dim(heads), Dim::floor_div(width, heads)}), {0, 2, 1, 3});
}
// [B, H, S, D] -> [B, S, H * D]
Value join_heads(Builder& b, Value x) {
  const Dims d = b.dims(x);
  return b.reshape(b.transpose(x, {0, 2, 1, 3}), {d[0], d[2], d[1] * d[3]});
}

// A mask right-aligned to [B, H, S, T] with its last axis filled up to T.
Value full_mask(NodeContext& n, Builder& b, Value mask, const Dim& keys) {
  if (b.rank(mask) < 1 || b.rank(mask) > 4) n.fail("attn_mask of rank 1 to 4", b.type(mask).text());
  Dims d = b.dims(mask);
  d.insert(d.begin(), 4 - d.size(), Dim(1));
  mask = b.reshape(mask, d);
  if (d[3] == keys || d[3].is(1)) return mask;
  const Dims none(4, Dim(0));
  Dims high = none;
  high[3] = keys - d[3];
  return b.pad(mask, is_bool(b.dtype(mask)) ? 0 : -kInf, none, high);
}

// A bool value as an addend: 0 where true, else -inf.
Value as_bias(Builder& b, Value allowed, DType t) { return b.select(allowed, b.constant_like(0, t), b.constant_like(-kInf, t)); }

Value all_of(Builder& b, Value a, Value c) { return !a ? c : !c ? a : b.logical_and(a, c); }

Results attention(NodeContext& n, Builder& b) {
  Value q = n.in(0), k = n.in(1), v = n.in(2);
  const bool packed = b.rank(q) == 3;
  if ((b.rank(q) != 3 && b.rank(q) != 4) || b.rank(k) != b.rank(q) || b.rank(v) != b.rank(q))
    n.fail("Q, K and V of rank 3 or 4", b.type(q).text() + ", " + b.type(k).text() + ", " + b.type(v).text());
  if (packed) {
    q = split_heads(n, b, q, n.integer("q_num_heads"));
    k = split_heads(n, b, k, n.integer("kv_num_heads"));
    v = split_heads(n, b, v, n.integer("kv_num_heads"));
  } else {
    n.ignore("q_num_heads");
    n.ignore("kv_num_heads");
  }
  const DType t = b.dtype(q);
  for (const size_t i : {size_t{4}, size_t{5}})
    if (n.has(i) && b.rank(n.in(i)) != 4) n.fail("past_key and past_value of rank 4", b.type(n.in(i)).text());
  const Dim past = n.has(4) ? b.dim(n.in(4), 2) : Dim(0);
  if (n.has(4) != n.has(5)) n.fail("past_key and past_value together", n.has(4) ? "past_key alone" : "past_value alone");
  if (n.has(4)) {
    k = b.concatenate({n.in(4), k}, 2);
    v = b.concatenate({n.in(5), v}, 2);
  }
  const Dim B = b.dim(q, 0), H = b.dim(q, 1), S = b.dim(q, 2), D = b.dim(q, 3), K = b.dim(k, 1), T = b.dim(k, 2);
  const Value lengths = n.version >= 24 ? n.in_or_none(6) : kNoValue;
  if (lengths && n.has(4)) n.fail("nonpad_kv_seqlen or a past, not both", "both");
  const bool causal = n.flag("is_causal", false);
  const double softcap = n.number("softcap", 0.0);
  const int64_t left = n.version >= 25 ? n.integer("left_window_size", -1) : -1, right = n.version >= 25 ? n.integer("right_window_size", -1) : -1;
  if (left < -1 || right < -1) n.fail("window sizes of -1 or more", std::to_string(left) + " and " + std::to_string(right));
  const int64_t mode = n.integer("qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3) n.fail("qk_matmul_output_mode 0 to 3", std::to_string(mode));
  const bool precise = n.has_attr("softmax_precision");
  const DType softmax_type = precise ? n.dtype_attr("softmax_precision") : t;
  double scale = 1;
  if (n.has_attr("scale")) {
    scale = n.number("scale");
  } else if (D.is_constant()) {
    scale = 1 / std::sqrt(static_cast<double>(D.value()));
  } else {
    q = b.divide(q, b.sqrt(b.convert(b.size(D), t)));
  }

  // Which keys each query may see, beside the mask. Query i stands at i + offset, offset = what came before it.
  Value allowed, bias;
  const bool per_row = static_cast<bool>(lengths);  // offset differs from row to row
  const auto positions = [&](int64_t axis) { return b.iota(DType::i64, {Dim(1), Dim(1), S, T}, axis); };
  const auto offset = [&] { return per_row ? b.subtract(b.reshape(b.convert(lengths, DType::i64), {B, 1, 1, 1}), b.size(S)) : b.size(past); };
  if (left >= 0 || right >= 0) {
    const Value ahead = b.subtract(b.add(positions(2), offset()), positions(3));  // how far the key lies before the query
    if (left >= 0) allowed = all_of(b, allowed, b.compare(ahead, static_cast<double>(left), "LE"));
    if (right >= 0) allowed = all_of(b, allowed, b.compare(b.negate(ahead), static_cast<double>(right), "LE"));
  }
  if (per_row) {
    allowed = all_of(b, allowed,
                     b.compare(b.iota(DType::i64, {Dim(1), Dim(1), Dim(1), T}, 3), b.reshape(b.convert(lengths, DType::i64), {B, 1, 1, 1}), "LT"));
    if (causal) allowed = all_of(b, allowed, b.compare(positions(3), b.add(positions(2), offset()), "LE"));
  }
  if (n.has(3)) {
    const Value mask = full_mask(n, b, n.in(3), T);
    if (is_bool(b.dtype(mask))) allowed = all_of(b, allowed, mask);
    else bias = b.convert(mask, t);
  }

  Results results{Values{}};
  if (!n.wants(3)) {
    Value y = b.op("attention", {q, b.convert(k, t), b.convert(v, t), bias, allowed},
                   {{"scale", scale}, {"softcap", softcap}, {"causal", causal && !per_row}, {"causal_offset", Dims{past}}});
    results.values = {packed ? join_heads(b, y) : y, k, v};
    return results;
  }

  // The scores are wanted: the same, step by step.
  if (causal && !per_row) allowed = all_of(b, allowed, b.compare(positions(3), b.add(positions(2), b.size(past)), "LE"));
  const Dim rows = Dim::floor_div(H, K) * S;
  const DType wide = info(t).bits < 32 ? DType::f32 : t;
  const Value grouped = b.reshape(b.convert(q, wide), {B, K, rows, D});
  Value x = b.reshape(b.dot_general(grouped, b.convert(k, wide), {0, 1}, {0, 1}, {3}, {3}), {B, H, S, T});
  x = b.multiply(x, scale);
  Value shown = x;
  if (softcap > 0) x = b.multiply(b.tanh(b.divide(x, softcap)), softcap);
  if (mode == 1) shown = x;
  if (allowed) {
    const Value addend = as_bias(b, allowed, t);
    bias = bias ? b.add(bias, addend) : addend;
  }
  if (bias) x = b.add(x, b.convert(bias, wide));
  if (mode == 2) shown = x;
  const DType inner = info(softmax_type).bits > info(wide).bits ? softmax_type : wide;
  x = b.convert(x, inner);
  Value top = b.reduce("maximum", x, {3}, true);
  top = b.select(b.compare(top, -kInf, "EQ"), 0.0, top);
  const Value e = b.exp(b.subtract(x, top)), total = b.sum(e, {3}, true);
  Value p = b.divide(e, b.select(b.compare(total, 0.0, "EQ"), 1.0, total));
  if (bias) {
    const Value none = b.compare(b.reduce("maximum", bias, {3}, true), -kInf, "EQ");  // no key at all: a row of zeros
    p = b.select(none, 0.0, p);
  }
  p = b.convert(p, t);
  if (mode == 3) shown = p;
  const Value y = b.dot_general(b.reshape(b.convert(p, wide), {B, K, rows, T}), b.convert(v, wide), {0, 1}, {0, 1}, {3}, {2});
  const Value out = b.convert(b.reshape(y, {B, H, S, b.dim(v, 3)}), t);
  results.values = {packed ? join_heads(b, out) : out, k, v, b.convert(shown, t)};
  return results;
}

// A cache row for each position: [max, R/2] by position ids [B, S], or [B, S, R/2] as given.
Value angles(NodeContext& n, Builder& b, Value cache, Value ids) {
  if (ids && b.rank(cache) == 2) cache = take(b, cache, b.convert(ids, DType::i64), 0);
  if (b.rank(cache) != 3) n.fail("cos_cache and sin_cache of rank 2 with position_ids [batch, sequence], or of rank 3 without", b.type(cache).text());
  return cache;
}

Value rotary(NodeContext& n, Builder& b) {
  Value x = n.in(0);
  const bool packed = b.rank(x) == 3;
  if (!packed && b.rank(x) != 4) n.fail("X of rank 3 or 4", b.type(x).text());
  const Dims original = b.dims(x);
  int64_t heads = 0;
  if (packed) {
    heads = n.integer("num_heads");
    if (heads < 1) n.fail("num_heads >= 1", std::to_string(heads));
    x = b.reshape(x, {original[0], original[1], Dim(heads), Dim::floor_div(original[2], heads)});
  } else {
    n.ignore("num_heads");
  }
  const Value ids = n.in_or_none(3);
  const int64_t head_axis = packed ? 2 : 1;
  const Value c = b.unsqueeze(angles(n, b, n.in(1), ids), {head_axis}), s = b.unsqueeze(angles(n, b, n.in(2), ids), {head_axis});
  const int64_t turned = n.integer("rotary_embedding_dim", 0);
  const Dim want = turned > 0 ? Dim(turned) : b.dim(x, -1), have = b.dim(c, -1) * Dim(2);
  if (want.is_constant() && have.is_constant() && !(want == have)) n.fail("caches of " + want.text() + " / 2 angles", b.type(c).text());
  const Value y = b.op("rotary_embedding", {x, c, s}, {{"interleaved", n.flag("interleaved", false)}});
  return b.reshape(y, original);
}

// state = exp(g) state + k (beta (v - state^T k))^T, y = scale q^T state, token after token; see update_rule for which of g and beta there are.
Results linear_attention(NodeContext& n, Builder& b) {
  const int64_t q_heads = n.integer("q_num_heads"), heads = n.integer("kv_num_heads");
  if (heads < 1 || q_heads < 1 || q_heads % heads != 0)
    n.fail("q_num_heads a multiple of kv_num_heads", std::to_string(q_heads) + " and " + std::to_string(heads));
  const std::string rule = n.text("update_rule", "gated_delta");
  if (rule != "linear" && rule != "gated" && rule != "delta" && rule != "gated_delta")
    n.fail("update_rule linear, gated, delta or gated_delta", "'" + escaped(rule) + "'");
  const bool gated = rule == "gated" || rule == "gated_delta", delta = rule == "delta" || rule == "gated_delta";
  n.ignore("chunk_size");
  if (gated != n.has(4)) n.fail(gated ? "a decay" : "no decay", gated ? "none" : "one");
  if (delta != n.has(5)) n.fail(delta ? "a beta" : "no beta", delta ? "none" : "one");
  const Value query = n.in(0), key = n.in(1), value = n.in(2);
  for (const Value v : {query, key, value})
    if (b.rank(v) != 3) n.fail("query, key and value of rank 3", b.type(v).text());
  for (const size_t i : {size_t{4}, size_t{5}})
    if (n.has(i) && b.rank(n.in(i)) != 3) n.fail("decay and beta of rank 3", b.type(n.in(i)).text());
  const DType t = b.dtype(query), wide = t == DType::f64 ? t : DType::f32;
  const Dim B = b.dim(query, 0), T = b.dim(query, 1);
  // [B, T, H * D] -> [T, B, H, D]
  const auto steps = [&](Value v, int64_t count) {
    if (b.rank(v) != 3) n.fail("operands of rank 3", b.type(v).text());
    const Dim width = b.dim(v, 2);
    return b.transpose(b.reshape(b.convert(v, wide), {b.dim(v, 0), b.dim(v, 1), Dim(count), Dim::floor_div(width, count)}), {1, 0, 2, 3});
  };
  const Value q = steps(query, q_heads), k = steps(key, heads), v = steps(value, heads);
  const Dim dk = b.dim(k, 3), dv = b.dim(v, 3);
  Value decay, beta;
  if (gated) decay = steps(n.in(4), heads);  // one for each head, or for each of its key dimensions
  if (delta) {
    if (b.rank(n.in(5)) != 3) n.fail("a beta of rank 3", b.type(n.in(5)).text());
    if (!b.dim(n.in(5), 2).is_constant()) throw NeedsRun{5, false};  // one rate for all heads, or one each
    beta = steps(n.in(5), b.dim(n.in(5), 2).is(1) ? 1 : heads);
  }
  const double given = n.number("scale", 0.0);
  Value scale;
  if (given != 0) scale = b.constant_like(given, wide);
  else scale = b.divide(1, b.sqrt(b.convert(b.size(dk), wide)));
  const Dims state_dims{B, Dim(heads), dk, dv};
  const DType state_type = n.has(3) ? n.dtype(3) : t;
  const Value start = n.has(3) ? b.convert(n.in(3), wide) : b.full(state_dims, wide, 0);

  OpenRegion r(b, "token");
  const Value i = r.argument(Type::tensor(DType::i64, {})), condition = r.argument(Type::tensor(DType::i1, {}));
  Value state = r.argument(Type::tensor(wide, state_dims));
  Builder& rb = r.builder();
  const auto at = [&](Value x) { return take(rb, r.capture(x), i, 0); };  // [B, H, D]
  if (decay) state = rb.multiply(state, rb.unsqueeze(rb.exp(at(decay)), {3}));
  const Value k_now = at(k);
  Value write = at(v);
  if (beta) write = rb.multiply(at(beta), rb.subtract(write, rb.dot_general(k_now, state, {0, 1}, {0, 1}, {2}, {2})));
  state = rb.add(state, rb.multiply(rb.unsqueeze(k_now, {3}), rb.unsqueeze(write, {2})));
  const Value read = rb.reshape(rb.multiply(at(q), r.capture(scale)), {B, Dim(heads), Dim(q_heads / heads), dk});
  const Value out = rb.reshape(rb.dot_general(read, state, {0, 1}, {0, 1}, {3}, {2}), {B, Dim(q_heads), dv});
  r.finish({condition, state, out});
  std::vector<OpenRegion> regions;
  regions.push_back(std::move(r));
  const Values end = b.ops("loop", {b.size(T), b.constant(Tensor::scalar_int(DType::i1, 1)), start}, {{"trips", Dims{T}}}, std::move(regions));
  const Value y = b.reshape(b.transpose(b.reshape(end[1], {T, B, Dim(q_heads), dv}), {1, 0, 2, 3}), {B, T, Dim(q_heads) * dv});
  return {b.convert(y, t), b.convert(b.reshape(end[0], state_dims), state_type)};
}

// A depthwise convolution over [state, input]; the last k - 1 elements are the next state.
Results causal_conv(NodeContext& n, Builder& b) {
  const Value x = n.in(0), w = n.in(1);
  if (b.rank(x) != 3 || b.rank(w) != 3) n.fail("input [B, C, L] and weight [C, 1, k]", b.type(x).text() + " and " + b.type(w).text());
  const std::string activation = n.text("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    n.fail("activation none, silu or swish", "'" + escaped(activation) + "'");
  const Dim C = b.dim(x, 1), history = b.dim(w, 2) - Dim(1);
  if (!C.is_constant()) throw NeedsRun{0, false};  // the convolution's groups are a number
  if (C.value() < 1) n.fail("at least one channel", b.type(x).text());
  const DType t = b.dtype(x), wide = info(t).bits < 32 ? DType::f32 : t;
  const Value before = n.has(3) ? n.in(3) : b.full({b.dim(x, 0), C, history}, t, 0);
  const Value line = b.concatenate({before, x}, 2);
  Value y = b.op("convolution", {b.convert(line, wide), b.convert(w, wide)},
                 {{"window_strides", Ints{1}},
                  {"padding_low", Dims{0}},
                  {"padding_high", Dims{0}},
                  {"lhs_dilation", Ints{1}},
                  {"rhs_dilation", Ints{1}},
                  {"window_reversal", Ints{0}},
                  {"input_batch_dimension", int64_t{0}},
                  {"input_feature_dimension", int64_t{1}},
                  {"input_spatial_dimensions", Ints{2}},
                  {"kernel_input_feature_dimension", int64_t{1}},
                  {"kernel_output_feature_dimension", int64_t{0}},
                  {"kernel_spatial_dimensions", Ints{2}},
                  {"output_batch_dimension", int64_t{0}},
                  {"output_feature_dimension", int64_t{1}},
                  {"output_spatial_dimensions", Ints{2}},
                  {"feature_group_count", C.value()},
                  {"batch_group_count", int64_t{1}},
                  {"dtype", wide}});
  if (n.has(2)) y = b.add(y, b.broadcast_in_dim(b.convert(n.in(2), wide), b.dims(y), {1}));
  if (activation != "none") y = b.op("silu", {y});
  const Dim length = b.dim(line, 2);
  return {b.convert(y, t), b.slice_axis(line, 2, length - history, length)};
}

// Attention whose scores and probabilities the model's own graphs change.
Value flex_attention(NodeContext& n, Builder& b) {
  const Value q = n.in(0), k = n.in(1), v = n.in(2);
  if (b.rank(q) != 4 || b.rank(k) != 4 || b.rank(v) != 4)
    n.fail("Q, K and V of rank 4", b.type(q).text() + ", " + b.type(k).text() + ", " + b.type(v).text());
  const DType t = b.dtype(q);
  const DType wide = n.has_attr("softmax_precision") ? n.dtype_attr("softmax_precision") : t == DType::f64 ? t : DType::f32;
  const Dim B = b.dim(q, 0), H = b.dim(q, 1), S = b.dim(q, 2), D = b.dim(q, 3), K = b.dim(k, 1), T = b.dim(k, 2), E = b.dim(v, 3);
  if (H.is_constant() && K.is_constant() && (K.value() == 0 || H.value() % K.value() != 0))
    n.fail("query heads a multiple of key heads", H.text() + " and " + K.text());
  const Dim rows = Dim::floor_div(H, K) * S;
  const DType product = info(t).bits < 32 ? DType::f32 : t;
  Value x =
      b.reshape(b.dot_general(b.reshape(b.convert(q, product), {B, K, rows, D}), b.convert(k, product), {0, 1}, {0, 1}, {3}, {3}), {B, H, S, T});
  if (n.has_attr("scale")) x = b.multiply(x, n.number("scale"));
  else x = b.divide(x, b.sqrt(b.convert(b.size(D), product)));
  x = b.convert(x, wide);
  const Dims scores{B, H, S, T};
  const auto modified = [&](std::string_view name, Value s) {
    if (!n.has_attr(name)) return s;
    const Values out = n.inlined(name, {s});
    if (out.size() != 1 || b.rank(out[0]) != 4) n.fail(std::string(name) + " with one result of rank 4", std::to_string(out.size()) + " results");
    return b.convert(b.reshape(out[0], scores), wide);
  };
  x = modified("score_mod", x);
  Value p = b.op("softmax", {x}, {{"axis", int64_t{3}}});
  p = modified("prob_mod", p);
  const Value y = b.dot_general(b.reshape(p, {B, K, rows, T}), b.convert(v, wide), {0, 1}, {0, 1}, {3}, {2});
  return b.convert(b.reshape(y, {B, H, S, E}), b.dtype(v));
}

}  // namespace

ONNX_OP(Attention, 23) { return attention(n, b); }
ONNX_OP(RotaryEmbedding, 23) { return rotary(n, b); }
ONNX_OP(LinearAttention, 27) { return linear_attention(n, b); }
ONNX_OP(CausalConvWithState, 27) { return causal_conv(n, b); }
ONNX_PREVIEW_OP(FlexAttention, 1) { return flex_attention(n, b); }

}  // namespace bascule::onnx
