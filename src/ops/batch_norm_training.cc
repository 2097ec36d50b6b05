// ops/batch_norm_training.cc — normalises with the mean and variance of each feature over the batch, and returns both.
#include <cmath>

#include "base/budget.h"
#include "ops/batch_norm.h"

namespace bascule::ops {

const OpDef batch_norm_training{
    .name = "batch_norm_training",
    .doc = "mean[f], variance[f] of x over all other axes (variance divides by the count); y = scale[f] * (x - mean[f]) / sqrt(variance[f] + epsilon) + offset[f]",
    .inputs = {{"operand", DTypes::floats}, {"scale", DTypes::floats}, {"offset", DTypes::floats}},
    .attrs = {{"epsilon", AttrKind::number}, {"feature_index", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          const size_t axis = require_features(op, {1, 2}, "C3, C4");
          const Type vector = Type::tensor(op.in(0).dtype, {op.in(0).dims[axis]});
          return std::vector<Type>{op.in(0), vector, vector};
        },
    .reference =
        [](const Call& call) -> HostValues {
          const double epsilon = call.op.attrs.number("epsilon");
          const auto axis = static_cast<size_t>(call.op.attrs.integer("feature_index"));
          const Tensor& x = call.in(0);
          Tensor y = call.result(0);
          const auto features = static_cast<size_t>(x.dim(axis));
          const double count = features == 0 ? 0 : static_cast<double>(x.elements()) / static_cast<double>(features);
          std::vector<double> m(features), v(features);
          each_feature(x.dims(), axis, [&](int64_t i, size_t f) {
            check_budget();
            m[f] += x.number(i) / count;
          });
          each_feature(x.dims(), axis, [&](int64_t i, size_t f) { v[f] += (x.number(i) - m[f]) * (x.number(i) - m[f]) / count; });
          std::byte* out = y.mutable_data();
          each_feature(x.dims(), axis, [&](int64_t i, size_t f) {
            const auto k = static_cast<int64_t>(f);
            store_double(y.dtype(), out, i, call.in(1).number(k) * (x.number(i) - m[f]) / std::sqrt(v[f] + epsilon) + call.in(2).number(k));
          });
          return {y, feature_result(call, 1, m), feature_result(call, 2, v)};
        },
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const Dims& d = b.dims(in[0]);
          const int64_t axis = op.attrs.integer("feature_index");
          const Ints others = all_but(b, in[0], axis);
          const auto wide = [&](Value x) { return b.broadcast_in_dim(x, d, {axis}); };
          const Value mean = b.mean(in[0], others, false), centred = b.subtract(in[0], wide(mean));
          const Value variance = b.mean(b.multiply(centred, centred), others, false);
          const Value scale = b.multiply(in[1], b.rsqrt(b.add(variance, op.attrs.number("epsilon"))));
          return std::vector<Value>{b.add(b.multiply(centred, wide(scale)), wide(in[2])), mean, variance};
        },
    .work = per_element({.multiply_adds = 2, .adds = 2}),
    .cases = {{.name = "channels", .shapes = {{4, 3, 5}, {3}, {3}}, .attrs = {{"epsilon", 1e-5}, {"feature_index", int64_t{1}}}}},
};
BASCULE_OP(batch_norm_training);

}  // namespace bascule::ops
