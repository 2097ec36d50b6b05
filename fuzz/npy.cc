// fuzz/npy.cc — any bytes as a .npy: an array or a typed error, within budget.h.
#include <cstdint>

#include "base/error.h"
#include "budget.h"
#include "runtime/arrays.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const bascule::BudgetScope scope(bascule::fuzz_budget());
  try {
    bascule::runtime::parse_npy({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
  } catch (const bascule::Error& e) {
    if (e.kind() == bascule::ErrorKind::internal) __builtin_trap();
  }
  return 0;
}
