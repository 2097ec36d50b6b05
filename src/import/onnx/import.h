// import/onnx/import.h — an ONNX file to a Graph. Symbolic dims stay symbols; what only a run can tell becomes `specialize` nodes.
#pragma once
#include <string>

#include "graph/graph.h"
#include "import/onnx/proto.h"

namespace bascule::onnx {

struct ImportedModel {
  Graph graph;
  int64_t ir_version = 0;
  std::string producer;
  std::vector<std::pair<std::string, int64_t>> opsets;
  std::vector<std::pair<std::string, std::string>> metadata;
};

// InvalidFileError, or UnsupportedError that lists every unsupported node.
ImportedModel import_model(const std::string& path);
ImportedModel import_model(ModelProto model);

// Whether the bytes may be an ONNX model (a protobuf whose first fields fit ModelProto).
bool looks_like_onnx(Bytes head);

}  // namespace bascule::onnx
