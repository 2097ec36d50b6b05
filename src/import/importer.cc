// import/importer.cc — picks the importer of a file.
#include "import/importer.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/file.h"

namespace bascule {
namespace {
std::map<std::string_view, Importer>& table() {
  static std::map<std::string_view, Importer> t;
  return t;
}
}  // namespace

bool register_importer(const Importer& importer) { return table().emplace(importer.name, importer).second; }

std::vector<Importer> importers() {
  std::vector<Importer> out;
  for (const auto& [name, i] : table()) out.push_back(i);
  return out;
}

Imported import_model(const std::string& path) {
  const auto file = MappedFile::open(path);
  const auto head = file->bytes().first(std::min<size_t>(file->bytes().size(), 4096));
  const Importer* best = nullptr;
  int surest = 0;
  std::string names;
  for (const auto& [name, i] : table()) {
    names += (names.empty() ? "" : ", ") + std::string(name);
    if (const int sure = i.recognizes(path, head); sure > surest) best = &i, surest = sure;
  }
  if (!best) fail_file(escaped(path), "a model (" + names + ")", head.empty() ? "an empty file" : "another kind of file", "Give an .onnx or .mlir file");
  return best->import(path);
}

}  // namespace bascule
