// device/chip/chip.cc — questions to a chip that its file answers directly.
#include "device/chip/chip.h"

#include "base/error.h"

namespace bascule::device::chip {

const char* name(WorkClass c) {
  static constexpr const char* kNames[] = {
#define X(name) #name,
      BASCULE_WORK_CLASSES(X)
#undef X
  };
  return kNames[static_cast<size_t>(c)];
}

std::optional<ClassRate> Engine::rate(WorkClass c, bool accumulator, Width w) const {
  const auto& variants = rates[static_cast<size_t>(c)];
  const size_t wanted = accumulator ? 1 : w == Width::bits16 ? 2 : w == Width::bits8 ? 3 : 0;
  const std::optional<ClassRate>& r = variants[wanted] ? variants[wanted] : variants[0];
  return r && r->cycles_per_element > 0 ? r : std::nullopt;
}

double MatrixEngine::peak_flop_per_s(DType t) const {
  const auto at = passes.find(t);
  if (at == passes.end()) return 0;
  return 2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(units) * moving_rows_per_cycle * clock_hz / at->second;
}

namespace {
const Memory* of_role(const Chip& chip, Role role) {
  for (const Memory& m : chip.memories)
    if (m.role == role) return &m;
  return nullptr;
}
}  // namespace

const Memory& Chip::main() const {
  const Memory* m = of_role(*this, Role::main);
  if (!m) fail_internal("chip '" + escaped(name) + "'", "a main memory", "none");
  return *m;
}
const Memory* Chip::scratchpad() const { return of_role(*this, Role::scratchpad); }
const Memory* Chip::accumulator() const { return of_role(*this, Role::accumulator); }
const Memory* Chip::cache() const { return of_role(*this, Role::cache); }

const Engine* Chip::engine(std::string_view engine_name) const {
  if (matrix.name == engine_name) return &matrix;
  for (const Engine& e : engines)
    if (e.name == engine_name) return &e;
  return nullptr;
}

}  // namespace bascule::device::chip
