// cli/chips.cc — `bascule chips`: the modelled chips, every number of one with its source, and the check of a new file.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/values.h"
#include "device/chip/chip.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;
using namespace device::chip;

constexpr double kPeakTolerance = 0.05;  // of the published peak, before it is said

struct Options {
  std::string chip, check;
  Format format = Format::table;
};

const char* level_name(Level l) { return l == Level::instruction ? "instruction" : l == Level::tile ? "tile" : "roofline"; }

// The whole of a text that parse_toml() found to be UTF-8, control characters replaced.
std::string whole(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0)) text[i] = '?';
  }
  return text;
}

// What the last word of a key measures.
std::string unit(const std::string& path) {
  static constexpr std::pair<const char*, const char*> kUnits[] = {{"flop_per_s", "FLOP/s"},
                                                                   {"bytes_per_s", "B/s"},
                                                                   {"bytes_per_cycle", "B/cycle"},
                                                                   {"cycles_per_element", "cycles"},
                                                                   {"cycles_per_column", "cycles"},
                                                                   {"rows_per_cycle", "rows/cycle"},
                                                                   {"joules_per_flop", "J/FLOP"},
                                                                   {"joules_per_byte", "J/B"},
                                                                   {"cycles", "cycles"},
                                                                   {"bytes", "B"},
                                                                   {"_hz", "Hz"},
                                                                   {"_ns", "ns"},
                                                                   {"_s", "s"},
                                                                   {"_w", "W"}};
  std::string key = path.substr(path.rfind('.') + 1);
  for (const char* table : {"published_peak_flop_per_s.", "cycles_per_element.", "extra_cycles."})
    if (path.find(table) != std::string::npos) key = std::string(table, std::string_view(table).size() - 1);
  for (const auto& [suffix, name] : kUnits)
    if (key.ends_with(suffix)) return name;
  return "";
}

// "2.9 TB/s" for large values of units that people read; "" otherwise.
std::string readable(double x, const std::string& unit) {
  const auto scaled = [&](const char* what) {
    static constexpr std::pair<double, const char*> kScales[] = {{1e15, " P"}, {1e12, " T"}, {1e9, " G"}, {1e6, " M"}};
    for (const auto& [scale, letter] : kScales)
      if (x >= scale) return shortest(std::round(x / scale * 1000) / 1000) + letter + what;
    return std::string();
  };
  if (unit == "B") return x >= 1024 ? bytes_text(x) : "";
  if (unit == "B/s" || unit == "FLOP/s" || unit == "Hz") return scaled(unit.c_str());
  if (unit == "ns") return x >= 1000 ? seconds_text(x * 1e-9) : "";
  return "";
}

std::string rate_text(double x, const char* what) {
  const std::string text = readable(x, what);
  return text.empty() ? shortest(x) + " " + what : text;
}

struct Counts {
  size_t numbers = 0, assumed = 0, fitted = 0;
  explicit Counts(const Chip& c) : numbers(c.figures.size()) {
    for (const Figure& f : c.figures) assumed += f.assumed(), fitted += f.fitted();
  }
  std::string text() const {
    return std::to_string(numbers) + " numbers, " + std::to_string(assumed) + " assumed, " + std::to_string(fitted) + " fitted";
  }
};

// One input type of the matrix engine.
struct Roof {
  DType type;
  double flop_per_s, published;  // 0: not published
  double ridge;                  // FLOP per byte of main memory
};
std::vector<Roof> roofline(const Chip& c) {
  std::vector<Roof> out;
  const auto published = [&](DType t) {
    const auto at = c.published_peak_flop_per_s.find(t);
    return at == c.published_peak_flop_per_s.end() ? 0 : at->second;
  };
  for (const auto& [type, passes] : c.matrix.passes) {
    const double peak = c.peak_flop_per_s(type);
    out.push_back({type, peak, published(type), peak / c.main().bytes_per_s});
  }
  std::stable_sort(out.begin(), out.end(), [](const Roof& a, const Roof& b) { return a.flop_per_s < b.flop_per_s; });
  return out;
}

// What a reader of the file should know although it is no error.
std::vector<std::string> remarks(const Chip& c) {
  std::vector<std::string> out;
  for (const Roof& r : roofline(c))
    if (r.published > 0 && std::abs(r.flop_per_s / r.published - 1) > kPeakTolerance)
      out.push_back("peak of " + std::string(info(r.type).name) + ": the engines give " + rate_text(r.flop_per_s, "FLOP/s") + ", published is " +
                    rate_text(r.published, "FLOP/s"));
  for (const auto& [type, peak] : c.published_peak_flop_per_s)
    if (!c.matrix.passes.contains(type))
      out.push_back("a peak of " + std::string(info(type).name) + " is published, core." + c.matrix.name + ".passes has no such type");
  for (const Figure& f : c.figures)
    if (f.source.empty()) out.push_back(f.path + " has no source");
  if (std::filesystem::path(c.file).stem() != c.name)
    out.push_back("--device chip:" + c.name + " will need the file to be called " + c.name + ".toml");
  return out;
}

