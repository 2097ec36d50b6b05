// fuzz/passes.cc — any text that is read as a graph: optimised, it verifies and keeps the types of its inputs and results; split over two ranks
// it verifies; within budget.h.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "budget.h"
#include "graph/text/text.h"
#include "passes/pipeline.h"
#include "passes/shard.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bascule;
  const BudgetScope scope(fuzz_budget());
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
    for (const auto split : {passes::Split::tensor, passes::Split::batch}) {
      const passes::Shards plan = passes::plan_shards(after, 2, split, {0, 32, 0});
      verify(passes::shard(after, plan, 1), "shard");
    }
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::internal) abort();
  }
  return 0;
}
