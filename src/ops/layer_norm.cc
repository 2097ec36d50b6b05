// ops/layer_norm.cc — composite: trailing axes normalised to mean 0 and variance 1, then scaled and shifted.
#include <numeric>

#include "ops/norm.h"

namespace bascule::ops {

const OpDef layer_norm{
    .name = "layer_norm",
    .dialect = "bascule",
    .doc = "y = (x - mean) / sqrt(variance + epsilon) * scale + bias, mean and variance over the axes from `axis` on; scale and bias broadcast to x",
    .inputs = {{"x", DTypes::floats}, {"scale", DTypes::floats, kOptional}, {"bias", DTypes::floats, kOptional}},
    .attrs = {{"axis", AttrKind::integer}, {"epsilon", AttrKind::number}},
    .type = trailing_norm_type,
    .reference = [](const Call& call) { return trailing_norm(call, true); },
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const int64_t axis = op.attrs.integer("axis");
          Ints axes(static_cast<size_t>(b.rank(in[0]) - axis));
          std::iota(axes.begin(), axes.end(), axis);
          const Value y = normalized(b, in[0], axes, op.attrs.number("epsilon"), true);
          return Values{b.convert(affine(b, y, op.has(1) ? in[1] : kNoValue, op.has(2) ? in[2] : kNoValue), op.in(0).dtype)};
        },
    .work = norm_work(),
    .cases = {{"rows", {{3, 8}, {8}, {8}}, {{"axis", int64_t{1}}, {"epsilon", 1e-5}}},
              {"two_axes", {{2, 3, 7}, {3, 7}, {3, 7}}, {{"axis", int64_t{1}}, {"epsilon", 1e-5}}},
              {"scale_only", {{7, 129}, {129}}, {{"axis", int64_t{1}}, {"epsilon", 1e-12}}},
              {"bias_only", {{7, 129}, {-1}, {1, 129}}, {{"axis", int64_t{1}}, {"epsilon", 1e-3}}},
              {"bf16", {{3, 64}, {64}}, {{"axis", int64_t{1}}, {"epsilon", 1e-5}}, {DType::bf16, DType::f32}},
              {"empty", {{0, 3}}, {{"axis", int64_t{1}}, {"epsilon", 1e-5}}}},
};
BASCULE_OP(layer_norm);

}  // namespace bascule::ops
