// ops/map.cc — applies a region of scalars to each element of the operands.
#include "base/budget.h"
#include "ops/scalar_region.h"

namespace bascule::ops {

const OpDef map_def{
    .name = "map",
    .doc = "y[i] = region(x0[i], x1[i], ...)",
    .inputs = {{"inputs", DTypes::tensors, kVariadic}},
    .attrs = {{"dimensions", AttrKind::ints}},
    .regions = 1,
    .type =
        [](const OpView& op) {
          if (op.inputs.empty()) op.fail("at least one operand", "none", "C2");
          std::vector<DType> arguments;
          for (const Type& t : op.inputs) {
            require_same_dims(op, op.in(0), t, "C1");
            arguments.push_back(t.dtype);
          }
          const Ints& axes = op.attrs.ints("dimensions");
          bool all = axes.size() == op.in(0).rank();
          for (size_t i = 0; all && i < axes.size(); ++i) all = axes[i] == static_cast<int64_t>(i);
          op.require(all, "dimensions 0, 1, ... of the operands", std::to_string(axes.size()) + " for " + op.in(0).text(), "C3");
          const std::vector<DType> types = require_scalar_region(op, 0, arguments, 1, "C4");
          return std::vector<Type>{Type::tensor(types[0], op.in(0).dims)};
        },
    .reference =
        [](const Call& call) {
          Tensor y = call.result();
          ScalarRegion body(call, 0);
          std::vector<Scalar> arguments(call.inputs.size());
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < y.elements(); ++i) {
            for (size_t k = 0; k < arguments.size(); ++k) arguments[k] = load_scalar(call.in(k).dtype(), call.in(k).data(), i);
            Scalar result;
            body(arguments, {&result, 1});
            store_scalar(y.dtype(), out, i, result);
          }
          return one(std::move(y));
        },
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          w.adds = elements(results[0]) * static_cast<double>(op.regions[0]->nodes.size());
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "multiply",
               .build =
                   [](Builder& b) {
                     const Value x = b.input(Type::tensor(DType::f32, {3, 5})), y = b.input(Type::tensor(DType::f32, {3, 5}));
                     return b.ops("map", {x, y}, {{"dimensions", Ints{0, 1}}}, {Builder::scalar_region("add", DType::f32)});
                   }}},
};
BASCULE_OP(map_def);

}  // namespace bascule::ops
