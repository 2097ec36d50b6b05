// ops/rng.cc — random numbers between two scalars, or around one.
#include <cmath>

#include "base/budget.h"
#include "ops/random.h"

namespace bascule::ops {

const OpDef rng{
    .name = "rng",
    .doc = "UNIFORM: y[i] from [a, b); NORMAL: mean a, standard deviation b; new in each run",
    .inputs = {{"a", DTypes::reals | DTypes::bools}, {"b", DTypes::reals | DTypes::bools}, {"shape", DTypes::ints, kOptional}},  // shape: also in `dims`
    .attrs = {{"rng_distribution", AttrKind::text}, {"dims", AttrKind::dims}},
    .random = true,
    .type =
        [](const OpView& op) {
          const std::string& d = op.attrs.text("rng_distribution");
          op.require(d == "UNIFORM" || d == "NORMAL", "rng_distribution UNIFORM or NORMAL", "'" + escaped(d) + "'");
          if (op.in(0).dtype != op.in(1).dtype) op.fail("a and b of one element type", op.in(0).text() + " and " + op.in(1).text(), "C1");
          if (op.in(0).rank() != 0 || op.in(1).rank() != 0) op.fail("a and b of rank 0", op.in(0).text() + " and " + op.in(1).text(), "I1, I2");
          if (d == "NORMAL" && !is_float(op.in(0).dtype)) op.fail("a float element type for NORMAL", op.in(0).text(), "C2");
          return std::vector<Type>{Type::tensor(op.in(0).dtype, op.attrs.dims("dims"))};
        },
    .reference =
        [](const Call& call) {
          Random random(std::nullopt);
          const double a = call.in(0).number(0), b = call.in(1).number(0);
          const bool uniform = call.op.attrs.text("rng_distribution") == "UNIFORM";
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < y.elements(); ++i) {
            check_budget();
            const double v = uniform ? a + (b - a) * random.uniform() : a + b * random.normal();
            store_double(y.dtype(), out, i, is_float(y.dtype()) ? v : std::floor(v));
          }
          return one(std::move(y));
        },
    .work = per_element({.multiply_adds = 1}),
    .cases = {{.name = "uniform", .shapes = {{}, {}}, .attrs = {{"rng_distribution", std::string("UNIFORM")}, {"dims", Dims{3, 5}}}}},
};
BASCULE_OP(rng);

}  // namespace bascule::ops
