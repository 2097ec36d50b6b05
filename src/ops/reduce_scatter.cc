// ops/reduce_scatter.cc — elementwise fold over a group, of which each process keeps its part along an axis.
#include "base/error.h"
#include "ops/process_groups.h"
#include "ops/scalar_region.h"

namespace bascule::ops {

const OpDef reduce_scatter{
    .name = "reduce_scatter",
    .doc = "y = part k, along scatter_dimension, of the fold of x_0 .. x_n; k: this process' place in the group",
    .inputs = {{"operand", DTypes::tensors}},
    .attrs = {{"dims", AttrKind::dims},
              {"scatter_dimension", AttrKind::integer},
              {"replica_groups", AttrKind::tensor},
              {"channel_id", AttrKind::integer, false, int64_t{0}},
              {"channel_type", AttrKind::integer, false, int64_t{0}},
              {"use_global_device_ids", AttrKind::flag, false, false}},
    .regions = 1,
    .type =
        [](const OpView& op) {
          require_groups(op, "C3, C5");
          const Type& x = op.in(0);
          const auto axis = static_cast<size_t>(require_axis(op, op.attrs.integer("scatter_dimension"), x.rank(), "scatter_dimension", "C2"));
          Type y = Type::tensor(require_scalar_region(op, 0, {x.dtype, x.dtype}, 1, "C7")[0], op.attrs.dims("dims"));
          op.require(y.rank() == x.rank(), "a result of the operand's rank", y.text(), "C8");
          for (size_t i = 0; i < y.rank(); ++i)
            if (i != axis) op.require_equal(y.dims[i], x.dims[i], "sizes other than scatter_dimension's as in the operand", "C8");
          return std::vector<Type>{y};
        },
    .reference =
        [](const Call& call) {
          const Collectives* c = collectives_of(call);
          const auto group = group_of(call, grouping_of(call.op, true));
          if (group.empty())
            fail_usage(call.op.where, "this process in one of the groups", "in none", "Run the program on the processes it was made for");
          const auto given = gather_values(call, group, {call.inputs[0]});
          std::vector<const Tensor*> x;
          for (const HostValues& g : given) x.push_back(&g[0].tensor());
          const Tensor whole = fold_elements(call, x, Type::tensor(call.results[0].dtype, to_dims(call.in(0).dims())));
          const auto axis = static_cast<size_t>(call.op.attrs.integer("scatter_dimension"));
          Tensor y = call.result();
          int64_t place = 0;
          for (size_t i = 0; c && i < group.size(); ++i)
            if (group[i] == c->self()) place = static_cast<int64_t>(i);
          if (y.dim(axis) * static_cast<int64_t>(group.size()) != whole.dim(axis))
            fail_usage(call.op.where, "a result extent of " + std::to_string(whole.dim(axis)) + " / " + std::to_string(group.size()),
                       std::to_string(y.dim(axis)), "Run the program on the processes it was made for");
          const auto strides = strides_of(whole.dims());
          int64_t j = 0;
          for_each_index(y.dims(), [&](std::span<const int64_t> index) {
            std::vector<int64_t> from(index.begin(), index.end());
            from[axis] += place * y.dim(axis);
            copy_element(whole, linear(from, strides), y, j++);
          });
          return one(std::move(y));
        },
    .work = per_element({.adds = 1}),
    .cases = {{.name = "alone",
               .build =
                   [](Builder& b) {
                     const Value x = b.input(Type::tensor(DType::f32, {2, 3}));
                     return b.ops("reduce_scatter", {x},
                                  {{"dims", Dims{2, 3}},
                                   {"scatter_dimension", int64_t{1}},
                                   {"replica_groups", Tensor::from_ints(DType::i64, {1, 1}, std::vector<int64_t>{0})}},
                                  {Builder::scalar_region("add", DType::f32)});
                   }}},
};
BASCULE_OP(reduce_scatter);

}  // namespace bascule::ops
