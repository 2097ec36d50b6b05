// graph/text/text.h — a Graph as StableHLO's MLIR text, and back. One printer and one parser for imports, dumps, tests and exports.
#pragma once
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace bascule {

struct PrintOptions {
  bool generic = false;           // "stablehlo.add"(%0, %1) : (...) -> ...
  bool locations = true;          // loc(...) of origin and location; names of values that are no identifiers
  int64_t largest_constant = -1;  // constants of more elements are printed as dense_resource<__elided__>, which is not read back; -1: all
};
std::string print(const Graph& g, const PrintOptions& options = {});

struct ParseOptions {
  std::string file = "text";  // starts each message: "text:3:7"
  std::string entry = "main";
};
// The graph of function `entry`; calls are inlined. Inverse of print(): the same operators, types, names and origins.
// InvalidFileError, UnsupportedError with file:line:column.
Graph parse_graph(std::string_view text, const ParseOptions& options = {});

}  // namespace bascule
