// tests/import/onnx_docs_test.cc — docs/onnx.md has a row for every registered ONNX operator, with its versions. To write the page anew:
//   BASCULE_WRITE_DOCS=FOLDER build/bascule_tests --gtest_filter=onnx_docs.*      FOLDER: unpacked ONNX backend tests
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "import/onnx/op.h"
#include "import/onnx/proto.h"

namespace bascule::onnx {
namespace {
namespace fs = std::filesystem;

const std::string kPage = std::string(BASCULE_SOURCE_DIR) + "/docs/onnx.md";

// What the cases of one operator show.
struct Tested {
  std::set<DType> types;  // of the graph inputs of cases with this operator
  std::set<std::string> cases;
};
using Key = std::pair<std::string, std::string>;

void note(const GraphProto& g, const std::string& name, const std::set<DType>& types, std::map<Key, Tested>& into) {
  for (const NodeProto& n : g.nodes) {
    Tested& t = into[{n.domain == "ai.onnx" ? "" : std::string(n.domain), std::string(n.op_type)}];
    t.types.insert(types.begin(), types.end());
    t.cases.insert(name);
    for (const AttributeProto& a : n.attributes)
      for (const GraphProto& inner : a.graphs) note(inner, name, types, into);
  }
}

std::map<Key, Tested> tested(const std::string& folder) {
  std::map<Key, Tested> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".onnx") continue;
    try {
      const ModelProto m = read_model(entry.path().string());
      std::set<DType> types;
      for (const ValueInfo& in : m.graph.inputs)
        if (const auto t = dtype_of(in.type.elem_type); t && in.type.kind == TypeProto::Kind::tensor) types.insert(*t);
      note(m.graph, entry.path().parent_path().filename().string() + "/" + entry.path().filename().string(), types, out);
    } catch (const Error&) {
    }
  }
  return out;
}

std::map<Key, std::vector<int>> registered() {
  std::map<Key, std::vector<int>> out;
  for (const Registration& r : all_ops()) out[{std::string(r.domain), std::string(r.name)}].push_back(r.since);
  return out;
}

std::string row_start(const Key& key, const std::vector<int>& versions) {
  std::string row = "| " + key.second + " | ";
  for (size_t i = 0; i < versions.size(); ++i) row += (i ? ", " : "") + std::to_string(versions[i]);
  return row + " | ";
}

std::string page(const std::string& folder) {
  std::map<Key, Tested> by_op = tested(folder);
  std::string out =
      "# ONNX operators\n\nGenerated from the table of import functions and the ONNX backend tests (tests/import/onnx_docs_test.cc says how); do not edit.\n\n"
      "*Versions*: the operator set versions in which an operator's import changed; each serves the models from that version up to the next one in the row.\n"
      "*Types*: element types of the inputs in the cases that use the operator. *Cases*: how many of ONNX's backend cases use it.\n";
  std::string domain = "-";
  for (const auto& [key, versions] : registered()) {
    if (key.first != domain) {
      domain = key.first;
      out += "\n## " + (domain.empty() ? std::string("ai.onnx") : domain) + "\n\n| operator | versions | types | cases |\n|---|---|---|---|\n";
    }
    const Tested& t = by_op[key];
    out += row_start(key, versions);
    for (DType type : t.types) out += (type == *t.types.begin() ? "" : " ") + std::string(info(type).name);
    out += " | " + (t.cases.empty() ? std::string("-") : std::to_string(t.cases.size())) + " |\n";
  }
  return out;
}

TEST(onnx_docs, page_has_every_operator_and_version) {
  if (const char* folder = std::getenv("BASCULE_WRITE_DOCS")) write_file(kPage, page(folder));
  if (!is_regular_file(kPage)) GTEST_SKIP() << kPage << " is not there";
  const std::string text = read_file(kPage);
  for (const auto& [key, versions] : registered()) EXPECT_NE(text.find("\n" + row_start(key, versions)), std::string::npos) << key.first << " " << key.second << ": docs/onnx.md is out of date";
}

}  // namespace
}  // namespace bascule::onnx
