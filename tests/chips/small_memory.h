// tests/chips/small_memory.h — memories of the small chips that tests make by hand.
#pragma once
#include "device/chip/chip.h"

namespace bascule::device::chip {

inline Memory memory(const char* name, Role role, int64_t bytes, int64_t partitions, int64_t banks) {
  Memory m;
  m.name = name;
  m.role = role;
  m.bytes = bytes;
  m.partitions = partitions;
  m.banks = banks;
  return m;
}

}  // namespace bascule::device::chip
