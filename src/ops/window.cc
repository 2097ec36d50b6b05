// ops/window.cc — see window.h.
#include "ops/window.h"

namespace bascule::ops {

Ints spatial_attr(const OpView& op, std::string_view name, size_t axes, int64_t fallback, int64_t at_least, std::string_view label) {
  Ints v = op.attrs.ints(name);
  if (v.empty()) v.assign(axes, fallback);
  if (v.size() != axes) op.fail(std::to_string(axes) + " entries of " + std::string(name), std::to_string(v.size()), label);
  for (const int64_t x : v)
    if (x < at_least) op.fail(std::string(name) + " of " + std::to_string(at_least) + " or more", std::to_string(x), label);
  return v;
}

Dims spatial_dims(const OpView& op, std::string_view name, size_t axes, std::string_view label) {
  Dims v = op.attrs.dims(name);
  if (v.empty()) v.assign(axes, Dim(0));
  if (v.size() != axes) op.fail(std::to_string(axes) + " entries of " + std::string(name), std::to_string(v.size()), label);
  return v;
}

Dim window_count(const Dim& x, const WindowAxis& w) {
  const auto dilated = [](const Dim& n, int64_t d) -> Dim {
    if (n.is(0) || d == 1) return n;
    return (n - 1) * d + 1;
  };
  const Dim room = w.low + dilated(x, w.base_dilation) + w.high;
  const Dim taps = dilated(w.size, w.dilation);
  if (room.is_constant() && taps.is_constant() && (room.value() <= 0 || taps.value() > room.value())) return 0;
  return Dim::floor_div(room - taps, w.stride) + 1;
}

}  // namespace bascule::ops
