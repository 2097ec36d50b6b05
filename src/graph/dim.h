// graph/dim.h — a dimension or other integer known before a run: a constant or a canonical expression over symbols ("2*seq+1").
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace bascule {

// Symbol -> value, fixed when a run's input shapes are known.
using Bindings = std::map<std::string, int64_t, std::less<>>;

// Immutable. Equal expressions are equal values: sums of products are kept in one canonical form; floor division, modulus, min, max and
// broadcast of symbols are opaque factors inside it. Arithmetic that overflows int64 throws CapacityError.
class Dim {
 public:
  Dim(int64_t value = 0) : constant_(value) {}  // NOLINT: implicit on purpose
  static Dim symbol(std::string_view name);     // [A-Za-z_][A-Za-z0-9_.]*; other characters are replaced by '_'

  bool is_constant() const { return !terms_; }
  int64_t value() const;  // InternalError if not constant
  std::optional<int64_t> constant() const { return is_constant() ? std::optional(constant_) : std::nullopt; }
  bool is(int64_t v) const { return is_constant() && constant_ == v; }
  std::optional<std::string> as_symbol() const;  // the name, if this is exactly one symbol

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  friend bool operator==(const Dim& a, const Dim& b);
  static Dim floor_div(const Dim& a, const Dim& b);  // toward -infinity; exact products cancel. b = 0 is an error when bound
  static Dim ceil_div(const Dim& a, const Dim& b);
  static Dim mod(const Dim& a, const Dim& b);        // a - b * floor_div(a, b)
  static Dim min(const Dim& a, const Dim& b);
  static Dim max(const Dim& a, const Dim& b);
  // The extent two sizes broadcast to: equal -> it; 1 and n -> n. Unknown -> an expression whose bind fails if they do not broadcast.
  static Dim broadcast(const Dim& a, const Dim& b);

  // True when the value is >= 0 for all symbols >= 0 (sizes are); false: not known.
  bool never_negative() const;

  // With some or all symbols replaced. evaluate: nullopt if a symbol is unbound.
  Dim substitute(const Bindings& b) const;
  Dim substitute(const std::map<std::string, Dim, std::less<>>& b) const;
  std::optional<int64_t> evaluate(const Bindings& b) const;
  void add_symbols(std::set<std::string>& into) const;

  std::string text() const;                              // "2*seq+1", "floordiv(n,2)"
  static std::optional<Dim> parse(std::string_view text);  // inverse of text()

  struct Expression;  // dim.cc

 private:
  int64_t constant_ = 0;                     // used when terms_ is null
  std::shared_ptr<const Expression> terms_;  // never a bare constant
  friend struct DimAccess;
};

// A new symbol for a size that only the run knows ("n_7"); unique in the process.
Dim fresh_dim(std::string_view hint);

using Dims = std::vector<Dim>;
Dims to_dims(const std::vector<int64_t>& v);
std::optional<std::vector<int64_t>> constants(const Dims& d);  // nullopt if any is symbolic
Dim product(const Dims& d);
std::string text(const Dims& d);  // "[batch,128]"

}  // namespace bascule
