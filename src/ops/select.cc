// ops/select.cc — one of two values by a predicate, elementwise.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef select{
    .name = "select",
    .doc = "y = pred ? on_true : on_false (pred of their shape, or a scalar)",
    .inputs = {{"pred", DTypes::bools}, {"on_true"}, {"on_false"}},
    .type =
        [](const OpView& op) {
          if (op.in(1).dtype != op.in(2).dtype) op.fail("on_true and on_false of one type", op.in(1).text() + " and " + op.in(2).text(), "C2");
          require_same_dims(op, op.in(1), op.in(2), "C2");
          if (op.in(0).rank() != 0) require_same_dims(op, op.in(0), op.in(1), "C1");
          Type t = op.in(1);
          for (size_t d = 0; d < t.rank(); ++d) {
            if (op.in(2).dims[d].is_constant()) t.dims[d] = op.in(2).dims[d];
            if (op.in(0).rank() != 0 && op.in(0).dims[d].is_constant()) t.dims[d] = op.in(0).dims[d];
          }
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          const Tensor& p = call.in(0);
          Tensor y = call.result();
          for (int64_t i = 0; i < y.elements(); ++i) copy_element(call.in(p.integer(p.rank() == 0 ? 0 : i) != 0 ? 1 : 2), i, y, i);
          return one(std::move(y));
        },
    .symbolic = [](const OpView&, std::span<const Dims* const> in, const Type& result) -> std::optional<Dims> {
      if (!in[0]) return std::nullopt;
      const auto n = static_cast<size_t>(*result.elements_count().constant());
      Dims out;
      for (size_t i = 0; i < n; ++i) {
        const Dim& p = (*in[0])[in[0]->size() == n ? i : 0];
        if (!p.is_constant()) return std::nullopt;
        const Dims* chosen = in[p.value() != 0 ? 1 : 2];
        if (!chosen) return std::nullopt;
        out.push_back((*chosen)[i]);
      }
      return out;
    },
    .work = per_element({.compares = 1}),
    .cases = {{"small", {{2, 3}, {2, 3}, {2, 3}}},
              {"scalar_predicate", {{}, {2, 3}, {2, 3}}},
              {"scalar", {{}, {}, {}}},
              {"empty", {{0, 3}, {0, 3}, {0, 3}}},
              {"ragged", {{7, 129}, {7, 129}, {7, 129}}},
              {"i4", {{5}, {5}, {5}}, {}, {DType::i1, DType::i4, DType::i4}},
              {"bool", {{5}, {5}, {5}}, {}, {DType::i1, DType::i1, DType::i1}},
              {"c64", {{5}, {5}, {5}}, {}, {DType::i1, DType::c64, DType::c64}}},
};
BASCULE_OP(select);

}  // namespace bascule::ops
