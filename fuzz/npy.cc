// fuzz/npy.cc — any bytes as a .npy: an array or a typed error, within 256 MiB.
#include <cstdint>

#include "base/budget.h"
#include "base/error.h"
#include "runtime/arrays.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto budget = std::make_shared<bascule::Budget>();
  budget->limit_bytes = int64_t{256} << 20;
  const bascule::BudgetScope scope(budget);
  try {
    bascule::runtime::parse_npy({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
  } catch (const bascule::Error& e) {
    if (e.kind() == bascule::ErrorKind::internal) __builtin_trap();
  }
  return 0;
}
