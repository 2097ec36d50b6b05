// ops/all_gather.cc — the operands of all processes of a group, one after the other along an axis.
#include "base/error.h"
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef all_gather{
    .name = "all_gather",
    .doc = "y = x_0 .. x_n of the group, concatenated along all_gather_dim",
    .inputs = {{"operands", DTypes::tensors, kVariadic}},
    .attrs = with_groups({{"dims", AttrKind::dims}, {"all_gather_dim", AttrKind::integer}}, true),
    .type =
        [](const OpView& op) {
          op.require(!op.inputs.empty(), "an operand or more", "none");
          require_groups(op, "C2, C4");
          const Dims& last = op.attrs.dims("dims");
          const Type& x = op.inputs.back();
          const auto axis = static_cast<size_t>(require_axis(op, op.attrs.integer("all_gather_dim"), x.rank(), "all_gather_dim", "C1"));
          op.require(last.size() == x.rank(), "a result of the operand's rank", text(last), "C6");
          for (size_t i = 0; i < last.size(); ++i)
            if (i != axis) op.require_equal(last[i], x.dims[i], "sizes other than all_gather_dim's as in the operand", "C6");
          std::vector<Type> out;
          for (const Type& t : op.inputs) {
            Type r = t;
            op.require(axis < r.dims.size(), "operands of one rank", r.text(), "C1");
            r.dims[axis] = x.dims[axis].is(0) ? t.dims[axis] : t.dims[axis] * Dim::floor_div(last[axis], x.dims[axis]);
            out.push_back(std::move(r));
          }
          return out;
        },
    .reference =
        [](const Call& call) {
          const auto given = gather_values(call, own_group(call));
          const auto axis = static_cast<size_t>(call.op.attrs.integer("all_gather_dim"));
          HostValues out;
          for (size_t k = 0; k < call.inputs.size(); ++k) {
            Tensor y = call.result(k);
            const auto n = static_cast<int64_t>(given.size());
            const auto strides = strides_of(call.in(k).dims());
            const int64_t extent = call.in(k).dim(axis);
            if (y.dim(axis) != extent * n)
              fail_usage(call.op.where, "a result extent of " + std::to_string(extent * n), std::to_string(y.dim(axis)),
                         "Run the program on the processes it was made for");
            int64_t j = 0;
            for_each_index(y.dims(), [&](std::span<const int64_t> index) {
              std::vector<int64_t> from(index.begin(), index.end());
              const int64_t who = from[axis] / extent;
              from[axis] %= extent;
              copy_element(given[static_cast<size_t>(who)][k].tensor(), linear(from, strides), y, j++);
            });
            out.emplace_back(std::move(y));
          }
          return out;
        },
    .work = no_arithmetic(),
    .cases = {{.name = "alone",
               .shapes = {{2, 3}},
               .attrs = {{"dims", Dims{2, 3}},
                         {"all_gather_dim", int64_t{1}},
                         {"replica_groups", Tensor::from_ints(DType::i64, {1, 1}, std::vector<int64_t>{0})}}}},
};
BASCULE_OP(all_gather);

}  // namespace bascule::ops
