// ops/random.cc — the generator's slow half, and what the operators that draw tensors share.
#include "ops/random.h"

#include <cmath>
#include <utility>

#include "base/budget.h"

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

TypeRule drawn_type() {
  return [](const OpView& op) {
    const Type t = Type::tensor(op.attrs.dtype("dtype"), op.attrs.dims("dims"));
    op.require(is_float(t.dtype), "a float element type", t.text());
    return std::vector<Type>{t};
  };
}

Reference drawn(std::string_view first, std::string_view second, double (*draw)(Random&, double, double)) {
  return [first, second, draw](const Call& call) {
    Random random(seed_of(call.op.attrs));
    const double a = call.op.attrs.number(first), b = call.op.attrs.number(second);
    Tensor y = call.result();
    std::byte* out = y.mutable_data();
    for (int64_t i = 0; i < y.elements(); ++i) {
      check_budget();
      store_double(y.dtype(), out, i, draw(random, a, b));
    }
    return one(std::move(y));
  };
}

}  // namespace bascule::ops
