// runtime/load.cc — picks the importer.
#include "runtime/load.h"

#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "import/importer.h"

namespace bascule::runtime {

ModelFormat model_format(const std::string& path) {
  const std::string extension = extension_of(path);
  if (extension == ".onnx") return ModelFormat::onnx;
  if (extension == ".mlir") return ModelFormat::stablehlo;
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), std::min<size_t>(file->bytes().size(), 4096));
  for (const std::string_view word : {"module", "func.func", "stablehlo."})
    if (text.find(word) != std::string_view::npos && text.find('\0') == std::string_view::npos) return ModelFormat::stablehlo;
  if (!text.empty() && text[0] == '\x08') return ModelFormat::onnx;  // field 1, ir_version, comes first in every exporter's file
  fail_file(escaped(path), "an ONNX model (.onnx) or StableHLO text (.mlir)", "another kind of file", "Export the model in one of these formats");
}

Graph load_graph(const std::string& path) { return import_model(path).graph; }

}  // namespace bascule::runtime
