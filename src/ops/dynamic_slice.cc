// ops/dynamic_slice.cc — a part of fixed size that starts where values of the run say.
#include <algorithm>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef dynamic_slice{
    .name = "dynamic_slice",
    .doc = "y[i] = x[s + i], s = clamp(0, start_indices, extents - slice_sizes)",
    .inputs = {{"operand"}, {"start_indices", DTypes::ints, kVariadic}},
    .attrs = {{"slice_sizes", AttrKind::dims}},
    .type =
        [](const OpView& op) {
          const Type& x = op.in(0);
          const Dims sizes = op.attrs.dims("slice_sizes");
          if (op.inputs.size() != x.rank() + 1) op.fail("a start index for each axis of " + x.text(), std::to_string(op.inputs.size() - 1), "C2");
          if (sizes.size() != x.rank()) op.fail("a slice size for each axis of " + x.text(), std::to_string(sizes.size()), "C2");
          for (size_t d = 0; d < x.rank(); ++d) {
            if (op.in(d + 1).rank() != 0 || op.in(d + 1).dtype != op.in(1).dtype) op.fail("scalar start indices of one type", op.in(d + 1).text(), "C3");
            const auto gap = (x.dims[d] - sizes[d]).constant();
            if ((gap && *gap < 0) || (sizes[d].is_constant() && sizes[d].value() < 0)) op.fail("0 <= slice_sizes <= extents of " + x.text(), bascule::text(sizes), "C4");
          }
          return std::vector<Type>{Type::tensor(x.dtype, sizes)};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          Tensor y = call.result();
          const std::vector<int64_t> strides = strides_of(x.dims());
          int64_t start = 0;
          for (size_t d = 0; d < x.rank(); ++d) {
            int64_t s = call.in(d + 1).integer(0);
            if (call.in(d + 1).dtype() == DType::u64 && s < 0) s = INT64_MAX;
            start += std::clamp<int64_t>(s, 0, x.dim(d) - y.dim(d)) * strides[d];
          }
          int64_t i = 0;
          for_each_index(y.dims(), [&](std::span<const int64_t> index) { copy_element(x, start + linear(index, strides), y, i++); });
          return one(std::move(y));
        },
    .work =
        [](const OpView&, std::span<const Type> results) {
          Work w;
          w.bytes_read = w.bytes_written = bytes(results[0]);
          return w;
        },
    .cases = {{"inside", {{5, 7}, {}, {}}, {{"slice_sizes", Dims{2, 3}}}, {DType::f32, DType::i64, DType::i64}, 0, 3},
              {"clamped", {{5, 7}, {}, {}}, {{"slice_sizes", Dims{4, 3}}}, {DType::f32, DType::i32, DType::i32}, -20, 20},
              {"scalar", {{}}, {{"slice_sizes", Dims{}}}},
              {"empty", {{5}, {}}, {{"slice_sizes", Dims{0}}}, {DType::i4, DType::i32}}},
};
BASCULE_OP(dynamic_slice);

}  // namespace bascule::ops
