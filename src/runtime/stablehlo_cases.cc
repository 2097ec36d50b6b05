// runtime/stablehlo_cases.cc — StableHLO's test files: split into modules, checks taken out of the text and made on the results.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "graph/evaluate.h"
#include "graph/text/parser.h"
#include "graph/text/text.h"
#include "import/stablehlo/operations.h"
#include "runtime/conformance.h"
#include "runtime/simulation.h"

namespace bascule::runtime {
namespace {

using mlir::AttributeSyntax;
using mlir::OperationSyntax;

// ---------------------------------------------------------------------------------------------------- comparison

struct Check {
  enum class Kind { equal, close, almost_equal, serialized } kind = Kind::equal;
  Value got, want;
  double tolerance = 0;                   // almost_equal: absolute
  int64_t least_ulps = 0, most_ulps = 0;  // close
  std::string where;
};

// Position of a float among all of its type, so that neighbours differ by 1; both zeros are 0.
int64_t place(DType t, const std::byte* p, int64_t i) {
  uint64_t bits = 0;
  const int width = info(t).storage_bits;
  if (width < 8) bits = static_cast<uint64_t>(load_int(width == 2 ? DType::u2 : DType::u4, p, i));
  else std::memcpy(&bits, p + i * (width / 8), static_cast<size_t>(width / 8));
  if (t == DType::f8e8m0fnu) return static_cast<int64_t>(bits);  // no sign
  const int sign_at = info(t).bits - 1;
  const auto magnitude = static_cast<int64_t>(bits & ((uint64_t{1} << sign_at) - 1));
  return (bits >> sign_at) & 1 ? -magnitude : magnitude;
}

bool reals_agree(const Check& c, DType t, const Tensor& got, const Tensor& want, int64_t i) {
  const double a = load_double(t, got.data(), i), b = load_double(t, want.data(), i);
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (!std::isfinite(a) || !std::isfinite(b)) return a == b;
  switch (c.kind) {
    case Check::Kind::equal:
    case Check::Kind::serialized: return a == b;
    case Check::Kind::almost_equal: return std::fabs(a - b) <= c.tolerance;
    case Check::Kind::close: {
      const int64_t x = place(t, got.data(), i), y = place(t, want.data(), i);
      int64_t d = 0;
      if (__builtin_sub_overflow(x, y, &d)) return false;
      d = d < 0 ? -d : d;
      return d >= c.least_ulps && d <= c.most_ulps;
    }
  }
  return false;
}

// "" or the first difference.
std::string difference(const Check& c, const HostValue& got_value, const HostValue& want_value) {
  if (!got_value.is_tensor() || !want_value.is_tensor()) return "a value that is no tensor";
  const Tensor& got = got_value.tensor();
  Tensor want = want_value.tensor();
  if (c.kind == Check::Kind::serialized) {
    Builder b;
    b.fold = false;
    want = parse_graph(print(b.finish({b.constant(want)}))).nodes.at(0).attrs.tensor("value");
  }
  if (got.dtype() != want.dtype() || got.dims() != want.dims()) return "expected " + want.type_text() + ", found " + got.type_text();
  const DType t = got.dtype();
  int64_t wrong = 0, first = -1;
  for (int64_t i = 0; i < got.elements(); ++i) {
    bool same = false;
    if (is_complex(t)) same = reals_agree(c, real_of(t), got, want, 2 * i) && reals_agree(c, real_of(t), got, want, 2 * i + 1);
    else if (is_float(t)) same = reals_agree(c, t, got, want, i);
    else same = got.integer(i) == want.integer(i);
    if (!same && wrong++ == 0) first = i;
  }
  if (wrong == 0) return "";
  const auto text = [&](const Tensor& x) {
    char buffer[96];
    if (is_complex(t)) std::snprintf(buffer, sizeof buffer, "(%.9g, %.9g)", x.complex(first).real(), x.complex(first).imag());
    else if (is_float(t)) std::snprintf(buffer, sizeof buffer, "%.9g", x.number(first));
    else std::snprintf(buffer, sizeof buffer, "%lld", static_cast<long long>(x.integer(first)));
    return std::string(buffer);
  };
  return "element " + std::to_string(first) + " of " + got.type_text() + ": expected " + text(want) + ", found " + text(got) + "; " +
         std::to_string(wrong) + " of " + std::to_string(got.elements()) + " differ";
}

// ---------------------------------------------------------------------------------------------------- checks and programs in the text

class TestOperations : public stablehlo::Operations {
 public:
  std::vector<Check> checks;

