// ops/text.cc — ICU and RE2 for the string operators.
#include "ops/text.h"

#include <re2/re2.h>
#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include "base/budget.h"
#include "base/error.h"
#include "ops/rules.h"

namespace bascule::ops {

std::vector<std::string_view> characters(std::string_view text, const std::string& where) {
  std::vector<std::string_view> out;
  if (text.size() > INT32_MAX) fail_usage(where, "a text under 2 GiB", std::to_string(text.size()) + " bytes", "Split the text");
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t at = 0; at < size;) {
    const int32_t begin = at;
    UChar32 c = 0;
    U8_NEXT(text.data(), at, size, c);
    if (c < 0) fail_usage(where, "valid UTF-8", "'" + escaped(text) + "'", "Encode the text as UTF-8");
    out.push_back(text.substr(static_cast<size_t>(begin), static_cast<size_t>(at - begin)));
  }
  return out;
}

bool is_white_space(std::string_view character) {
  int32_t at = 0;
  UChar32 c = 0;
  U8_NEXT(character.data(), at, static_cast<int32_t>(character.size()), c);
  return c >= 0 && u_isUWhiteSpace(c);
}

std::string with_case(std::string_view text, LetterCase to, const std::string& locale, const std::string& where) {
  characters(text, where);
  icu::UnicodeString u = icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  const icu::Locale place = locale.empty() || locale == "C" || locale == "POSIX" ? icu::Locale::getRoot() : icu::Locale(locale.c_str());
  if (to == LetterCase::lower) u.toLower(place);
  else u.toUpper(place);
  std::string out;
  return u.toUTF8String(out);
}

struct Pattern::Compiled {
  re2::RE2 expression;
  Compiled(const std::string& e, const re2::RE2::Options& o) : expression(e, o) {}
};
Pattern::Pattern(const std::string& expression, const std::string& where) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  compiled_ = std::make_unique<Compiled>(expression, options);
  if (!compiled_->expression.ok()) fail_file(where, "a regular expression in RE2's syntax", "'" + escaped(expression) + "': " + compiled_->expression.error(), "Rewrite the pattern");
}
Pattern::~Pattern() = default;
bool Pattern::matches_all(std::string_view text) const { return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), compiled_->expression); }
size_t Pattern::find(std::string_view text, size_t from, size_t& length) const {
  re2::StringPiece found;
  const re2::StringPiece all(text.data(), text.size());
  if (from > text.size() || !compiled_->expression.Match(all, from, text.size(), re2::RE2::UNANCHORED, &found, 1)) return std::string_view::npos;
  length = found.size();
  return static_cast<size_t>(found.data() - text.data());
}

std::vector<Type> broadcast_type(const OpView& op, DType result) {
  const Type &a = op.in(0), &b = op.in(1);
  if (!a.ranked || !b.ranked) return {Type::unranked(result)};
  Dims out;
  const size_t rank = std::max(a.rank(), b.rank());
  for (size_t i = 0; i < rank; ++i) {
    const Dim x = i + a.rank() < rank ? Dim(1) : a.dims[i + a.rank() - rank], y = i + b.rank() < rank ? Dim(1) : b.dims[i + b.rank() - rank];
    if (x.is_constant() && y.is_constant() && !(x == y) && !x.is(1) && !y.is(1)) op.fail("shapes that broadcast", a.text() + " and " + b.text());
    out.push_back(Dim::broadcast(x, y));
  }
  return {Type::tensor(result, out)};
}

void for_each_pair(const Tensor& a, const Tensor& b, const std::vector<int64_t>& out, const std::function<void(int64_t, int64_t, int64_t)>& f) {
  const auto at = [&](const Tensor& t, std::span<const int64_t> index) {
    int64_t i = 0;
    for (size_t d = 0; d < t.rank(); ++d) i = i * t.dim(d) + (t.dim(d) == 1 ? 0 : index[d + index.size() - t.rank()]);
    return i;
  };
  int64_t i = 0;
  for_each_index(out, [&](std::span<const int64_t> index) { f(i++, at(a, index), at(b, index)); });
}

}  // namespace bascule::ops
