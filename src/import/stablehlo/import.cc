// import/stablehlo/import.cc — file to Graph, and StableHLO in the table of formats.
#include "import/stablehlo/import.h"

#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "graph/text/parser.h"
#include "import/importer.h"
#include "import/stablehlo/operations.h"

namespace bascule::stablehlo {

std::optional<Values> Operations::read(mlir::Reader& r, const mlir::OperationSyntax& op, const Values& operands) {
  for (const auto reader : {read_quantized, read_dynamic, read_custom_call, read_convenience})
    if (auto results = reader(r, op, operands)) return results;
  return std::nullopt;
}

bool is_bytecode(std::string_view head) { return head.starts_with("ML\xEFR"); }

namespace {

// JAX names results by their path: result['logits'], result[0], result.x, [1]. As a name: logits, 0, x, 1; nested parts joined by dots.
std::string path_name(const std::string& path) {
  std::string out;
  std::string_view rest = path;
  if (rest.starts_with("result")) rest.remove_prefix(6);
  while (!rest.empty()) {
    std::string_view part;
    if (rest.starts_with("['") && rest.find("']") != std::string_view::npos) {
      part = rest.substr(2, rest.find("']") - 2);
      rest.remove_prefix(part.size() + 4);
    } else if (rest[0] == '[' && rest.find(']') != std::string_view::npos) {
      part = rest.substr(1, rest.find(']') - 1);
      rest.remove_prefix(part.size() + 2);
    } else if (rest[0] == '.') {
      part = rest.substr(1, std::min(rest.find_first_of(".[", 1), rest.size()) - 1);
      rest.remove_prefix(part.size() + 1);
    } else {
      return path;
    }
    out += (out.empty() ? "" : ".") + std::string(part);
  }
  return out.empty() ? path : out;
}

// Every operation that can be reached from `entry` and that nothing here knows, reported together.
void refuse_unknown(const mlir::ModuleSyntax& module, const mlir::FunctionSyntax& entry, const mlir::Lines& lines, const std::string& file) {
  constexpr size_t kMostReported = 100;
  std::vector<Problem> problems;
  std::set<std::string> named, seen{entry.name};
  std::vector<const mlir::FunctionSyntax*> work{&entry};
  std::map<std::string_view, const mlir::FunctionSyntax*> functions;
  for (const mlir::FunctionSyntax& f : module.functions) functions.emplace(f.name, &f);
  const auto visit = [&](const mlir::AttributeSyntax* function) {
    if (!function || !seen.insert(function->text).second) return;
    if (const auto f = functions.find(function->text); f != functions.end()) work.push_back(f->second);
  };
  const auto look = [&](const auto& self, const mlir::RegionSyntax& region) -> void {
    for (const mlir::OperationSyntax& op : region.operations) {
      for (const mlir::RegionSyntax& inner : op.regions) self(self, inner);
      const mlir::AttributeSyntax* target = op.name == "stablehlo.custom_call" ? mlir::find(op.attributes, "call_target_name") : nullptr;
      if (op.name == "call" || op.name == "func.call") visit(mlir::find(op.attributes, "callee"));
      if (op.name == "stablehlo.composite") {
        const mlir::AttributeSyntax* name = mlir::find(op.attributes, "name");
        if (name && !mlir::find_operator(name->text)) visit(mlir::find(op.attributes, "decomposition"));
      }
      const bool known = target ? knows_custom_call(target->text) : knows_operation(op.name);
      const std::string what = target ? "custom call @" + escaped(target->text) : "'" + escaped(op.name) + "'";
      if (known || !named.insert(what).second || problems.size() >= kMostReported) continue;
      const bool callback = target && target->text.find("callback") != std::string::npos;
      problems.push_back(
          {file + ":" + lines.text(op.at), "operations that Bascule knows", what,
           callback ? "Export the model without Python callbacks" : "Export the model for a platform whose lowering uses StableHLO's own operators"});
    }
  };
  while (!work.empty()) {
    const mlir::FunctionSyntax* f = work.back();
    work.pop_back();
    look(look, f->body);
  }
  if (!problems.empty()) throw Error(ErrorKind::unsupported, std::move(problems));
}

}  // namespace

Graph import_text(std::string_view text, const std::string& file, const ImportOptions& options) {
  if (is_bytecode(text))
    fail_unsupported(file, "StableHLO as text", "MLIR bytecode",
                     "Export text: in JAX, jax.jit(f).lower(x).as_text(); or convert the file with stablehlo-translate --deserialize");
  const mlir::ModuleSyntax module = mlir::parse_module(text, file);
  const mlir::Lines lines(text);
  const mlir::FunctionSyntax* entry = module.function(options.entry);
  if (!entry && options.entry == "main" && module.functions.size() == 1) entry = &module.functions[0];
  if (!entry) fail_file(file, "a function @" + escaped(options.entry), "none of that name", "Export the model again, with an entry function");
  refuse_unknown(module, *entry, lines, file);
  Operations operations;
  mlir::ReadOptions read;
  read.file = file;
  read.fold = options.fold;
  read.positions = true;
  read.foreign = &operations;
  mlir::Reader reader(module, lines, read);
  Graph g = reader.function(*entry);
  if (!module.name.empty()) g.name = module.name;
  std::set<std::string> names;
  for (const std::string& n : g.output_names) names.insert(path_name(n));
  if (names.size() == g.output_names.size())
    for (std::string& n : g.output_names) n = path_name(n);
  return g;
}

Graph import_file(const std::string& path, const ImportOptions& options) {
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  const size_t slash = path.rfind('/');
  return import_text(text, escaped(slash == std::string::npos ? path : path.substr(slash + 1)), options);
}

namespace {

int recognizes(const std::string& path, std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (is_bytecode(text)) return 3;
  const bool named = extension_of(path) == ".mlir" || extension_of(path) == ".stablehlo";
  if (text.find('\0') != std::string_view::npos) return named ? 1 : 0;
  for (const std::string_view word : {"module", "func.func", "stablehlo."})
    if (text.find(word) != std::string_view::npos) return named ? 3 : 2;
  return named ? 1 : 0;
}

Imported import(const std::string& path) {
  Imported out;
  out.graph = import_file(path);
  out.facts.emplace_back("format", "StableHLO text");
  return out;
}

[[maybe_unused]] const bool registered = register_importer({"stablehlo", recognizes, import});

}  // namespace
}  // namespace bascule::stablehlo
