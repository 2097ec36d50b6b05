// device/chip/read.cc — chips/NAME.toml -> Chip, by the table of keys.h. Every problem of a file is reported at once.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/toml.h"
#include "device/chip/find.h"
#include "device/chip/keys.h"
#include "loops/op.h"

namespace bascule::device::chip {
namespace {

constexpr size_t kMostProblems = 40, kMostIncludes = 4, kMostNamed = 64, kLongestName = 64, kLongestText = 1000, kMostCompared = 400;
constexpr const char* kManual = "docs/chips.md lists every key";

// A value of the file or of one it includes.
struct Setting {
  TomlValue value;
  std::string file;
  std::string path;
  std::string source;
};

std::string_view text_of(const MappedFile& file) { return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}; }

std::string missing(const char* meaning) { return std::string("this key (") + meaning + ")"; }

std::string found_text(const TomlValue& v) {
  if (std::holds_alternative<std::monostate>(v.value)) return "nothing";
  if (const auto* s = std::get_if<std::string>(&v.value)) return "the text '" + escaped(*s) + "'";
  return v.text;
}

class Reader {
 public:
  Chip read(std::string_view text, const std::string& file);

 private:
  void problem(const Setting& s, std::string expected, std::string found, std::string remedy) {
    problem_at(fmt::format("{}:{}: {}", escaped(s.file), s.value.line, escaped(s.path)), std::move(expected), std::move(found), std::move(remedy));
  }
  void problem_at(std::string where, std::string expected, std::string found, std::string remedy) {
    if (problems_.size() < kMostProblems) problems_.push_back({std::move(where), std::move(expected), std::move(found), std::move(remedy)});
  }

  void load(std::string_view text, const std::string& file, bool included);
  void load_included(const Setting& s, const std::string& file);
  void add_sources(std::vector<Setting>& own, const std::vector<Setting>& sources, bool includes, const std::string& file);

  void dispatch(const Setting& s);
  template <class T>
  void set(T& target, std::span<const Field<T>> fields, const Setting& s, size_t key);
  template <class T>
  void require(const std::set<std::string>& seen, std::span<const Field<T>> fields, const std::string& section);
  void set_engine(const Setting& s);
  void set_rate(Engine& e, const Setting& s, bool extra);
  void set_relative_error(const Setting& s);
  void set_exclusive(const Setting& s);
  std::optional<double> number(const Setting& s, const Range& range, bool whole);
  std::optional<DType> dtype(const Setting& s, const std::string& name);
  void unknown(const Setting& s, const std::string& key, std::vector<std::string> known, const std::string& section);
  template <class T>
  T* named(std::vector<T>& list, const Setting& s, const char* what);

  void finish(const std::string& file);
  void check_engines();
  void check_memories();
  void check_rest();

