// bench/chip_accuracy/rows.cc — see rows.h.
#include "bench/chip_accuracy/rows.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "base/error.h"

namespace bascule::bench {
namespace {

std::vector<std::string> fields(const std::string& line) {
  std::vector<std::string> out{""};
  bool quoted = false;
  for (const char c : line) {
    if (c == '"') quoted = !quoted;
    else if (c == ',' && !quoted) out.emplace_back();
    else if (c != '\r') out.back() += c;
  }
  return out;
}

}  // namespace

std::vector<Row> read_csv(const std::string& path) {
  std::ifstream file(path);
  if (!file) fail_usage(path, "a table of published rows", "no such file", "Give the folder that holds facts/ and models/ with --shared");
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> names = fields(line);
  std::vector<Row> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> cells = fields(line);
    Row& row = rows.emplace_back();
    for (size_t i = 0; i < names.size() && i < cells.size(); ++i) row[names[i]] = cells[i];
  }
  return rows;
}

double number(const Row& row, const std::string& column) {
  const auto at = row.find(column);
  return at == row.end() ? NAN : std::strtod(at->second.c_str(), nullptr);
}

bool selected(const Options& o, const Row& row) {
  if (o.only.empty()) return true;
  for (const std::string& text : o.only)
    for (const char* column : {"id", "chip", "model"})
      if (const auto at = row.find(column); at != row.end() && at->second.find(text) != std::string::npos) return true;
  return false;
}

std::vector<double> Accuracy::all_errors() const {
  std::vector<double> out;
  for (const auto& [chip, list] : errors)
    for (const double e : list) out.push_back(std::abs(e));
  return out;
}

double quantile(std::vector<double> x, double q) {
  if (x.empty()) return NAN;
  std::sort(x.begin(), x.end());
  const double at = q * static_cast<double>(x.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, x.size() - 1);
  return x[low] + (x[high] - x[low]) * (at - static_cast<double>(low));
}

std::string Table::text(bool markdown) const {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t c = 0; c < row.size(); ++c) {
      if (c == widths.size()) widths.push_back(0);
      widths[c] = std::max(widths[c], row[c].size());
    }
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    if (markdown) out += "| ";
    for (size_t c = 0; c < rows[r].size(); ++c) {
      out += rows[r][c] + std::string(markdown ? 0 : widths[c] - rows[r][c].size() + 2, ' ') + (markdown ? c + 1 < rows[r].size() ? " | " : " |" : "");
    }
    out += "\n";
    if (markdown && r == 0) {
      out += "|";
      for (size_t c = 0; c < rows[r].size(); ++c) out += "---|";
      out += "\n";
    }
  }
  return out;
}

}  // namespace bascule::bench
