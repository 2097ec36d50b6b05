// passes/match.h — what passes look for: producers by operator, numbers behind broadcasts, values behind added axes.
#pragma once
#include <optional>
#include <string_view>

#include "graph/builder.h"

namespace bascule::passes {

// The producer of v if it is this operator, else nullptr.
const Node* made_by(const Graph& g, Value v, std::string_view op);
// The one number that fills v: a constant with equal elements, seen through broadcasts, reshapes and conversions between float types.
std::optional<double> splat_of(const Graph& g, Value v);
// v before axes of extent 1 were added or stretched: through broadcast_in_dim, reshape.
Value unbroadcast(const Graph& g, Value v);
// Whether v, of x's dims, repeats `stat` (x's dims without the axes from `axis` on, or with them 1) along those axes.
bool repeats_along(const Graph& g, Value v, Value stat, int64_t axis);

// mean over axes [axis, rank) of a value: which value, and which axis. Sums divided (or multiplied by the inverse) by the count.
struct TrailingMean {
  Value of;
  int64_t axis = 0;
};
std::optional<TrailingMean> trailing_mean(const Graph& g, Value v);

}  // namespace bascule::passes
