// fuzz/text.cc — any bytes as a graph's text form: a graph that prints and parses to itself, or a typed error.
#include <cstdint>

#include "base/budget.h"
#include "base/error.h"
#include "graph/text/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto budget = std::make_shared<bascule::Budget>();
  budget->limit_bytes = int64_t{256} << 20;
  budget->deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  const bascule::BudgetScope scope(budget);
  try {
    const bascule::Graph graph = bascule::parse_graph({reinterpret_cast<const char*>(data), size});
    const std::string once = bascule::print(graph);
    if (bascule::print(bascule::parse_graph(once)) != once) __builtin_trap();
  } catch (const bascule::Error& e) {
    if (e.kind() == bascule::ErrorKind::internal) __builtin_trap();
  }
  return 0;
}