ordered_json roofline_json(const Chip& c) {
  ordered_json list = ordered_json::array();
  for (const Roof& r : roofline(c))
    list.push_back({{"type", info(r.type).name},
                    {"flop_per_s", r.flop_per_s},
                    {"published_flop_per_s", r.published > 0 ? ordered_json(r.published) : ordered_json()},
                    {"achieved_share", c.matrix.achieved},
                    {"ridge_flop_per_byte", r.ridge}});
  return list;
}

ordered_json summary_json(const Chip& c) {
  const Counts counts(c);
  ordered_json j;
  j["name"] = c.name;
  j["vendor"] = c.vendor;
  j["description"] = c.description;
  j["year"] = c.year > 0 ? ordered_json(c.year) : ordered_json();
  j["level"] = level_name(c.level);
  j["machine"] = c.machine == Machine::cached ? "cached" : "scratchpad";
  j["cores"] = c.cores;
  j["default_cores"] = c.default_cores;
  j["default_type"] = info(c.arithmetic.default_type).name;
  j["peak_flop_per_s"] = ordered_json::object();
  for (const auto& [type, passes] : c.matrix.passes) j["peak_flop_per_s"][std::string(info(type).name)] = c.peak_flop_per_s(type);
  j["main_memory_bytes"] = c.main().bytes;
  j["main_memory_bytes_per_s"] = c.main().bytes_per_s;
  j["instances"] = ordered_json::array();
  for (const Instance& i : c.instances) j["instances"].push_back(i.name);
  j["numbers"] = counts.numbers;
  j["assumed"] = counts.assumed;
  j["fitted"] = counts.fitted;
  j["file"] = c.file;
  return j;
}

// Prices of a chip's instances, and of the chip itself.
struct Offer {
  std::string instance;
  int64_t chips;
  const Price* price;  // nullptr: no list has one
};
std::vector<Offer> offers(const Chip& c) {
  std::vector<Offer> out;
  for (const Instance& i : c.instances) {
    bool found = false;
    for (const Price& p : prices())
      if (!p.per_chip && p.instance == i.name) out.push_back({i.name, i.chips, &p}), found = true;
    for (const Price& p : prices())
      if (p.per_chip && p.instance == c.name && !found) out.push_back({i.name, i.chips, &p}), found = true;
    if (!found) out.push_back({i.name, i.chips, nullptr});
  }
  if (c.instances.empty())
    for (const Price& p : prices())
      if (p.per_chip && p.instance == c.name) out.push_back({c.name, 1, &p});
  return out;
}

int list(const Options& o) {
  ordered_json all = ordered_json::array();
  Table table({"name", "vendor", "year", "cores", "peak", "of", "memory", "bandwidth", "level", "assumed", "instances"});
  std::vector<Problem> problems;
  for (const std::string& name : chip_names()) {
    try {
      const Chip& c = find_chip(name);
      if (o.format == Format::json) {
        all.push_back(summary_json(c));
        continue;
      }
      const DType type = c.matrix.passes.contains(DType::bf16) ? DType::bf16 : c.arithmetic.default_type;
      const Counts counts(c);
      std::string instances;
      for (const Instance& i : c.instances) instances += (instances.empty() ? "" : ", ") + i.name;
      table.row({c.name, safe(c.vendor), c.year > 0 ? std::to_string(c.year) : "", std::to_string(c.cores),
                 rate_text(c.peak_flop_per_s(type), "FLOP/s"), std::string(info(type).name), bytes_text(static_cast<double>(c.main().bytes)),
                 rate_text(c.main().bytes_per_s, "B/s"), level_name(c.level), std::to_string(counts.assumed) + "/" + std::to_string(counts.numbers),
                 safe(instances)});
    } catch (const Error& e) {
      problems.insert(problems.end(), e.problems().begin(), e.problems().end());
    }
  }
  print(o.format == Format::json ? json_text(all) : table.text());
  if (o.format == Format::table) note("`bascule chips NAME` shows every number with its source; assumed: numbers that no publication gives");
  if (!problems.empty()) throw Error(ErrorKind::invalid_file, std::move(problems));
  return 0;
}

