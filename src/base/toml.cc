// base/toml.cc — toml++ behind base/toml.h.
#include "base/toml.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "base/error.h"

// The whole library in this file. Its assertions are conditions that a hostile file can break ("[!") and that its code then answers with an error of
// its own, so they must neither abort nor, as with NDEBUG, be taken for granted by the optimiser.
#undef NDEBUG
#define TOML_HEADER_ONLY 1
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>

namespace bascule {
namespace {

struct Flattener {
  std::vector<std::string_view> lines;
  const std::string& file;
  std::vector<TomlValue> out;
  std::vector<toml::source_position> at;

  // The characters of a value that stands on one line of plain ASCII; "" otherwise.
  std::string source_text(const toml::source_region& r) const {
    if (r.begin.line != r.end.line || r.begin.line == 0 || r.begin.line > lines.size()) return "";
    const std::string_view line = lines[r.begin.line - 1];
    if (r.begin.column == 0 || r.end.column < r.begin.column || r.end.column - 1 > line.size()) return "";
    if (std::any_of(line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) return "";
    return std::string(line.substr(r.begin.column - 1, r.end.column - r.begin.column));
  }

  template <class T>
  static std::string printed(const T& value) {
    std::ostringstream s;
    s << value;
    return s.str();
  }

  void add(const toml::node& node, std::vector<std::string>& keys) {
    if (static_cast<int64_t>(out.size()) >= kTomlMostValues)
      fail_file(escaped(file), fmt::format("at most {} values", kTomlMostValues), "more", "Split the file");
    if (const auto* table = node.as_table(); table && !table->empty()) {
      for (const auto& [key, child] : *table) {
        keys.emplace_back(key.str());
        add(child, keys);
        keys.pop_back();
      }
      return;
    }
    if (const auto* array = node.as_array(); array && !array->empty()) {
      for (size_t i = 0; i < array->size(); ++i) {
        keys.push_back(fmt::format("[{}]", i));
        add((*array)[i], keys);
        keys.pop_back();
      }
      return;
    }
    if (keys.empty()) return;  // an empty file
    TomlValue v;
    v.keys = keys;
    v.line = static_cast<int64_t>(node.source().begin.line);
    v.text = source_text(node.source());
    if (const auto* x = node.as_boolean()) v.value = x->get();
    else if (const auto* i = node.as_integer()) v.value = i->get();
    else if (const auto* d = node.as_floating_point()) v.value = d->get();
    else if (const auto* s = node.as_string()) v.value = s->get();
    else if (const auto* date = node.as_date()) v.value = printed(date->get());
    else if (const auto* time = node.as_time()) v.value = printed(time->get());
    else if (const auto* moment = node.as_date_time()) v.value = printed(moment->get());
    if (v.text.empty()) {
      if (const auto* i = std::get_if<int64_t>(&v.value)) v.text = fmt::format("{}", *i);
      else if (const auto* d = std::get_if<double>(&v.value)) v.text = fmt::format("{}", *d);
    }
    at.push_back(node.source().begin);
    out.push_back(std::move(v));
  }
};

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string TomlValue::path() const {
  std::string out;
  for (const std::string& k : keys) out += (out.empty() ? "" : ".") + k;
  return out;
}

std::vector<TomlValue> parse_toml(std::string_view text, const std::string& file) {
  if (static_cast<int64_t>(text.size()) > kTomlMostBytes)
    fail_file(escaped(file), fmt::format("at most {} bytes", kTomlMostBytes), fmt::format("{} bytes", text.size()), "Split the file");
  toml::table table;
  try {
    table = toml::parse(text, std::string_view(file));
  } catch (const toml::parse_error& e) {
    const auto& at = e.source().begin;
    std::string why(e.description());
    std::replace(why.begin(), why.end(), '\'', '`');
    fail_file(fmt::format("{}:{}:{}", escaped(file), at.line, at.column), "TOML", escaped(why), "Correct the line");
  }
  Flattener f{split_lines(text), file, {}, {}};
  std::vector<std::string> keys;
  f.add(table, keys);
  std::vector<size_t> order(f.out.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return f.at[a].line != f.at[b].line ? f.at[a].line < f.at[b].line : f.at[a].column < f.at[b].column; });
  std::vector<TomlValue> sorted;
  sorted.reserve(order.size());
  for (const size_t i : order) sorted.push_back(std::move(f.out[i]));
  return sorted;
}

}  // namespace bascule
