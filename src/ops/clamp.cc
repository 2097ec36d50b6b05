// ops/clamp.cc — limits, elementwise.
#include "base/budget.h"
#include "ops/ordering.h"
#include "ops/rules.h"

namespace bascule::ops {

const OpDef clamp{
    .name = "clamp",
    .doc = "y = min(max(x, min), max); min and max of x's shape, or scalars",
    .inputs = {{"min", DTypes::tensors}, {"operand", DTypes::tensors}, {"max", DTypes::tensors}},
    .type =
        [](const OpView& op) {
          for (const size_t i : {size_t{0}, size_t{2}}) {
            if (op.in(i).dtype != op.in(1).dtype) op.fail("min, operand and max of one element type", op.in(i).text() + " and " + op.in(1).text(), "C3");
            if (op.in(i).rank() != 0) require_same_dims(op, op.in(i), op.in(1), i == 0 ? "C1" : "C2");
          }
          return std::vector<Type>{op.in(1)};
        },
    .reference =
        [](const Call& call) {
          const Tensor &low = call.in(0), &x = call.in(1), &high = call.in(2);
          const DType t = x.dtype();
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < x.elements(); ++i) {
            check_budget();
            const int64_t l = low.rank() == 0 ? 0 : i, h = high.rank() == 0 ? 0 : i;
            if (is_complex(t)) store_complex(t, out, i, min_complexes(max_complexes(x.complex(i), low.complex(l)), high.complex(h)));
            else if (is_float(t)) store_double(t, out, i, min_floats(max_floats(x.number(i), low.number(l)), high.number(h)));
            else store_int(t, out, i, min_ints(max_ints(x.integer(i), low.integer(l), t), high.integer(h), t));
          }
          return one(std::move(y));
        },
    .symbolic = [](const OpView&, std::span<const Dims* const> in, const Type&) -> std::optional<Dims> {
      if (!in[0] || !in[1] || !in[2]) return std::nullopt;
      Dims out;
      for (size_t i = 0; i < in[1]->size(); ++i) out.push_back(Dim::min(Dim::max((*in[1])[i], (*in[0])[in[0]->size() == 1 ? 0 : i]), (*in[2])[in[2]->size() == 1 ? 0 : i]));
      return out;
    },
    .work = per_element({.compares = 2}),
    .cases = {{"small", {{2, 3}, {2, 3}, {2, 3}}},
              {"scalar_limits", {{}, {7, 129}, {}}},
              {"scalar", {{}, {}, {}}},
              {"empty", {{}, {0, 3}, {}}},
              {"one_scalar", {{5}, {5}, {}}, {}, {DType::i32, DType::i32, DType::i32}, -9, 9},
              {"unsigned", {{}, {33}, {}}, {}, {DType::u8, DType::u8, DType::u8}, 0, 255}},
};
BASCULE_OP(clamp);

}  // namespace bascule::ops