void print_roofline(const Chip& c) {
  Table table({"type", "peak", "published", "ridge FLOP/B", ""});
  for (const Roof& r : roofline(c))
    table.row({std::string(info(r.type).name), rate_text(r.flop_per_s, "FLOP/s"), r.published > 0 ? rate_text(r.published, "FLOP/s") : "",
               shortest(std::round(r.ridge * 10) / 10), r.type == c.arithmetic.default_type ? "default" : ""});
  print(table.text());
  std::string line = "main memory " + bytes_text(static_cast<double>(c.main().bytes)) + " at " + rate_text(c.main().bytes_per_s, "B/s");
  if (c.main().achieved < 1) line += ", of which " + shortest(c.main().achieved * 100) + " % are sustained";
  if (c.matrix.achieved < 1) line += "; of the peak " + shortest(c.matrix.achieved * 100) + " % are sustained";
  print(line + "\n");
}

int show(const Chip& c, const Options& o) {
  if (o.format == Format::json) {
    ordered_json j = summary_json(c);
    j["roofline"] = roofline_json(c);
    j["figures"] = ordered_json::array();
    for (const Figure& f : c.figures)
      j["figures"].push_back(
          {{"path", f.path}, {"value", f.number}, {"unit", unit(f.path)}, {"assumed", f.assumed()}, {"fitted", f.fitted()}, {"source", f.source}});
    j["prices"] = ordered_json::array();
    for (const Offer& offer : offers(c)) {
      ordered_json p = {{"instance", offer.instance}, {"chips", offer.chips}};
      if (offer.price)
        p.update({{"kind", offer.price->kind},
                  {"per_hour", offer.price->per_hour * static_cast<double>(offer.price->per_chip ? offer.chips : 1)},
                  {"currency", offer.price->currency},
                  {"region", offer.price->region},
                  {"date", offer.price->date},
                  {"source", offer.price->source}});
      j["prices"].push_back(p);
    }
    j["remarks"] = remarks(c);
    print(json_text(j));
    return 0;
  }
  print(bold(c.name, colors(1)) + "  " + safe(c.vendor) + (c.description.empty() ? "" : ": " + safe(c.description)) +
        (c.year > 0 ? ", " + std::to_string(c.year) : "") + "\nmodelled to the " + level_name(c.level) + "; one request on " +
        std::to_string(c.default_cores) + " of " + std::to_string(c.cores) + " cores; " + Counts(c).text() + "\n\n");
  print_roofline(c);
  if (const auto list = offers(c); !list.empty()) {
    Table table({"instance", "chips", "per hour", "kind", "region", "date", "source"});
    for (const Offer& offer : list) {
      const Price* p = offer.price;
      table.row({safe(offer.instance), std::to_string(offer.chips),
                 p ? shortest(p->per_hour * static_cast<double>(p->per_chip ? offer.chips : 1)) + " " + safe(p->currency) : "",
                 p ? safe(p->kind) : "no price was found", p ? safe(p->region) : "", p ? safe(p->date) : "", p ? whole(p->source) : ""});
    }
    print("\n" + table.text());
  }
  Table table({"number", "value", "unit", "", "source"});
  for (const Figure& f : c.figures) {
    const std::string u = unit(f.path), r = readable(f.number, u);
    table.row({safe(f.path), safe(f.value), u, r, whole(f.source)});
  }
  print("\n" + table.text());
  for (const std::string& r : remarks(c)) note(r);
  return 0;
}

int check(const Options& o) {
  const Chip c = read_chip(o.check);
  if (o.format == Format::json) {
    print(json_text({{"file", o.check}, {"ok", true}, {"chip", summary_json(c)}, {"roofline", roofline_json(c)}, {"remarks", remarks(c)}}));
    return 0;
  }
  print(safe(o.check) + ": ok, " + Counts(c).text() + "\n\n");
  print_roofline(c);
  for (const std::string& r : remarks(c)) note(r);
  return 0;
}

}  // namespace

void add_chips(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("chips", "Lists the modelled chips, shows one with the source of every number, or checks a chip file");
  auto o = std::make_shared<Options>();
  auto* chip = verb->add_option("NAME", o->chip, "A chip, as --device chip:NAME takes it");
  verb->add_option("--check", o->check, "Validate this chip file and print its roofline; exit 6 with every problem")
      ->type_name("FILE")
      ->excludes(chip);
  add_format(*verb, o->format);
  verb->footer(
      "Examples:\n  bascule chips\n  bascule chips trainium2\n  bascule chips --check chips/mine.toml\nBASCULE_CHIPS and BASCULE_PRICES name further "
      "folders.");
  verb->callback([&action, o] {
    action = [o] { return !o->check.empty() ? check(*o) : o->chip.empty() ? list(*o) : show(find_chip(o->chip), *o); };
  });
}

}  // namespace bascule::cli
