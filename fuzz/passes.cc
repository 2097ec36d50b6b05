// fuzz/passes.cc — any text that is read as a graph: optimised, it verifies and keeps the types of its inputs and results, within 256 MiB and two seconds.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/budget.h"
#include "base/error.h"
#include "graph/text/text.h"
#include "passes/pipeline.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bascule;
  auto budget = std::make_shared<Budget>();
  budget->limit_bytes = int64_t{256} << 20;
  budget->deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  const BudgetScope scope(budget);
  try {
    const Graph before = parse_graph({reinterpret_cast<const char*>(data), size});
    Graph after = before;
    passes::optimize(after, {});
    verify(after, "optimize");
    if (after.inputs.size() != before.inputs.size() || after.outputs.size() != before.outputs.size()) abort();
    for (size_t i = 0; i < before.inputs.size(); ++i)
      if (!(after.type(after.inputs[i]) == before.type(before.inputs[i]))) abort();
    for (size_t i = 0; i < before.outputs.size(); ++i)
      if (!(after.type(after.outputs[i]) == before.type(before.outputs[i]))) abort();
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::internal) abort();
  }
  return 0;
}
