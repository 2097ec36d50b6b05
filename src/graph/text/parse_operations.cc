// graph/text/parse_operations.cc — operations in pretty form (by the table of forms.h) and generic form, regions, locations.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "graph/text/forms.h"
#include "graph/text/parser.h"
#include "graph/text/parser_depth.h"

namespace bascule::mlir {
namespace {

using Kind = AttributeSyntax::Kind;

AttributeSyntax make(Kind kind, size_t at) {
  AttributeSyntax a;
  a.kind = kind;
  a.at = at;
  return a;
}

}  // namespace

UseSyntax Parser::use() {
  if (token_.kind != TokenKind::value) fail("a value (%name)");
  const Token t = take();
  UseSyntax u{t.text, 0, t.begin};
  if (token_.kind == TokenKind::attribute && token_.begin == t.end && !token_.text.empty() && token_.text[0] >= '0' && token_.text[0] <= '9') {
    if (token_.text.size() > 7) fail("a result number");
    u.index = static_cast<uint32_t>(std::stoul(std::string(take().text)));
  }
  return u;
}

std::vector<UseSyntax> Parser::uses() {
  std::vector<UseSyntax> out;
  if (token_.kind != TokenKind::value) return out;
  out.push_back(use());
  while (token_.is(',') && ahead().kind == TokenKind::value) {
    take();
    out.push_back(use());
  }
  return out;
}

void Parser::operation_types(OperationSyntax& op, char shape) {
  const size_t at = token_.begin;
  if (shape == 'R' && !token_.is(':')) return;
  if ((shape == 'V' || shape == 'T') && op.operands.empty() && !token_.is(':')) return;
  expect(':');
  if (token_.is('(') && shape != 'T' && shape != 'R') {
    TypeSyntax f = function_type();
    op.operand_types = std::move(f.inputs);
    op.result_types = std::move(f.results);
    return;
  }
  std::vector<TypeSyntax> list;
  do list.push_back(type());
  while (accept(','));
  if (token_.kind == TokenKind::arrow) {
    take();
    op.operand_types = std::move(list);
    op.result_types = types_or_one();
    return;
  }
  const auto need = [&](size_t n) {
    if (list.size() != n) fail_at(at, std::to_string(n) + (n == 1 ? " type" : " types"), std::to_string(list.size()));
  };
  switch (shape) {
    case 'R': op.operand_types = std::move(list); return;
    case 'E':
      if (list.size() == 1) list.assign(op.operands.size(), list[0]);
      op.operand_types = std::move(list);
      return;
    case 'T':
      need(1);
      op.result_types = std::move(list);
      return;
    case 'V':
      op.operand_types = list;
      op.result_types = std::move(list);
      return;
    case 'P':
      need(2);
      op.operand_types = {list[0], list[1], list[1]};
      op.result_types = {list[1]};
      return;
    default:
      need(1);
      op.operand_types.assign(op.operands.size(), list[0]);
      op.result_types = std::move(list);
  }
}

// Reads one operation by its form.
class FormReader {
 public:
  FormReader(Parser& p, OperationSyntax& op) : p_(p), op_(op) {}

  void read(std::string_view form) {
    const auto pieces = split_pieces(form);
    bool skipping = false;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const std::string_view piece = pieces[i];
      if (piece == ")?") {
        skipping = false;
      } else if (skipping) {
        continue;
      } else if (piece == "?(") {
        skipping = !present(pieces[i + 1], pieces[i + 2]);
      } else if (piece == ":" && i + 1 < pieces.size()) {
        p_.operation_types(op_, pieces[++i][0]);
      } else {
        this->piece(piece);
      }
    }
  }

 private:
  bool present(std::string_view first, std::string_view second) {
    if (!p_.token().is(first[0])) return false;
    return second[0] == '$' || p_.ahead().is_word(second);
  }
  void add(std::string_view name, AttributeSyntax a) { op_.attributes.emplace_back(std::string(name), std::move(a)); }