  std::optional<Values> read(mlir::Reader& r, const OperationSyntax& op, const Values& operands) override {
    if (!main_) main_ = &r.builder();
    if (op.name.starts_with("check.")) return check(r, op, std::string_view(op.name).substr(6), operands);
    if (op.name == "stablehlo.custom_call")
      if (const AttributeSyntax* target = mlir::find(op.attributes, "call_target_name"); target && target->text.starts_with("check."))
        return check(r, op, std::string_view(target->text).substr(6), operands);
    if (op.name == "interpreter.print") return Values{};
    if (op.name == "interpreter.probe" && operands.size() == 1) {
      const AttributeSyntax* id = mlir::find(op.attributes, "probe_id");
      if (!id) r.fail(op.at, "a probe_id", "none");
      if (&r.builder() == main_) probes_[id->text] = operands[0];
      return operands;
    }
    if (op.name == "interpreter.run_parallel") return run_parallel(r, op, operands);
    return stablehlo::Operations::read(r, op, operands);
  }

 private:
  Values check(mlir::Reader& r, const OperationSyntax& op, std::string_view kind, Values operands) {
    // README of the tests: custom calls compare within 3 ULP or 1e-3, the check dialect within 1 ULP or 1e-4 unless it says otherwise.
    const bool custom = op.name == "stablehlo.custom_call";
    Check c;
    c.where = r.where(op.at);
    if (&r.builder() != main_) r.unsupported(op.at, "checks in the block of the function that runs", "one in a region", "Skip the case");
    if (kind == "expect_serialized_eq") {  // what the probe saw, through text and back
      const AttributeSyntax* id = mlir::find(op.attributes, "probe_id");
      const auto seen = id ? probes_.find(id->text) : probes_.end();
      if (seen == probes_.end() || operands.size() != 1)
        r.unsupported(op.at, "a probe of this name before the check, in the same block", id ? escaped(id->text) : "none", "Skip the case");
      checks.push_back({Check::Kind::serialized, operands[0], seen->second, 0, 0, 0, c.where});
      return {};
    }
    if (const AttributeSyntax* value = mlir::find(op.attributes, "value")) operands.push_back(r.builder().constant(r.tensor(*value)));
    if (operands.size() != 2) r.fail(op.at, "what was computed and what is expected", std::to_string(operands.size()) + " operands");
    c.got = operands[0];
    c.want = operands[1];
    const auto number = [&](const char* name, AttrKind k, Attr fallback) {
      const AttributeSyntax* a = mlir::find(op.attributes, name);
      return a ? r.attribute(k, *a) : fallback;
    };
    if (kind == "expect_eq" || kind == "expect_eq_const") {
      c.kind = Check::Kind::equal;
    } else if (kind == "expect_almost_eq" || kind == "expect_almost_eq_const") {
      c.kind = Check::Kind::almost_equal;
      c.tolerance = std::get<double>(number("tolerance", AttrKind::number, custom ? 1e-3 : 1e-4));
    } else if (kind == "expect_close" || kind == "expect_close_const") {
      c.kind = Check::Kind::close;
      c.most_ulps = std::get<int64_t>(number("max_ulp_difference", AttrKind::integer, int64_t{custom ? 3 : 1}));
      c.least_ulps = std::get<int64_t>(number("min_ulp_difference", AttrKind::integer, int64_t{0}));
    } else {
      r.unsupported(op.at, "expect_eq, expect_close or expect_almost_eq", "'check." + escaped(kind) + "'", "Skip the case");
    }
    checks.push_back(std::move(c));
    return {};
  }

  std::map<std::string, Value> probes_;
  const Builder* main_ = nullptr;  // of the function that runs

