// ops/all_to_all.cc — each process sends part k of its operand to process k of the group, and joins what it gets.
#include "base/error.h"
#include "ops/process_groups.h"

namespace bascule::ops {

const OpDef all_to_all{
    .name = "all_to_all",
    .doc = "y = part k of x_0 .. x_n along split_dimension, concatenated along concat_dimension; k: this process' place in the group",
    .inputs = {{"operands", DTypes::tensors, kVariadic}},
    .attrs = with_groups({{"split_dimension", AttrKind::integer}, {"concat_dimension", AttrKind::integer}, {"split_count", AttrKind::integer}}, false),
    .type =
        [](const OpView& op) {
          op.require(!op.inputs.empty(), "an operand or more", "none");
          require_groups(op, "C5");
          const int64_t count = op.attrs.integer("split_count");
          op.require(count > 0, "a split_count above 0", std::to_string(count), "C4");
          std::vector<Type> out;
          for (const Type& x : op.inputs) {
            const auto split = static_cast<size_t>(require_axis(op, op.attrs.integer("split_dimension"), x.rank(), "split_dimension", "C1"));
            const auto join = static_cast<size_t>(require_axis(op, op.attrs.integer("concat_dimension"), x.rank(), "concat_dimension", "C3"));
            if (const auto n = x.dims[split].constant())
              op.require(*n % count == 0, "a size of split_dimension that split_count divides", std::to_string(*n), "C2");
            Type y = x;
            y.dims[split] = Dim::floor_div(y.dims[split], count);
            y.dims[join] = y.dims[join] * count;
            out.push_back(std::move(y));
          }
          return out;
        },
    .reference =
        [](const Call& call) {
          const auto group = group_of(call, grouping_of(call.op, false));
          const int64_t count = call.op.attrs.integer("split_count");
          if (static_cast<int64_t>(group.size()) != count)
            fail_usage(call.op.where, "a group of split_count = " + std::to_string(count), std::to_string(group.size()),
                       "Run the program on the processes it was made for");
          const auto given = gather_values(call, group);
          const int64_t place = place_in(call, group);
          const auto split = static_cast<size_t>(call.op.attrs.integer("split_dimension")),
                     join = static_cast<size_t>(call.op.attrs.integer("concat_dimension"));
          HostValues out;
          for (size_t k = 0; k < call.inputs.size(); ++k) {
            Tensor y = call.result(k);
            const Tensor& x = call.in(k);
            const auto strides = strides_of(x.dims());
            std::vector<int64_t> part = x.dims();
            part[split] /= count;
            int64_t j = 0;
            for_each_index(y.dims(), [&](std::span<const int64_t> index) {
              std::vector<int64_t> from(index.begin(), index.end());
              const int64_t who = from[join] / part[join];
              from[join] %= part[join];
              from[split] += place * part[split];
              copy_element(given[static_cast<size_t>(who)][k].tensor(), linear(from, strides), y, j++);
            });
            out.emplace_back(std::move(y));
          }
          return out;
        },
    .work = no_arithmetic(),
    .cases = {{.name = "alone",
               .shapes = {{2, 3}},
               .attrs = {{"split_dimension", int64_t{0}},
                         {"concat_dimension", int64_t{1}},
                         {"split_count", int64_t{1}},
                         {"replica_groups", Tensor::from_ints(DType::i64, {1, 1}, std::vector<int64_t>{0})}}}},
};
BASCULE_OP(all_to_all);

}  // namespace bascule::ops
