// fuzz/text.cc — the StableHLO reader: any text must end in a graph, a typed error or a refusal within limits; a graph that was read prints
// to text that is read again and prints the same.
#include "graph/text/text.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "budget.h"
#include "import/stablehlo/import.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bascule;
  const BudgetScope scope(fuzz_budget());
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    (void)stablehlo::import_text(text, "fuzz");
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::internal) abort();
  }
  std::string first, second;
  try {
    first = print(parse_graph(text));
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::internal) abort();
    return 0;
  }
  try {
    second = print(parse_graph(first));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::capacity) abort();
    return 0;
  }
  if (first != second) abort();
  return 0;
}
