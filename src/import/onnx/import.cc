// import/onnx/import.cc — the whole file: inputs, outputs, operator sets, and the main graph.
#include "import/onnx/import.h"

#include <set>

#include "base/error.h"
#include "import/onnx/graph_importer.h"

namespace bascule::onnx {

namespace {
// The declared kind and element types without sizes, which the file may have wrong.
Type loosened(Type t) {
  if (t.is_tensor()) return Type::unranked(t.dtype);
  for (Type& e : t.elements) e = loosened(std::move(e));
  return t;
}
}  // namespace

ImportedModel import_model(const std::string& path, const std::set<std::string>& fed) { return import_model(read_model(path), fed); }

ImportedModel import_model(ModelProto model, const std::set<std::string>& fed) {
  auto state = std::make_shared<ModelState>(std::move(model));
  const ModelProto& m = state->model;
  const std::string file = escaped(m.source.file);
  if (!m.has_graph) fail_file(file, "a graph", "none", "Check that this is an ONNX model");
  state->opsets = opsets_of(m.opset_imports, file);
  if (state->opsets.empty() && m.ir_version < 3) state->opsets[""] = 1;  // before IR 3 a model names no operator set
  if (state->opsets.empty()) fail_file(file, "at least one opset_import", "none", "Export the model again");

  ImportedModel out;
  Builder b(m.graph.name.empty() ? "main" : std::string(m.graph.name));
  std::vector<Problem> problems;
  GraphImporter importer(state, b, problems);
  Env& env = importer.enter(m.graph, std::make_shared<FunctionScope>());
  std::set<std::string_view> seen;
  for (const ValueInfo& in : m.graph.inputs) {
    const std::string where = file + ": input '" + escaped(in.name) + "'";
    if (in.name.empty()) fail_file(where, "a name", "none", "Export the model again");
    if (!seen.insert(in.name).second) fail_file(where, "one input of each name", "two", "Export the model again");
    if (env.initializers.count(in.name) || env.sparse_initializers.count(in.name)) {
      if (!fed.count(std::string(in.name))) {
        out.defaults.emplace_back(in.name, type_of(in.type, std::string(in.name), where));
        continue;
      }
      env.initializers.erase(in.name);
      env.sparse_initializers.erase(in.name);
    }
    env.values[in.name] = b.input(type_of(in.type, std::string(in.name), where), std::string(in.name));
  }
  std::vector<std::string_view> names;
  std::vector<std::string> output_names;
  for (const ValueInfo& o : m.graph.outputs) {
    if (o.name.empty()) fail_file(file + ": output " + std::to_string(names.size()), "a name", "none", "Export the model again");
    names.push_back(o.name);
    output_names.emplace_back(o.name);
  }
  Values outputs;
  try {
    outputs = importer.run(names);
  } catch (const NodeSkipped&) {
  }
  if (!problems.empty()) throw_problems(std::move(problems), true);
  for (size_t i = 0; i < outputs.size(); ++i) {  // of a value whose kind no operator could tell, the file's word is better than nothing
    Type& t = b.graph().at(outputs[i]).type;
    if (t.kind == Type::Kind::any) t = loosened(type_of(m.graph.outputs[i].type, "", file + ": output '" + escaped(m.graph.outputs[i].name) + "'"));
  }

  out.graph = b.finish(std::move(outputs), std::move(output_names));
  out.ir_version = m.ir_version;
  out.producer = std::string(m.producer_name) + (m.producer_version.empty() ? "" : " " + std::string(m.producer_version));
  for (const auto& [domain, version] : state->opsets) out.opsets.emplace_back(domain.empty() ? "ai.onnx" : std::string(domain), version);
  for (const StringPair& p : m.metadata) out.metadata.emplace_back(p.key, p.value);
  return out;
}

bool looks_like_onnx(Bytes head) {
  // ModelProto fields 1 (ir_version, varint) or 2, 3, 7, 8, 14, 20, 25 come first in every writer's files.
  if (head.empty()) return false;
  const int tag = std::to_integer<int>(head[0]);
  const int field = tag >> 3, wire = tag & 7;
  if (wire == 0) return field == 1 || field == 5;
  return wire == 2 && (field == 2 || field == 3 || field == 4 || field == 6 || field == 7 || field == 8 || field == 14);
}

}  // namespace bascule::onnx
