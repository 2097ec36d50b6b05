// runtime/conformance.cc — finds cases, reads their inputs and answers, runs and compares.
#include "runtime/conformance.h"

#include <fnmatch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "import/onnx/tensor_pb.h"
#include "runtime/compare.h"

namespace bascule::runtime {
namespace fs = std::filesystem;
namespace {

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

HostValue::Kind host_kind(const Type& t) {
  switch (t.kind) {
    case Type::Kind::sequence: return HostValue::Kind::sequence;
    case Type::Kind::optional: return HostValue::Kind::optional;
    case Type::Kind::map: return HostValue::Kind::map;
    default: return HostValue::Kind::tensor;
  }
}

// Answers drawn from a generator that ONNX does not specify: their type and dims are all that can be compared.
bool has_random_answers(const std::string& name) {
  if (name.starts_with("test_bernoulli")) return true;
  return name.starts_with("test_training_dropout") && !name.starts_with("test_training_dropout_zero_ratio");
}

void require(bool ok, const std::string& message) {
  if (!ok) throw Error(ErrorKind::usage, Problem{message, "", "", ""});
}

void run_onnx(const ConformanceCase& c, const Options& options) {
  const auto model = Session::load(c.path, options);
  const Tolerance tolerance = has_random_answers(c.name) ? Tolerance::shape() : Tolerance::onnx();
  const std::string folder = folder_of(c.path);
  int sets = 0;
  for (;; ++sets) {
    const std::string set = folder + "/test_data_set_" + std::to_string(sets);
    if (!is_directory(set)) break;
    HostValues inputs;
    for (size_t i = 0; i < model->inputs().size(); ++i) {
      const std::string file = set + "/input_" + std::to_string(i) + ".pb";
      if (!exists(file) && model->inputs()[i].optional) {
        inputs.push_back(HostValue::none());
        continue;
      }
      require(exists(file), "input " + std::to_string(i) + " has no file");
      inputs.push_back(onnx::read_value_pb(file, host_kind(model->inputs()[i].type)));
    }
    const HostValues outputs = model->run(inputs);
    require(outputs.size() == model->outputs().size(),
            "got " + std::to_string(outputs.size()) + " outputs, want " + std::to_string(model->outputs().size()));
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string file = set + "/output_" + std::to_string(i) + ".pb";
      if (!exists(file)) continue;  // an optional output that the case does not check
      const HostValue want = onnx::read_value_pb(file, host_kind(model->outputs()[i].type));
      const Difference d = compare(outputs[i], want, tolerance);
      require(d.same, "set " + std::to_string(sets) + ", output " + std::to_string(i) + ": " + d.message);
    }
  }
  require(sets > 0, "no folder test_data_set_0");
}

// The one input is arange(n) / n. The weights are constant, so that outputs are nearly uniform: their differences must be right too.
void run_light(const ConformanceCase& c, const Options& options) {
  const auto model = Session::load(c.path, options);
  HostValues inputs;
  for (const Port& p : model->inputs()) {
    const Type& t = p.type;
    const auto dims = constants(t.dims);
    require(t.is_tensor() && t.dtype == DType::f32 && dims.has_value(), "an input of type " + t.text() + ", want f32 with known dims");
    Tensor x(DType::f32, *dims);
    const std::span<float> values = x.as_mutable<float>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / static_cast<float>(values.size());
    inputs.push_back(std::move(x));
  }
  const HostValues outputs = model->run(inputs);
  const std::string stem = c.path.substr(0, c.path.size() - 5);  // without ".onnx"
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor want = onnx::read_tensor_pb(stem + "_output_" + std::to_string(i) + ".pb");
    const Difference d = compare(outputs[i], want, Tolerance::onnx());
    require(d.same, "output " + std::to_string(i) + ": " + d.message);
    const Tensor& got = outputs[i].tensor();
    constexpr double kOfSpread = 0.02, kRounding = 4 * 5.96e-8;  // a spread of a few f32 steps cannot be resolved further
    double largest = 0, size = 0;
    for (int64_t k = 0; k < want.elements(); ++k) {
      largest = std::max(largest, std::abs(got.number(k) - want.number(k)));
      size = std::max(size, std::abs(want.number(k)));
    }
    // Where all expected values are equal, ours must be: their own error is the tolerance's affair.
    if (spread(want) == 0) largest = spread(got);
    require(largest <= kOfSpread * spread(want) + kRounding * size,
            "output " + std::to_string(i) + ": max|got-want| is " + std::to_string(largest / spread(want)) + " of the spread of the expected values");
  }
}

}  // namespace

