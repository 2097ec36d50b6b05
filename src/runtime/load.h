// runtime/load.h — a model file as a graph, by its format. Knows importers, no device.
#pragma once
#include <string>

#include "graph/graph.h"

namespace bascule::runtime {

enum class ModelFormat { onnx, stablehlo };
// By extension (.onnx, .mlir), else by content. UsageError: no such file. InvalidFileError: neither.
ModelFormat model_format(const std::string& path);
Graph load_graph(const std::string& path);

}  // namespace bascule::runtime
