// ops/random_uniform.cc — uniformly distributed numbers.
#include "ops/random.h"

namespace bascule::ops {

const OpDef random_uniform{
    .name = "random_uniform",
    .dialect = "bascule",
    .doc = "y[i] drawn uniformly from [low, high); the same for the same `seed`, new in each run without one",
    .attrs = {{"dims", AttrKind::dims}, {"dtype", AttrKind::dtype}, {"low", AttrKind::number, false, 0.0}, {"high", AttrKind::number, false, 1.0}, {"seed", AttrKind::integer, false, int64_t{0}, true}},
    .random = true,
    .type = drawn_type(),
    .reference = drawn("low", "high", [](Random& r, double low, double high) { return low + (high - low) * r.uniform(); }),
    .work = per_element({.multiply_adds = 1}),
    .cases = {{.name = "seeded", .attrs = {{"dims", Dims{3, 5}}, {"dtype", DType::f32}, {"seed", int64_t{7}}}}},
};
BASCULE_OP(random_uniform);

}  // namespace bascule::ops
