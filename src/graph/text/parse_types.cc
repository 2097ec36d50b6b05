// graph/text/parse_types.cc — type syntax: tensor<2x?xf32>, tuple<>, tokens, functions, quantised and our own host types.
#include <algorithm>

#include "base/error.h"
#include "graph/text/parser.h"
#include "graph/text/parser_depth.h"

namespace bascule::mlir {

bool is_unknown(const Dim& d) {
  const auto name = d.as_symbol();
  return name && *name == kUnknownSize;
}

namespace {

TypeSyntax value_type(Type t) {
  TypeSyntax s;
  s.kind = TypeSyntax::Kind::value;
  s.type = std::move(t);
  return s;
}
TypeSyntax element_syntax(DType t) {
  TypeSyntax s;
  s.kind = TypeSyntax::Kind::element;
  s.type = Type::tensor(t, {});
  return s;
}

}  // namespace

std::optional<DType> Parser::element_of(std::string_view word, bool* index) {
  *index = word == "index";
  if (*index) return DType::i64;
  if (const auto t = dtype_from_mlir(word)) return t;
  if (word.size() > 2 && word.substr(0, 2) == "si") return dtype_from_mlir(word.substr(1));
  return std::nullopt;
}

// i32, f32, complex<f32>, !quant.uniform<...>, !bascule.string
TypeSyntax Parser::element_type() {
  const Depth deeper(*this);
  const size_t at = token_.begin;
  if (token_.kind == TokenKind::type) return dialect_type();
  if (token_.kind != TokenKind::word) fail("an element type");
  const Token word = take();
  if (word.text == "complex") {
    expect('<');
    const Token part = take();
    expect('>');
    if (part.is_word("f32")) return element_syntax(DType::c64);
    if (part.is_word("f64")) return element_syntax(DType::c128);
    unsupported_at(at, "complex<f32> or complex<f64>", "complex<" + escaped(part.text) + ">", "Export the model with one of these");
  }
  bool index = false;
  const auto t = element_of(word.text, &index);
  if (!t) unsupported_at(at, "an element type of StableHLO", "'" + escaped(word.text) + "'", "Export the model with StableHLO's types only");
  TypeSyntax s = element_syntax(*t);
  s.index = index;
  return s;
}

// After `tensor`: <2x?x*xELEMENT, ENCODING>. Sizes are read by character, since "3xf32" is one word to the lexer.
TypeSyntax Parser::tensor_type(size_t at) {
  if (!token_.is('<')) fail("'<'");
  const std::string_view s = lexer_.source();
  size_t p = token_.end;
  const auto peek = [&](size_t i) { return i < s.size() ? s[i] : '\0'; };
  const auto blanks = [&] {
    while (peek(p) == ' ' || peek(p) == '\n' || peek(p) == '\t' || peek(p) == '\r') ++p;
  };
  Type t = Type::tensor(DType::f32, {});
  blanks();
  if (peek(p) == '*') {
    if (peek(p + 1) != 'x') fail_at(p, "'*x' and an element type", "'*'");
    t.ranked = false;
    p += 2;
  } else {
    constexpr size_t kMostAxes = 256;
    for (;;) {
      blanks();
      if (peek(p) == '?') {
        t.dims.push_back(unknown_size());
        ++p;
      } else if (peek(p) >= '0' && peek(p) <= '9') {
        int64_t n = 0;
        const size_t start = p;
        for (; peek(p) >= '0' && peek(p) <= '9'; ++p)
          if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, peek(p) - '0', &n))
            fail_at(start, "a size that fits 63 bits", "a larger one");
        t.dims.emplace_back(n);
      } else {
        break;
      }
      blanks();
      if (peek(p) != 'x') fail_at(p, "'x' after a size", std::string("'") + escaped(s.substr(std::min(p, s.size()), 1)) + "'");
      ++p;
      if (t.dims.size() > kMostAxes) fail_at(p, "at most 256 axes", "more");
    }
  }
  move_to(p);
  const TypeSyntax element = element_type();
  if (element.kind != TypeSyntax::Kind::element) fail_at(at, "a tensor of numbers, truth values or strings", "a tensor of " + element.type.text());
  t.dtype = element.type.dtype;
  if (accept(',')) {
    const AttributeSyntax encoding = attribute();
    using Kind = AttributeSyntax::Kind;
    if (encoding.kind == Kind::dims) {
      if (encoding.dims.size() != t.dims.size()) fail_at(encoding.at, std::to_string(t.dims.size()) + " sizes", std::to_string(encoding.dims.size()));
      for (size_t i = 0; i < t.dims.size(); ++i) {
        if (is_unknown(t.dims[i])) t.dims[i] = encoding.dims[i];
        else if (!(t.dims[i] == encoding.dims[i]))
          fail_at(encoding.at, "size " + t.dims[i].text() + " of axis " + std::to_string(i) + " as in the shape", encoding.dims[i].text());
      }
    } else if (!encoding.name.starts_with("stablehlo.bounds") && !encoding.name.starts_with("stablehlo.type_extensions")) {
      // bounds are upper limits of the sizes written `?`; they change no value
      unsupported_at(encoding.at, "a dense tensor", "encoding '" + escaped(encoding.name) + "'",
                     "Export the model without sparse or laid-out tensor types");
    }
  }
  expect('>');
  TypeSyntax out = value_type(std::move(t));
  out.quantization = element.quantization;
  return out;
}

