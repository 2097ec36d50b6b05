// ops/lookup.cc — a table from keys to values, of any element types: label encoders, category mappers, class names.
#include <cmath>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "base/budget.h"
#include "ops/rules.h"

namespace bascule::ops {
namespace {

// Equal keys have equal bits: every NaN is one key, -0 is 0.
int64_t float_key(double x) {
  if (std::isnan(x)) return INT64_MIN + 1;
  if (x == 0) return 0;
  int64_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

std::vector<Type> type(const OpView& op) {
  const Tensor &keys = op.attrs.tensor("keys"), &values = op.attrs.tensor("values");
  op.require(keys.rank() == 1 && values.rank() == 1 && keys.elements() == values.elements(), "keys and values of rank 1 and one length",
             keys.type_text() + " and " + values.type_text());
  op.require(op.in(0).dtype == keys.dtype(), "operand of the keys' element type", op.in(0).text() + " and " + keys.type_text());
  if (op.attrs.has("otherwise")) {
    const Tensor& d = op.attrs.tensor("otherwise");
    op.require(d.elements() == 1 && d.dtype() == values.dtype(), "otherwise: one element of the values' type", d.type_text());
  }
  Type t = op.in(0);
  t.dtype = values.dtype();
  return {t};
}

HostValues reference(const Call& call) {
  const Tensor &x = call.in(0), &keys = call.op.attrs.tensor("keys"), &values = call.op.attrs.tensor("values");
  const Tensor* otherwise = call.op.attrs.has("otherwise") ? &call.op.attrs.tensor("otherwise") : nullptr;
  Tensor y(values.dtype(), x.dims());
  const DType t = x.dtype();
  std::unordered_map<std::string_view, int64_t> texts;
  std::unordered_map<int64_t, int64_t> numbers;
  const auto key = [&](const Tensor& from, int64_t i) { return is_float(t) ? float_key(from.number(i)) : from.integer(i); };
  for (int64_t i = 0; i < keys.elements(); ++i) {  // the first of equal keys wins
    check_budget();
    if (is_string(t)) texts.emplace(keys.strings()[static_cast<size_t>(i)], i);
    else numbers.emplace(key(keys, i), i);
  }
  for (int64_t i = 0; i < x.elements(); ++i) {
    check_budget();
    int64_t at = -1;
    if (is_string(t)) {
      if (const auto found = texts.find(x.strings()[static_cast<size_t>(i)]); found != texts.end()) at = found->second;
    } else if (const auto found = numbers.find(key(x, i)); found != numbers.end()) {
      at = found->second;
    }
    if (at < 0 && !otherwise) {
      const std::string shown = is_string(t) ? "'" + escaped(x.strings()[static_cast<size_t>(i)]) + "'" : is_float(t) ? std::to_string(x.number(i)) : std::to_string(x.integer(i));
      fail_usage(call.op.where, "a key of the model's table", shown + " at element " + std::to_string(i), "Map or drop unknown values before the run");
    }
    copy_element(at < 0 ? *otherwise : values, at < 0 ? 0 : at, y, i);
  }
  return one(std::move(y));
}

}  // namespace

const OpDef lookup{
    .name = "lookup",
    .dialect = "bascule",
    .doc = "y = values[k] with keys[k] = x; `otherwise` where x is no key (without it an error)",
    .inputs = {{"x"}},
    .attrs = {{"keys", AttrKind::tensor}, {"values", AttrKind::tensor}, {.name = "otherwise", .kind = AttrKind::tensor, .required = false, .no_default = true}},
    .host = true,
    .type = type,
    .reference = reference,
    .work = per_element({.compares = 1}),
    .cases = {{.name = "ints",
               .shapes = {{2, 3}},
               .attrs = {{"keys", Tensor::vector_int(std::vector<int64_t>{1, 0})},
                         {"values", Tensor::from_doubles(DType::f32, {2}, std::vector<double>{0.5, -2})},
                         {"otherwise", Tensor::scalar(DType::f32, 7)}},
               .dtypes = {DType::i64}},
              {.name = "empty",
               .shapes = {{0}},
               .attrs = {{"keys", Tensor::vector_int(std::vector<int64_t>{1})}, {"values", Tensor::vector_int(std::vector<int64_t>{2})}},
               .dtypes = {DType::i64}}},
};
BASCULE_OP(lookup);

}  // namespace bascule::ops
