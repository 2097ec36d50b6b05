// inspect/summary.h — what a graph holds and what it costs for given shapes: operators, parameters, work, memory. Runs nothing.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "graph/op_def.h"

namespace bascule::inspect {

struct Summary {
  std::map<std::string, int64_t> source_operators;  // as the file names them: "Conv" -> 53
  std::map<std::string, int64_t> operators;         // of the graph: "convolution" -> 53
  int64_t parameters = 0;                           // elements of constants, those whose file is absent included
  int64_t parameter_bytes = 0;
  int64_t absent_parameters = 0;
  Work work;                          // of one run; a region counts once, whatever its trip count
  int64_t peak_activation_bytes = 0;  // values alive at once, inputs and outputs included, each in a buffer of its own
  std::vector<std::string> notes;     // what the figures leave out
};

// Symbols without a binding count as 1.
Summary summarize(const Graph& graph, const Bindings& symbols);

// Work of one node of the graph by its own rule, or that of its decomposition. All types static.
Work work_of(const Graph& graph, const Node& node);

}  // namespace bascule::inspect
