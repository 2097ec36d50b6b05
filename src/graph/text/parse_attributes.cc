// graph/text/parse_attributes.cc — attribute syntax: literals, lists, dictionaries, dialect attributes, aliases.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "graph/text/parser.h"
#include "graph/text/parser_depth.h"

namespace bascule::mlir {

const AttributeSyntax* find(const DictSyntax& d, std::string_view name) {
  for (const auto& [key, value] : d)
    if (key == name) return &value;
  return nullptr;
}

namespace {

using Kind = AttributeSyntax::Kind;

AttributeSyntax make(Kind kind, size_t at) {
  AttributeSyntax a;
  a.kind = kind;
  a.at = at;
  return a;
}
AttributeSyntax make_ints(Ints v, size_t at) {
  AttributeSyntax a = make(Kind::ints, at);
  a.ints = std::move(v);
  return a;
}
AttributeSyntax make_integer(int64_t v, size_t at) {
  AttributeSyntax a = make(Kind::integer, at);
  a.integer = v;
  return a;
}

// Decimal or 0x integers of up to 64 bits; larger than int64 wraps to its bits (ui64 values).
std::optional<int64_t> integer_of(std::string_view t, bool negative) {
  uint64_t u = 0;
  const bool hex = t.size() > 2 && t[0] == '0' && t[1] == 'x';
  const char* first = t.data() + (hex ? 2 : 0);
  const auto [end, error] = std::from_chars(first, t.data() + t.size(), u, hex ? 16 : 10);
  if (error != std::errc() || end != t.data() + t.size()) return std::nullopt;
  if (negative && u > uint64_t{1} << 63) return std::nullopt;
  return static_cast<int64_t>(negative ? 0 - u : u);
}

}  // namespace

int64_t Parser::integer() {
  const bool negative = accept('-');
  if (token_.kind != TokenKind::integer) fail("an integer");
  const auto v = integer_of(token_.text, negative);
  if (!v) fail("an integer of at most 64 bits");
  take();
  return *v;
}

double Parser::number() {
  const bool negative = accept('-');
  if (token_.kind != TokenKind::integer && token_.kind != TokenKind::number) fail("a number");
  double v = 0;
  const std::string_view t = token_.text;
  const auto [end, error] = std::from_chars(t.data(), t.data() + t.size(), v);
  if (error == std::errc::result_out_of_range) v = t.find("e-") != std::string_view::npos ? 0.0 : HUGE_VAL;
  else if (error != std::errc() || end != t.data() + t.size()) fail("a decimal number");
  take();
  return negative ? -v : v;
}

Ints Parser::integers() {
  Ints out;
  expect('[');
  if (!token_.is(']')) {
    do out.push_back(integer());
    while (accept(','));
  }
  expect(']');
  return out;
}

std::string Parser::string() {
  if (token_.kind != TokenKind::string) fail("a string in quotes");
  return unquoted(take().text);
}

std::string Parser::symbol_name() {
  if (token_.kind != TokenKind::symbol) fail("a symbol (@name)");
  return unquoted(take().text);
}

std::vector<Dim> Parser::symbolic_sizes() {
  std::vector<Dim> out;
  expect('<');
  if (!token_.is('>')) {
    do {
      const size_t at = token_.begin;
      if (token_.kind != TokenKind::string) {
        out.emplace_back(integer());
        continue;
      }
      const std::string s = string();
      const auto d = Dim::parse(s);
      if (!d) fail_at(at, "a size such as \"2*seq+1\"", "\"" + escaped(s) + "\"");
      out.push_back(*d);
    } while (accept(','));
  }
  expect('>');
  return out;
}

DictSyntax Parser::optional_dictionary() {
  if (!token_.is('{')) return {};
  return dictionary();
}

DictSyntax Parser::dictionary() {
  const Depth deeper(*this);
  DictSyntax out;
  expect('{');
  if (!token_.is('}')) {
    do {
      std::string key;
      if (token_.kind == TokenKind::string) key = string();
      else if (token_.kind == TokenKind::word) key = std::string(take().text);
      else fail("an attribute's name");
      const size_t at = token_.begin;
      AttributeSyntax value = accept('=') ? attribute() : make(Kind::unit, at);
      out.emplace_back(std::move(key), std::move(value));
    } while (accept(','));
  }
  expect('}');
  // A dictionary of a file may be long: look for doubles in a sorted copy of the keys.
  std::vector<std::string_view> keys;
  for (const auto& [k, v] : out) keys.push_back(k);
  std::sort(keys.begin(), keys.end());
  if (const auto twice = std::adjacent_find(keys.begin(), keys.end()); twice != keys.end())
    fail_at(token_.begin, "each attribute once", "'" + escaped(*twice) + "' twice");
  return out;
}

AttributeSyntax Parser::number_attribute(bool negative, size_t at) {
  const Token t = token_;
  AttributeSyntax a;
  if (t.kind == TokenKind::number) {
    a = make(Kind::number, at);
    a.number = negative ? -number() : number();
  } else {
    const auto v = integer_of(t.text, negative);
    if (!v) fail("an integer of at most 64 bits");
    take();
    a = make_integer(*v, at);
  }
  if (!accept(':')) return a;
  TypeSyntax type_written = type();
  if (type_written.kind == TypeSyntax::Kind::element && is_float(type_written.type.dtype) && a.kind == Kind::integer) {
    a.kind = Kind::number;
    const bool bits = t.text.size() > 2 && t.text[1] == 'x';  // 0x7FC00000 : f32
    const DType f = type_written.type.dtype;
    a.number = bits ? scalar_from_bits(f, static_cast<uint64_t>(a.integer)).number(0) : static_cast<double>(a.integer);
  }
  a.type = std::make_shared<TypeSyntax>(std::move(type_written));
  return a;
}

// After `array`: <i64: 1, 2>, <i1: true>, <f64: 0.5>
AttributeSyntax Parser::dense_array(size_t at) {
  expect('<');
  const TypeSyntax element = element_type();
  const bool floats = is_float(element.type.dtype);
  AttributeSyntax a = make(floats ? Kind::numbers : Kind::ints, at);
  if (accept(':')) {
    do {
      if (floats && token_.text.starts_with("0x"))
        a.numbers.push_back(scalar_from_bits(element.type.dtype, static_cast<uint64_t>(integer())).number(0));
      else if (floats) a.numbers.push_back(number());
      else if (accept_word("true")) a.ints.push_back(1);
      else if (accept_word("false")) a.ints.push_back(0);
      else a.ints.push_back(integer());
    } while (accept(','));
  }
  expect('>');
  return a;
}

// [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]: what each axis of operand, kernel and result is.
AttributeSyntax Parser::convolution_numbers(size_t at) {
  AttributeSyntax out = make(Kind::dict, at);
  out.name = "stablehlo.conv";
  const auto part = [&](const char* prefix, std::string_view first, const char* first_name, std::string_view second, const char* second_name) {
    int64_t axis = 0, first_axis = -1, second_axis = -1;
    std::vector<std::pair<int64_t, int64_t>> spatial;  // number, axis
    expect('[');
    if (!token_.is(']')) {
      do {
        int64_t* letter = token_.is_word(first) ? &first_axis : token_.is_word(second) ? &second_axis : nullptr;
        if (letter) {
          if (*letter >= 0) fail("each letter once");
          *letter = axis;
          take();
        } else if (accept('?')) {
          unsupported_at(at, "a meaning for each axis", "'?'", "Export the model again");
        } else {
          spatial.emplace_back(integer(), axis);
        }
        ++axis;
      } while (accept(','));
    }
    expect(']');
    std::sort(spatial.begin(), spatial.end());
    Ints axes;
    for (size_t i = 0; i < spatial.size(); ++i) {
      if (spatial[i].first != static_cast<int64_t>(i)) fail_at(at, "spatial axes numbered 0, 1, ...", std::to_string(spatial[i].first));
      axes.push_back(spatial[i].second);
    }
    if (first_axis < 0 || second_axis < 0)
      fail_at(at, "'" + std::string(first) + "' and '" + std::string(second) + "' among the axes", "one missing");
    const std::string p(prefix);
    out.entries.emplace_back(p + first_name, make_integer(first_axis, at));
    out.entries.emplace_back(p + second_name, make_integer(second_axis, at));
    out.entries.emplace_back(p + "_spatial_dimensions", make_ints(std::move(axes), at));
  };
  part("input", "b", "_batch_dimension", "f", "_feature_dimension");
  expect_word("x");
  part("kernel", "i", "_input_feature_dimension", "o", "_output_feature_dimension");
  expect_arrow();
  part("output", "b", "_batch_dimension", "f", "_feature_dimension");
  return out;
}

// After #name: <key = value, flag, key = <...>>, or <WORD>, or <kind WORD>.
AttributeSyntax Parser::struct_body(std::string name, size_t at) {
  const Depth deeper(*this);
  AttributeSyntax out = make(Kind::dict, at);
  const size_t begin = token_.begin;
  expect('<');
  if (name.ends_with(".conv") && token_.is('[')) {
    out = convolution_numbers(at);
    expect('>');
    return out;
  }
  accept_word("raw");
  if (token_.kind == TokenKind::word) {
    const Token next = ahead();
    if (next.is('>') || next.kind == TokenKind::word) {  // an enumeration
      out.kind = Kind::word;
      out.name = name;
      if (next.kind == TokenKind::word) out.name = std::string(take().text);
      out.text = std::string(take().text);
      expect('>');
      return out;
    }
  }
  out.name = std::move(name);
  if (!token_.is('>')) {
    do {
      if (token_.kind != TokenKind::word) fail("a field's name");
      std::string key(take().text);
      const size_t value_at = token_.begin;
      AttributeSyntax value = make(Kind::unit, value_at);
      if (accept('=')) {
        bool index = false;
        if (token_.is('<')) value = struct_body(key, value_at);
        else if (token_.kind == TokenKind::word && !element_of(token_.text, &index) && token_.text != "true" && token_.text != "false" &&
                 token_.text != "dense" && token_.text != "array") {
          value.kind = Kind::word;
          value.text = std::string(take().text);
        } else {
          value = attribute();
        }
      }
      out.entries.emplace_back(std::move(key), std::move(value));
    } while (accept(','));
  }
  out.text = std::string(lexer_.source().substr(begin, std::min<size_t>(token_.end - begin, 4096)));
  expect('>');
  return out;
}

AttributeSyntax Parser::dialect_attribute() {
  const Token name = take();
  const std::string n(name.text);
  if (const auto alias = attribute_aliases_.find(name.text); alias != attribute_aliases_.end()) {
    AttributeSyntax a = alias->second;
    a.at = name.begin;
    return a;
  }
  if (n == "bascule.dims") {
    AttributeSyntax a = make(Kind::dims, name.begin);
    a.dims = symbolic_sizes();
    return a;
  }
  const bool structured =
      n == "stablehlo" || n == "chlo" || n == "mhlo" || n.starts_with("stablehlo.") || n.starts_with("chlo.") || n.starts_with("mhlo.");
  const bool bounds = n.starts_with("stablehlo.bounds") || n.starts_with("stablehlo.type_extensions");
  if (structured && !bounds && token_.is('<')) return struct_body(n, name.begin);
  if (location_aliases_.count(name.text)) return make(Kind::opaque, name.begin);
  AttributeSyntax a = make(Kind::opaque, name.begin);
  a.name = n;
  if (!token_.is('<')) {
    if (n.find('.') == std::string::npos) fail_at(name.begin, "a defined attribute alias", "'#" + escaped(n) + "'");
    return a;
  }
  const size_t begin = token_.begin;
  skip_balanced('<', '>');
  a.text = std::string(lexer_.source().substr(begin, std::min<size_t>(token_.begin - begin, 4096)));
  return a;
}

AttributeSyntax Parser::attribute() {
  const Depth deeper(*this);
  const size_t at = token_.begin;
  switch (token_.kind) {
    case TokenKind::string: {
      AttributeSyntax a = make(Kind::string, at);
      a.text = string();
      if (accept(':')) (void)type();
      return a;
    }
    case TokenKind::symbol: {
      AttributeSyntax a = make(Kind::symbol, at);
      a.text = symbol_name();
      while (token_.is(':') && ahead().is(':')) {  // @outer::@inner
        take();
        take();
        a.text += "::" + symbol_name();
      }
      return a;
    }
    case TokenKind::integer:
    case TokenKind::number: return number_attribute(false, at);
    case TokenKind::attribute: return dialect_attribute();
    case TokenKind::type: {
      AttributeSyntax a = make(Kind::type, at);
      a.type = std::make_shared<TypeSyntax>(type());
      return a;
    }
    default: break;
  }
  if (accept('-')) {
    if (token_.kind != TokenKind::integer && token_.kind != TokenKind::number) fail("a number");
    return number_attribute(true, at);
  }
  if (accept('[')) {
    AttributeSyntax a = make(Kind::array, at);
    if (!token_.is(']')) {
      do a.items.push_back(attribute());
      while (accept(','));
    }
    expect(']');
    return a;
  }
  if (token_.is('{')) {
    AttributeSyntax a = make(Kind::dict, at);
    a.entries = dictionary();
    return a;
  }
  if (token_.is('(')) {
    AttributeSyntax a = make(Kind::type, at);
    a.type = std::make_shared<TypeSyntax>(type());
    return a;
  }
  if (token_.kind == TokenKind::word) {
    const std::string_view w = token_.text;
    if (w == "true" || w == "false") {
      AttributeSyntax a = make(Kind::boolean, at);
      a.integer = take().text == "true";
      return a;
    }
    if (w == "unit") {
      take();
      return make(Kind::unit, at);
    }
    if (w == "dense") {
      take();
      return dense(at);
    }
    if (w == "array") {
      take();
      return dense_array(at);
    }
    if (w == "dense_resource") {
      take();
      expect('<');
      AttributeSyntax a = make(Kind::resource, at);
      if (token_.kind == TokenKind::string) a.text = string();
      else if (token_.kind == TokenKind::word) a.text = std::string(take().text);
      else fail("a resource's key");
      expect('>');
      expect(':');
      a.type = std::make_shared<TypeSyntax>(type());
      return a;
    }
    if (w == "loc") {
      (void)optional_location();
      return make(Kind::opaque, at);
    }
    if (w == "sparse" || w == "affine_map" || w == "affine_set" || w == "opaque" || w == "distinct" || w == "strided")
      unsupported_at(at, "an attribute of StableHLO", "'" + std::string(w) + "'", "Export the model without it");
    AttributeSyntax a = make(Kind::type, at);
    a.type = std::make_shared<TypeSyntax>(type());
    return a;
  }
  fail("an attribute");
}

}  // namespace bascule::mlir
