// import/onnx/ms_attention.cc — com.microsoft: attention in its packed, grouped, cached and quantised forms, and rotary positions.
#include <cmath>
#include <optional>

#include "import/onnx/indexing.h"
#include "import/onnx/ms.h"

namespace bascule::onnx {
namespace {

// softmax(scale q k' + bias) v, grouped: N query heads share K key heads.
struct Attend {
  Value q, k, v;                // [B, N, S, H], [B, K, T, H], [B, K, T, Hv]
  double scale = 0;             // 0: 1 / sqrt(H)
  Value bias = kNoValue;        // added to the scores, broadcasts to [B, N, S, T]
  Value allowed = kNoValue;     // i1[B or 1, N or 1, S or 1, T]: where false the key does not count
  std::optional<Dim> past = std::nullopt;  // causal: key t counts for query s if t <= s + past
  double softcap = 0;           // c > 0: scores become c tanh(score / c)
  bool smooth = false;          // softmax with one more key whose score is 0 and whose value is 0
  Value sink = kNoValue;        // [N]: that key's score for each head

  Value build(const NodeContext& n) const {
    Builder& b = n.b;
    const DType t = b.dtype(q), wide = wide_type(t);
    const Dims dq = b.dims(q), dk = b.dims(k);
    for (const Value x : {q, k, v}) require_rank(n, x, {4}, "heads of query, key and value");
    const Dim heads = dq[1], shared = dk[1], group = Dim::floor_div(heads, shared), rows = dq[2], keys = dk[2], head = dq[3];
    if (heads.is_constant() && shared.is_constant() && (shared.value() == 0 || heads.value() % shared.value() != 0)) n.fail("query heads a multiple of key heads", heads.text() + " and " + shared.text());
    double factor = scale;
    if (factor == 0) {
      if (!head.is_constant() || head.value() == 0) n.unsupported("a head size known before the run", head.text(), "Declare the hidden size in the model, or give the scale");
      factor = 1 / std::sqrt(static_cast<double>(head.value()));
    }
    if (!smooth && !sink)
      return b.op("attention", {q, k, v, bias, allowed}, {{"scale", factor}, {"softcap", softcap}, {"causal", past.has_value()}, {"causal_offset", Dims{past.value_or(Dim(0))}}});
    // One more key: no composite has it.
    const Value grouped = b.reshape(b.convert(q, wide), {dq[0], shared, group * rows, head});
    Value s = b.dot_general(grouped, b.convert(k, wide), {0, 1}, {0, 1}, {3}, {3});
    s = b.multiply(b.reshape(s, {dq[0], heads, rows, keys}), factor);
    if (softcap > 0) s = b.multiply(b.tanh(b.multiply(s, 1 / softcap)), softcap);
    if (bias) s = b.add(s, b.convert(bias, wide));
    const double lowest = -float_info(wide).largest;
    if (allowed) s = b.select(b.broadcast_to(allowed, b.dims(s)), s, lowest);
    const Value extra = sink ? b.reshape(b.convert(sink, wide), {Dim(1), heads, Dim(1), Dim(1)}) : b.constant_like(0, wide);
    const Value top = b.maximum(b.reduce("maximum", s, {3}, true), extra);
    const Value e = b.exp(b.subtract(s, top));
    const Value total = b.add(b.sum(e, {3}, true), b.exp(b.subtract(extra, top)));
    const Value p = b.reshape(b.divide(e, total), {dq[0], shared, group * rows, keys});
    const Value y = b.dot_general(p, b.convert(v, wide), {0, 1}, {0, 1}, {3}, {2});
    return b.convert(b.reshape(y, {dq[0], heads, rows, b.dim(v, 3)}), t);
  }
};

// [B, S, N * H] <-> [B, N, S, H]
Value split_heads(const NodeContext& n, Value x, int64_t heads) {
  Builder& b = n.b;
  const Dims d = b.dims(x);
  if (d.size() != 3) n.fail("an operand of shape [batch, sequence, hidden]", b.type(x).text());
  if (heads <= 0 || (d[2].is_constant() && d[2].value() % heads != 0)) n.fail("a hidden size that divides into " + std::to_string(heads) + " heads", d[2].text());
  return b.transpose(b.reshape(x, {d[0], d[1], Dim(heads), Dim::floor_div(d[2], Dim(heads))}), {0, 2, 1, 3});
}
Value join_heads(Builder& b, Value x) {
  const Dims d = b.dims(x);
  return b.reshape(b.transpose(x, {0, 2, 1, 3}), {d[0], d[2], d[1] * d[3]});
}

// The mask operand of Attention and MultiHeadAttention as something to add to the scores: 0 where a key counts, `filter` where not.
//   [B, T] and [B, S, T]: 1 counts;  [B]: the number of keys that count;  [2 B]: ends, then starts;  [3 B + 2]: lengths, then offsets (packed; the lengths serve)
Value mask_bias(const NodeContext& n, Value mask, const Dim& batch, const Dim& keys, double filter, DType t) {
  Builder& b = n.b;
  Value counts;
  const int64_t rank = b.rank(mask);
  if (rank == 1) {
    const Value place = b.iota(b.dtype(mask), {Dim(1), keys}, 1);
    const Value ends = b.reshape(b.slice_axis(mask, 0, 0, batch), {batch, Dim(1)});
    counts = b.compare(place, ends, "LT");
    const Dim length = b.dim(mask, 0);
    if (length == batch * Dim(2) && !(length == batch)) {
      const Value starts = b.reshape(b.slice_axis(mask, 0, batch, batch * Dim(2)), {batch, Dim(1)});
      counts = b.logical_and(counts, b.compare(place, starts, "GE"));
    } else if (!(length == batch) && !(length == batch * Dim(3) + Dim(2))) {
      n.fail("a mask of [B], [2 B] or [3 B + 2] lengths, B = " + batch.text(), b.type(mask).text());
    }
    counts = b.unsqueeze(counts, {1, 2});
  } else if (rank == 2) {
    counts = b.unsqueeze(b.compare(mask, 0, "GT"), {1, 2});
  } else if (rank == 3) {
    counts = b.unsqueeze(b.compare(mask, 0, "GT"), {1});
  } else {
    n.unsupported("a mask of rank 1, 2 or 3", b.type(mask).text(), "Give the mask as attention_bias");
  }
  return b.select(counts, b.full(b.dims(counts), t, 0), filter);
}

Value both(Builder& b, Value x, Value y) { return x && y ? b.add(x, y) : x ? x : y; }

struct Rotary {
  Value cos, sin;  // tables [positions, R / 2]
  bool interleaved = false;

