// import/importer.h — the table of file formats that become graphs. Each importer registers itself; a file is told by its content, not its name.
#pragma once
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace bascule {

struct Imported {
  Graph graph;
  // For inputs that may be left out (ONNX initializers that are inputs too): their values, by input. May be shorter than the inputs.
  std::vector<std::optional<HostValue>> defaults;
  // Constants of the graph that a caller may replace (ONNX initializers that are inputs too, by the file's word): importing again with
  // some of their names makes those inputs of the graph.
  std::vector<std::pair<std::string, Type>> replaceable;
  std::function<Imported(const std::set<std::string>& names)> with_inputs;
  std::vector<std::pair<std::string, std::string>> facts;  // what the file says of itself: "producer", "ir_version", "opset ai.onnx"
};

struct Importer {
  std::string_view name;  // "onnx", "stablehlo"
  // Whether the first bytes of the file (up to 4,096) look like this format. The most sure one (highest) takes it; 0: no.
  int (*recognizes)(const std::string& path, std::span<const std::byte> head);
  Imported (*import)(const std::string& path);
};
bool register_importer(const Importer& importer);
std::vector<Importer> importers();  // by name

// UsageError: no such file. InvalidFileError: no format recognises it, or the file is damaged.
Imported import_model(const std::string& path);

}  // namespace bascule