  void piece(std::string_view s) {
    const size_t at = p_.token().begin;
    switch (s[0]) {
      case '%':
        if (s == "%*") {
          auto list = p_.uses();
          op_.operands.insert(op_.operands.end(), list.begin(), list.end());
        } else {
          op_.operands.push_back(p_.use());
        }
        return;
      case '$': attribute(s.substr(1, s.size() - 3), s.back()); return;
      case '@': {
        AttributeSyntax a = make(Kind::string, at);
        a.text = p_.symbol_name();
        add(s.substr(1), std::move(a));
        return;
      }
      case '"': {
        AttributeSyntax a = make(Kind::string, at);
        a.text = p_.string();
        add(s.substr(1), std::move(a));
        return;
      }
      case '&': special(s.substr(1)); return;
      case '{':
        if (s == "{}") {
          DictSyntax d = p_.optional_dictionary();
          std::move(d.begin(), d.end(), std::back_inserter(op_.attributes));
          return;
        }
        break;
      default: break;
    }
    if (s.size() == 1 && !(s[0] >= 'a' && s[0] <= 'z')) p_.expect(s[0]);
    else p_.expect_word(s);
  }

  void attribute(std::string_view name, char how) {
    AttributeSyntax a = make(Kind::word, p_.token().begin);
    const auto word = [&] {
      if (p_.token().kind != TokenKind::word) p_.fail("a word for " + std::string(name));
      return std::string(p_.take().text);
    };
    switch (how) {
      case 'w': a.text = word(); break;
      case 'W':
        a.kind = Kind::array;
        p_.expect('[');
        if (!p_.token().is(']')) {
          do {
            a.items.push_back(make(Kind::word, p_.token().begin));
            a.items.back().text = word();
          } while (p_.accept(','));
        }
        p_.expect(']');
        break;
      case 'l':
        a.kind = Kind::ints;
        a.ints = p_.integers();
        break;
      case 'i':
        a.kind = Kind::integer;
        a.integer = p_.integer();
        break;
      case 'n':
        a.kind = Kind::number;
        a.number = p_.number();
        break;
      case 'b':
        a.kind = Kind::boolean;
        a.integer = p_.token().is_word("true");
        if (!p_.accept_word("true")) p_.expect_word("false");
        break;
      case 'q':
        a.kind = Kind::string;
        a.text = p_.string();
        break;
      default: a = p_.struct_body(std::string(name), a.at); break;
    }
    add(name, std::move(a));
  }

