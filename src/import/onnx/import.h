// import/onnx/import.h — an ONNX file to a Graph. Symbolic dims stay symbols; what only a run can tell becomes `specialize` nodes.
#pragma once
#include <set>
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
  std::vector<std::pair<std::string, Type>> defaults;  // inputs that are initializers too, and were taken as constants
};

// InvalidFileError, or UnsupportedError that lists every unsupported node. An initializer that is an input too is a constant, unless its
// name is in `fed`: then it is an input of the graph.
ImportedModel import_model(const std::string& path, const std::set<std::string>& fed = {});
ImportedModel import_model(ModelProto model, const std::set<std::string>& fed = {});

// Whether the bytes may be an ONNX model (a protobuf whose first fields fit ModelProto).
bool looks_like_onnx(Bytes head);

}  // namespace bascule::onnx
