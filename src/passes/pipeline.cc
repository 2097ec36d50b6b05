// passes/pipeline.cc — reads pipelines.txt (compiled in) and runs its passes.
#include "passes/pipeline.h"

#include <atomic>
#include <cstdio>
#include <map>
#include <sstream>

#include "base/deadline.h"
#include "base/error.h"
#include "base/file.h"
#include "graph/text/text.h"

namespace bascule::passes {
namespace {

constexpr const char* kPipelines =
#include "passes/pipelines.txt"
    ;

std::map<std::string_view, Pass>& table() {
  static std::map<std::string_view, Pass> t;
  return t;
}

}  // namespace

bool register_pass(const Pass& pass) { return table().emplace(pass.name, pass).second; }
std::vector<Pass> passes() {
  std::vector<Pass> out;
  for (const auto& [name, p] : table()) out.push_back(p);
  return out;
}

void run_pass(std::string_view name, Graph& g, const PassOptions& options) {
  const auto at = table().find(name);
  if (at == table().end()) fail_internal("pipelines.txt", "a pass of a known name", std::string(name));
  check_deadline();
  if (at->second.run(g, options)) verify(g, "pass '" + std::string(name) + "'");
}

void run_pipeline(std::string_view pipeline, Graph& g, const PassOptions& options) {
  std::istringstream lines(kPipelines);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(std::string(pipeline) + ":")) continue;
    std::istringstream words(line.substr(pipeline.size() + 1));
    for (std::string word; words >> word;) {
      run_pass(word, g, options);
      if (options.dump_folder.empty()) continue;
      static std::atomic<int> number{0};  // files sort in the order of the passes, through load and compile
      char name[64];
      std::snprintf(name, sizeof name, "/%03d_%s_%s.mlir", number.fetch_add(1), std::string(pipeline).c_str(), word.c_str());
      write_file(options.dump_folder + name, print(g, {.largest_constant = 64}));
    }
    return;
  }
  fail_internal("pipelines.txt", "a pipeline '" + std::string(pipeline) + "'", "none");
}

}  // namespace bascule::passes
