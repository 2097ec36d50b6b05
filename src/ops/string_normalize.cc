// ops/string_normalize.cc — a list of words without stop words, in one letter case.
#include <unordered_set>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/text.h"

namespace bascule::ops {

const OpDef string_normalize{
    .name = "string_normalize",
    .dialect = "bascule",
    .doc = "y = the texts of x that are not stop words, in letter case `change` (none, lower, upper); one empty text if none is left",
    .inputs = {{"x", DTypes::strings}},
    .attrs = {{"change", AttrKind::text}, {"case_sensitive", AttrKind::flag}, {"stopwords", AttrKind::texts}, {"locale", AttrKind::text}},
    .host = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          Type t = op.in(0);
          const std::string& change = op.attrs.text("change");
          op.require(change == "none" || change == "lower" || change == "upper", "change none, lower or upper", change);
          if (!t.ranked) return std::vector<Type>{t};
          op.require(t.rank() == 1 || t.rank() == 2, "x of shape [words] or [1, words]", t.text());
          if (t.rank() == 2) op.require_equal(t.dims[0], Dim(1), "x of shape [1, words]");
          if (!op.attrs.texts("stopwords").empty() || !t.dims.back().is_constant() || t.dims.back().is(0)) t.dims.back() = fresh_dim("words");
          return std::vector<Type>{t};
        },
    .reference =
        [](const Call& call) {
          const Attrs& a = call.op.attrs;
          const bool sensitive = a.flag("case_sensitive");
          const std::string &change = a.text("change"), &locale = a.text("locale");
          // Compared as written, or both in lower case.
          const auto compared = [&](const std::string& s) { return sensitive ? s : with_case(s, LetterCase::lower, locale, call.op.where); };
          std::unordered_set<std::string> stop;
          for (const std::string& s : a.texts("stopwords")) stop.insert(compared(s));
          std::vector<std::string> out;
          for (const std::string& s : call.in(0).strings()) {
            check_budget();
            if (!stop.empty() && stop.contains(compared(s))) continue;
            out.push_back(change == "none" ? s : with_case(s, change == "lower" ? LetterCase::lower : LetterCase::upper, locale, call.op.where));
          }
          if (out.empty()) out.emplace_back();
          std::vector<int64_t> dims = call.in(0).dims();
          dims.back() = static_cast<int64_t>(out.size());
          return one(Tensor::from_strings(dims, std::move(out)));
        },
    .work = no_arithmetic(),
    .cases = {{.name = "upper", .build = [](Builder& b) {
                 return Values{b.op("string_normalize", {b.input(Type::tensor(DType::string, {3}))}, {{"change", std::string("upper")}, {"case_sensitive", false}, {"stopwords", Texts{"MON"}}, {"locale", std::string("en_US")}})};
               },
               .inputs = [] { return HostValues{Tensor::from_strings({3}, {"mon", "tue", "caf\xC3\xA9"})}; }}},
};
BASCULE_OP(string_normalize);

}  // namespace bascule::ops
