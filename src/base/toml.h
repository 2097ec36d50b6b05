// base/toml.h — a TOML file as a flat list of its values in file order. What the keys mean is the reader's business.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bascule {

struct TomlValue {
  std::vector<std::string> keys;  // path of the value; element i of an array has the key "[i]"
  // std::monostate: a table or array without elements. A date or time is its text.
  std::variant<std::monostate, bool, int64_t, double, std::string> value;
  std::string text;  // as it stands in the file
  int64_t line = 0;

  std::string path() const;  // keys joined by dots
  bool is_number() const { return std::holds_alternative<int64_t>(value) || std::holds_alternative<double>(value); }
};

// InvalidFileError naming file and line: not TOML, longer than kTomlMostBytes, more than kTomlMostValues values.
inline constexpr int64_t kTomlMostBytes = 1 << 20;
inline constexpr int64_t kTomlMostValues = 5000;
std::vector<TomlValue> parse_toml(std::string_view text, const std::string& file);

}  // namespace bascule