  Chip chip_;
  std::vector<MatrixEngine> engines_;
  std::vector<Setting> settings_;
  std::map<std::string, size_t> index_;  // path -> settings_
  std::vector<Problem> problems_;
  std::vector<std::string> open_;  // files being read, outermost first
  std::set<std::string> seen_;     // paths
  std::map<int, std::map<int, std::string>> exclusive_;
};

// --- files and sources ---

void Reader::load(std::string_view text, const std::string& file, bool included) {
  open_.push_back(file);
  std::vector<Setting> own, sources, includes;
  for (TomlValue& v : parse_toml(text, file)) {
    Setting s{std::move(v), file, "", ""};
    s.path = s.value.path();
    if (s.path == "include") includes.push_back(std::move(s));
    else if (s.value.keys[0] != "sources") own.push_back(std::move(s));
    else if (const auto* t = std::get_if<std::string>(&s.value.value); t && s.value.keys.size() == 2 && !t->empty() && t->size() <= kLongestText)
      sources.push_back(std::move(s));
    else if (!std::holds_alternative<std::monostate>(s.value.value))
      problem(s, "where numbers are from, as \"path\" = \"text\"", found_text(s.value),
              "Write the path in quotes: \"core.tensor\" = \"Architecture guide, section 3\"");
  }
  for (const Setting& s : includes) load_included(s, file);
  add_sources(own, sources, !includes.empty(), file);
  const auto is_list = [](const Setting& s) { return s.path.starts_with("chip.exclusive"); };
  if (std::any_of(own.begin(), own.end(), is_list)) {  // a list replaces the one taken over, as a whole
    std::erase_if(settings_, is_list);
    index_.clear();
    for (size_t i = 0; i < settings_.size(); ++i) index_[settings_[i].path] = i;
  }
  for (Setting& s : own) {
    const bool of_this_file = s.path == "chip.name" || s.path == "chip.description" || s.path.starts_with("chip.published_peak_flop_per_s") ||
                              s.value.keys[0] == "instance";
    if (included && of_this_file) continue;
    const auto [at, fresh] = index_.emplace(s.path, settings_.size());
    if (fresh) settings_.push_back(std::move(s));
    else settings_[at->second] = std::move(s);
  }
  open_.pop_back();
}

void Reader::load_included(const Setting& s, const std::string& file) {
  const auto* name = std::get_if<std::string>(&s.value.value);
  if (!name) return problem(s, "the name of a chip file", found_text(s.value), "Write include = \"other.toml\"");
  const std::string where = fmt::format("{}:{}: include", escaped(file), s.value.line);
  if (!name->ends_with(".toml") || name->find('/') != std::string::npos || name->size() > kLongestName)
    return problem(s, "the name of a chip file, without folders", "'" + escaped(*name) + "'", "Write include = \"other.toml\"");
  std::optional<std::string> path = folder_of(file) + "/" + *name;
  if (!is_regular_file(*path)) path = installed_chip(std::filesystem::path(*name).stem().string());
  if (!path) return problem(s, "a chip file beside this one, or an installed one", "no '" + escaped(*name) + "'", "Name a file of chips/");
  std::string chain;
  for (const std::string& f : open_) chain += escaped(std::filesystem::path(f).filename().string()) + " includes ";
  for (const std::string& f : open_) {
    std::error_code failed;
    if (f == *path || std::filesystem::equivalent(f, *path, failed))
      fail_file(where, "a file that does not lead back to itself", chain + escaped(*name), "Remove one include");
  }
  if (open_.size() >= kMostIncludes)
    fail_file(where, fmt::format("at most {} files that include each other", kMostIncludes), chain + escaped(*name),
              "Include the first file directly");
  load(text_of(*MappedFile::open(*path)), *path, true);
}

// Gives each number of one file its source in that file. What it took over keeps its own, behind the source of "include" if there is one.
void Reader::add_sources(std::vector<Setting>& own, const std::vector<Setting>& sources, bool includes, const std::string& file) {
  std::map<std::string, const Setting*> by_path;
  for (const Setting& s : sources) by_path[s.value.keys[1]] = &s;
  std::set<std::string> used;
  std::vector<const Setting*> uncovered;
  for (Setting& s : own) {
    for (std::string prefix = s.path;;) {  // longest first; shorter ones count as used, for what they cover elsewhere
      if (const auto at = by_path.find(prefix); at != by_path.end()) {
        used.insert(prefix);
        if (s.source.empty()) s.source = std::get<std::string>(at->second->value.value);
      }
      const size_t dot = prefix.rfind('.');
      if (dot == std::string::npos) break;
      prefix.resize(dot);
    }
    if (s.source.empty() && s.value.is_number() && s.value.keys[0] != "chip") uncovered.push_back(&s);
  }
  if (!uncovered.empty()) {
    std::string list;
    for (size_t i = 0; i < uncovered.size() && i < 8; ++i) list += (i ? ", " : "") + escaped(uncovered[i]->path);
    problem(*uncovered[0], "a line in [sources] that covers it",
            uncovered.size() == 1 ? "none"
                                  : fmt::format("none; {} numbers without source: {}{}", uncovered.size(), list, uncovered.size() > 8 ? " ..." : ""),
            "Add \"" + escaped(uncovered[0]->path) + "\" = \"where the number is from\", or \"assumed: reason\"");
  }
  if (const auto at = by_path.find("include"); includes && at != by_path.end()) {
    used.insert("include");
    const std::string& text = std::get<std::string>(at->second->value.value);
    for (Setting& s : settings_)
      if (text.starts_with("assumed") || !(s.source.starts_with("assumed") || s.source.starts_with("fitted")))
        s.source = text + " (" + s.source + ")";
  }
  std::vector<std::string> paths;
  for (size_t i = 0; i < own.size() && i < kMostCompared; ++i) paths.push_back(own[i].path);
  for (const Setting& source : sources) {
    if (used.contains(source.value.keys[1]) || problems_.size() >= kMostProblems) continue;
    const std::string near = nearest(source.value.keys[1], paths);
    problem_at(fmt::format("{}:{}: sources.\"{}\"", escaped(file), source.value.line, escaped(source.value.keys[1])), "a path of this file",
               "none that it covers", near.empty() ? "Remove the line" : "Did you mean \"" + escaped(near) + "\"?");
  }
  for (const Setting& s : sources) chip_.sources.push_back({s.value.keys[1], std::get<std::string>(s.value.value)});
}

// --- values ---

void Reader::unknown(const Setting& s, const std::string& key, std::vector<std::string> known, const std::string& section) {
  const std::string near = nearest(key, known);
  problem(s, "a key of " + section, "'" + escaped(key) + "'", (near.empty() ? "" : "Did you mean " + near + "? ") + std::string(kManual));
}

std::optional<double> Reader::number(const Setting& s, const Range& range, bool whole) {
  double x = 0;
  if (const auto* i = std::get_if<int64_t>(&s.value.value)) x = static_cast<double>(*i);
  else if (const auto* d = std::get_if<double>(&s.value.value)) x = *d;
  if (!s.value.is_number() || !range.holds(x) || (whole && x != static_cast<double>(static_cast<int64_t>(x)))) {
    problem(s, (whole ? "an integer, " : "a number, ") + range.text(), found_text(s.value),
            std::string("Give it in the unit that the key names; ") + kManual);
    return std::nullopt;
  }
  return x;
}

std::optional<DType> Reader::dtype(const Setting& s, const std::string& type_name) {
  const auto t = dtype_from_name(type_name);
  if (t && !is_string(*t)) return t;
  std::vector<std::string> known;
  for (int i = 0; i < kDTypeCount; ++i) known.emplace_back(info(static_cast<DType>(i)).name);
  unknown(s, type_name, known, "a table by element type");
  return std::nullopt;
}

template <class T>
void Reader::set(T& target, std::span<const Field<T>> fields, const Setting& s, size_t key) {
  const auto& keys = s.value.keys;
  std::string section;
  for (size_t i = 0; i < key; ++i) section += (section.empty() ? "" : ".") + keys[i];
  const Field<T>* field = nullptr;
  std::vector<std::string> known;
  for (const Field<T>& f : fields) {
    known.emplace_back(f.name);
    if (key < keys.size() && keys[key] == f.name) field = &f;
  }
  if (key >= keys.size()) return problem(s, "settings", "an empty table", "Remove it, or fill it in");
  if (!field) return unknown(s, keys[key], known, "[" + escaped(section) + "]");
  std::visit(
      [&](const auto& member) {
        using M = std::decay_t<decltype(member)>;
        if constexpr (std::is_same_v<M, std::map<DType, double> T::*>) {
          if (keys.size() != key + 2) return problem(s, "a table by element type", found_text(s.value), "Write bf16 = 1 and so on below it");
          const auto t = dtype(s, keys[key + 1]);
          if (const auto x = number(s, field->range, false); x && t) (target.*member)[*t] = *x;
        } else if (keys.size() != key + 1) {
          problem(s, "one value", "a table or list", kManual);
        } else if constexpr (std::is_same_v<M, Choice<T>>) {
          const auto* text = std::get_if<std::string>(&s.value.value);
          if (!text || !member.set(target, *text)) problem(s, std::string("one of: ") + member.choices, found_text(s.value), kManual);
        } else if constexpr (std::is_same_v<M, bool T::*>) {
          if (const auto* b = std::get_if<bool>(&s.value.value)) target.*member = *b;
          else problem(s, "true or false", found_text(s.value), kManual);
        } else if constexpr (std::is_same_v<M, std::string T::*>) {
          if (const auto* text = std::get_if<std::string>(&s.value.value); text && !text->empty() && text->size() <= kLongestText)
            target.*member = *text;
          else problem(s, fmt::format("a text of 1 to {} bytes", kLongestText), found_text(s.value), kManual);
        } else if constexpr (std::is_same_v<M, int64_t T::*> || std::is_same_v<M, int T::*>) {
          if (const auto x = number(s, field->range, true)) target.*member = static_cast<std::remove_reference_t<decltype(target.*member)>>(*x);
        } else {
          if (const auto x = number(s, field->range, false)) target.*member = *x;
        }
      },
      field->member);
}

// The entry of a list that the setting's second key names; made when new.
template <class T>
T* Reader::named(std::vector<T>& list, const Setting& s, const char* what) {
  if (s.value.keys.size() < 2) {
    problem(s, std::string("tables [") + s.path + ".NAME]", found_text(s.value), kManual);
    return nullptr;
  }
  const std::string& n = s.value.keys[1];
  const bool plain = !n.empty() && n.size() <= kLongestName && std::all_of(n.begin(), n.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-';
  });
  if (!plain) {
    problem(s, fmt::format("a name of letters, digits, '_', '.', '-', at most {}", kLongestName), "'" + escaped(n) + "'",
            std::string("Rename the ") + what);
    return nullptr;
  }
  for (T& t : list)
    if (t.name == n) return &t;
  if (list.size() >= kMostNamed) {
    problem(s, fmt::format("at most {} of {}", kMostNamed, what), "more", "Leave some out");
    return nullptr;
  }
  list.emplace_back().name = n;
  return &list.back();
}

