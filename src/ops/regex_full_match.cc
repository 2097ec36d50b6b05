// ops/regex_full_match.cc — whether a whole text matches a regular expression (RE2's syntax).
#include "base/budget.h"
#include "ops/rules.h"
#include "ops/text.h"

namespace bascule::ops {

const OpDef regex_full_match{
    .name = "regex_full_match",
    .dialect = "bascule",
    .doc = "y = whether `pattern` matches all of x",
    .inputs = {{"x", DTypes::strings}},
    .attrs = {{"pattern", AttrKind::text}},
    .host = true,
    .type =
        [](const OpView& op) {
          Type t = op.in(0);
          t.dtype = DType::i1;
          const Pattern checked(op.attrs.text("pattern"), op.where);
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          const Pattern pattern(call.op.attrs.text("pattern"), call.op.where);
          Tensor y(DType::i1, call.in(0).dims());
          std::byte* out = y.mutable_data();
          int64_t i = 0;
          for (const std::string& s : call.in(0).strings()) {
            check_budget();
            store_int(DType::i1, out, i++, pattern.matches_all(s));
          }
          return one(std::move(y));
        },
    .work = per_element({.compares = 1}),
    .cases = {{.name = "digits", .build = [](Builder& b) { return Values{b.op("regex_full_match", {b.input(Type::tensor(DType::string, {3}))}, {{"pattern", std::string("[0-9]+")}})}; },
               .inputs = [] { return HostValues{Tensor::from_strings({3}, {"12", "1a", ""})}; }}},
};
BASCULE_OP(regex_full_match);

}  // namespace bascule::ops
