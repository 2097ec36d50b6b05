// ops/batch_norm_grad.cc — gradients of batch_norm_training with respect to operand, scale and offset.
#include <cmath>

#include "base/budget.h"
#include "ops/batch_norm.h"

namespace bascule::ops {

const OpDef batch_norm_grad{
    .name = "batch_norm_grad",
    .doc = "with x' = (x - mean) / sqrt(variance + epsilon), n elements a feature: grad_offset = sum g; grad_scale = sum g * x'; "
           "grad_operand = scale / sqrt(variance + epsilon) * (g - grad_offset / n - x' * grad_scale / n)",
    .inputs = {{"operand", DTypes::floats}, {"scale", DTypes::floats}, {"mean", DTypes::floats}, {"variance", DTypes::floats}, {"grad_output", DTypes::floats}},
    .attrs = {{"epsilon", AttrKind::number}, {"feature_index", AttrKind::integer}},
    .type =
        [](const OpView& op) {
          const size_t axis = require_features(op, {1, 2, 3}, "C4");
          if (op.in(4).dtype != op.in(0).dtype) op.fail("grad_output of the operand's type", op.in(4).text(), "C2, C3");
          require_same_dims(op, op.in(0), op.in(4), "C3");
          const Type vector = Type::tensor(op.in(0).dtype, {op.in(0).dims[axis]});
          return std::vector<Type>{op.in(0), vector, vector};
        },
    .reference =
        [](const Call& call) -> HostValues {
          const double epsilon = call.op.attrs.number("epsilon");
          const auto axis = static_cast<size_t>(call.op.attrs.integer("feature_index"));
          const Tensor &x = call.in(0), &g = call.in(4);
          Tensor y = call.result(0);
          const auto features = static_cast<size_t>(x.dim(axis));
          const double count = features == 0 ? 0 : static_cast<double>(x.elements()) / static_cast<double>(features);
          std::vector<double> scale(features), offset(features), inverse(features);
          for (size_t f = 0; f < features; ++f) inverse[f] = 1 / std::sqrt(call.in(3).number(static_cast<int64_t>(f)) + epsilon);
          const auto normal = [&](int64_t i, size_t f) { return (x.number(i) - call.in(2).number(static_cast<int64_t>(f))) * inverse[f]; };
          each_feature(x.dims(), axis, [&](int64_t i, size_t f) {
            check_budget();
            scale[f] += g.number(i) * normal(i, f);
            offset[f] += g.number(i);
          });
          std::byte* out = y.mutable_data();
          each_feature(x.dims(), axis, [&](int64_t i, size_t f) {
            store_double(y.dtype(), out, i, call.in(1).number(static_cast<int64_t>(f)) * inverse[f] * (g.number(i) - offset[f] / count - normal(i, f) * scale[f] / count));
          });
          return {y, feature_result(call, 1, scale), feature_result(call, 2, offset)};
        },
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const Dims& d = b.dims(in[0]);
          const int64_t axis = op.attrs.integer("feature_index");
          const Ints others = all_but(b, in[0], axis);
          Dim count = 1;
          for (const int64_t a : others) count = count * d[static_cast<size_t>(a)];
          const auto wide = [&](Value x) { return b.broadcast_in_dim(x, d, {axis}); };
          const Value n = b.convert(b.size(count), b.dtype(in[0]));
          const Value inverse = b.rsqrt(b.add(in[3], op.attrs.number("epsilon")));
          const Value normal = b.multiply(b.subtract(in[0], wide(in[2])), wide(inverse));
          const Value scale = b.sum(b.multiply(in[4], normal), others, false), offset = b.sum(in[4], others, false);
          const Value inner = b.subtract(b.subtract(in[4], wide(b.divide(offset, n))), b.multiply(normal, wide(b.divide(scale, n))));
          return std::vector<Value>{b.multiply(wide(b.multiply(in[1], inverse)), inner), scale, offset};
        },
    .work = per_element({.multiply_adds = 4, .adds = 3}),
    .cases = {{.name = "channels", .shapes = {{4, 3, 5}, {3}, {3}, {3}, {4, 3, 5}}, .attrs = {{"epsilon", 1e-5}, {"feature_index", int64_t{1}}}, .low = 0.1, .high = 1}},
};
BASCULE_OP(batch_norm_grad);

}  // namespace bascule::ops
