// ops/number_from_string.cc — numbers read from text, as ONNX Cast does: plain or scientific notation, "NaN", "INF", "+INF", "-INF" in any case.
#include <charconv>
#include <cmath>
#include <limits>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

std::string_view trimmed(std::string_view s) {
  constexpr std::string_view kSpace = " \t\n\r\f\v";
  const size_t first = s.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(kSpace) - first + 1);
}

// from_chars takes no leading '+'.
std::string_view unsigned_plus(std::string_view s) { return s.size() > 1 && s[0] == '+' && s[1] != '-' && s[1] != '+' ? s.substr(1) : s; }

bool read(std::string_view text, double& out) {
  const std::string_view s = unsigned_plus(text);
  const auto r = std::from_chars(s.data(), s.data() + s.size(), out, std::chars_format::general);
  if (r.ec == std::errc::result_out_of_range && r.ptr == s.data() + s.size()) {  // beyond f64: infinite, or too small to tell from 0
    const size_t e = s.find_first_of("eE");
    const bool small = e != std::string_view::npos && s.substr(e).find('-') != std::string_view::npos;
    out = small ? 0.0 : std::numeric_limits<double>::infinity();
    if (s[0] == '-') out = -out;
    return true;
  }
  return r.ec == std::errc() && r.ptr == s.data() + s.size();
}

template <class T>
bool read_int(std::string_view text, T& out) {
  const std::string_view s = unsigned_plus(text);
  const auto r = std::from_chars(s.data(), s.data() + s.size(), out);
  return r.ec == std::errc() && r.ptr == s.data() + s.size();
}

}  // namespace

const OpDef number_from_string{
    .name = "number_from_string",
    .dialect = "bascule",
    .doc = "y = the number that x spells, as element type `dtype`; other texts are an error",
    .inputs = {{"x", DTypes::strings}},
    .attrs = {{"dtype", AttrKind::dtype}},
    .host = true,
    .type =
        [](const OpView& op) {
          Type t = op.in(0);
          t.dtype = op.attrs.dtype("dtype");
          op.require(!is_string(t.dtype) && !is_complex(t.dtype), "a real dtype", std::string(info(t.dtype).name));
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          const Tensor& x = call.in(0);
          const DType t = call.op.attrs.dtype("dtype");
          Tensor y(t, x.dims());
          std::byte* out = y.mutable_data();
          for (int64_t i = 0; i < x.elements(); ++i) {
            check_budget();
            const std::string_view s = trimmed(x.strings()[static_cast<size_t>(i)]);
            int64_t whole = 0;
            uint64_t positive = 0;
            double v = 0;
            if (!is_float(t) && read_int(s, whole)) store_int(t, out, i, whole);
            else if (!is_float(t) && read_int(s, positive)) store_int(t, out, i, static_cast<int64_t>(positive));
            else if (read(s, v)) store_double(t, out, i, v);
            else fail_usage(call.op.where, "a text that spells a number", "'" + escaped(s) + "' at element " + std::to_string(i), "Clean the texts before the run");
          }
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{.name = "floats", .build = [](Builder& b) { return Values{b.op("number_from_string", {b.input(Type::tensor(DType::string, {4}))}, {{"dtype", DType::f32}})}; },
               .inputs = [] { return HostValues{Tensor::from_strings({4}, {"1.5", "-2", "1e3", "-INF"})}; }}},
};
BASCULE_OP(number_from_string);

}  // namespace bascule::ops
