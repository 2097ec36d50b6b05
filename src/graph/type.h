// graph/type.h — the type of a value: tensor with symbolic dims, or a host type (sequence, optional, map), token, tuple.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "graph/dim.h"
#include "graph/tensor.h"

namespace bascule {

struct Type {
  enum class Kind { tensor, sequence, optional, map, token, tuple, any };  // any: not even the kind is known before the run
  Kind kind = Kind::tensor;
  DType dtype = DType::f32;    // tensor: of an element; map: of a key
  bool ranked = true;          // tensor: false when even the rank is known only at run time
  Dims dims;                   // tensor
  std::vector<Type> elements;  // sequence, optional: 1 (0: not known); map: the value's type; tuple: each

  static Type tensor(DType t, Dims dims) { return {Kind::tensor, t, true, std::move(dims), {}}; }
  static Type unranked(DType t) { return {Kind::tensor, t, false, {}, {}}; }
  static Type sequence(Type element) { return {Kind::sequence, DType::f32, true, {}, {std::move(element)}}; }
  static Type optional(Type element) { return {Kind::optional, DType::f32, true, {}, {std::move(element)}}; }
  static Type map(DType key, Type value) { return {Kind::map, key, true, {}, {std::move(value)}}; }
  static Type tuple(std::vector<Type> e) { return {Kind::tuple, DType::f32, true, {}, std::move(e)}; }
  static Type any() { return {Kind::any, DType::f32, true, {}, {}}; }
  static Type token() { return {Kind::token, DType::f32, true, {}, {}}; }
  static Type of(const HostValue& v);  // concrete

  bool is_tensor() const { return kind == Kind::tensor; }
  bool is_static() const { return is_tensor() && ranked && constants(dims).has_value(); }
  size_t rank() const { return dims.size(); }
  Dim elements_count() const { return product(dims); }
  // "f32[batch,128]", "f32[*]", "sequence<f32[*]>"
  std::string text() const;
  friend bool operator==(const Type&, const Type&) = default;
};

// Dims with a symbol outside `known` become fresh ones: a region's own symbols mean nothing outside it.
Type with_symbols(const Type& t, const std::set<std::string>& known);
void add_symbols(const Type& t, std::set<std::string>& into);

// Whether a value of type `got` may stand where `want` is declared: same kinds and element types; dims that are both constant are equal.
bool compatible(const Type& got, const Type& want);
// The narrowest type that values of both types have: dims that differ become fresh symbols, ranks that differ leave it unranked.
// nullopt: of different kinds or element types. An optional or sequence of unknown element takes the other's.
std::optional<Type> join(const Type& a, const Type& b);
// A type with every symbol of `b` replaced.
Type substitute(const Type& t, const Bindings& b);
// Binds the symbols of `declared` (plain-symbol dims first, then expressions are checked) to the dims of `got`.
// `where` and the declared type go into the UsageError on conflict.
void bind_symbols(const Type& declared, const Type& got, Bindings& into, const std::string& where);

}  // namespace bascule
