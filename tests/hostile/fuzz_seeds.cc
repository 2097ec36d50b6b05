// tests/hostile/fuzz_seeds.cc — the files that the fuzz targets start from: every operator once, in each format. BASCULE_CORPUS=FOLDER writes
// them to FOLDER/onnx, FOLDER/text and FOLDER/npy, with the words of each format in FOLDER/NAME.dict; ./check --full does.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.h"
#include "graph/text/text.h"
#include "import/onnx/import.h"
#include "import/onnx/op.h"
#include "import/stablehlo/import.h"
#include "ops/cases.h"
#include "runtime/arrays.h"
#include "tests/support/onnx_bytes.h"

namespace bascule {
namespace {
namespace fs = std::filesystem;
using namespace bascule::test;

constexpr size_t kLargestSeed = 8192;  // bytes; longer files are mutated slowly and rarely

void write(const std::string& format, const std::string& name, const std::string& content) {
  const char* folder = std::getenv("BASCULE_CORPUS");
  if (!folder || content.size() > kLargestSeed) return;
  fs::create_directories(fs::path(folder) / format);
  std::ofstream(fs::path(folder) / format / name, std::ios::binary) << content;
}

void write_words(const std::string& format, const std::set<std::string>& words) {
  const char* folder = std::getenv("BASCULE_CORPUS");
  if (!folder) return;
  fs::create_directories(folder);
  std::ofstream out(fs::path(folder) / (format + ".dict"));
  for (const std::string& word : words) out << '"' << word << "\"\n";
}

TEST(fuzz_seeds, every_operator_is_read_as_text) {
  std::set<std::string> words = {"stablehlo.composite", "func.func", "tensor<", "dense<", "array<i64: ", "dense_resource<", "loc("};
  for (const OpDef* def : OpRegistry::all()) {
    words.insert(std::string(def->dialect) + "." + std::string(def->name));
    for (const AttrDef& a : def->attrs) words.insert(std::string(a.name));
    for (const Case& c : def->cases) {
      const std::string name = std::string(def->name) + "." + std::string(c.name);
      const Graph g = ops::make_case(*def, c, 1).graph;
      for (const bool generic : {false, true}) {
        const std::string text = print(g, {.generic = generic});
        EXPECT_EQ(print(stablehlo::import_text(text, "seed"), {.generic = generic}).empty(), false) << name;
        write("text", name + (generic ? ".generic" : ""), text);
      }
    }
  }
  write_words("text", words);
}

// One node of the operator on `count` operands of this type.
Pb one_node(const onnx::Registration& op, int type, int count, const std::vector<int64_t>& dims) {
  std::vector<std::string> names;
  std::vector<Pb> in;
  for (int k = 0; k < count; ++k) {
    names.push_back("x" + std::to_string(k));
    in.push_back(value_info(names.back(), tensor_type(type, dims)));
  }
  const Pb graph = nodes({node(op.name, names, {"y"}, "", op.domain)}) + inputs(in) + outputs({value_info("y", bytes(1, integer(1, type)))});
  Pb file = model(graph, op.domain.empty() ? op.since : 17);
  if (!op.domain.empty()) file += bytes(8, bytes(1, op.domain) + integer(2, op.since));
  return file;
}

TEST(fuzz_seeds, every_onnx_operator_is_imported_or_refused) {
  std::set<std::string> words;
  int imported = 0;
  for (const onnx::Registration& op : onnx::all_ops()) {
    words.insert(std::string(op.name));
    bool any = false;
    for (const int type : {kFloat, kInt64, kBool})
      for (const int count : {1, 2, 3, 4})
        for (const auto& dims : std::vector<std::vector<int64_t>>{{3}, {2, 3, 4, 4}, {-1, 4}}) {
          const Pb file = one_node(op, type, count, dims);
          onnx::Source source;
          source.file = "seed.onnx";
          source.bytes = std::as_bytes(std::span(file.data(), file.size()));
          try {
            onnx::import_model(onnx::parse_model(source));
          } catch (const Error& e) {
            EXPECT_NE(e.kind(), ErrorKind::internal) << op.name << ' ' << op.since << ": " << e.what();
            if (any || count > 1) continue;  // one refused file of an operator is enough
          }
          imported += !any;
          any = true;
          write("onnx", std::string(op.name) + "." + std::to_string(op.since) + "." + std::to_string(type) + "." + std::to_string(count) + "." + std::to_string(dims.size()), file);
        }
  }
  EXPECT_GT(imported, 300);
  write_words("onnx", words);
}

TEST(fuzz_seeds, every_element_type_is_read_from_an_array_file) {
  for (const DType t : {DType::i1, DType::i8, DType::u8, DType::i16, DType::u16, DType::i32, DType::u32, DType::i64, DType::u64, DType::f16, DType::bf16, DType::f32, DType::f64, DType::c64, DType::c128,
                        DType::i4, DType::f8e4m3fn}) {
    const std::string file = runtime::npy_bytes(Tensor(t, {2, 3}));
    const auto array = runtime::parse_npy(std::as_bytes(std::span(file.data(), file.size())), "seed");
    EXPECT_EQ(array.tensor.elements(), 6) << info(t).name;
    write("npy", std::string(info(t).name), file);
  }
}

}  // namespace
}  // namespace bascule
