// ops/random_normal.cc — normally distributed numbers.
#include "base/budget.h"
#include "ops/random.h"

namespace bascule::ops {

const OpDef random_normal{
    .name = "random_normal",
    .dialect = "bascule",
    .doc = "y[i] drawn from the normal distribution of mean `mean` and standard deviation `scale`; the same for the same `seed`, new in each run without one",
    .attrs = {{"dims", AttrKind::dims}, {"dtype", AttrKind::dtype}, {"mean", AttrKind::number, false, 0.0}, {"scale", AttrKind::number, false, 1.0}, {"seed", AttrKind::integer, false, int64_t{0}, true}},
    .random = true,
    .type =
        [](const OpView& op) {
          const Type t = Type::tensor(op.attrs.dtype("dtype"), op.attrs.dims("dims"));
          op.require(is_float(t.dtype), "a float element type", t.text());
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          Random random(seed_of(call.op.attrs));
          const double mean = call.op.attrs.number("mean"), scale = call.op.attrs.number("scale");
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < y.elements(); ++i) {
            check_budget();
            store_double(y.dtype(), out, i, mean + scale * random.normal());
          }
          return one(std::move(y));
        },
    .work = per_element({.transcendentals = 3}),
    .cases = {{.name = "seeded", .attrs = {{"dims", Dims{3, 5}}, {"dtype", DType::f32}, {"seed", int64_t{7}}}}},
};
BASCULE_OP(random_normal);

}  // namespace bascule::ops
