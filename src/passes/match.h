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
// v before axes of extent 1 were added or stretched: through broadcast_in_dim that keeps the order of axes, reshape.
Value unbroadcast(const Graph& g, Value v);
// For each axis of v, reached from `base` by broadcasts and reshapes that add or drop extents of 1: the axis of `base`, -1 where repeated or 1.
std::optional<Ints> axis_map(const Graph& g, Value v, Value base);
// Whether v repeats `stat`, a statistic over `axes` of a value of this rank, along those axes. Each has all axes of the value, or all but `axes`.
bool repeats_along(const Graph& g, Value v, Value stat, const Ints& axes, size_t rank);

// The operands of a binary operator.
struct Pair {
  Value a, b;
};
std::optional<Pair> operands(const Graph& g, Value v, std::string_view op);

// mean over axes of a value: which value, and which axes, rising. Sums divided (or multiplied by the inverse) by the count.
struct Mean {
  Value of;
  Ints axes;
};
std::optional<Mean> mean_of(const Graph& g, Value v);

}  // namespace bascule::passes
