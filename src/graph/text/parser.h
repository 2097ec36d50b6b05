// graph/text/parser.h — recursive descent over tokens: types, attributes, operations in both forms, functions, module. Makes the tree of
// syntax.h. Hostile input: depth is capped, sizes are checked before memory is taken, every loop consumes a token.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>

#include "graph/text/lexer.h"
#include "graph/text/syntax.h"

namespace bascule::mlir {

// The source must outlive the result, which points into it. `file` starts every message. Throws InvalidFileError, UnsupportedError.
ModuleSyntax parse_module(std::string_view source, const std::string& file);

class Parser {
 public:
  Parser(std::string_view source, std::string file);
  ModuleSyntax module();

  // ---- tokens
  const Token& token() const { return token_; }
  Token take();
  bool accept(char c);
  bool accept_word(std::string_view w);
  void expect(char c);
  void expect_word(std::string_view w);
  void expect_arrow();
  Token ahead() const { return lexer_.at(token_.end); }  // the token after the current one
  void move_to(size_t offset) { token_ = lexer_.at(offset); }
  std::string where(size_t offset) const;
  [[noreturn]] void fail(std::string expected) const;  // at the current token
  [[noreturn]] void fail_at(size_t offset, std::string expected, std::string found) const;
  [[noreturn]] void unsupported_at(size_t offset, std::string expected, std::string found, std::string remedy) const;

  // ---- types
  TypeSyntax type();
  TypeSyntax function_type();
  std::vector<TypeSyntax> type_list_in_parentheses();
  std::vector<TypeSyntax> types_or_one();  // after ->: (A, B), () or A

  // ---- attributes
  AttributeSyntax attribute();
  DictSyntax dictionary();                                   // {a = 1, b}
  DictSyntax optional_dictionary();                          // or nothing
  int64_t integer();                                         // with a sign
  double number();                                           // with a sign; integers too
  Ints integers();                                           // [1, 2]
  std::string string();                                      // a quoted string
  std::string symbol_name();                                 // @name
  std::vector<Dim> symbolic_sizes();                         // <"seq","128">
  AttributeSyntax struct_body(std::string name, size_t at);  // <key = value, ...>, <WORD>, after the name

  // ---- operations
  UseSyntax use();
  std::vector<UseSyntax> uses();  // zero or more, separated by commas, as long as values follow
  OperationSyntax operation();
  RegionSyntax region(bool with_arguments = true);
  std::shared_ptr<const LocationSyntax> optional_location();
  // Reads ": types" of an operation in any of the usual forms; see forms.h for `shape`.
  void operation_types(OperationSyntax& op, char shape);

 private:
  friend class FormReader;
  struct Depth;
  void generic_operation(OperationSyntax& op);
  FunctionSyntax function();
  FunctionSyntax function_of_generic(OperationSyntax& op);
  void module_body(ModuleSyntax& m, char close);
  void module_header(ModuleSyntax& m);
  void generic_module(ModuleSyntax& m, OperationSyntax& op);
  void file_metadata(ModuleSyntax& m);
  void alias_definition();
  void skip_balanced(char open, char close);
  LocationSyntax location_body();
  void location_into(LocationSyntax& l);

  TypeSyntax tensor_type(size_t at);
  TypeSyntax dialect_type();
  TypeSyntax quantized_type(size_t at);
  TypeSyntax element_type();
  std::optional<DType> element_of(std::string_view word, bool* index);
  AttributeSyntax dense(size_t at);
  AttributeSyntax dense_array(size_t at);
  AttributeSyntax dialect_attribute();
  AttributeSyntax convolution_numbers(size_t at);
  AttributeSyntax number_attribute(bool negative, size_t at);
  Tensor dense_literal(const Type& type, size_t begin, size_t end);

  Lexer lexer_;
  Lines lines_;
  std::string file_;
  Token token_;
  int depth_ = 0;
  std::unordered_map<std::string_view, TypeSyntax> type_aliases_;
  std::unordered_map<std::string_view, AttributeSyntax> attribute_aliases_;
  std::unordered_map<std::string_view, size_t> location_aliases_;  // name -> offset of its loc(...); they may stand after their use
  std::unordered_map<std::string_view, std::shared_ptr<const LocationSyntax>> resolved_locations_;
};

// One element from its bits (0x7FC0 of a bf16).
Tensor scalar_from_bits(DType t, uint64_t bits);
// Elements from raw little-endian bytes as hexadecimal digits.
Tensor tensor_from_hex(std::string_view digits, const Type& type, const std::string& where);

}  // namespace bascule::mlir
