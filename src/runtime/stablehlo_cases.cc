// runtime/stablehlo_cases.cc — StableHLO test files.
#include "base/error.h"
#include "runtime/conformance.h"

namespace bascule::runtime {

std::vector<CaseResult> run_stablehlo_case_file(const std::string& path) {
  fail_unsupported(escaped(path), "StableHLO text to be read", "no reader", "Try an ONNX case");
}

}  // namespace bascule::runtime