  void special(std::string_view kind) {
    const size_t at = p_.token().begin;
    if (kind == "conv") {
      for (auto& [key, value] : p_.convolution_numbers(at).entries) add(key, std::move(value));
    } else if (kind == "window") {
      window();
    } else if (kind == "ranges") {
      ranges();
    } else if (kind == "precision") {
      const Token t = p_.take();
      const size_t m = t.text.find('m');
      const auto number = [&](std::string_view s) -> int64_t {
        if (s.empty() || s.size() > 4 || !std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; }))
          p_.fail_at(at, "a format such as e5m10", "'" + escaped(t.text) + "'");
        return std::stoi(std::string(s));
      };
      if (t.kind != TokenKind::word || t.text[0] != 'e' || m == std::string_view::npos)
        p_.fail_at(at, "a format such as e5m10", "'" + escaped(t.text) + "'");
      AttributeSyntax e = make(Kind::integer, at), mantissa = make(Kind::integer, at);
      e.integer = number(t.text.substr(1, m - 1));
      mantissa.integer = number(t.text.substr(m + 1));
      add("exponent_bits", std::move(e));
      add("mantissa_bits", std::move(mantissa));
    } else if (kind == "value" || kind == "expected") {
      AttributeSyntax a = p_.attribute();
      if (!a.type) p_.fail_at(at, "elements with their type", "none");
      if (kind == "value") op_.result_types = {*a.type};
      add("value", std::move(a));
    } else {  // angle
      p_.skip_balanced('<', '>');
    }
  }

  // {stride = [1], pad = [[0, 0]], lhs_dilate = [1], rhs_dilate = [1], reverse = [false]}
  void window() {
    p_.expect('{');
    if (!p_.token().is('}')) {
      do {
        const Token key = p_.take();
        p_.expect('=');
        AttributeSyntax a = make(Kind::ints, key.begin);
        if (key.is_word("pad")) {
          AttributeSyntax high = make(Kind::ints, key.begin);
          p_.expect('[');
          if (!p_.token().is(']')) {
            do {
              const Ints pair = p_.integers();
              if (pair.size() != 2) p_.fail_at(key.begin, "pairs of low and high padding", std::to_string(pair.size()) + " numbers");
              a.ints.push_back(pair[0]);
              high.ints.push_back(pair[1]);
            } while (p_.accept(','));
          }
          p_.expect(']');
          add("padding_low", std::move(a));
          add("padding_high", std::move(high));
          continue;
        }
        p_.expect('[');
        if (!p_.token().is(']')) {
          do a.ints.push_back(p_.accept_word("true") ? 1 : p_.accept_word("false") ? 0 : p_.integer());
          while (p_.accept(','));
        }
        p_.expect(']');
        const std::string_view name = key.is_word("stride")       ? "window_strides"
                                      : key.is_word("lhs_dilate") ? "lhs_dilation"
                                      : key.is_word("rhs_dilate") ? "rhs_dilation"
                                      : key.is_word("reverse")    ? "window_reversal"
                                                                  : "";
        if (name.empty()) p_.fail_at(key.begin, "stride, pad, lhs_dilate, rhs_dilate or reverse", "'" + escaped(key.text) + "'");
        add(name, std::move(a));
      } while (p_.accept(','));
    }
    p_.expect('}');
  }

  // [0:8:2, 1:3]
  void ranges() {
    AttributeSyntax start = make(Kind::ints, p_.token().begin), limit = start, strides = start;
    p_.expect('[');
    if (!p_.token().is(']')) {
      do {
        start.ints.push_back(p_.integer());
        p_.expect(':');
        limit.ints.push_back(p_.integer());
        strides.ints.push_back(p_.accept(':') ? p_.integer() : 1);
      } while (p_.accept(','));
    }
    p_.expect(']');
    add("start_indices", std::move(start));
    add("limit_indices", std::move(limit));
    add("strides", std::move(strides));
  }

  Parser& p_;
  OperationSyntax& op_;
};

namespace {

// stablehlo.while(%a = %x, ...) : types attributes {...} cond {...} do {...}
void read_while(Parser& p, OperationSyntax& op) {
  std::vector<ArgumentSyntax> arguments;
  p.expect('(');
  if (!p.token().is(')')) {
    do {
      const UseSyntax name = p.use();
      p.expect('=');
      op.operands.push_back(p.use());
      arguments.push_back({name.name, name.at, {}, {}, nullptr});
    } while (p.accept(','));
  }
  p.expect(')');
  if (p.token().is(':')) p.operation_types(op, 'V');
  if (op.operand_types.size() != arguments.size()) p.fail(std::to_string(arguments.size()) + " types, one for each value");
  for (size_t i = 0; i < arguments.size(); ++i) arguments[i].type = op.operand_types[i];
  if (p.accept_word("attributes")) op.attributes = p.dictionary();
  for (const std::string_view keyword : {"cond", "do"}) {
    p.expect_word(keyword);
    op.regions.push_back(p.region(false));
    op.regions.back().arguments = arguments;
  }
}

// stablehlo.reduce(%x init: %i), (%y init: %j) [applies OP] across dimensions = [0] : types [reducer(%a: T, %b: T) ... {...}]
void read_reduce(Parser& p, OperationSyntax& op) {
  std::vector<UseSyntax> starts;
  do {
    p.expect('(');
    op.operands.push_back(p.use());
    p.expect_word("init");
    p.expect(':');
    starts.push_back(p.use());
    p.expect(')');
  } while (p.accept(','));
  const size_t n = starts.size();
  op.operands.insert(op.operands.end(), starts.begin(), starts.end());
  std::string applies;
  const size_t at = p.token().begin;
  if (p.accept_word("applies")) {
    if (p.token().kind != TokenKind::word || n != 1) p.fail("the operation's name, and one operand");
    applies = std::string(p.take().text);
  }
  p.expect_word("across");
  p.expect_word("dimensions");
  p.expect('=');
  AttributeSyntax dimensions = make(Kind::ints, p.token().begin);
  dimensions.ints = p.integers();
  op.attributes = p.optional_dictionary();
  op.attributes.emplace_back("dimensions", std::move(dimensions));
  p.operation_types(op, 'F');
  if (op.operand_types.size() != 2 * n) p.fail_at(at, std::to_string(2 * n) + " operand types", std::to_string(op.operand_types.size()));
  RegionSyntax body;
  if (!applies.empty()) {
    TypeSyntax element = op.operand_types[1];
    body.at = at;
    body.arguments = {{"a", at, element, {}, nullptr}, {"b", at, element, {}, nullptr}};
    OperationSyntax inner, result;
    inner.at = result.at = at;
    inner.name = applies;
    inner.results = {{"0", 1}};
    inner.operands = {{"a", 0, at}, {"b", 0, at}};
    inner.operand_types = {element, element};
    inner.result_types = {element};
    result.name = "stablehlo.return";
    result.operands = {{"0", 0, at}};
    body.operations.push_back(std::move(inner));
    body.operations.push_back(std::move(result));
  } else {
    op.location = p.optional_location();  // printed between the types and the reducer by some writers
    p.expect_word("reducer");
    std::vector<ArgumentSyntax> left, right;
    for (size_t i = 0; i < n; ++i) {
      const auto argument = [&](std::vector<ArgumentSyntax>& into) {
        const UseSyntax name = p.use();
        p.expect(':');
        into.push_back({name.name, name.at, p.type(), {}, nullptr});
        into.back().location = p.optional_location();
      };
      p.expect('(');
      argument(left);
      p.expect(',');
      argument(right);
      p.expect(')');
    }
    body = p.region(false);
    body.arguments = std::move(left);
    std::move(right.begin(), right.end(), std::back_inserter(body.arguments));
  }
  op.regions.push_back(std::move(body));
}

}  // namespace