void Reader::set_engine(const Setting& s) {
  MatrixEngine* e = named(engines_, s, "engine");
  if (!e) return;
  const auto& keys = s.value.keys;
  if (keys.size() == 4 && keys[2] == "cycles_per_element") return set_rate(*e, s, false);
  if (keys.size() == 4 && keys[2] == "extra_cycles") return set_rate(*e, s, true);
  if (keys.size() == 3 && (keys[2] == "cycles_per_element" || keys[2] == "extra_cycles"))
    return problem(s, "a table by class of work", found_text(s.value), "Write copy = 1 and so on below it");
  set<MatrixEngine>(*e, engine_fields(), s, 2);
}

void Reader::set_rate(Engine& e, const Setting& s, bool extra) {
  std::vector<std::string> known;
  for (int c = 0; c < kWorkClasses; ++c)
    for (size_t v = 0; v < std::size(kVariants); ++v) {
      known.push_back(std::string(chip::name(static_cast<WorkClass>(c))) + kVariants[v]);
      if (known.back() != s.value.keys[3]) continue;
      const auto x = number(s, kCyclesRange, false);
      if (!x) return;
      auto& rate = e.rates[static_cast<size_t>(c)][v];
      if (!rate) rate.emplace();
      (extra ? rate->extra_cycles : rate->cycles_per_element) = *x;
      return;
    }
  unknown(s, s.value.keys[3], known, "the classes of work");
}

