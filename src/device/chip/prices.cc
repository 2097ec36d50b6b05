// device/chip/prices.cc — prices/*.toml -> Price. A list gives currency, region, date and source at its top or for each price.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/toml.h"
#include "device/chip/chip.h"
#include "device/chip/find.h"

namespace bascule::device::chip {
namespace {

struct TextKey {
  const char* name;
  std::string Price::* member;
  bool at_top;  // may stand above the prices, for all of them
};
constexpr TextKey kTexts[] = {{"instance", &Price::instance, false}, {"kind", &Price::kind, false}, {"currency", &Price::currency, true},
                              {"region", &Price::region, true},      {"date", &Price::date, true},  {"source", &Price::source, true}};
constexpr const char* kKinds = "on demand, reserved, capacity block, spot";
constexpr size_t kLongestText = 1000;
constexpr double kMostPerHour = 1e7;

class PriceReader {
 public:
  std::vector<Price> read(std::string_view text, const std::string& file) {
    file_ = escaped(file);
    for (const TomlValue& v : parse_toml(text, file)) {
      if (v.keys[0] != "price") set(top_, v, 0, true);
      else if (v.keys.size() == 3 && v.keys[1].starts_with('[')) set(entry(v), v, 2, false);
      else problem(v, "tables [[price]]", "something else");
    }
    for (size_t i = 0; i < prices_.size(); ++i) finish(prices_[i], lines_[i]);
    if (!problems_.empty()) throw Error(ErrorKind::invalid_file, std::move(problems_));
    return std::move(prices_);
  }

 private:
  void problem(const TomlValue& v, std::string expected, std::string found, std::string remedy = "docs/chips.md shows a price list") {
    if (problems_.size() < 40)
      problems_.push_back({fmt::format("{}:{}: {}", file_, v.line, escaped(v.path())), std::move(expected), std::move(found), std::move(remedy)});
  }

  Price& entry(const TomlValue& v) {
    if (prices_.empty() || index_ != v.keys[1]) {
      index_ = v.keys[1];
      prices_.emplace_back();
      lines_.push_back(v);
    }
    return prices_.back();
  }

  void set(Price& p, const TomlValue& v, size_t key, bool top) {
    const std::string& k = v.keys[key];
    const auto* text = std::get_if<std::string>(&v.value);
    std::vector<std::string> known;
    for (const TextKey& t : kTexts) {
      if (top && !t.at_top) continue;
      known.emplace_back(t.name);
      if (k != t.name || v.keys.size() != key + 1) continue;
      if (text && !text->empty() && text->size() <= kLongestText) p.*t.member = *text;
      else problem(v, "a text", v.text.empty() ? "something else" : v.text);
      return;
    }
    if (!top && k == "per_hour") {
      const auto* d = std::get_if<double>(&v.value);
      const auto* i = std::get_if<int64_t>(&v.value);
      const double x = d ? *d : i ? static_cast<double>(*i) : NAN;
      if (x > 0 && x <= kMostPerHour) p.per_hour = x;
      else problem(v, fmt::format("a number above 0, to {:.6g}", kMostPerHour), v.text.empty() ? "something else" : v.text);
    } else if (!top && k == "per_chip") {
      if (const auto* b = std::get_if<bool>(&v.value)) p.per_chip = *b;
      else problem(v, "true or false", v.text.empty() ? "something else" : v.text);
    } else {
      if (!top) known.insert(known.end(), {"per_hour", "per_chip"});
      else known.emplace_back("price");
      const std::string near = nearest(k, known);
      problem(v, "a key of a price list", "'" + escaped(k) + "'",
              (near.empty() ? "" : "Did you mean " + near + "? ") + std::string("docs/chips.md shows a price list"));
    }
  }

  void finish(Price& p, const TomlValue& first) {
    for (const TextKey& t : kTexts) {
      if ((p.*t.member).empty() && t.at_top) p.*t.member = top_.*t.member;
      if ((p.*t.member).empty()) problem(first, std::string(t.name) + " of the price", "none");
    }
    if (p.per_hour == 0) problem(first, "per_hour of the price", "none");
    if (!p.kind.empty() && (", " + std::string(kKinds) + ",").find(", " + p.kind + ",") == std::string::npos)
      problem(first, std::string("a kind: ") + kKinds, "'" + escaped(p.kind) + "'");
  }

  std::string file_, index_;
  Price top_;
  std::vector<Price> prices_;
  std::vector<TomlValue> lines_;  // the first value of each price
  std::vector<Problem> problems_;
};

}  // namespace

std::vector<Price> parse_prices(std::string_view toml, const std::string& file) { return PriceReader().read(toml, file); }

const std::vector<Price>& prices() {
  static const std::vector<Price> all = [] {
    std::vector<Price> out;
    std::vector<std::string> seen;  // a list of a folder in front replaces one of the same name
    for (const std::string& folder : data_folders("BASCULE_PRICES", "prices")) {
      std::vector<std::filesystem::path> files;
      std::error_code failed;
      for (const auto& entry : std::filesystem::directory_iterator(folder, failed))
        if (entry.path().extension() == ".toml" && entry.is_regular_file(failed)) files.push_back(entry.path());
      std::sort(files.begin(), files.end());
      for (const auto& f : files) {
        if (std::find(seen.begin(), seen.end(), f.filename().string()) != seen.end()) continue;
        seen.push_back(f.filename().string());
        const std::vector<Price> list = parse_prices(read_file(f.string(), kTomlMostBytes), f.string());
        out.insert(out.end(), list.begin(), list.end());
      }
    }
    return out;
  }();
  return all;
}

}  // namespace bascule::device::chip
