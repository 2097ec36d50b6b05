// graph/text/parser.cc — tokens in hand, modules and functions, aliases, the resources at the end of a file.
#include "graph/text/parser.h"

#include "base/error.h"
#include "graph/text/parser_depth.h"

namespace bascule::mlir {

using Kind = AttributeSyntax::Kind;

ModuleSyntax parse_module(std::string_view source, const std::string& file) { return Parser(source, file).module(); }

const FunctionSyntax* ModuleSyntax::function(std::string_view wanted) const {
  for (const FunctionSyntax& f : functions)
    if (f.name == wanted) return &f;
  return nullptr;
}

Parser::Parser(std::string_view source, std::string file) : lexer_(source), lines_(source), file_(std::move(file)) {
  // Location aliases may be defined after their use, each at the start of a line: "#loc3 = loc(".
  for (size_t p = 0; p < source.size();) {
    if (source[p] == '#') {
      const Token name = lexer_.at(p);
      const Token equals = lexer_.at(name.end);
      if (name.kind == TokenKind::attribute && equals.is('=')) {
        const Token loc = lexer_.at(equals.end);
        if (loc.is_word("loc")) location_aliases_.emplace(name.text, loc.begin);
      }
    }
    const size_t line = source.find('\n', p);
    if (line == std::string_view::npos) break;
    p = line + 1;
  }
  token_ = lexer_.at(0);
}

std::string Parser::where(size_t offset) const { return file_ + ":" + lines_.text(offset); }

void Parser::fail_at(size_t offset, std::string expected, std::string found) const {
  fail_file(where(offset), std::move(expected), std::move(found), "Fix the text, or export the model again");
}
void Parser::unsupported_at(size_t offset, std::string expected, std::string found, std::string remedy) const {
  fail_unsupported(where(offset), std::move(expected), std::move(found), std::move(remedy));
}
void Parser::fail(std::string expected) const {
  const Token& t = token_;
  fail_at(
      t.begin, std::move(expected),
      t.kind == TokenKind::end ? "the end of the text" : "'" + escaped(lexer_.source().substr(t.begin, std::min<size_t>(t.end - t.begin, 60))) + "'");
}

Token Parser::take() {
  const Token t = token_;
  if (t.kind == TokenKind::bad) fail("text of MLIR");
  token_ = lexer_.at(t.end);
  return t;
}
bool Parser::accept(char c) {
  if (!token_.is(c)) return false;
  take();
  return true;
}
bool Parser::accept_word(std::string_view w) {
  if (!token_.is_word(w)) return false;
  take();
  return true;
}
void Parser::expect(char c) {
  if (!accept(c)) fail(std::string("'") + c + "'");
}
void Parser::expect_word(std::string_view w) {
  if (!accept_word(w)) fail("'" + std::string(w) + "'");
}
void Parser::expect_arrow() {
  if (token_.kind != TokenKind::arrow) fail("'->'");
  take();
}

void Parser::skip_balanced(char open, char close) {
  const size_t at = token_.begin;
  expect(open);
  for (int64_t level = 1; level > 0;) {
    if (token_.kind == TokenKind::end) fail_at(at, std::string("a closing '") + close + "'", "the end of the text");
    if (token_.is(open)) ++level;
    else if (token_.is(close)) --level;
    take();
  }
}

void Parser::alias_definition() {
  const Token name = take();
  expect('=');
  if (name.kind == TokenKind::type) {
    type_aliases_[name.text] = type();
  } else if (token_.is_word("loc")) {
    take();
    skip_balanced('(', ')');
  } else {
    attribute_aliases_[name.text] = attribute();
  }
}

// {-# dialect_resources: { builtin: { key: "0x..." } }, external_resources: {...} #-}
void Parser::file_metadata(ModuleSyntax& m) {
  take();  // {-#
  std::string_view key;
  while (!(token_.kind == TokenKind::metadata)) {
    if (token_.kind == TokenKind::end) fail("'#-}'");
    const Token t = take();
    if (t.kind == TokenKind::word) key = t.text;
    else if (t.kind == TokenKind::string && token_.is(':')) key = t.text;
    else if (t.kind == TokenKind::string && !key.empty()) m.resources[unquoted(key)] = t.text;
  }
  take();
}

FunctionSyntax Parser::function() {
  FunctionSyntax f;
  f.at = token_.begin;
  for (const std::string_view v : {"public", "private", "nested"})
    if (accept_word(v)) f.is_private = v != "public";
  f.name = symbol_name();
  expect('(');
  if (!token_.is(')')) {
    do {
      ArgumentSyntax a;
      a.at = token_.begin;
      if (token_.kind == TokenKind::value) {
        a.name = use().name;
        expect(':');
      }
      a.type = type();
      a.attributes = optional_dictionary();
      a.location = optional_location();
      f.body.arguments.push_back(std::move(a));
    } while (accept(','));
  }
  expect(')');
  if (token_.kind == TokenKind::arrow) {
    take();
    if (accept('(')) {
      if (!token_.is(')')) {
        do {
          f.result_types.push_back(type());
          f.result_attributes.push_back(optional_dictionary());
        } while (accept(','));
      }
      expect(')');
    } else {
      f.result_types.push_back(type());
      f.result_attributes.emplace_back();
    }
  }
  if (accept_word("attributes")) (void)dictionary();
  if (token_.is('{')) {
    f.has_body = true;
    auto arguments = std::move(f.body.arguments);
    f.body = region(false);
    f.body.arguments = std::move(arguments);
  }
  (void)optional_location();
  return f;
}

// "func.func"() <{function_type = (A) -> B, sym_name = "main", arg_attrs = [...], res_attrs = [...]}> ({ ^bb0(%a: A): ... }) : () -> ()
FunctionSyntax Parser::function_of_generic(OperationSyntax& op) {
  FunctionSyntax f;
  f.at = op.at;
  const AttributeSyntax* name = find(op.attributes, "sym_name");
  const AttributeSyntax* signature = find(op.attributes, "function_type");
  if (!name || !signature || !signature->type || signature->type->kind != TypeSyntax::Kind::function || op.regions.size() != 1)
    fail_at(op.at, "a function with sym_name, function_type and one region", "one without");
  f.name = name->text;
  if (const AttributeSyntax* v = find(op.attributes, "sym_visibility")) f.is_private = v->text != "public";
  f.result_types = signature->type->results;
  f.result_attributes.resize(f.result_types.size());
  f.body = std::move(op.regions[0]);
  f.has_body = !f.body.operations.empty();
  if (f.has_body && f.body.arguments.size() != signature->type->inputs.size())
    fail_at(op.at, std::to_string(signature->type->inputs.size()) + " arguments", std::to_string(f.body.arguments.size()));
  if (const AttributeSyntax* a = find(op.attributes, "arg_attrs"))
    for (size_t i = 0; i < a->items.size() && i < f.body.arguments.size(); ++i) f.body.arguments[i].attributes = a->items[i].entries;
  if (const AttributeSyntax* a = find(op.attributes, "res_attrs"))
    for (size_t i = 0; i < a->items.size() && i < f.result_attributes.size(); ++i) f.result_attributes[i] = a->items[i].entries;
  return f;
}

void Parser::generic_module(ModuleSyntax& m, OperationSyntax& op) {
  if (const AttributeSyntax* name = find(op.attributes, "sym_name")) m.name = name->text;
  for (auto& [key, value] : op.attributes) m.attributes.emplace_back(key, std::move(value));
  if (op.regions.size() != 1) fail_at(op.at, "a module with one region", std::to_string(op.regions.size()));
  for (OperationSyntax& inner : op.regions[0].operations) {
    if (inner.name == "func.func") m.functions.push_back(function_of_generic(inner));
    else if (inner.name != "sdy.mesh")
      unsupported_at(inner.at, "functions inside the module", "'" + escaped(inner.name) + "'", "Export the model as StableHLO");
  }
}

void Parser::module_header(ModuleSyntax& m) {
  if (token_.kind == TokenKind::symbol) m.name = symbol_name();
  if (accept_word("attributes")) m.attributes = dictionary();
}

void Parser::module_body(ModuleSyntax& m, char close) {
  const Depth deeper(*this);
  for (;;) {
    if (close ? token_.is(close) : token_.kind == TokenKind::end) break;
    if (token_.kind == TokenKind::attribute || token_.kind == TokenKind::type) {
      alias_definition();
    } else if (token_.kind == TokenKind::metadata && token_.text[0] == '{') {
      file_metadata(m);
    } else if (accept_word("func.func") || accept_word("func")) {
      m.functions.push_back(function());
    } else if (token_.is_word("module") || token_.is_word("builtin.module")) {
      take();
      module_header(m);
      expect('{');
      module_body(m, '}');
      expect('}');
      (void)optional_location();
    } else if (accept_word("sdy.mesh")) {  // names devices; values are the same on any number of them
      (void)symbol_name();
      expect('=');
      skip_balanced('<', '>');
      (void)optional_location();
    } else if (token_.kind == TokenKind::string) {
      OperationSyntax op = operation();
      if (op.name == "builtin.module") generic_module(m, op);
      else if (op.name == "func.func") m.functions.push_back(function_of_generic(op));
      else if (op.name != "sdy.mesh") unsupported_at(op.at, "a module or a function", "'" + escaped(op.name) + "'", "Export the model as StableHLO");
    } else {
      fail("a function or a module");
    }
  }
}

ModuleSyntax Parser::module() {
  ModuleSyntax m;
  module_body(m, '\0');
  if (m.functions.empty()) fail_at(token_.begin, "a function", "none");
  std::map<std::string_view, size_t> seen;
  for (const FunctionSyntax& f : m.functions)
    if (!seen.emplace(f.name, f.at).second) fail_at(f.at, "each function's name once", "'" + escaped(f.name) + "' twice");
  return m;
}

}  // namespace bascule::mlir