std::vector<ConformanceCase> find_cases(const std::string& folder, const std::string& filter) {
  if (!is_directory(folder))
    fail_usage("conformance", "a folder of cases", "'" + escaped(folder) + "'", "Unpack the archive of cases and name its folder");
  std::vector<ConformanceCase> cases;
  std::error_code ignored;
  for (auto at = fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied, ignored);
       at != fs::recursive_directory_iterator(); at.increment(ignored)) {
    const fs::path& p = at->path();
    const fs::path parent = p.parent_path();
    if (p.filename() == "model.onnx") {
      cases.push_back({ConformanceCase::Kind::onnx, parent.parent_path().filename().string(), parent.filename().string(), p.string()});
    } else if (p.extension() == ".onnx" && exists((parent / (p.stem().string() + "_output_0.pb")).string())) {
      cases.push_back({ConformanceCase::Kind::light, parent.filename().string(), p.stem().string(), p.string()});
    } else if (p.extension() == ".mlir") {
      cases.push_back({ConformanceCase::Kind::stablehlo, parent.filename().string(), p.filename().string(), p.string()});
    }
  }
  if (cases.empty())
    fail_usage("conformance", "cases under '" + escaped(folder) + "'", "none", "Unpack the archive of cases (tar xf) and name its folder");
  if (!filter.empty())
    std::erase_if(cases, [&](const ConformanceCase& c) {
      return fnmatch(filter.c_str(), (c.suite + "/" + c.name).c_str(), 0) != 0 && fnmatch(filter.c_str(), c.name.c_str(), 0) != 0;
    });
  std::sort(cases.begin(), cases.end(),
            [](const ConformanceCase& a, const ConformanceCase& b) { return std::tie(a.suite, a.name) < std::tie(b.suite, b.name); });
  return cases;
}

std::vector<CaseResult> run_case(const ConformanceCase& c, const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  CaseResult result{c.suite, c.name, "pass", 0, ""};
  try {
    if (c.kind == ConformanceCase::Kind::stablehlo) {
      std::vector<CaseResult> results = run_stablehlo_case_file(c.path);
      for (CaseResult& r : results) {
        r.suite = c.suite;
        if (r.name.empty()) r.name = c.name;
        else if (!r.name.starts_with(c.name)) r.name = c.name + ":" + r.name;
      }
      if (!results.empty()) return results;
      fail_file(escaped(c.path), "a function that runs by itself", "none", "Name another file");
    }
    c.kind == ConformanceCase::Kind::onnx ? run_onnx(c, options) : run_light(c, options);
  } catch (const Error& e) {
    result.result = "fail";
    result.message = e.kind() == ErrorKind::usage ? e.what() : std::string(e.kind_name()) + ": " + e.what();
  } catch (const std::exception& e) {
    result.result = "fail";
    result.message = std::string("InternalError: ") + e.what();
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {result};
}

const std::string* SkipList::reason(const std::string& suite, const std::string& name) const {
  for (const Line& line : lines)
    if (fnmatch(line.pattern.c_str(), (suite + "/" + name).c_str(), 0) == 0) return &line.reason;
  return nullptr;
}

SkipList read_skip_list(const std::string& path) {
  const std::string text = read_file(path, 1 << 20);
  SkipList out;
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    line.resize(std::min(line.find('#'), line.size()));
    const size_t first = line.find_first_not_of(" \t");
    if (first == std::string::npos) continue;
    const size_t space = line.find_first_of(" \t", first);
    const size_t reason = space == std::string::npos ? space : line.find_first_not_of(" \t", space);
    if (reason == std::string::npos)
      fail_file(escaped(path) + ":" + std::to_string(number), "a case and the reason for leaving it out", "'" + escaped(line) + "'", "Write why");
    out.lines.push_back({line.substr(first, space - first), line.substr(reason, line.find_last_not_of(" \t") + 1 - reason)});
  }
  return out;
}

}  // namespace bascule::runtime
