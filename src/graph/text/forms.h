// graph/text/forms.h — the pretty form of each operation as data: one short string that the parser reads by and the printer writes by.
#pragma once
#include <span>
#include <string_view>
#include <vector>

namespace bascule::mlir {

// A form is a list of pieces separated by spaces:
//   %            one operand                         %*          any number of operands, separated by commas
//   $name:k      attribute `name`; k is how it is written: w a bare word, W [words], l [integers], i integer, n number, b true or false,
//                q "string", s <key = value, ...>
//   @name        attribute `name` as a symbol        "name       attribute `name` as a string
//   &kind        a part with a reader of its own: conv, window, ranges, precision (eNmM), value (an attribute whose type is the result's),
//                expected (the same, of an operation without results), angle (<...>, passed over)
//   ?( ... )?    may be left out; begins with a literal
//   {}           the dictionary of all other attributes
//   : X          types; X is S all alike or (operands) -> results, F (operands) -> results, T the result's, V operands = results,
//                P of select, A operands -> results without parentheses, R of operands only, or none at all,
//                E of operands that are alike, written once or each
//   other        itself
struct Form {
  std::string_view name;
  std::string_view pieces;
};
const Form* find_form(std::string_view name);  // nullptr: generic only, or written by hand in parse_operations.cc

std::vector<std::string_view> split_pieces(std::string_view pieces);

// MLIR gathers some attributes in one struct; ours are flat. #stablehlo.NAME<key = value, ...> is attribute `name` of operation `op`.
struct StructAttribute {
  std::string_view op;      // without its dialect
  std::string_view name;    // dot_dimension_numbers
  std::string_view type;    // stablehlo.dot
  std::string_view fields;  // our names, or theirs=ours, separated by spaces
};
std::span<const StructAttribute> struct_attributes();

// Attributes that MLIR writes as #stablehlo<TYPE WORD>.
std::string_view enumeration_type(std::string_view attribute);  // "" if it is not one

// Attributes of ours on StableHLO's operators, written as discardable ones ("bascule.out_of_bounds").
bool is_extension(std::string_view attribute);

}  // namespace bascule::mlir
