// passes/resolve.h — control flow and specialised parts whose decisions are constants become straight code: branches chosen, loops unrolled. Run it
// once sizes are bound, for devices that take no control flow; what depends on values of the run is left as it is.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "graph/graph.h"

namespace bascule::passes {

inline constexpr int64_t kMostUnrolled = 200'000;  // nodes of the result

// Whether anything changed. Dead nodes stay: run `optimize`. fixed: inputs, by name, that count as these constants; they remain inputs.
// UnsupportedError: unrolling would pass kMostUnrolled nodes.
bool resolve(Graph& g, const std::map<std::string, Tensor>& fixed = {});

}  // namespace bascule::passes
