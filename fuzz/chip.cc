// fuzz/chip.cc — any bytes as a chip file: a chip whose numbers are usable, or a typed error. Also as a price list.
#include "device/chip/chip.h"

#include <cmath>
#include <cstdint>

#include "base/error.h"

namespace {

void use(const bascule::device::chip::Chip& c) {
  using namespace bascule;
  using namespace bascule::device::chip;
  const auto finite = [](double x) {
    if (!std::isfinite(x) || x < 0) __builtin_trap();
  };
  for (const auto& [type, passes] : c.matrix.passes) finite(c.peak_flop_per_s(type) / c.main().bytes_per_s);
  for (const Engine& e : c.engines)
    for (int w = 0; w < kWorkClasses; ++w)
      if (const auto r = e.rate(static_cast<WorkClass>(w), true, Width::wide)) finite(r->cycles_per_element / e.clock_hz);
  for (const Memory& m : c.memories)
    if (m.bytes <= 0 || m.bytes % (m.partitions * m.banks) != 0) __builtin_trap();
  if (c.cores <= 0 || c.default_cores > c.cores || c.name.empty() || c.name.find('/') != std::string::npos) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    use(bascule::device::chip::parse_chip(text, "/nowhere/fuzz.toml"));  // no folder: an include finds installed chips only
  } catch (const bascule::Error& e) {
    if (e.kind() == bascule::ErrorKind::internal) __builtin_trap();
  }
  try {
    bascule::device::chip::parse_prices(text, "/nowhere/fuzz.toml");
  } catch (const bascule::Error& e) {
    if (e.kind() == bascule::ErrorKind::internal) __builtin_trap();
  }
  return 0;
}