  // Runs the programs at once: they take constants. programs[replica][partition] names a function.
  Values run_parallel(mlir::Reader& r, const OperationSyntax& op, const Values& operands) {
    Graph before = r.builder().graph();
    before.outputs = operands;
    before.output_names.clear();
    EvalContext context;
    context.accumulate = Accumulate::element;
    if (!before.inputs.empty()) r.unsupported(op.at, "programs run from a function without arguments", "one with", "Skip the case");
    const HostValues values = evaluate(before, {}, context);

    const auto graph_of = [&](const AttributeSyntax& name) {
      const mlir::FunctionSyntax* f = r.module().function(name.text);
      if (!f) r.fail(name.at, "a function of the module", "@" + escaped(name.text));
      return std::make_shared<const Graph>(r.function(*f));
    };
    std::vector<HostValues> infeed;
    if (const AttributeSyntax* queue = mlir::find(op.attributes, "infeed"))
      for (const AttributeSyntax& f : queue->items) infeed.push_back(evaluate(*graph_of(f), {}, context));
    const AttributeSyntax* programs = mlir::find(op.attributes, "programs");
    if (!programs) r.fail(op.at, "programs", "none");
    std::vector<SimulatedProcess> processes;
    size_t next = 0;
    for (size_t replica = 0; replica < programs->items.size(); ++replica)
      for (size_t partition = 0; partition < programs->items[replica].items.size(); ++partition) {
        SimulatedProcess p{{static_cast<int64_t>(replica), static_cast<int64_t>(partition)}, graph_of(programs->items[replica].items[partition]), {}};
        for (size_t i = 0; i < p.program->inputs.size(); ++i) {
          if (next >= values.size()) r.fail(op.at, "as many operands as the programs take", std::to_string(values.size()));
          p.inputs.push_back(values[next++]);
        }
        processes.push_back(std::move(p));
      }
    Values out;
    for (const HostValues& results : simulate(processes, std::move(infeed), Accumulate::element))
      for (const HostValue& v : results) out.push_back(v.is_tensor() ? r.builder().constant(v.tensor()) : r.builder().op("after_all", {}));
    return out;
  }
};

std::vector<std::string_view> split_modules(std::string_view text) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  for (size_t p = 0; p < text.size();) {
    const size_t line = std::min(text.find('\n', p), text.size());
    if (text.substr(p, line - p).starts_with("// -----")) {
      parts.push_back(text.substr(begin, p - begin));
      begin = std::min(line + 1, text.size());
    }
    p = line + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

CaseResult run_function(std::string_view text, const mlir::ModuleSyntax& module, const mlir::FunctionSyntax& f, const std::string& file,
                        const std::string& name) {
  const auto start = std::chrono::steady_clock::now();
  CaseResult result{"", name, "pass", 0, ""};
  try {
    if (!f.body.arguments.empty())
      fail_unsupported(file, "a function without arguments", "@" + escaped(f.name) + " with " + std::to_string(f.body.arguments.size()),
                       "Skip the case: it is started by a tool with arguments");
    const mlir::Lines lines(text);
    TestOperations operations;
    mlir::ReadOptions options;
    options.file = file;
    options.positions = true;
    options.foreign = &operations;
    mlir::Reader reader(module, lines, options);
    Graph g = reader.function(f);
    for (const Check& c : operations.checks) {
      g.outputs.push_back(c.got);
      g.outputs.push_back(c.want);
    }
    g.output_names.clear();
    // Expected values were made in the element type, some (products of f16 and bf16) with a wider sum: either is right, and the note says which.
    for (const Accumulate mode : {Accumulate::element, Accumulate::exact}) {
      EvalContext context;
      context.accumulate = mode;
      const HostValues out = evaluate(g, {}, context);
      const size_t first = out.size() - 2 * operations.checks.size();
      std::string wrong;
      for (size_t i = 0; i < operations.checks.size() && wrong.empty(); ++i) {
        const std::string d = difference(operations.checks[i], out[first + 2 * i], out[first + 2 * i + 1]);
        if (!d.empty()) wrong = operations.checks[i].where + ": " + d;
      }
      if (wrong.empty()) {
        if (mode == Accumulate::exact) result.message = "sums kept wider than the element type";
        result.result = "pass";
        break;
      }
      result.result = "fail";
      if (result.message.empty()) result.message = wrong;
    }
  } catch (const Error& e) {
    result.result = "fail";
    result.message = std::string(e.kind_name()) + ": " + e.what();
  } catch (const std::exception& e) {
    result.result = "fail";
    result.message = std::string("InternalError: ") + e.what();
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace

std::vector<CaseResult> run_stablehlo_case_file(const std::string& path) {
  const auto file = MappedFile::open(path);
  const std::string_view whole(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  const size_t slash = path.rfind('/');
  const std::string file_name = escaped(slash == std::string::npos ? path : path.substr(slash + 1));
  std::vector<CaseResult> out;
  std::set<std::string> used;
  for (const std::string_view part : split_modules(whole)) {
    if (mlir::Lexer(part).at(0).kind == mlir::TokenKind::end) continue;  // comments only
    mlir::ModuleSyntax module;
    try {
      module = mlir::parse_module(part, file_name);
    } catch (const Error& e) {
      out.push_back({"", "", "fail", 0, std::string(e.kind_name()) + ": " + e.what()});
      continue;
    }
    // @main starts the others where there is one.
    const mlir::FunctionSyntax* main = module.function("main");
    for (const mlir::FunctionSyntax& f : module.functions) {
      if (main ? &f != main : f.is_private || !f.body.arguments.empty()) continue;
      // One function of a file of its own carries the file's name.
      const bool alone = main && whole.find("// -----") == std::string_view::npos;
      std::string name = alone ? "" : main && !module.name.empty() ? module.name : f.name;
      for (int k = 2; !used.insert(name).second; ++k) name = (main && !module.name.empty() ? module.name : f.name) + "#" + std::to_string(k);
      out.push_back(run_function(part, module, f, file_name, name));
    }
  }
  return out;
}

}  // namespace bascule::runtime
