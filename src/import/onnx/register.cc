// import/onnx/register.cc — ONNX in the table of model formats.
#include "base/file.h"
#include "import/importer.h"
#include "import/onnx/import.h"

namespace bascule::onnx {
namespace {

int recognizes(const std::string& path, std::span<const std::byte> head) {
  if (looks_like_onnx(head)) return extension_of(path) == ".onnx" ? 3 : 2;
  return extension_of(path) == ".onnx" ? 1 : 0;
}

Imported imported(const std::string& path, const std::set<std::string>& fed) {
  ImportedModel m = onnx::import_model(path, fed);
  Imported out;
  out.graph = std::move(m.graph);
  out.replaceable = std::move(m.defaults);
  out.with_inputs = [path](const std::set<std::string>& names) { return imported(path, names); };
  out.facts.emplace_back("format", "ONNX, IR version " + std::to_string(m.ir_version));
  out.facts.emplace_back("producer", m.producer);
  for (const auto& [domain, version] : m.opsets) out.facts.emplace_back("opset " + (domain.empty() ? std::string("ai.onnx") : domain), std::to_string(version));
  for (auto& fact : m.metadata) out.facts.push_back(std::move(fact));
  return out;
}

Imported import(const std::string& path) { return imported(path, {}); }

[[maybe_unused]] const bool registered = register_importer({"onnx", recognizes, import});

}  // namespace
}  // namespace bascule::onnx
