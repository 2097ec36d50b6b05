// ops/attention.cc — scaled dot-product attention: grouped heads, causal order, additive bias, mask, soft cap.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

enum : size_t { kQ, kK, kV, kBias, kAllowed };

// Whether t, with extents of 1 stretched, covers [B, H, S, T].
void require_scores(const OpView& op, size_t i, const Dims& scores) {
  const Type& t = op.in(i);
  if (t.rank() != 4) op.fail("operand " + std::string(op.def.inputs[i].name) + " of rank 4", t.text());
  for (size_t a = 0; a < 4; ++a)
    if (!t.dims[a].is(1)) op.require_equal(t.dims[a], scores[a], std::string(op.def.inputs[i].name) + " that broadcasts to " + text(scores));
}

std::vector<Type> attention_type(const OpView& op) {
  const Type &q = op.in(kQ), &k = op.in(kK), &v = op.in(kV);
  if (q.rank() != 4 || k.rank() != 4 || v.rank() != 4) op.fail("q [B, H, S, D], k [B, K, T, D], v [B, K, T, E]", q.text() + ", " + k.text() + ", " + v.text());
  if (k.dtype != q.dtype || v.dtype != q.dtype) op.fail("q, k and v of one element type", q.text() + ", " + k.text() + ", " + v.text());
  for (const Type* t : {&k, &v}) op.require_equal(t->dims[0], q.dims[0], "q, k and v of one batch");
  op.require_equal(k.dims[1], v.dims[1], "as many heads of k as of v");
  op.require_equal(k.dims[2], v.dims[2], "as many keys as values");
  op.require_equal(k.dims[3], q.dims[3], "q and k of one head size");
  if (q.dims[1].is_constant() && k.dims[1].is_constant() && (k.dims[1].value() == 0 ? q.dims[1].value() != 0 : q.dims[1].value() % k.dims[1].value() != 0))
    op.fail("query heads a multiple of key heads", q.dims[1].text() + " and " + k.dims[1].text());
  const Dims scores{q.dims[0], q.dims[1], q.dims[2], k.dims[2]};
  if (op.has(kBias)) require_scores(op, kBias, scores);
  if (op.has(kAllowed)) require_scores(op, kAllowed, scores);
  op.require(op.attrs.dims("causal_offset").size() == 1, "one causal_offset", text(op.attrs.dims("causal_offset")));
  return {Type::tensor(q.dtype, {q.dims[0], q.dims[1], q.dims[2], v.dims[3]})};
}

HostValues attention_reference(const Call& call) {
  const std::vector<double> q = call.in(kQ).doubles(), k = call.in(kK).doubles(), v = call.in(kV).doubles();
  const int64_t B = call.in(kQ).dim(0), H = call.in(kQ).dim(1), S = call.in(kQ).dim(2), D = call.in(kQ).dim(3), K = call.in(kK).dim(1), T = call.in(kK).dim(2), E = call.in(kV).dim(3);
  const double scale = call.op.attrs.number("scale"), softcap = call.op.attrs.number("softcap");
  const bool causal = call.op.attrs.flag("causal");
  const int64_t offset = call.op.attrs.static_dims("causal_offset")[0];
  const auto at = [&](size_t operand, int64_t b, int64_t h, int64_t s, int64_t t) {
    const auto& d = call.in(operand).dims();
    const auto one_or = [&](size_t a, int64_t i) { return d[a] == 1 ? 0 : i; };
    return ((one_or(0, b) * d[1] + one_or(1, h)) * d[2] + one_or(2, s)) * d[3] + one_or(3, t);
  };
  Tensor y = call.result();
  std::byte* out = y.mutable_data();
  std::vector<double> score(static_cast<size_t>(T)), row(static_cast<size_t>(E));
  for (int64_t b = 0; b < B; ++b)
    for (int64_t h = 0; h < H; ++h) {
      const int64_t shared = b * K + h / std::max<int64_t>(H / std::max<int64_t>(K, 1), 1);
      for (int64_t s = 0; s < S; ++s) {
        double largest = -std::numeric_limits<double>::infinity();
        for (int64_t t = 0; t < T; ++t) {
          check_budget();
          double& x = score[static_cast<size_t>(t)];
          x = 0;
          for (int64_t d = 0; d < D; ++d) x += q[static_cast<size_t>(((b * H + h) * S + s) * D + d)] * k[static_cast<size_t>((shared * T + t) * D + d)];
          x *= scale;
          if (softcap > 0) x = softcap * std::tanh(x / softcap);
          if (call.op.has(kBias)) x += call.in(kBias).number(at(kBias, b, h, s, t));
          if ((causal && t - s > offset) || (call.op.has(kAllowed) && call.in(kAllowed).integer(at(kAllowed, b, h, s, t)) == 0)) x = -std::numeric_limits<double>::infinity();
          largest = std::isnan(x) || std::isnan(largest) ? std::nan("") : std::max(largest, x);
        }
        if (largest == -std::numeric_limits<double>::infinity()) largest = 0;
        double total = 0;
        std::fill(row.begin(), row.end(), 0);
        for (int64_t t = 0; t < T; ++t) {
          const double e = std::exp(score[static_cast<size_t>(t)] - largest);
          total += e;
          if (e != 0)
            for (int64_t c = 0; c < E; ++c) row[static_cast<size_t>(c)] += e * v[static_cast<size_t>((shared * T + t) * E + c)];
        }
        for (int64_t c = 0; c < E; ++c) store_double(y.dtype(), out, ((b * H + h) * S + s) * E + c, total == 0 ? 0 : row[static_cast<size_t>(c)] / total);
      }
    }
  return one(std::move(y));
}