void Parser::generic_operation(OperationSyntax& op) {
  op.name = string();
  expect('(');
  op.operands = uses();
  expect(')');
  if (token_.is('['))
    unsupported_at(token_.begin, "structured control flow", "an operation with successor blocks",
                   "Export the model with stablehlo.if, case and while");
  if (token_.is('<')) {
    take();
    op.attributes = dictionary();
    expect('>');
  }
  if (token_.is('(')) {
    take();
    do op.regions.push_back(region());
    while (accept(','));
    expect(')');
  }
  DictSyntax more = optional_dictionary();
  std::set<std::string> names;
  for (const auto& [key, value] : op.attributes) names.insert(key);
  for (auto& entry : more) {
    if (names.count(entry.first)) fail_at(entry.second.at, "each attribute once", "'" + escaped(entry.first) + "' twice");
    op.attributes.push_back(std::move(entry));
  }
  expect(':');
  if (!token_.is('(')) fail("(operand types) -> result types");
  TypeSyntax f = function_type();
  op.operand_types = std::move(f.inputs);
  op.result_types = std::move(f.results);
  if (op.operand_types.size() != op.operands.size())
    fail_at(op.at, std::to_string(op.operands.size()) + " operand types", std::to_string(op.operand_types.size()));
}

OperationSyntax Parser::operation() {
  const Depth deeper(*this);
  OperationSyntax op;
  if (token_.kind == TokenKind::value) {
    do {
      if (token_.kind != TokenKind::value) fail("a result (%name)");
      ResultSyntax r{take().text, 1};
      if (accept(':')) {
        const int64_t n = integer();
        if (n < 1 || n > 65536) fail("a number of results from 1 to 65536");
        r.count = static_cast<uint32_t>(n);
      }
      op.results.push_back(r);
    } while (accept(','));
    expect('=');
  }
  op.at = token_.begin;
  if (token_.kind == TokenKind::string) {
    generic_operation(op);
  } else if (token_.kind == TokenKind::word) {
    op.name = std::string(take().text);
    if (op.name == "stablehlo.while") {
      read_while(*this, op);
    } else if (op.name == "stablehlo.reduce") {
      read_reduce(*this, op);
    } else if (const Form* form = find_form(op.name)) {
      FormReader(*this, op).read(form->pieces);
    } else {
      unsupported_at(op.at, "an operation of StableHLO, CHLO, func or bascule", "'" + escaped(op.name) + "'",
                     "Export the model as StableHLO, or write the operation in generic form");
    }
  } else {
    fail("an operation");
  }
  if (auto l = optional_location()) op.location = std::move(l);
  size_t names = 0;
  for (const ResultSyntax& r : op.results) names += r.count;
  if (!op.results.empty() && names != op.result_types.size())
    fail_at(op.at, std::to_string(names) + " results as named", std::to_string(op.result_types.size()) + " result types");
  if (!op.operand_types.empty() && op.operand_types.size() != op.operands.size())
    fail_at(op.at, std::to_string(op.operands.size()) + " operand types", std::to_string(op.operand_types.size()));
  return op;
}

