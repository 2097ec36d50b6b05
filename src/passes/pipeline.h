// passes/pipeline.h — the order of graph-to-graph passes (pipelines.txt) and how one is run: verified after each, dumped if asked.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace bascule::passes {

struct PassOptions {
  std::string dump_folder;             // takes NN_pass.mlir after each pass; "" for none
  int64_t fold_bytes = int64_t{1} << 28;  // most bytes of constants that folding may add in all
  std::function<bool(const Graph&, const Node&)> keeps;  // legalize: whether the device takes this composite whole
};

struct Pass {
  std::string_view name;
  std::string_view doc;                 // what is true afterwards that was not before
  bool (*run)(Graph&, const PassOptions&);  // whether anything changed
};
bool register_pass(const Pass& pass);
std::vector<Pass> passes();             // by name

// Runs the named pipeline of pipelines.txt. Regions of control operators are left to the runtime, which optimises them when it plans them.
void run_pipeline(std::string_view pipeline, Graph& g, const PassOptions& options);
void run_pass(std::string_view pass, Graph& g, const PassOptions& options = {});
inline void optimize(Graph& g, const PassOptions& options) { run_pipeline("optimize", g, options); }

}  // namespace bascule::passes