// !quant.uniform<i8<-127:127>:f32:0, {0.1:-30,0.5:-20}>
TypeSyntax Parser::quantized_type(size_t at) {
  auto q = std::make_shared<Quantization>();
  const auto word_type = [&](std::string_view word) -> DType {
    if (word.size() > 1 && word[0] == 'u')
      if (const auto t = dtype_from_mlir("ui" + std::string(word.substr(1)))) return *t;
    if (const auto t = dtype_from_mlir(word)) return *t;
    unsupported_at(at, "a storage type of 2 to 32 bits", "'" + escaped(word) + "'", "Export the model with i8 or u8 storage");
  };
  expect('<');
  q->storage = word_type(take().text);
  if (!is_int(q->storage)) fail_at(at, "an integer storage type", std::string(info(q->storage).name));
  q->low = int_min(q->storage);
  q->high = int_max(q->storage);
  if (accept('<')) {
    q->low = integer();
    expect(':');
    q->high = integer();
    expect('>');
    if (q->low < int_min(q->storage) || q->high > int_max(q->storage) || q->low > q->high)
      fail_at(at, "storage bounds within the storage type", std::to_string(q->low) + ":" + std::to_string(q->high));
  }
  expect(':');
  const Token expressed = take();
  q->expressed = word_type(expressed.text);
  if (!is_float(q->expressed)) fail_at(expressed.begin, "a floating-point expressed type", "'" + escaped(expressed.text) + "'");
  if (accept(':')) {
    if (token_.is('{'))
      unsupported_at(at, "one scale, or one for each index of an axis", "scales of blocks", "Export the model with per-axis scales");
    q->axis = integer();
    if (*q->axis < 0) fail_at(at, "an axis of 0 or more", std::to_string(*q->axis));
  }
  expect(',');
  const bool list = accept('{');
  if (!list && q->axis) fail("'{' and one scale for each index of the axis");
  do {
    q->scales.push_back(number());
    q->zero_points.push_back(accept(':') ? integer() : 0);
    if (!(q->scales.back() > 0)) fail_at(at, "scales above 0", std::to_string(q->scales.back()));
  } while (list && accept(','));
  if (list) expect('}');
  expect('>');
  if (list && !q->axis) fail_at(at, "an axis where several scales are given", "none");
  TypeSyntax t = element_syntax(q->storage);
  t.quantization = std::move(q);
  return t;
}

TypeSyntax Parser::dialect_type() {
  const Token name = take();
  const std::string_view n = name.text;
  if (const auto alias = type_aliases_.find(n); alias != type_aliases_.end()) return alias->second;
  if (n == "stablehlo.token" || n == "mhlo.token") return value_type(Type::token());
  if (n == "bascule.any") return value_type(Type::any());
  if (n == "bascule.string" || n == "tf_type.string") return element_syntax(DType::string);
  if (n == "quant.uniform") return quantized_type(name.begin);
  if (n == "bascule.sequence" || n == "bascule.optional") {
    Type t{n == "bascule.sequence" ? Type::Kind::sequence : Type::Kind::optional, DType::f32, true, {}, {}};
    if (accept('<')) {
      TypeSyntax element = type();
      if (element.kind != TypeSyntax::Kind::value) fail_at(name.begin, "a type of values inside", "another type");
      t.elements.push_back(std::move(element.type));
      expect('>');
    }
    return value_type(std::move(t));
  }
  if (n == "bascule.map") {
    expect('<');
    const TypeSyntax key = element_type();
    Type t{Type::Kind::map, key.type.dtype, true, {}, {}};
    if (accept(',')) {
      TypeSyntax element = type();
      if (element.kind != TypeSyntax::Kind::value) fail_at(name.begin, "a type of values inside", "another type");
      t.elements.push_back(std::move(element.type));
    }
    expect('>');
    return value_type(std::move(t));
  }
  unsupported_at(name.begin, "a type of StableHLO", "'!" + escaped(n) + "'", "Export the model with StableHLO's types only");
}

TypeSyntax Parser::type() {
  const Depth deeper(*this);
  const size_t at = token_.begin;
  if (token_.is('(')) return function_type();
  if (token_.is_word("tensor")) {
    take();
    return tensor_type(at);
  }
  if (token_.is_word("tuple")) {
    take();
    expect('<');
    std::vector<Type> elements;
    if (!token_.is('>')) {
      do {
        TypeSyntax e = type();
        if (e.kind != TypeSyntax::Kind::value || e.quantization) fail_at(at, "types of values inside a tuple", "another type");
        elements.push_back(std::move(e.type));
      } while (accept(','));
    }
    expect('>');
    return value_type(Type::tuple(std::move(elements)));
  }
  if (token_.is_word("none")) {
    take();
    return {};
  }
  for (const std::string_view other : {"vector", "memref"})
    if (token_.is_word(other))
      unsupported_at(at, "a type of StableHLO", "'" + std::string(other) + "'", "Export the model as StableHLO, before it is lowered further");
  return element_type();
}

std::vector<TypeSyntax> Parser::type_list_in_parentheses() {
  std::vector<TypeSyntax> out;
  expect('(');
  if (!token_.is(')')) {
    do {
      out.push_back(type());
      (void)optional_dictionary();  // attributes of a result
    } while (accept(','));
  }
  expect(')');
  return out;
}

std::vector<TypeSyntax> Parser::types_or_one() {
  if (!token_.is('(')) return {type()};
  return type_list_in_parentheses();
}

TypeSyntax Parser::function_type() {
  const Depth deeper(*this);
  TypeSyntax t;
  t.kind = TypeSyntax::Kind::function;
  t.inputs = type_list_in_parentheses();
  expect_arrow();
  t.results = types_or_one();
  return t;
}

}  // namespace bascule::mlir
