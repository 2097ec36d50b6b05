// device/chip/keys.h — the one table of what a chip file may say: key, place in the Chip, range, meaning. The reader, its errors and docs/chips.md
// come from it.
#pragma once
#include <span>
#include <variant>

#include "device/chip/chip.h"

namespace bascule::device::chip {

// least <= x <= most; least < x when `open`.
struct Range {
  double least = 0, most = 0;
  bool open = false;
  bool holds(double x) const { return x <= most && (open ? x > least : x >= least); }  // false for NaN
  std::string text() const;
};

// A text with few possible values.
template <class T>
struct Choice {
  const char* choices;                            // "ring, torus2d"
  bool (*set)(T& target, std::string_view text);  // false: none of them
  const char* fallback;
};

template <class T>
struct Field {
  const char* name;
  std::variant<double T::*, int64_t T::*, int T::*, bool T::*, std::string T::*, std::optional<double> T::*, std::map<DType, double> T::*, Choice<T>>
      member;
  Range range;
  bool required = false;
  const char* meaning;
  bool matrix_only = false;
};

// Sections: [chip], [core.NAME], [memory.NAME], [dma], [link], [arithmetic], [power], [software], [instance."NAME"].
std::span<const Field<Chip>> chip_fields();
std::span<const Field<MatrixEngine>> engine_fields();
std::span<const Field<Memory>> memory_fields();
std::span<const Field<Dma>> dma_fields();
std::span<const Field<Link>> link_fields();
std::span<const Field<Arithmetic>> arithmetic_fields();
std::span<const Field<Power>> power_fields();
std::span<const Field<Software>> software_fields();
std::span<const Field<Instance>> instance_fields();

inline constexpr Range kCyclesRange{0, 1e6, false};                           // of [core.NAME.cycles_per_element] and extra_cycles
inline constexpr Range kPassesRange{0, 1e4, false};                           // of [core.NAME.passes]
inline constexpr Range kRelativeErrorRange{0, 1, false};                      // of [arithmetic.relative_error]
inline constexpr const char* kVariants[] = {"", "_psum", "_16bit", "_8bit"};  // as Engine::rates

// Role of a memory without `role`, by its name.
std::optional<Role> role_of_name(std::string_view memory_name);
bool set_role(Memory& memory, std::string_view text);

}  // namespace bascule::device::chip
