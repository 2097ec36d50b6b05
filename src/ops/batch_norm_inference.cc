// ops/batch_norm_inference.cc — normalises with given statistics of each feature.
#include <cmath>

#include "base/budget.h"
#include "ops/batch_norm.h"

namespace bascule::ops {

const OpDef batch_norm_inference{
    .name = "batch_norm_inference",
    .doc = "y = scale[f] * (x - mean[f]) / sqrt(variance[f] + epsilon) + offset[f]",
    .inputs = {{"operand", DTypes::floats}, {"scale", DTypes::floats}, {"offset", DTypes::floats}, {"mean", DTypes::floats}, {"variance", DTypes::floats}},
    .attrs = {{"epsilon", AttrKind::number}, {"feature_index", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          require_features(op, {1, 2, 3, 4}, "C3, C4, C5, C6");
          return std::vector<Type>{op.in(0)};
        },
    .reference =
        [](const Call& call) {
          const double epsilon = call.op.attrs.number("epsilon");
          const auto axis = static_cast<size_t>(call.op.attrs.integer("feature_index"));
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          each_feature(y.dims(), axis, [&](int64_t i, size_t f) {
            check_budget();
            const auto k = static_cast<int64_t>(f);
            store_double(y.dtype(), out, i, call.in(1).number(k) * (call.in(0).number(i) - call.in(3).number(k)) / std::sqrt(call.in(4).number(k) + epsilon) + call.in(2).number(k));
          });
          return one(std::move(y));
        },
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> v) {
          const Dims& d = b.dims(v[0]);
          const Ints axis{op.attrs.integer("feature_index")};
          const auto wide = [&](Value x) { return b.broadcast_in_dim(x, d, axis); };
          const Value scale = b.multiply(v[1], b.rsqrt(b.add(v[4], op.attrs.number("epsilon"))));
          return std::vector<Value>{b.add(b.multiply(b.subtract(v[0], wide(v[3])), wide(scale)), wide(v[2]))};
        },
    .work = per_element({.multiply_adds = 1, .adds = 1}),
    .cases = {{.name = "channels", .shapes = {{2, 3, 4}, {3}, {3}, {3}, {3}}, .attrs = {{"epsilon", 1e-5}, {"feature_index", int64_t{1}}}, .low = 0.1, .high = 1}},
};
BASCULE_OP(batch_norm_inference);

}  // namespace bascule::ops
