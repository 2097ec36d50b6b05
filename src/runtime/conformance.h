// runtime/conformance.h — published test cases: found in a folder, run on a device, compared with their expected answers.
// Layouts: ONNX's backend tests (a folder with model.onnx and test_data_set_K/), its light models (NAME.onnx beside NAME_output_0.pb),
// and StableHLO's .mlir files, whose checks stand inside.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "runtime/session.h"

namespace bascule::runtime {

struct CaseResult {
  std::string suite;   // "node", "jax"
  std::string name;    // "test_add", "abs.mlir:main"
  std::string result;  // "pass", "fail", "skip"
  double seconds = 0;
  std::string message;  // why not passed; for a pass, a note or nothing
};

// One unit of work: a file or folder. A StableHLO file may hold several cases.
struct ConformanceCase {
  enum class Kind { onnx, light, stablehlo } kind = Kind::onnx;
  std::string suite;
  std::string name;
  std::string path;  // the model file
};

// All cases under `folder`, sorted by suite and name. `filter` is a shell pattern on "suite/name" ("*" matches "/" too); empty: all.
// UsageError when the folder is none or holds no case.
std::vector<ConformanceCase> find_cases(const std::string& folder, const std::string& filter);

// Runs one. Every error of the case becomes a "fail" with its text; nothing is thrown.
std::vector<CaseResult> run_case(const ConformanceCase& c, const Options& options);

// Cases known not to pass: "suite/name  reason" per line, '#' starts a comment. InvalidFileError for a line without a reason.
struct SkipList {
  struct Line {
    std::string pattern, reason;
  };
  std::vector<Line> lines;
  const std::string* reason(const std::string& suite, const std::string& name) const;  // null: not skipped
};
SkipList read_skip_list(const std::string& path);

// Every function of a .mlir test file: its checks are custom calls or operators of a `check` dialect. suite and name are filled by the callee.
std::vector<CaseResult> run_stablehlo_case_file(const std::string& path);

}  // namespace bascule::runtime
