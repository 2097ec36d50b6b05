// fuzz/onnx.cc — any bytes as an ONNX model: a graph or a typed error, within 256 MiB and two seconds.
#include <cstdint>

#include "base/budget.h"
#include "base/error.h"
#include "import/onnx/import.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto budget = std::make_shared<bascule::Budget>();
  budget->limit_bytes = int64_t{256} << 20;
  budget->deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  const bascule::BudgetScope scope(budget);
  try {
    bascule::onnx::Source source;
    source.file = "fuzz.onnx";
    source.bytes = {reinterpret_cast<const std::byte*>(data), size};
    const auto model = bascule::onnx::import_model(bascule::onnx::parse_model(source));
    bascule::verify(model.graph, "import");
  } catch (const bascule::Error& e) {
    if (e.kind() == bascule::ErrorKind::internal) __builtin_trap();
  }
  return 0;
}
