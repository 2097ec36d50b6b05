// graph/text/syntax.h — MLIR text as a tree: functions, operations, attributes, types. Names are not resolved and operators not known here.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "graph/attr.h"
#include "graph/tensor.h"
#include "graph/type.h"

namespace bascule::mlir {

// !quant.uniform<storage:expressed:axis, {scale:zero_point, ...}>: value = (stored - zero_point) * scale.
struct Quantization {
  DType storage = DType::i8;
  DType expressed = DType::f32;
  int64_t low = 0, high = 0;    // of stored values
  std::optional<int64_t> axis;  // none: one scale for all
  std::vector<double> scales;
  std::vector<int64_t> zero_points;
  friend bool operator==(const Quantization&, const Quantization&) = default;
};

// An unknown size, written `?` without #bascule.dims.
inline constexpr std::string_view kUnknownSize = "_unknown_size";
inline Dim unknown_size() { return Dim::symbol(kUnknownSize); }
bool is_unknown(const Dim& d);

struct TypeSyntax {
  enum class Kind { value, element, function, none };
  Kind kind = Kind::none;
  Type type;                                         // value: of tensor, token, tuple, sequence ...; element: its dtype ("i32"; `index` is i64)
  bool index = false;                                // element: was `index`
  std::shared_ptr<const Quantization> quantization;  // value or element: stored as type.dtype
  std::vector<TypeSyntax> inputs, results;           // function
};

struct AttributeSyntax;
using DictSyntax = std::vector<std::pair<std::string, AttributeSyntax>>;

struct AttributeSyntax {
  // Defined below, where std::pair of it is complete: clang needs that.
  AttributeSyntax();
  AttributeSyntax(const AttributeSyntax&);
  AttributeSyntax(AttributeSyntax&&) noexcept;
  AttributeSyntax& operator=(const AttributeSyntax&);
  AttributeSyntax& operator=(AttributeSyntax&&) noexcept;
  ~AttributeSyntax();

  enum class Kind { unit, boolean, integer, number, string, word, symbol, type, array, dict, ints, numbers, tensor, resource, dims, opaque };
  Kind kind = Kind::unit;
  size_t at = 0;        // byte offset
  int64_t integer = 0;  // integer, boolean
  double number = 0;
  std::string text;  // string, symbol; word: "LT" of #stablehlo<comparison_direction LT>; resource: key; dict, opaque: <...> as written
  std::string name;  // word, dict, opaque: what stood before <...>: "comparison_direction", "stablehlo.dot"
  std::vector<AttributeSyntax> items;      // array
  DictSyntax entries;                      // dict, and #dialect.name<key = value, ...>
  Ints ints;                               // array<i64: ...>, also of i1, i32
  std::vector<double> numbers;             // array<f64: ...>
  std::vector<Dim> dims;                   // #bascule.dims<...>
  std::shared_ptr<const TypeSyntax> type;  // type; of an integer, number or resource, where written
  std::shared_ptr<const Tensor> tensor;
};
inline AttributeSyntax::AttributeSyntax() = default;
inline AttributeSyntax::AttributeSyntax(const AttributeSyntax&) = default;
inline AttributeSyntax::AttributeSyntax(AttributeSyntax&&) noexcept = default;
inline AttributeSyntax& AttributeSyntax::operator=(const AttributeSyntax&) = default;
inline AttributeSyntax& AttributeSyntax::operator=(AttributeSyntax&&) noexcept = default;
inline AttributeSyntax::~AttributeSyntax() = default;
const AttributeSyntax* find(const DictSyntax& d, std::string_view name);

struct LocationSyntax {
  std::string file;                // "model.py:12:5", "" if none
  std::vector<std::string> names;  // named locations, outermost first
};

struct UseSyntax {  // %name or %name#index
  std::string_view name;
  uint32_t index = 0;
  size_t at = 0;
};
struct ResultSyntax {  // %name or %name:count
  std::string_view name;
  uint32_t count = 1;
};

struct RegionSyntax;

struct OperationSyntax {
  size_t at = 0;
  std::string name;  // "stablehlo.add"
  std::vector<ResultSyntax> results;
  std::vector<UseSyntax> operands;
  DictSyntax attributes;  // of both dictionaries, by MLIR's names
  std::vector<RegionSyntax> regions;
  std::vector<TypeSyntax> operand_types;  // as many as operands, or empty where the form does not write them
  std::vector<TypeSyntax> result_types;
  std::shared_ptr<const LocationSyntax> location;
};

struct ArgumentSyntax {
  std::string_view name;
  size_t at = 0;
  TypeSyntax type;
  DictSyntax attributes;
  std::shared_ptr<const LocationSyntax> location;
};

struct RegionSyntax {  // one block
  size_t at = 0;
  std::vector<ArgumentSyntax> arguments;
  std::vector<OperationSyntax> operations;
};

struct FunctionSyntax {
  size_t at = 0;
  std::string name;
  bool is_private = false;
  bool has_body = false;
  std::vector<TypeSyntax> result_types;
  std::vector<DictSyntax> result_attributes;  // as many as result_types
  RegionSyntax body;                          // its arguments are the function's
};

struct ModuleSyntax {
  std::string name;
  DictSyntax attributes;
  std::vector<FunctionSyntax> functions;
  std::map<std::string, std::string_view, std::less<>> resources;  // key -> hexadecimal text with its quotes
  const FunctionSyntax* function(std::string_view name) const;
};

}  // namespace bascule::mlir
