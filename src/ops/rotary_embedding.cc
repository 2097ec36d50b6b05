// ops/rotary_embedding.cc — composite: pairs of the last axis turned by position-dependent angles.
#include "base/budget.h"
#include "ops/norm.h"

namespace bascule::ops {
namespace {

std::vector<Type> type(const OpView& op) {
  const Type &x = op.in(0), &c = op.in(1), &s = op.in(2);
  if (x.rank() == 0 || c.rank() == 0 || s.rank() != c.rank() || c.rank() > x.rank()) op.fail("x[..., D], cos and sin of one rank, at most x's", x.text() + ", " + c.text() + ", " + s.text());
  require_same_dims(op, c, s);
  if (c.dtype != s.dtype) op.fail("cos and sin of one type", c.text() + ", " + s.text());
  for (size_t d = 1; d < c.rank(); ++d) {
    const Dim& extent = c.dims[c.rank() - 1 - d];
    if (!extent.is(1)) op.require_equal(extent, x.dims[x.rank() - 1 - d], "cos and sin that broadcast to " + x.text());
  }
  const auto rest = (x.dims.back() - c.dims.back() * 2).constant();
  if (rest && *rest < 0) op.fail("at most " + x.dims.back().text() + " / 2 angles", c.dims.back().text());
  return {x};
}

HostValues reference(const Call& call) {
  const Tensor &x = call.in(0), &c = call.in(1), &s = call.in(2);
  Tensor y = x;
  std::byte* out = y.mutable_data();
  const int64_t D = x.dims().back(), half = c.dims().back();
  const bool interleaved = call.op.attrs.flag("interleaved");
  std::vector<int64_t> rows = x.dims();
  rows.back() = 1;
  int64_t start = 0;
  for_each_index(rows, [&](std::span<const int64_t> index) {
    std::vector<int64_t> at(index.begin(), index.end());
    for (int64_t i = 0; i < half; ++i) {
      at.back() = i;
      const int64_t angle = broadcast_index(c, at);
      const int64_t p = start + (interleaved ? 2 * i : i), q = start + (interleaved ? 2 * i + 1 : i + half);
      store_double(y.dtype(), out, p, c.number(angle) * x.number(p) - s.number(angle) * x.number(q));
      store_double(y.dtype(), out, q, s.number(angle) * x.number(p) + c.number(angle) * x.number(q));
    }
    start += D;
  });
  return one(std::move(y));
}

Values decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const DType t = op.in(0).dtype, wide = wide_type(t);
  const Value x = b.convert(in[0], wide), c = b.convert(in[1], wide), s = b.convert(in[2], wide);
  const Dim D = b.dim(x, -1), half = b.dim(c, -1), turned = half * 2;
  const Value head = b.slice_axis(x, -1, 0, turned);
  Value p, q, y;
  if (op.attrs.flag("interleaved")) {
    Dims pairs = b.dims(head);
    pairs.back() = half;
    const Dims flat = pairs;
    pairs.push_back(2);
    const Value both = b.reshape(head, pairs);
    p = b.reshape(b.slice_axis(both, -1, 0, 1), flat);
    q = b.reshape(b.slice_axis(both, -1, 1, 2), flat);
    const Value u = b.subtract(b.multiply(c, p), b.multiply(s, q)), v = b.add(b.multiply(s, p), b.multiply(c, q));
    y = b.reshape(b.concatenate({b.unsqueeze(u, {-1}), b.unsqueeze(v, {-1})}, -1), b.dims(head));
  } else {
    p = b.slice_axis(head, -1, 0, half);
    q = b.slice_axis(head, -1, half, turned);
    y = b.concatenate({b.subtract(b.multiply(c, p), b.multiply(s, q)), b.add(b.multiply(s, p), b.multiply(c, q))}, -1);
  }
  y = b.convert(y, t);
  if (!(turned == D)) y = b.concatenate({y, b.slice_axis(in[0], -1, turned, D)}, -1);
  return {y};
}

}  // namespace

const OpDef rotary_embedding{
    .name = "rotary_embedding",
    .dialect = "bascule",
    .doc = "y[p] = cos x[p] - sin x[q], y[q] = sin x[p] + cos x[q] for the pairs (p, q) = (i, i + R/2), or (2i, 2i + 1) if interleaved, of the first R elements of the last "
           "axis; the rest is kept. cos and sin have R/2 elements and broadcast to x before",
    .inputs = {{"x", DTypes::floats}, {"cos", DTypes::floats}, {"sin", DTypes::floats}},
    .attrs = {{.name = "interleaved", .kind = AttrKind::flag, .required = false, .fallback = false}},
    .type = type,
    .reference = reference,
    .decompose = decompose,
    .work = per_element({.multiply_adds = 1, .adds = 1}),
    .cases = {{"halves", {{2, 3, 5, 8}, {5, 4}, {5, 4}}},
              {"interleaved", {{2, 3, 5, 8}, {2, 1, 5, 4}, {2, 1, 5, 4}}, {{"interleaved", true}}},
              {"part", {{2, 3, 5, 11}, {5, 3}, {5, 3}}},
              {"part_interleaved", {{5, 11}, {5, 3}, {5, 3}}, {{"interleaved", true}}, {DType::bf16, DType::f32, DType::f32}},
              {"empty", {{0, 3, 8}, {3, 4}, {3, 4}}}},
};
BASCULE_OP(rotary_embedding);

}  // namespace bascule::ops
