// ops/gelu.cc — composite: Gaussian error linear unit, elementwise.
#include <cmath>
#include <numbers>

#include "base/budget.h"
#include "ops/lines.h"

namespace bascule::ops {
namespace {

constexpr double kCubic = 0.044715;
const double kRootTwoOverPi = std::sqrt(2 / std::numbers::pi);

double value(double x, bool by_tanh) {
  if (by_tanh) return 0.5 * x * (1 + std::tanh(kRootTwoOverPi * (x + kCubic * x * x * x)));
  return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
}

}  // namespace

const OpDef gelu{
    .name = "gelu",
    .dialect = "bascule",
    .doc = "y = x/2 (1 + erf(x / sqrt 2)); approximate 'tanh': y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))",
    .inputs = {{"x", DTypes::floats}},
    .attrs = {{.name = "approximate", .kind = AttrKind::text, .required = false, .fallback = std::string("none")}},
    .type =
        [](const OpView& op) {
          const std::string& a = op.attrs.text("approximate");
          op.require(a == "none" || a == "tanh", "approximate 'none' or 'tanh'", "'" + escaped(a) + "'");
          return std::vector<Type>{op.in(0)};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const bool by_tanh = call.op.attrs.text("approximate") == "tanh";
          Tensor y = call.result();
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < x.elements(); ++i) {
            check_budget();
            store_double(x.dtype(), out, i, value(x.number(i), by_tanh));
          }
          return one(std::move(y));
        },
    .decompose =
        [](Builder& b, const OpView& op, std::span<const Value> in) {
          const Value x = b.convert(in[0], wide_type(op.in(0).dtype));
          const Value half = b.multiply(x, 0.5);
          Value gate;
          if (op.attrs.text("approximate") == "tanh") {
            const Value cube = b.multiply(b.multiply(x, x), x);
            gate = b.tanh(b.multiply(b.add(x, b.multiply(cube, kCubic)), kRootTwoOverPi));
          } else {
            gate = b.erf(b.multiply(x, 1 / std::numbers::sqrt2));
          }
          return Values{b.convert(b.multiply(half, b.add(gate, 1)), op.in(0).dtype)};
        },
    .work = per_element({.adds = 4, .transcendentals = 1}),
    .cases = {{"small", {{2, 3}}},
              {"tanh", {{7, 129}}, {{"approximate", "tanh"}}, {}, -4, 4},
              {"none", {{7, 129}}, {{"approximate", "none"}}, {}, -4, 4},
              {"scalar", {{}}},
              {"empty", {{0, 3}}},
              {"bf16", {{33}}, {}, {DType::bf16}},
              {"f64", {{33}}, {}, {DType::f64}}},
};
BASCULE_OP(gelu);

}  // namespace bascule::ops
