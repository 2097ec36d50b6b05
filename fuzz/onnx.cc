// fuzz/onnx.cc — any bytes as an ONNX model: a graph or a typed error, within budget.h.
#include <cstdint>

#include "base/error.h"
#include "budget.h"
#include "import/onnx/import.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const bascule::BudgetScope scope(bascule::fuzz_budget());
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
