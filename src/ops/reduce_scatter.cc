// ops/reduce_scatter.cc — elementwise fold over a group, of which each process keeps its part along an axis.
#include "base/error.h"
#include "ops/process_groups.h"
#include "ops/scalar_region.h"

namespace bascule::ops {

const OpDef reduce_scatter{
    .name = "reduce_scatter",
    .doc = "y = part k, along scatter_dimension, of the fold of x_0 .. x_n; k: this process' place in the group",
    .inputs = {{"operand", DTypes::tensors}},
    .attrs = with_groups({{"dims", AttrKind::dims}, {"scatter_dimension", AttrKind::integer}}, true),
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
          const auto group = own_group(call);
          const Tensor whole = fold_elements(call, gather_values(call, group), 0, Type::tensor(call.results[0].dtype, to_dims(call.in(0).dims())));
          const auto axis = static_cast<size_t>(call.op.attrs.integer("scatter_dimension"));
          Tensor y = call.result();
          const int64_t place = place_in(call, group);
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
    .cases = {alone("reduce_scatter", {{"dims", Dims{2, 3}}, {"scatter_dimension", int64_t{1}}})},
};
BASCULE_OP(reduce_scatter);

}  // namespace bascule::ops
