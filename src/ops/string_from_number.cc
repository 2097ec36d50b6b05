// ops/string_from_number.cc — numbers written as text, as ONNX Cast does: "15", "0.1", "1e+10", "NaN", "INF", "-INF"; booleans "1" and "0".
#include <charconv>
#include <cmath>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// The shortest digits that read back as the same value of the element type; plain or scientific, whichever is shorter.
std::string written(DType t, const Tensor& x, int64_t i) {
  char buffer[64];
  std::to_chars_result r{};
  if (is_float(t)) {
    const double v = x.number(i);
    if (std::isnan(v)) return "NaN";
    if (std::isinf(v)) return v < 0 ? "-INF" : "INF";
    r = t == DType::f64 ? std::to_chars(buffer, buffer + sizeof buffer, v) : std::to_chars(buffer, buffer + sizeof buffer, static_cast<float>(v));
  } else if (t == DType::u64) {
    r = std::to_chars(buffer, buffer + sizeof buffer, static_cast<uint64_t>(x.integer(i)));
  } else {
    r = std::to_chars(buffer, buffer + sizeof buffer, x.integer(i));
  }
  return {buffer, r.ptr};
}

}  // namespace

const OpDef string_from_number{
    .name = "string_from_number",
    .dialect = "bascule",
    .doc = "y = x in decimal: the shortest text that reads back as x",
    .inputs = {{"x", DTypes::reals | DTypes::bools}},
    .host = true,
    .type =
        [](const OpView& op) {
          Type t = op.in(0);
          t.dtype = DType::string;
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          Tensor y(DType::string, x.dims());
          auto& out = y.mutable_strings();
          for (int64_t i = 0; i < x.elements(); ++i) {
            check_budget();
            out[static_cast<size_t>(i)] = written(x.dtype(), x, i);
          }
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{"floats", {{2, 3}}}, {.name = "ints", .shapes = {{4}}, .dtypes = {DType::i64}}, {"empty", {{0}}}},
};
BASCULE_OP(string_from_number);

}  // namespace bascule::ops
