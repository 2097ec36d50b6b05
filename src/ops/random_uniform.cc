// ops/random_uniform.cc — uniformly distributed numbers.
#include <cmath>
#include <utility>

#include "base/budget.h"
#include "ops/random.h"

namespace bascule::ops {

double Random::normal() {  // polar method, two at a time
  if (spare_) return *std::exchange(spare_, std::nullopt);
  double x, y, square;
  do {
    x = 2 * uniform() - 1;
    y = 2 * uniform() - 1;
    square = x * x + y * y;
  } while (square >= 1 || square == 0);
  const double f = std::sqrt(-2 * std::log(square) / square);
  spare_ = f * x;
  return f * y;
}
std::optional<int64_t> seed_of(const Attrs& attrs) { return attrs.has("seed") ? std::optional(attrs.integer("seed")) : std::nullopt; }

const OpDef random_uniform{
    .name = "random_uniform",
    .dialect = "bascule",
    .doc = "y[i] drawn uniformly from [low, high); the same for the same `seed`, new in each run without one",
    .attrs = {{"dims", AttrKind::dims}, {"dtype", AttrKind::dtype}, {"low", AttrKind::number, false, 0.0}, {"high", AttrKind::number, false, 1.0}, {"seed", AttrKind::integer, false, int64_t{0}, true}},
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
          const double low = call.op.attrs.number("low"), high = call.op.attrs.number("high");
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < y.elements(); ++i) {
            check_budget();
            store_double(y.dtype(), out, i, low + (high - low) * random.uniform());
          }
          return one(std::move(y));
        },
    .work = per_element({.multiply_adds = 1}),
    .cases = {{.name = "seeded", .attrs = {{"dims", Dims{3, 5}}, {"dtype", DType::f32}, {"seed", int64_t{7}}}}},
};
BASCULE_OP(random_uniform);

}  // namespace bascule::ops
