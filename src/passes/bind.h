// passes/bind.h — a graph whose symbols get their sizes: afterwards no type and no attribute holds a symbol that was bound.
#pragma once
#include "graph/graph.h"

namespace bascule::passes {

// substitute(), then the type rules once more: kernels and chips check nothing, and what symbols left open may contradict itself here (UsageError).
Graph bind(const Graph& g, const Bindings& sizes);

}  // namespace bascule::passes
