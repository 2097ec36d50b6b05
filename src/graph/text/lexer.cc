// graph/text/lexer.cc — tokens of MLIR text.
#include "graph/text/lexer.h"

#include <algorithm>
#include <array>

namespace bascule::mlir {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_word_char(char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '$' || c == '.'; }
bool is_suffix_char(char c) { return is_word_char(c) || c == '-'; }  // after % ^ # !

int hex_value(char c) { return is_digit(c) ? c - '0' : (c | 32) - 'a' + 10; }

}  // namespace

Token Lexer::at(size_t p) const {
  const std::string_view s = source_;
  const auto peek = [&](size_t i) { return i < s.size() ? s[i] : '\0'; };
  for (;;) {
    while (p < s.size() && (s[p] == ' ' || s[p] == '\n' || s[p] == '\t' || s[p] == '\r')) ++p;
    if (peek(p) != '/' || peek(p + 1) != '/') break;
    const size_t line = s.find('\n', p);
    p = line == std::string_view::npos ? s.size() : line;
  }
  const auto make = [&](TokenKind kind, size_t end, size_t skip = 0) { return Token{kind, s.substr(p + skip, end - p - skip), p, end}; };
  if (p >= s.size()) return {TokenKind::end, {}, s.size(), s.size()};
  const char c = s[p];
  size_t e = p + 1;
  if (is_letter(c) || c == '_') {
    while (e < s.size() && is_word_char(s[e])) ++e;
    return make(TokenKind::word, e);
  }
  if (is_digit(c)) {
    if (c == '0' && peek(e) == 'x' && is_hex(peek(e + 1))) {  // but "0x3xf32" in a shape: the type parser reads those itself
      ++e;
      while (is_hex(peek(e))) ++e;
      return make(TokenKind::integer, e);
    }
    while (is_digit(peek(e))) ++e;
    if (peek(e) != '.') return make(TokenKind::integer, e);
    ++e;
    while (is_digit(peek(e))) ++e;
    if (peek(e) == 'e' || peek(e) == 'E') {
      size_t x = e + 1;
      if (peek(x) == '+' || peek(x) == '-') ++x;
      if (is_digit(peek(x))) {
        while (is_digit(peek(x))) ++x;
        e = x;
      }
    }
    return make(TokenKind::number, e);
  }
  const auto quote_end = [&](size_t from) {  // from: the opening quote; npos when it is not closed on its line
    for (size_t i = from + 1; i < s.size(); ++i) {
      if (s[i] == '\\') ++i;
      else if (s[i] == '"') return i + 1;
      else if (s[i] == '\n') break;
    }
    return std::string_view::npos;
  };
  switch (c) {
    case '"': {
      const size_t end = quote_end(p);
      return end == std::string_view::npos ? make(TokenKind::bad, p + 1) : make(TokenKind::string, end);
    }
    case '@': {
      if (peek(e) == '"') {
        const size_t end = quote_end(e);
        return end == std::string_view::npos ? make(TokenKind::bad, p + 1) : make(TokenKind::symbol, end, 1);
      }
      while (is_suffix_char(peek(e))) ++e;
      return e == p + 1 ? make(TokenKind::bad, e) : make(TokenKind::symbol, e, 1);
    }
    case '%':
    case '^':
    case '!':
    case '#': {
      if (c == '#' && peek(e) == '-' && peek(e + 1) == '}') return make(TokenKind::metadata, p + 3);
      if (is_digit(peek(e)))
        while (is_digit(peek(e))) ++e;
      else
        while (is_suffix_char(peek(e)) && !(peek(e) == '-' && peek(e + 1) == '>')) ++e;
      if (e == p + 1) {
        // "#<" and "!<" do not occur; a lone '#' is an error
        return make(TokenKind::bad, e);
      }
      return make(c == '%' ? TokenKind::value : c == '^' ? TokenKind::block : c == '!' ? TokenKind::type : TokenKind::attribute, e, 1);
    }
    case '-':
      if (peek(e) == '>') return make(TokenKind::arrow, p + 2);
      return make(TokenKind::punctuation, e);
    case '{':
      if (peek(e) == '-' && peek(e + 1) == '#') return make(TokenKind::metadata, p + 3);
      return make(TokenKind::punctuation, e);
    default: break;
  }
  if (std::string_view("()[]}<>:,=?*+/|").find(c) != std::string_view::npos) return make(TokenKind::punctuation, e);
  return make(TokenKind::bad, e);
}

Lines::Lines(std::string_view source) {
  starts_.push_back(0);
  for (size_t i = source.find('\n'); i != std::string_view::npos; i = source.find('\n', i + 1)) starts_.push_back(i + 1);
}
std::pair<size_t, size_t> Lines::position(size_t offset) const {
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), offset);
  const auto line = static_cast<size_t>(after - starts_.begin());
  return {line, offset - starts_[line - 1] + 1};
}
std::string Lines::text(size_t offset) const {
  const auto [line, column] = position(offset);
  return std::to_string(line) + ":" + std::to_string(column);
}

std::string unquoted(std::string_view token) {
  if (token.size() < 2 || token.front() != '"') return std::string(token);
  token = token.substr(1, token.size() - 2);
  std::string out;
  out.reserve(token.size());
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] != '\\' || i + 1 >= token.size()) {
      out += token[i];
      continue;
    }
    const char c = token[++i];
    if (c == 'n') out += '\n';
    else if (c == 't') out += '\t';
    else if (c == '\\' || c == '"') out += c;
    else if (is_hex(c) && i + 1 < token.size() && is_hex(token[i + 1])) out += static_cast<char>(hex_value(c) * 16 + hex_value(token[++i]));
    else (out += '\\') += c;
  }
  return out;
}

std::string quoted(std::string_view s) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "\"";
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\' || u < 0x20 || u >= 0x7F) ((out += '\\') += kHex[u >> 4]) += kHex[u & 15];
    else out += c;
  }
  return out += '"';
}

bool is_identifier(std::string_view s) {
  if (s.empty() || !(is_letter(s[0]) || s[0] == '_')) return false;
  return std::all_of(s.begin(), s.end(), is_word_char);
}

}  // namespace bascule::mlir
