// ops/rms_norm.cc — composite: trailing axes divided by their root mean square, then scaled.
#include <numeric>

#include "ops/norm.h"

namespace bascule::ops {

const OpDef rms_norm{
    .name = "rms_norm",
    .dialect = "bascule",
    .doc = "y = x / sqrt(mean(x^2) + epsilon) * scale, the mean over the axes from `axis` on; scale broadcasts to x",
    .inputs = {{"x", DTypes::floats}, {"scale", DTypes::floats, kOptional}},
    .attrs = {{"axis", AttrKind::integer}, {"epsilon", AttrKind::number}},
    .type = trailing_norm_type,
    .reference = [](const Call& call) { return trailing_norm(call, false); },
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const int64_t axis = op.attrs.integer("axis");
          Ints axes(static_cast<size_t>(b.rank(in[0]) - axis));
          std::iota(axes.begin(), axes.end(), axis);
          const Value y = normalized(b, in[0], axes, op.attrs.number("epsilon"), false);
          return Values{b.convert(affine(b, y, op.has(1) ? in[1] : kNoValue, kNoValue), op.in(0).dtype)};
        },
    .work = norm_work(),
    .cases = {{"rows", {{3, 8}, {8}}, {{"axis", int64_t{1}}, {"epsilon", 1e-5}}},
              {"two_axes", {{2, 3, 7}, {3, 7}}, {{"axis", int64_t{1}}, {"epsilon", 1e-5}}},
              {"no_scale", {{7, 129}}, {{"axis", int64_t{1}}, {"epsilon", 1e-6}}},
              {"f16", {{3, 64}, {64}}, {{"axis", int64_t{1}}, {"epsilon", 1e-5}}, {DType::f16, DType::f16}},
              {"empty", {{0, 3}}, {{"axis", int64_t{1}}, {"epsilon", 1e-5}}}},
};
BASCULE_OP(rms_norm);

}  // namespace bascule::ops