void Reader::set_relative_error(const Setting& s) {
  static const std::vector<std::string> known = {
#define X(name) #name,
      BASCULE_SCALAR_OPS(X)
#undef X
  };
  if (s.value.keys.size() != 3) return problem(s, "a table by scalar operator", found_text(s.value), "Write exponential = 1e-6 and so on below it");
  if (std::find(known.begin(), known.end(), s.value.keys[2]) == known.end()) return unknown(s, s.value.keys[2], known, "the scalar operators");
  if (const auto x = number(s, kRelativeErrorRange, false)) chip_.arithmetic.relative_error[s.value.keys[2]] = *x;
}

// chip.exclusive.[i].[j]
void Reader::set_exclusive(const Setting& s) {
  const auto* text = std::get_if<std::string>(&s.value.value);
  const auto& keys = s.value.keys;
  if (!text || keys.size() != 4 || keys[2].size() > 4 || keys[3].size() > 3) {
    if (!std::holds_alternative<std::monostate>(s.value.value) || keys.size() != 2)
      problem(s, "lists of engine, engine, memory", found_text(s.value), "Write exclusive = [[\"vector\", \"gpsimd\", \"scratchpad\"]]");
    return;
  }
  exclusive_[std::stoi(keys[2].substr(1))][std::stoi(keys[3].substr(1))] = *text;
}

