// ops/text.h — Unicode and regular expressions for the string operators, behind one face: ICU and RE2 are included by text.cc only.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/op_def.h"

namespace bascule::ops {

enum class LetterCase { lower, upper };
// UTF-8 in and out, by the locale's rules ("" or "C": the root locale). UsageError (named by `where`) on invalid UTF-8.
std::string with_case(std::string_view text, LetterCase to, const std::string& locale, const std::string& where);
// The characters (code points) of a UTF-8 text as slices of it. UsageError on invalid UTF-8.
std::vector<std::string_view> characters(std::string_view text, const std::string& where);
bool is_white_space(std::string_view character);  // Unicode White_Space

// A compiled RE2 expression: matches in time linear in the text, whatever the pattern.
class Pattern {
 public:
  Pattern(const std::string& expression, const std::string& where);  // InvalidFileError if RE2 refuses it
  ~Pattern();
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
  bool matches_all(std::string_view text) const;
  // The first match that begins at `from` or later: its place in text, or npos. Leftmost, RE2's preference among those.
  size_t find(std::string_view text, size_t from, size_t& length) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

// dims of an elementwise operator of two tensors under NumPy broadcasting; and of each result element the elements of both.
std::vector<Type> broadcast_type(const OpView& op, DType result);
void for_each_pair(const Tensor& a, const Tensor& b, const std::vector<int64_t>& out, const std::function<void(int64_t i, int64_t at_a, int64_t at_b)>& f);

}  // namespace bascule::ops
