// graph/attr.h — attributes of a node: a small sorted list of name and value.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "graph/dim.h"
#include "graph/tensor.h"

namespace bascule {

enum class AttrKind { flag, integer, number, text, dtype, ints, numbers, texts, dims, tensor };
using Ints = std::vector<int64_t>;
using Numbers = std::vector<double>;
using Texts = std::vector<std::string>;
// The alternatives stand in the order of AttrKind. Integers that may depend on symbols (sizes, slice bounds, pads) are `dims`.
using Attr = std::variant<bool, int64_t, double, std::string, DType, Ints, Numbers, Texts, Dims, Tensor>;
inline AttrKind kind(const Attr& a) { return static_cast<AttrKind>(a.index()); }
const char* name(AttrKind k);
bool operator==(const Tensor& a, const Tensor& b);  // identical()

class Attrs {
 public:
  using Entry = std::pair<std::string, Attr>;
  Attrs() = default;
  Attrs(std::initializer_list<Entry> entries);
  void set(std::string_view name, Attr value);  // replaces
  void erase(std::string_view name);
  const Attr* find(std::string_view name) const;  // nullptr if absent
  bool has(std::string_view name) const { return find(name) != nullptr; }

  // Value of an attribute that the operator's definition guarantees; InternalError if absent or of another kind.
  // dims() also reads ints; number() also reads an integer.
  bool flag(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  DType dtype(std::string_view name) const;
  const Ints& ints(std::string_view name) const;
  const Numbers& numbers(std::string_view name) const;
  const Texts& texts(std::string_view name) const;
  Dims dims(std::string_view name) const;
  std::vector<int64_t> static_dims(std::string_view name) const;  // dims() that are all bound: for references
  const Tensor& tensor(std::string_view name) const;

  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  bool empty() const { return entries_.empty(); }
  friend bool operator==(const Attrs& a, const Attrs& b) { return a.entries_ == b.entries_; }

 private:
  std::vector<Entry> entries_;  // sorted by name
};

}  // namespace bascule
