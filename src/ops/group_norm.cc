// ops/group_norm.cc — composite: groups of channels normalised per sample; instance normalisation is as many groups as channels.
#include <numeric>

#include "base/budget.h"
#include "ops/norm.h"

namespace bascule::ops {
namespace {

std::vector<Type> type(const OpView& op) {
  const Type& x = op.in(0);
  if (x.rank() < 2) op.fail("x[N, C, ...]", x.text());
  const int64_t groups = op.attrs.integer("groups");
  if (groups < 1 || (x.dims[1].is_constant() && x.dims[1].value() % groups != 0)) op.fail("groups that divide the channels of " + x.text(), std::to_string(groups));
  for (size_t i = 1; i < op.inputs.size(); ++i) {
    if (!op.has(i)) continue;
    if (op.in(i).rank() != 1) op.fail("scale and bias [C]", op.in(i).text());
    op.require_equal(op.in(i).dims[0], x.dims[1], "scale and bias of C elements");
  }
  return {x};
}

HostValues reference(const Call& call) {
  const Tensor& x = call.in(0);
  Tensor y = call.result();
  if (x.elements() == 0) return one(std::move(y));
  const int64_t groups = call.op.attrs.integer("groups"), N = x.dim(0), C = x.dim(1), spatial = x.elements() / (N * C), n = C / groups * spatial;
  const double epsilon = call.op.attrs.number("epsilon");
  std::byte* out = y.mutable_data();
  for (int64_t block = 0; block < N * groups; ++block) {
    check_budget();
    double mean = 0, square = 0;
    for (int64_t i = block * n; i < (block + 1) * n; ++i) mean += x.number(i);
    mean /= static_cast<double>(n);
    for (int64_t i = block * n; i < (block + 1) * n; ++i) square += (x.number(i) - mean) * (x.number(i) - mean);
    const double factor = 1 / std::sqrt(square / static_cast<double>(n) + epsilon);
    for (int64_t i = block * n; i < (block + 1) * n; ++i) {
      const int64_t c = i / spatial % C;
      double v = (x.number(i) - mean) * factor;
      if (call.op.has(1)) v *= call.in(1).number(c);
      if (call.op.has(2)) v += call.in(2).number(c);
      store_double(y.dtype(), out, i, v);
    }
  }
  return one(std::move(y));
}

Values decompose(Builder& b, const OpView& op, std::span<const Value> in) {
  const Dims dims = b.dims(in[0]);
  const int64_t groups = op.attrs.integer("groups");
  const Dim each = Dim::floor_div(product(Dims(dims.begin() + 1, dims.end())), groups);
  const Value y = b.reshape(normalized(b, b.reshape(in[0], {dims[0], groups, each}), {2}, op.attrs.number("epsilon"), true), dims);
  const auto per_channel = [&](size_t i) {
    if (!op.has(i)) return kNoValue;
    Dims out(dims.size() - 1, Dim(1));
    out[0] = dims[1];
    return b.reshape(in[i], out);
  };
  return {b.convert(affine(b, y, per_channel(1), per_channel(2)), op.in(0).dtype)};
}

}  // namespace

const OpDef group_norm{
    .name = "group_norm",
    .dialect = "bascule",
    .doc = "y = (x - mean) / sqrt(variance + epsilon) * scale[c] + bias[c], mean and variance over each of `groups` equal parts of C of x[N, C, ...], and all that follows",
    .inputs = {{"x", DTypes::floats}, {"scale", DTypes::floats, kOptional}, {"bias", DTypes::floats, kOptional}},
    .attrs = {{"groups", AttrKind::integer}, {"epsilon", AttrKind::number}},
    .type = type,
    .reference = reference,
    .decompose = decompose,
    .work = norm_work(),
    .cases = {{"groups", {{2, 4, 3, 5}, {4}, {4}}, {{"groups", int64_t{2}}, {"epsilon", 1e-5}}},
              {"instance", {{2, 3, 7}, {3}, {3}}, {{"groups", int64_t{3}}, {"epsilon", 1e-5}}},
              {"layer", {{2, 6, 5}}, {{"groups", int64_t{1}}, {"epsilon", 1e-5}}, {DType::f16}},
              {"empty", {{0, 4, 3}, {4}}, {{"groups", int64_t{2}}, {"epsilon", 1e-5}}}},
};
BASCULE_OP(group_norm);

}  // namespace bascule::ops
