// ops/random_normal.cc — normally distributed numbers.
#include "ops/random.h"

namespace bascule::ops {

const OpDef random_normal{
    .name = "random_normal",
    .dialect = "bascule",
    .doc = "y[i] drawn from the normal distribution of mean `mean` and standard deviation `scale`; the same for the same `seed`, new in each run without one",
    .attrs = {{"dims", AttrKind::dims}, {"dtype", AttrKind::dtype}, {"mean", AttrKind::number, false, 0.0}, {"scale", AttrKind::number, false, 1.0}, {"seed", AttrKind::integer, false, int64_t{0}, true}},
    .random = true,
    .type = drawn_type(),
    .reference = drawn("mean", "scale", [](Random& r, double mean, double scale) { return mean + scale * r.normal(); }),
    .work = per_element({.transcendentals = 3}),
    .cases = {{.name = "seeded", .attrs = {{"dims", Dims{3, 5}}, {"dtype", DType::f32}, {"seed", int64_t{7}}}}},
};
BASCULE_OP(random_normal);

}  // namespace bascule::ops
