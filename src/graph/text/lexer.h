// graph/text/lexer.h — MLIR text to tokens, one at a time. Knows characters only; see parser.h for what they mean.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace bascule::mlir {

enum class TokenKind {
  end,
  word,         // abs, stablehlo.add, i32
  value,        // %0, %arg0          (text without the mark)
  symbol,       // @main, @"a b"      (text without the mark; quoted ones with their quotes)
  block,        // ^bb0
  attribute,    // #loc, #stablehlo.dot, #1
  type,         // !stablehlo.token
  integer,      // 12, 0x1F
  number,       // 1.0e-3
  string,       // "..." with its quotes
  arrow,        // ->
  punctuation,  // one character of ()[]{}<>:,=?*+-/|
  metadata,     // {-# or #-}
  bad,          // anything else
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;
  size_t begin = 0, end = 0;  // byte offsets of the whole token
  bool is(char c) const { return kind == TokenKind::punctuation && text[0] == c; }
  bool is_word(std::string_view w) const { return kind == TokenKind::word && text == w; }
};

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}
  std::string_view source() const { return source_; }
  Token at(size_t offset) const;  // the first token at or after a byte offset; comments and white space are passed over

 private:
  std::string_view source_;
};

// Byte offset -> "line:column", both from 1.
class Lines {
 public:
  explicit Lines(std::string_view source);
  std::string text(size_t offset) const;
  std::pair<size_t, size_t> position(size_t offset) const;

 private:
  std::vector<size_t> starts_;
};

// Contents of a quoted string token with escapes (\n \t \\ \" \NN) resolved. nullptr-free; malformed escapes stay as written.
std::string unquoted(std::string_view token);
// A string between quotes, control characters and quotes as \NN.
std::string quoted(std::string_view s);
// Whether s can stand after % or as a symbol without quotes.
bool is_identifier(std::string_view s);

}  // namespace bascule::mlir