  // x[B, N, S, H] turned at positions[B, S] (or [1, S]): the first R = 2 * table width of H elements, in pairs (i, i + R/2), interleaved (2 i, 2 i + 1).
  Value of(const NodeContext& n, Value x, Value positions) const {
    Builder& b = n.b;
    require_rank(n, x, {4}, "heads");
    require_rank(n, cos, {2}, "cos table");
    require_rank(n, sin, {2}, "sin table");
    const DType wide = wide_type(b.dtype(x));
    const auto table = [&](Value v) { return b.unsqueeze(b.convert(take(b, v, positions, 0), wide), {1}); };  // [B, 1, S, R / 2]
    return b.op("rotary_embedding", {x, table(cos), table(sin)}, {{"interleaved", interleaved}});
  }
};

// Attention and QAttention after the projection: x[B, S, q + k + v] -> [B, S, v], present[2, B, N, T, H].
Results packed_attention(const NodeContext& n, Value projected, const Ints& widths, Value mask, Value past, Value bias) {
  Builder& b = n.b;
  const int64_t heads = n.integer("num_heads");
  const bool one_way = n.flag("unidirectional", false);
  const double filter = n.number("mask_filter_value", -10000), scale = n.number("scale", 0);
  if (n.flag("do_rotary", false)) n.unsupported("do_rotary = 0", "1", "Export the rotary embedding as a node of its own");
  if (n.flag("past_present_share_buffer", false)) n.unsupported("past_present_share_buffer = 0", "1", "Export the model without shared buffers");
  n.ignore("rotary_embedding_dim");
  const Dims d = b.dims(projected);
  const auto part = [&](int64_t from, int64_t width) { return split_heads(n, b.slice_axis(projected, 2, from, from + width), heads); };
  Attend a{.q = part(0, widths[0]), .k = part(widths[0], widths[1]), .v = part(widths[0] + widths[1], widths[2]), .scale = scale};
  Dim before(0);
  if (past) {
    if (b.rank(past) != 5) n.fail("past of shape [2, batch, heads, past, head]", b.type(past).text());
    const auto state = [&](int64_t i) { return b.squeeze(b.slice_axis(past, 0, i, i + 1), {0}); };
    before = b.dim(past, 3);
    a.k = b.concatenate({state(0), a.k}, 2);
    a.v = b.concatenate({state(1), a.v}, 2);
  }
  const Dim keys = b.dim(a.k, 2);
  a.bias = both(b, mask ? mask_bias(n, mask, d[0], keys, filter, wide_type(b.dtype(a.q))) : kNoValue, bias ? b.convert(bias, wide_type(b.dtype(a.q))) : kNoValue);
  if (one_way) a.past = before;
  const Value y = join_heads(b, a.build(n));
  if (!n.wants(1)) return y;
  return {y, b.concatenate({b.unsqueeze(a.k, {0}), b.unsqueeze(a.v, {0})}, 0)};
}

Ints projected_widths(const NodeContext& n, Value weights) {
  const Dim total = n.b.dim(weights, 1);
  if (!total.is_constant()) n.unsupported("weights of known width", n.b.type(weights).text(), "Declare the shape of the weights");
  Ints widths = n.ints("qkv_hidden_sizes", Ints{});
  if (widths.empty()) widths.assign(3, total.value() / 3);
  if (widths.size() != 3 || widths[0] < 0 || widths[1] < 0 || widths[2] < 0 || widths[0] > total.value() || widths[1] > total.value() || widths[2] > total.value() ||
      widths[0] + widths[1] + widths[2] != total.value() || widths[0] != widths[1])
    n.fail("hidden sizes of query, key (equal) and value that add up to " + total.text(), std::to_string(widths.size()) + " sizes");
  return widths;
}

}  // namespace

// inputs: x[B, S, D], weights[D, 3 D'], bias, mask, past, attention_bias
ONNX_MS_OP(Attention, 1) {
  const Value x = n.in(0), w = n.in(1);
  if (b.rank(x) != 3 || b.rank(w) != 2) n.fail("input [batch, sequence, hidden] and weights [hidden, 3 * hidden]", b.type(x).text() + " and " + b.type(w).text());
  Value y = b.dot_general(x, w, {}, {}, {2}, {0});
  if (n.has(2)) y = b.add(y, n.in(2));
  return packed_attention(n, y, projected_widths(n, w), n.in_or_none(3), n.in_or_none(4), n.in_or_none(5));
}

// inputs: x, weights, bias, x scale, weight scale, mask, x zero point, weight zero point, past
ONNX_MS_OP(QAttention, 1) {
  const Value x = n.in(0), w = n.in(1);
  if (b.rank(x) != 3 || b.rank(w) != 2) n.fail("input [batch, sequence, hidden] and weights [hidden, 3 * hidden]", b.type(x).text() + " and " + b.type(w).text());
  const Value xs = along(b, n.in(3), 0, 0), ws = along(b, n.in(4), 1, 2);
  Value xz = n.in_or_none(6), wz = n.in_or_none(7);
  if (xz) xz = along(b, xz, 0, 0);
  if (wz) wz = along(b, wz, 1, 2);
  const Value y = b.add(b.dot_general(dequantized(b, x, xs, xz), dequantized(b, w, ws, wz), {}, {}, {2}, {0}), n.in(2));
  return packed_attention(n, y, projected_widths(n, w), n.in_or_none(5), n.in_or_none(8), kNoValue);
}

// inputs: query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value
ONNX_MS_OP(MultiHeadAttention, 1) {
  const int64_t heads = n.integer("num_heads");
  const double filter = n.number("mask_filter_value", -10000), scale = n.number("scale", 0);
  const bool one_way = n.flag("unidirectional", false);
  if (heads <= 0) n.fail("num_heads of 1 or more", std::to_string(heads));
  if (n.has(8) || n.has(9)) n.unsupported("no shared key buffer (past_sequence_length, cache_indirection)", "one", "Export the model without shared buffers");
  const Value query = n.in(0);
  Value q, k, v;
  bool keys_ready = false;  // given as [B, N, L, H]
  const auto packed = [&](Value x, int64_t i) {  // [B, L, N, parts, H], part i -> [B, L, N * H]
    require_rank(n, x, {5}, "packed heads");
    const Dims d = b.dims(x);
    return b.reshape(b.slice_axis(x, 3, i, i + 1), {d[0], d[1], d[2] * d[4]});
  };
  if (b.rank(query) == 5) {
    q = packed(query, 0);
    k = packed(query, 1);
    v = packed(query, 2);
  } else {
    q = query;
    k = n.in(1);
    if (b.rank(k) == 5) {
      v = packed(k, 1);
      k = packed(k, 0);
    } else {
      v = n.in(2);
      keys_ready = b.rank(k) == 4;
    }
  }
  require_rank(n, q, {3}, "query");
  require_rank(n, k, {keys_ready ? 4 : 3}, "key");
  require_rank(n, v, {keys_ready ? 4 : 3}, "value");
  if (n.has(3)) {
    const Value bias = n.in(3);
    require_rank(n, bias, {1}, "bias");
    const Dim width = b.dim(q, 2), all = b.dim(bias, 0), kw = keys_ready ? width : b.dim(k, 2);
    q = b.add(q, b.slice_axis(bias, 0, 0, width));
    if (!keys_ready) {
      k = b.add(k, b.slice_axis(bias, 0, width, width + kw));
      v = b.add(v, b.slice_axis(bias, 0, width + kw, all));
    }
  }
  Attend a{.q = split_heads(n, q, heads), .k = keys_ready ? k : split_heads(n, k, heads), .v = keys_ready ? v : split_heads(n, v, heads), .scale = scale};
  Dim before(0);
  if (n.has(6)) {
    require_rank(n, n.in(6), {4}, "past_key");
    before = b.dim(n.in(6), 2);
    a.k = b.concatenate({n.in(6), a.k}, 2);
    a.v = b.concatenate({n.in(7), a.v}, 2);
  }
  const Dim batch = b.dim(a.q, 0), keys = b.dim(a.k, 2);
  const DType wide = wide_type(b.dtype(a.q));
  a.bias = both(b, n.has(4) ? mask_bias(n, n.in(4), batch, keys, filter, wide) : kNoValue, n.has(5) ? b.convert(n.in(5), wide) : kNoValue);
  if (one_way) a.past = before;
  const Value y = join_heads(b, a.build(n));
  if (n.wants(3)) n.unsupported("results output, present_key, present_value", "qk", "Leave the fourth result out");
  return {y, a.k, a.v};
}

// inputs: query (or query, key and value packed), key, value, past_key, past_value, seqlens_k, total_sequence_length, cos, sin, position_ids, attention_bias, head_sink.
// seqlens_k[b] + 1 keys count in row b, past ones included; the new ones stand behind the past ones in the present buffers.
ONNX_MS_OP(GroupQueryAttention, 1) {
  const int64_t heads = n.integer("num_heads"), shared = n.integer("kv_num_heads"), window = n.integer("local_window_size", -1);
  const bool rotate = n.flag("do_rotary", false), interleaved = n.flag("rotary_interleaved", false);
  if (heads <= 0 || shared <= 0 || heads % shared != 0) n.fail("num_heads a multiple of kv_num_heads", std::to_string(heads) + " and " + std::to_string(shared));
  for (const char* name : {"kv_cache_bit_width", "qk_output"})
    if (n.integer(name, 0) != 0) n.unsupported(std::string(name) + " = 0", std::to_string(n.integer(name, 0)), "Export the model without it");
  for (const char* name : {"k_quant_type", "v_quant_type"})
    if (n.text(name, "NONE") != "NONE") n.unsupported(std::string(name) + " NONE", n.text(name, "NONE"), "Export the model with a float cache");
  Value q = n.in(0), k, v;
  require_rank(n, q, {3}, "query");
  if (n.has(1)) {
    k = n.in(1);
    v = n.in(2);
  } else {
    const Dim head = Dim::floor_div(b.dim(q, 2), Dim(heads + 2 * shared)), qw = head * Dim(heads), kw = head * Dim(shared);
    k = b.slice_axis(q, 2, qw, qw + kw);
    v = b.slice_axis(q, 2, qw + kw, qw + kw + kw);
    q = b.slice_axis(q, 2, 0, qw);
  }
  q = split_heads(n, q, heads);
  k = split_heads(n, k, shared);
  v = split_heads(n, v, shared);
  const Dim batch = b.dim(q, 0), rows = b.dim(q, 2), head = b.dim(q, 3);
  const Value lengths = b.convert(b.reshape(n.in(5), {batch}), DType::i64);  // keys - 1
  const Value past = b.maximum(b.subtract(lengths, b.broadcast_to(b.size(rows - Dim(1)), {batch})), 0);
  const Value at = b.add(b.reshape(past, {batch, Dim(1)}), b.iota(DType::i64, {Dim(1), rows}, 1));  // [B, S]: the place of each new token
  if (rotate) {
    const Rotary r{n.in(7), n.in(8), interleaved};
    const Value positions = n.has(9) ? n.in(9) : at;
    q = r.of(n, q, positions);
    k = r.of(n, k, positions);
  }
  Dim keys = rows;
  if (n.has(3)) {  // a shared buffer is longer than the keys in use; an own one is as long as past and new ones together
    require_rank(n, n.in(3), {4}, "past_key");
    require_rank(n, n.in(4), {4}, "past_value");
    const Dim held = b.dim(n.in(3), 2);
    keys = Dim::max(held, n.size(6));
    // source of present key t: past key t, or new key t - past; beyond both there is none, and 0
    const Value t = b.iota(DType::i64, {Dim(1), keys}, 1), begin = b.reshape(past, {batch, Dim(1)});
    const Value is_new = b.logical_and(b.compare(t, begin, "GE"), b.compare(t, b.add(begin, b.size(rows)), "LT"));
    const Value from_new = b.add(b.subtract(t, begin), b.size(held));
    const Value old = b.select(b.compare(t, begin, "LT"), b.broadcast_to(t, {batch, keys}), b.broadcast_to(b.size(held + rows), {batch, keys}));
    const Value source = b.select(is_new, from_new, old);
    const auto present = [&](Value before, Value now) {
      const Value all = b.concatenate({before, now}, 2);
      return b.op("gather", {all, b.unsqueeze(source, {2})},
                  {{"offset_dims", Ints{1, 3}}, {"collapsed_slice_dims", Ints{2}}, {"operand_batching_dims", Ints{0}}, {"start_indices_batching_dims", Ints{0}}, {"start_index_map", Ints{2}},
                   {"index_vector_dim", int64_t{2}}, {"slice_sizes", Dims{Dim(1), b.dim(all, 1), Dim(1), b.dim(all, 3)}}, {"out_of_bounds", std::string("drop")}});
    };
    k = present(n.in(3), k);
    v = present(n.in(4), v);
  } else {
    n.has(6);
  }
  const Value t = b.iota(DType::i64, {Dim(1), Dim(1), keys}, 2), last = b.reshape(at, {batch, rows, Dim(1)});
  Value allowed = b.logical_and(b.compare(t, last, "LE"), b.compare(t, b.reshape(lengths, {batch, Dim(1), Dim(1)}), "LE"));  // padding behind a short prompt does not count
  // The window holds the key itself and `window` - 1 before it.
  if (window > 0) allowed = b.logical_and(allowed, b.compare(t, b.subtract(last, static_cast<double>(window)), "GT"));
  Attend a{.q = q, .k = k, .v = v, .scale = n.number("scale", 0), .bias = n.in_or_none(10), .allowed = b.unsqueeze(allowed, {1}), .softcap = n.number("softcap", 0),
           .smooth = n.flag("smooth_softmax", false), .sink = n.in_or_none(11)};
  return {join_heads(b, a.build(n)), k, v};
}

// inputs: x [B, S, N * H] or [B, N, S, H], position_ids ([1]: that of the first token; [B, S]), cos and sin tables
ONNX_MS_OP(RotaryEmbedding, 1) {
  const Value x = n.in(0), ids = n.in(1);
  const Rotary r{n.in(2), n.in(3), n.flag("interleaved", false)};
  const int64_t turned = n.integer("rotary_embedding_dim", 0), given = n.integer("num_heads", 0);
  n.ignore("scale");  // ONNX Runtime reads and does not use it
  n.ignore("is_packed_batching");
  require_rank(n, x, {3, 4}, "input");
  require_rank(n, ids, {0, 1, 2}, "position_ids");
  require_rank(n, r.cos, {2}, "cos table");
  const bool flat = b.rank(x) == 3;
  Value heads = x;
  if (flat) {
    const Dim width = b.dim(x, 2), half = b.dim(r.cos, 1);
    const Dim head = given > 0 ? Dim::floor_div(width, Dim(given)) : half * Dim(2);
    if (turned > 0 && given <= 0) n.fail("num_heads with rotary_embedding_dim", "none");
    if (!head.is_constant() || head.value() <= 0 || !width.is_constant()) n.unsupported("a head size known before the run", head.text(), "Declare the hidden size in the model");
    heads = split_heads(n, x, width.value() / head.value());
  }
  const Dim batch = b.dim(heads, 0), rows = b.dim(heads, 2);
  Value positions = b.convert(ids, DType::i64);
  if (b.rank(ids) != 2) positions = b.add(b.reshape(positions, {Dim(1), Dim(1)}), b.iota(DType::i64, {Dim(1), rows}, 1));
  positions = b.broadcast_to(positions, {batch, rows});
  const Value y = r.of(n, heads, positions);
  return flat ? join_heads(b, y) : y;
}

}  // namespace bascule::onnx