RegionSyntax Parser::region(bool with_arguments) {
  const Depth deeper(*this);
  RegionSyntax r;
  r.at = token_.begin;
  expect('{');
  if (with_arguments && token_.kind == TokenKind::block) {
    take();
    if (accept('(')) {
      if (!token_.is(')')) {
        do {
          ArgumentSyntax a;
          const UseSyntax name = use();
          a.name = name.name;
          a.at = name.at;
          expect(':');
          a.type = type();
          a.location = optional_location();
          r.arguments.push_back(std::move(a));
        } while (accept(','));
      }
      expect(')');
    }
    expect(':');
  }
  while (!token_.is('}')) {
    if (token_.kind == TokenKind::end) fail("'}' at the end of the region");
    if (token_.kind == TokenKind::block)
      unsupported_at(token_.begin, "regions of one block", "a second block", "Export the model with structured control flow");
    r.operations.push_back(operation());
  }
  take();
  return r;
}

std::shared_ptr<const LocationSyntax> Parser::optional_location() {
  if (!token_.is_word("loc") || !ahead().is('(')) return nullptr;
  take();
  take();
  auto l = std::make_shared<LocationSyntax>();
  location_into(*l);
  expect(')');
  if (l->file.empty() && l->names.empty()) return nullptr;
  return l;
}

// Gathers names and the first file position of: "name"(inner), "file":1:2, fused[a, b], callsite(a at b), #alias, unknown.
void Parser::location_into(LocationSyntax& l) {
  const Depth deeper(*this);
  constexpr size_t kMostNames = 16;
  if (token_.kind == TokenKind::string) {
    std::string name = string();
    if (accept(':')) {
      const int64_t line = integer();
      expect(':');
      const int64_t column = integer();
      if (accept_word("to")) {
        if (token_.kind == TokenKind::integer) take();
        expect(':');
        (void)integer();
      }
      if (l.file.empty()) l.file = name + ":" + std::to_string(line) + ":" + std::to_string(column);
      return;
    }
    if (l.names.size() < kMostNames) l.names.push_back(std::move(name));
    if (accept('(')) {
      location_into(l);
      expect(')');
    }
    return;
  }
  if (token_.kind == TokenKind::attribute) {
    const Token t = take();
    constexpr int kDeepEnough = Depth::kMost / 2;  // a call stack in a file may be deeper than is worth keeping
    if (depth_ > kDeepEnough) return;
    auto known = resolved_locations_.find(t.text);
    if (known == resolved_locations_.end()) {
      const auto at = location_aliases_.find(t.text);
      if (at == location_aliases_.end()) fail_at(t.begin, "a defined location", "'#" + escaped(t.text) + "'");
      const Token back = token_;
      move_to(at->second);
      auto made = std::make_shared<LocationSyntax>();
      expect_word("loc");
      expect('(');
      location_into(*made);
      token_ = back;
      known = resolved_locations_.emplace(t.text, std::move(made)).first;
    }
    if (l.file.empty()) l.file = known->second->file;
    for (const std::string& n : known->second->names)
      if (l.names.size() < kMostNames) l.names.push_back(n);
    return;
  }
  if (accept_word("unknown")) return;
  if (accept_word("fused")) {
    if (token_.is('<')) skip_balanced('<', '>');
    expect('[');
    if (!token_.is(']')) {
      do location_into(l);
      while (accept(','));
    }
    expect(']');
    return;
  }
  if (accept_word("callsite")) {
    expect('(');
    location_into(l);
    expect_word("at");
    location_into(l);
    expect(')');
    return;
  }
  fail("a location");
}

}  // namespace bascule::mlir
