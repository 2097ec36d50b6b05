// fuzz/onnx.cc — any bytes as an ONNX model: read and imported, not run. Every end but a graph or a typed error of the file is a bug.
//   cmake --preset fuzz && cmake --build build-fuzz && build-fuzz/fuzz_onnx -max_total_time=1200 -rss_limit_mb=1024 -timeout=2 CORPUS
#include <chrono>
#include <cstdlib>

#include "base/budget.h"
#include "base/error.h"
#include "import/onnx/import.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bascule;
  auto budget = std::make_shared<Budget>();
  budget->limit_bytes = int64_t{256} << 20;
  budget->deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  const BudgetScope scope(budget);
  auto bytes = std::make_shared<const std::vector<std::byte>>(reinterpret_cast<const std::byte*>(data), reinterpret_cast<const std::byte*>(data) + size);
  onnx::Source source;
  source.file = "fuzz.onnx";
  source.bytes = *bytes;
  source.owner = bytes;
  try {
    const onnx::ImportedModel m = onnx::import_model(onnx::parse_model(std::move(source)));
    verify(m.graph, "import");
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::internal) std::abort();
  }
  return 0;
}
