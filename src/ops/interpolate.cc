// ops/interpolate.cc — composite: weighted sums of elements along one axis, by tables made when shapes bind (the separable forms of resizing).
#include "base/budget.h"
#include "ops/lines.h"

namespace bascule::ops {
namespace {

enum : size_t { kX, kIndex, kWeight, kValid, kFill };

std::vector<Type> type(const OpView& op) {
  const Type& x = op.in(kX);
  const auto axis = static_cast<size_t>(require_axis(op, op.attrs.integer("axis"), x.rank(), "axis"));
  const Type &index = op.in(kIndex), &weight = op.in(kWeight);
  if (index.rank() != 2 || weight.rank() != 2) op.fail("index and weight [outputs, taps]", index.text() + " and " + weight.text());
  for (size_t d = 0; d < 2; ++d) op.require_equal(index.dims[d], weight.dims[d], "index and weight of one shape");
  if (op.has(kValid)) {
    if (op.in(kValid).rank() != 1) op.fail("valid [outputs]", op.in(kValid).text());
    op.require_equal(op.in(kValid).dims[0], index.dims[0], "valid for each output");
  }
  if (op.has(kFill) && (op.in(kFill).rank() != 0 || op.in(kFill).dtype != x.dtype)) op.fail("a scalar fill of x's element type", op.in(kFill).text());
  Type y = x;
  y.dims[axis] = index.dims[0].is_constant() ? index.dims[0] : weight.dims[0];
  return {y};
}

HostValues reference(const Call& call) {
  const Tensor &x = call.in(kX), &index = call.in(kIndex), &weight = call.in(kWeight);
  Tensor y = call.result();
  const auto axis = static_cast<size_t>(call.op.attrs.integer("axis"));
  const int64_t n = x.dim(axis), taps = index.dim(1);
  for (int64_t i = 0; i < index.elements(); ++i)
    if (index.integer(i) < 0 || index.integer(i) >= n) call.op.fail("indices in [0, " + std::to_string(n) + ")", std::to_string(index.integer(i)));
  const std::vector<int64_t> strides = strides_of(x.dims());
  std::byte* out = y.mutable_data();
  int64_t at = 0;
  for_each_index(y.dims(), [&](std::span<const int64_t> i) {
    const int64_t o = i[axis], base = linear(i, strides) - o * strides[axis];
    double sum = 0;
    if (call.op.has(kValid) && call.in(kValid).integer(o) == 0) sum = call.op.has(kFill) ? call.in(kFill).number(0) : 0;
    else
      for (int64_t k = 0; k < taps; ++k) sum += weight.number(o * taps + k) * x.number(base + index.integer(o * taps + k) * strides[axis]);
    store_double(y.dtype(), out, at++, sum);
  });
  return one(std::move(y));
}

Values decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const DType t = op.in(kX).dtype, wide = wide_type(t);
  const int64_t axis = op.attrs.integer("axis"), rank = b.rank(in[kX]);
  const Dim outputs = b.dim(in[kIndex], 0), taps = b.dim(in[kIndex], 1);
  Ints offsets;
  Dims sizes = b.dims(in[kX]);
  for (int64_t d = 0; d < rank; ++d)
    if (d != axis) offsets.push_back(d < axis ? d : d + 1);
  sizes[static_cast<size_t>(axis)] = 1;
  // The index's two axes take the place of `axis`.
  const Value picked = b.op("gather", {b.convert(in[kX], wide), in[kIndex]},
                            {{"offset_dims", offsets}, {"collapsed_slice_dims", Ints{axis}}, {"start_index_map", Ints{axis}}, {"index_vector_dim", int64_t{2}}, {"slice_sizes", sizes}, {"out_of_bounds", "error"}});
  const Value weight = b.broadcast_in_dim(b.convert(in[kWeight], wide), b.dims(picked), {axis, axis + 1});
  Value y = b.convert(b.sum(b.multiply(picked, weight), {axis + 1}, false), t);
  if (op.has(kValid)) {
    const Value valid = b.broadcast_in_dim(in[kValid], b.dims(y), {axis});
    y = op.has(kFill) ? b.select(valid, y, in[kFill]) : b.select(valid, y, 0.0);
  }
  return {y};
}

HostValues tables(std::vector<int64_t> dims, int64_t axis, int64_t outputs, bool partial) {
  uint64_t state = 7;
  const auto next = [&] { return (state = state * 6364136223846793005u + 1442695040888963407u) >> 33; };
  Tensor x(DType::f32, dims), index(DType::i64, {outputs, 2}), weight(DType::f32, {outputs, 2}), valid(DType::i1, {outputs});
  for (float& v : x.as_mutable<float>()) v = static_cast<float>(next() % 100) / 8;
  for (int64_t& v : index.as_mutable<int64_t>()) v = static_cast<int64_t>(next()) % dims[static_cast<size_t>(axis)];
  for (float& v : weight.as_mutable<float>()) v = static_cast<float>(next() % 8) / 8;
  for (uint8_t& v : valid.as_mutable<uint8_t>()) v = next() % 2;
  if (!partial) return {x, index, weight};
  return {x, index, weight, valid, Tensor::scalar(DType::f32, -3)};
}

}  // namespace

const OpDef interpolate{
    .name = "interpolate",
    .dialect = "bascule",
    .doc = "y[.., o, ..] = sum_k weight[o, k] x[.., index[o, k], ..] along `axis`; `fill` (default 0) where valid[o] is false",
    .inputs = {{"x", DTypes::floats}, {"index", DTypes::ints}, {"weight", DTypes::floats}, {"valid", DTypes::bools, kOptional}, {"fill", DTypes::floats, kOptional}},
    .attrs = {{"axis", AttrKind::integer}},
    .type = type,
    .reference = reference,
    .decompose = decompose,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          w.multiply_adds = elements(results[0]) * static_cast<double>(op.in(kIndex).dims[1].value());
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "last", .attrs = {{"axis", int64_t{1}}}, .inputs = [] { return tables({3, 5}, 1, 7, false); }},
              {.name = "first", .attrs = {{"axis", int64_t{0}}}, .inputs = [] { return tables({5, 3}, 0, 2, false); }},
              {.name = "partly_valid", .attrs = {{"axis", int64_t{2}}}, .inputs = [] { return tables({2, 3, 5, 4}, 2, 9, true); }}},
};
BASCULE_OP(interpolate);

}  // namespace bascule::ops