std::vector<Value> attention_decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const DType t = b.dtype(in[kQ]), wide = info(t).bits < 32 ? DType::f32 : t;
  const Dims dq = b.dims(in[kQ]), dk = b.dims(in[kK]);
  const Dim B = dq[0], H = dq[1], S = dq[2], D = dq[3], K = dk[1], T = dk[2], E = b.dim(in[kV], 3), rows = Dim::floor_div(H, K) * S;
  const Value grouped = b.reshape(b.convert(in[kQ], wide), {B, K, rows, D});
  Value x = b.reshape(b.dot_general(grouped, b.convert(in[kK], wide), {0, 1}, {0, 1}, {3}, {3}), {B, H, S, T});
  x = b.multiply(x, op.attrs.number("scale"));
  if (const double cap = op.attrs.number("softcap"); cap > 0) x = b.multiply(b.tanh(b.divide(x, cap)), cap);
  if (op.has(kBias)) x = b.add(x, b.convert(in[kBias], wide));
  const double none = -std::numeric_limits<double>::infinity();
  if (op.attrs.flag("causal")) {
    const Value key = b.iota(DType::i64, {S, T}, 1), last = b.add(b.iota(DType::i64, {S, T}, 0), b.size(op.attrs.dims("causal_offset")[0]));
    x = b.select(b.compare(key, last, "LE"), x, none);
  }
  if (op.has(kAllowed)) x = b.select(in[kAllowed], x, none);
  Value top = b.reduce("maximum", x, {3}, true);
  top = b.select(b.compare(top, none, "EQ"), 0.0, top);
  const Value e = b.exp(b.subtract(x, top));
  const Value total = b.sum(e, {3}, true);
  const Value p = b.divide(e, b.select(b.compare(total, 0.0, "EQ"), 1.0, total));
  const Value y = b.dot_general(b.reshape(p, {B, K, rows, T}), b.convert(in[kV], wide), {0, 1}, {0, 1}, {3}, {2});
  return {b.convert(b.reshape(y, {B, H, S, E}), t)};
}

Attrs with(double scale, Attrs more = {}) {
  Attrs a{{"scale", scale}};
  for (const auto& [name, value] : more) a.set(name, value);
  return a;
}

}  // namespace

const OpDef attention{
    .name = "attention",
    .dialect = "bascule",
    .doc = "y = softmax(cap(scale q k^T) + bias) v over the keys that count, cap(x) = softcap tanh(x / softcap); key t counts where allowed, and t <= s + causal_offset if causal; "
           "H query heads share K key heads in groups; a row without keys is 0",
    .inputs = {{"q", DTypes::floats}, {"k", DTypes::floats}, {"v", DTypes::floats}, {"bias", DTypes::floats, kOptional}, {"allowed", DTypes::bools, kOptional}},
    .attrs = {{"scale", AttrKind::number},
              {"softcap", AttrKind::number, false, 0.0},  // 0: none
              {"causal", AttrKind::flag, false, false},
              {"causal_offset", AttrKind::dims, false, Dims{0}}},  // keys before the first query: the length of a cache
    .type = attention_type,
    .reference = attention_reference,
    .decompose = attention_decompose,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          const auto n = [&](size_t i, size_t a) { return static_cast<double>(op.in(i).dims[a].value()); };
          const double scores = n(kQ, 0) * n(kQ, 1) * n(kQ, 2) * n(kK, 2);
          w.multiply_adds = scores * (n(kQ, 3) + n(kV, 3));
          w.transcendentals = scores * (op.attrs.number("softcap") > 0 ? 2 : 1);
          w.adds = scores * 2;
          w.compares = scores;
          w.divides = elements(results[0]);
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{"plain", {{2, 3, 4, 8}, {2, 3, 5, 8}, {2, 3, 5, 6}}, with(0.35)},
              {"grouped", {{1, 6, 4, 8}, {1, 2, 5, 8}, {1, 2, 5, 8}}, with(0.35)},
              {"causal", {{1, 2, 4, 8}, {1, 2, 4, 8}, {1, 2, 4, 8}}, with(0.35, {{"causal", true}})},
              {"cached", {{1, 2, 1, 8}, {1, 2, 7, 8}, {1, 2, 7, 8}}, with(0.35, {{"causal", true}, {"causal_offset", Dims{6}}})},
              {"biased_capped", {{1, 2, 4, 8}, {1, 2, 5, 8}, {1, 2, 5, 8}, {1, 1, 4, 5}}, with(0.35, {{"softcap", 2.0}})},
              {.name = "masked",
               .build =
                   [](Builder& b) {
                     const Value q = b.input(Type::tensor(DType::f32, {2, 2, 3, 4})), k = b.input(Type::tensor(DType::f32, {2, 2, 5, 4})), v = b.input(Type::tensor(DType::f32, {2, 2, 5, 4}));
                     return b.ops("attention", {q, k, v, kNoValue, b.input(Type::tensor(DType::i1, {2, 1, 3, 5}))}, with(0.5));
                   }},
              {"empty_keys", {{1, 2, 3, 4}, {1, 2, 0, 4}, {1, 2, 0, 4}}, with(0.5)}},
};
BASCULE_OP(attention);

}  // namespace bascule::ops