void Reader::dispatch(const Setting& s) {
  const std::string& section = s.value.keys[0];
  seen_.insert(s.path);
  if (section == "chip" && s.value.keys.size() > 1 && s.value.keys[1] == "exclusive") set_exclusive(s);
  else if (section == "chip") set<Chip>(chip_, chip_fields(), s, 1);
  else if (section == "core") set_engine(s);
  else if (section == "memory") {
    if (Memory* m = named(chip_.memories, s, "memory")) set<Memory>(*m, memory_fields(), s, 2);
  } else if (section == "dma") set<Dma>(chip_.dma, dma_fields(), s, 1);
  else if (section == "link") {
    if (!chip_.link) chip_.link = Link{.topology = "ring"};
    set<Link>(*chip_.link, link_fields(), s, 1);
  } else if (section == "arithmetic" && s.value.keys.size() > 1 && s.value.keys[1] == "relative_error") set_relative_error(s);
  else if (section == "arithmetic") set<Arithmetic>(chip_.arithmetic, arithmetic_fields(), s, 1);
  else if (section == "power") set<Power>(chip_.power, power_fields(), s, 1);
  else if (section == "software") set<Software>(chip_.software, software_fields(), s, 1);
  else if (section == "instance") {
    if (Instance* i = named(chip_.instances, s, "instance")) set<Instance>(*i, instance_fields(), s, 2);
  } else {
    unknown(s, section, {"include", "chip", "core", "memory", "dma", "link", "arithmetic", "power", "software", "instance", "sources"},
            "a chip file");
  }
}

// --- the whole ---

template <class T>
void Reader::require(const std::set<std::string>& seen, std::span<const Field<T>> fields, const std::string& section) {
  for (const Field<T>& f : fields)
    if (f.required && !seen.contains(section + "." + f.name))
      problem_at(fmt::format("{}: {}.{}", escaped(chip_.file), escaped(section), f.name), missing(f.meaning), "none",
                 "Add it; " + std::string(kManual));
}

void Reader::check_engines() {
  const std::string file = escaped(chip_.file);
  std::vector<std::string> matrix;
  for (MatrixEngine& e : engines_) {
    const std::string section = "core." + e.name;
    const bool is_matrix = seen_.contains(section + ".rows") || seen_.contains(section + ".cols");
    for (const Field<MatrixEngine>& f : engine_fields()) {
      const bool given = seen_.contains(section + "." + f.name);
      if (!f.matrix_only && f.required && !given)
        problem_at(fmt::format("{}: {}.{}", file, escaped(section), f.name), missing(f.meaning), "none", "Add it");
      if (f.matrix_only && f.required && is_matrix && !given)
        problem_at(fmt::format("{}: {}.{}", file, escaped(section), f.name), missing(f.meaning), "none", "Add it");
      if (f.matrix_only && !f.required && !is_matrix && (given || (std::string_view(f.name) == "passes" && !e.passes.empty())))
        problem_at(fmt::format("{}: {}.{}", file, escaped(section), f.name), "a key of the matrix engine", "an engine without rows and cols",
                   "Add them, or remove the key");
    }
    for (const auto& variants : e.rates)
      for (size_t v = 1; v < variants.size(); ++v)
        if (variants[v] && !variants[0])
          problem_at(fmt::format("{}: {}.cycles_per_element", file, escaped(section)), "the plain class beside one with a suffix",
                     std::string("only one with ") + kVariants[v], "Add the class without suffix");
    if (is_matrix) {
      matrix.push_back(e.name);
      std::erase_if(e.passes, [](const auto& p) { return p.second == 0; });
      if (e.passes.empty()) e.passes[DType::bf16] = 1;
      chip_.matrix = e;
    } else {
      chip_.engines.push_back(e);
    }
  }
  if (matrix.size() != 1)
    problem_at(file + ": core", "one engine with rows and cols: the matrix engine", fmt::format("{}", matrix.size()),
               "Give rows and cols to the one that multiplies matrices");
  for (const auto& [i, triple] : exclusive_) {
    const auto engine = [&](const std::string& n) {
      return std::any_of(engines_.begin(), engines_.end(), [&](const MatrixEngine& e) { return e.name == n; });
    };
    if (triple.size() == 3 && engine(triple.at(0)) && engine(triple.at(1)) &&
        (triple.at(2) == "scratchpad" || triple.at(2) == "accumulator" || triple.at(2) == "accumulator_bank"))
      chip_.exclusive.push_back({triple.at(0), triple.at(1), triple.at(2)});
    else
      problem_at(fmt::format("{}: chip.exclusive[{}]", file, i),
                 "two engines of the file, then \"scratchpad\", \"accumulator\" or \"accumulator_bank\"", "something else",
                 "Write [\"vector\", \"gpsimd\", \"scratchpad\"]");
  }
}

