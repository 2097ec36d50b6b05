// ops/tokenize.cc — texts to tokens: single characters, matches of an expression, or what stands between separators. Padded to one length.
#include <algorithm>

#include "base/budget.h"
#include "ops/rules.h"
#include "ops/text.h"

namespace bascule::ops {
namespace {

using Tokens = std::vector<std::string_view>;

// Separators act one after the other, each on what the ones before have left.
Tokens between(std::string_view s, const std::vector<std::unique_ptr<Pattern>>& separators) {
  Tokens pieces{s};
  for (const auto& separator : separators) {
    Tokens next;
    for (const std::string_view piece : pieces) {
      size_t begin = 0, from = 0, length = 0;
      for (size_t at; (at = separator->find(piece, from, length)) != std::string_view::npos;) {
        check_budget();
        if (length == 0) {  // an empty match separates nothing
          from = at + 1;
          continue;
        }
        if (at > begin) next.push_back(piece.substr(begin, at - begin));
        begin = from = at + length;
      }
      if (begin < piece.size()) next.push_back(piece.substr(begin));
    }
    pieces = std::move(next);
  }
  return pieces;
}

Tokens matches(std::string_view s, const Pattern& expression) {
  Tokens out;
  size_t from = 0, length = 0;
  for (size_t at; (at = expression.find(s, from, length)) != std::string_view::npos;) {
    check_budget();
    if (length > 0) out.push_back(s.substr(at, length));
    from = at + std::max<size_t>(length, 1);
  }
  return out;
}

}  // namespace

const OpDef tokenize{
    .name = "tokenize",
    .dialect = "bascule",
    .doc = "y[..., k] = token k of x: matches of `expression`, or pieces between `separators` (one empty separator: characters), at least `least` characters long; "
           "mark: between \\x02 and \\x03; padded with `fill`",
    .inputs = {{"x", DTypes::strings}},
    .attrs = {{"expression", AttrKind::text}, {"separators", AttrKind::texts}, {"least", AttrKind::integer}, {"mark", AttrKind::flag}, {"fill", AttrKind::text}},
    .host = true,
    .data_dependent = true,
    .type =
        [](const OpView& op) {
          Type y = op.in(0);
          op.require(op.attrs.text("expression").empty() != op.attrs.texts("separators").empty(), "either an expression or separators", "both or none");
          if (y.ranked) y.dims.push_back(fresh_dim("tokens"));
          return std::vector<Type>{y};
        },
    .reference =
        [](const Call& call) {
          const Attrs& a = call.op.attrs;
          const auto& separators = a.texts("separators");
          const bool single = separators.size() == 1 && separators[0].empty();
          std::vector<std::unique_ptr<Pattern>> patterns;
          if (!a.text("expression").empty()) patterns.push_back(std::make_unique<Pattern>(a.text("expression"), call.op.where));
          else if (!single)
            for (const std::string& s : separators) patterns.push_back(std::make_unique<Pattern>(s, call.op.where));
          const auto least = static_cast<size_t>(std::max<int64_t>(0, a.integer("least")));
          const size_t marks = a.flag("mark") ? 2 : 0;
          std::vector<Tokens> all;
          size_t longest = 0;
          for (const std::string& s : call.in(0).strings()) {
            check_budget();
            Tokens tokens = single ? characters(s, call.op.where) : !a.text("expression").empty() ? matches(s, *patterns[0]) : between(s, patterns);
            std::erase_if(tokens, [&](std::string_view t) { return least > 1 && characters(t, call.op.where).size() < least; });
            longest = std::max(longest, tokens.size());
            all.push_back(std::move(tokens));
          }
          std::vector<int64_t> dims = call.in(0).dims();
          const size_t width = longest + (longest > 0 ? marks : 0);  // no token anywhere: an empty result, without marks
          dims.push_back(static_cast<int64_t>(width));
          Tensor y(DType::string, dims);
          auto& out = y.mutable_strings();
          std::fill(out.begin(), out.end(), a.text("fill"));
          for (size_t i = 0; i < all.size() && width > 0; ++i) {
            size_t at = i * width;
            if (marks) out[at++] = "\x02";
            for (const std::string_view t : all[i]) out[at++] = t;
            if (marks) out[at++] = "\x03";
          }
          return one(std::move(y));
        },
    .work = no_arithmetic(),
    .cases = {{.name = "separators", .build = [](Builder& b) {
                 return Values{b.op("tokenize", {b.input(Type::tensor(DType::string, {2}))}, {{"expression", std::string()}, {"separators", Texts{" ", ","}}, {"least", int64_t{1}}, {"mark", true}, {"fill", std::string("#")}})};
               },
               .inputs = [] { return HostValues{Tensor::from_strings({2}, {"a,b c", "d"})}; }}},
};
BASCULE_OP(tokenize);

}  // namespace bascule::ops
