// ops/dynamic_update_slice.cc — the operand with a part replaced, which starts where values of the run say.
#include <algorithm>

#include "ops/rules.h"

namespace bascule::ops {

const OpDef dynamic_update_slice{
    .name = "dynamic_update_slice",
    .doc = "y = x, but y[s + i] = update[i], s = clamp(0, start_indices, extents - extents of update)",
    .inputs = {{"operand"}, {"update"}, {"start_indices", DTypes::ints, kVariadic}},
    .type =
        [](const OpView& op) {
          const Type &x = op.in(0), &u = op.in(1);
          if (u.dtype != x.dtype) op.fail("operand and update of one element type", x.text() + " and " + u.text(), "C2");
          if (u.rank() != x.rank()) op.fail("operand and update of one rank", x.text() + " and " + u.text(), "C3");
          if (op.inputs.size() != x.rank() + 2) op.fail("a start index for each axis of " + x.text(), std::to_string(op.inputs.size() - 2), "C4");
          for (size_t d = 0; d < x.rank(); ++d) {
            if (op.in(d + 2).rank() != 0 || op.in(d + 2).dtype != op.in(2).dtype) op.fail("scalar start indices of one type", op.in(d + 2).text(), "C5");
            const auto gap = (x.dims[d] - u.dims[d]).constant();
            if (gap && *gap < 0) op.fail("an update within " + x.text(), u.text(), "C6");
          }
          return std::vector<Type>{x};
        },
    .reference =
        [](const Call& call) {
          const Tensor &x = call.in(0), &u = call.in(1);
          Tensor y = x;
          y.mutable_data();
          const std::vector<int64_t> strides = strides_of(x.dims());
          int64_t start = 0;
          for (size_t d = 0; d < x.rank(); ++d) {
            int64_t s = call.in(d + 2).integer(0);
            if (call.in(d + 2).dtype() == DType::u64 && s < 0) s = INT64_MAX;
            start += std::clamp<int64_t>(s, 0, x.dim(d) - u.dim(d)) * strides[d];
          }
          int64_t i = 0;
          for_each_index(u.dims(), [&](std::span<const int64_t> index) { copy_element(u, i++, y, start + linear(index, strides)); });
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{"inside", {{5, 7}, {2, 3}, {}, {}}, {}, {DType::f32, DType::f32, DType::i64, DType::i64}, 0, 3},
              {"clamped", {{5, 7}, {4, 3}, {}, {}}, {}, {DType::f32, DType::f32, DType::i32, DType::i32}, -20, 20},
              {"scalar", {{}, {}}},
              {"empty", {{5}, {0}, {}}, {}, {DType::i4, DType::i4, DType::i32}}},
};
BASCULE_OP(dynamic_update_slice);

}  // namespace bascule::ops
