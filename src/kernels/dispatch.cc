// kernels/dispatch.cc — which instruction set this process uses.
#include <cstdlib>
#include <cstring>

#include "kernels/table.h"

namespace bascule::kernels {
namespace {

struct Known {
  const Table* list[3];
  int count = 0;
  Known() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) list[count++] = &kAvx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) list[count++] = &kAvx2;
#endif
    list[count++] = &kBaseline;
  }
};
const Known& known() {
  static const Known k;
  return k;
}

}  // namespace

const Table* const* tables(int* count) {
  *count = known().count;
  return known().list;
}

const Table& table() {
  static const Table* chosen = [] {
    const char* wish = std::getenv("BASCULE_ISA");
    for (int i = 0; wish && i < known().count; ++i)
      if (std::strcmp(known().list[i]->isa, wish) == 0) return known().list[i];
    return known().list[0];
  }();
  return *chosen;
}

}  // namespace bascule::kernels
