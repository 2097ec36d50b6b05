// device/chip/expand.h — operators that no engine does as they are, written with those that engines do.
#pragma once
#include <string>

#include "graph/graph.h"

namespace bascule::device::chip {

inline constexpr int64_t kMostTimeSteps = 512;  // of a recurrent layer

// lstm, gru and rnn as their time steps; dynamic slices as slices or gathers; arg_max and arg_min as folds. Sizes must be bound; whether anything
// changed.
bool expand(Graph& g);
// Why a node is none that expand replaces, "" if it is. Types may be symbolic.
std::string cannot_expand(const Graph& g, const Node& n);

}  // namespace bascule::device::chip
