// ops/set_dimension_size.cc — an axis cut to a size that is a value of the run.
#include "ops/rules.h"

namespace bascule::ops {

const OpDef set_dimension_size{
    .name = "set_dimension_size",
    .doc = "y = the first `size` elements of x along axis `dimension`",
    .inputs = {{"operand"}, {"size", DTypes::ints}},
    .attrs = {{"dimension", AttrKind::integer}},
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          const auto axis = static_cast<size_t>(require_axis(op, op.attrs.integer("dimension"), op.in(0).rank(), "dimension", "C2"));
          op.require(op.in(1).rank() == 0, "a scalar size", op.in(1).text());
          Type t = op.in(0);
          t.dims[axis] = fresh_dim("size");
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const auto axis = static_cast<size_t>(call.op.attrs.integer("dimension"));
          const int64_t size = call.in(1).integer(0);
          if (size < 0 || size > x.dim(axis)) call.op.fail("a size in [0, " + std::to_string(x.dim(axis)) + "]", std::to_string(size));
          std::vector<int64_t> dims = x.dims();
          dims[axis] = size;
          Tensor y(x.dtype(), dims);
          const std::vector<int64_t> strides = strides_of(x.dims());
          int64_t i = 0;
          for_each_index(dims, [&](std::span<const int64_t> index) { copy_element(x, linear(index, strides), y, i++); });
          return one(std::move(y));
        },
    .work =
        [](const OpView& op, std::span<const Type>) {
          Work w;
          w.bytes_read = bytes(op.in(0));
          return w;
        },
    .cases = {{.name = "cut", .shapes = {{3, 5}, {}}, .attrs = {{"dimension", int64_t{1}}}, .dtypes = {DType::f32, DType::i32}, .low = 2, .high = 4}},
};
BASCULE_OP(set_dimension_size);

}  // namespace bascule::ops