void Reader::check_memories() {
  const std::string file = escaped(chip_.file);
  for (Memory& m : chip_.memories) {
    const std::string section = "memory." + m.name;
    require<Memory>(seen_, memory_fields(), section);
    const auto at = [&](const char* key) { return fmt::format("{}: {}.{}", file, escaped(section), key); };
    if (!seen_.contains(section + ".role")) {
      const auto role = role_of_name(m.name);
      if (!role) problem_at(at("role"), "main, scratchpad, accumulator or cache", "no such key, and a name that tells nothing", "Add role");
      else m.role = *role;
    }
    if ((m.role == Role::main || m.role == Role::cache) && m.bytes_per_s == 0)
      problem_at(at("bytes_per_s"), "this key (of the chip: main memories and caches need it)", "none", "Add it");
    if (m.bytes > 0 && (m.bytes % (m.partitions * m.banks) != 0))
      problem_at(at("bytes"), fmt::format("a multiple of partitions x banks = {}", m.partitions * m.banks), fmt::format("{}", m.bytes),
                 "Correct one of the three");
    if (m.shared_by_cores > 0 && (m.shared_by_cores > chip_.cores || chip_.cores % m.shared_by_cores != 0))
      problem_at(at("shared_by_cores"), fmt::format("a divisor of the {} cores", chip_.cores), fmt::format("{}", m.shared_by_cores),
                 "Correct one of them");
    for (const Memory& o : chip_.memories)
      if (&o < &m && o.role == m.role)
        problem_at(file + ": memory." + escaped(m.name), "one memory of each role", "the role of memory." + escaped(o.name),
                   "Give it another role, or remove it");
  }
  if (std::none_of(chip_.memories.begin(), chip_.memories.end(), [](const Memory& m) { return m.role == Role::main; }))
    problem_at(file + ": memory", "a main memory ([memory.hbm], or role = \"main\")", "none", "Add it: weights and inputs live there");
}

void Reader::check_rest() {
  const std::string file = escaped(chip_.file);
  require<Chip>(seen_, chip_fields(), "chip");
  if (chip_.link) require<Link>(seen_, link_fields(), "link");
  if (chip_.default_cores > chip_.cores)
    problem_at(file + ": chip.default_cores", fmt::format("at most cores = {}", chip_.cores), fmt::format("{}", chip_.default_cores),
               "Correct one of them");
  if (chip_.matrix.rows > 0 && !chip_.matrix.passes.contains(chip_.arithmetic.default_type))
    problem_at(file + ": arithmetic.default_type", "a type of core." + escaped(chip_.matrix.name) + ".passes",
               std::string(info(chip_.arithmetic.default_type).name), "Add its passes, or name another type");
  if (!std::all_of(chip_.name.begin(), chip_.name.end(),
                   [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.'; }) ||
      chip_.name.size() > kLongestName)
    problem_at(file + ": chip.name", "letters, digits, '_', '-', '.'", "'" + escaped(chip_.name) + "'", "Rename it");
}

Chip Reader::read(std::string_view text, const std::string& file) {
  chip_.file = file;
  load(text, file, false);
  for (const Setting& s : settings_) {
    dispatch(s);
    const auto* i = std::get_if<int64_t>(&s.value.value);
    if (s.value.is_number()) chip_.figures.push_back({s.path, s.value.text, s.source, i ? static_cast<double>(*i) : std::get<double>(s.value.value)});
  }
  check_engines();
  check_memories();
  check_rest();
  if (!problems_.empty()) throw Error(ErrorKind::invalid_file, std::move(problems_));
  return std::move(chip_);
}

}  // namespace

Chip parse_chip(std::string_view toml, const std::string& file) { return Reader().read(toml, file); }

Chip read_chip(const std::string& path) { return parse_chip(text_of(*MappedFile::open(path)), path); }

}  // namespace bascule::device::chip
