// cli/run.cc — `bascule run`: one inference; prints, writes or compares its outputs.
#include "base/error.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/session_options.h"
#include "cli/values.h"
#include "runtime/compare.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;
using runtime::Difference;
using runtime::Tolerance;

struct Options {
  SessionOptions session;
  InputOptions inputs;
  std::string output, expected;
  double rtol = -1, atol = -1, tolerance = -1;
  Format format = Format::table;
};

// Deep f32 networks differ by up to 2e-3 of the largest output by the order of their sums; a rounding to 10, 7 or fewer bits adds its own.
double default_limit(const std::string& precision) { return precision == "f32" ? 2e-3 : precision == "f16" ? 2e-2 : precision == "bf16" ? 1e-1 : 3e-1; }

Tolerance tolerance_of(const Options& o, const std::string& precision) {
  if (o.rtol >= 0 || o.atol >= 0) return Tolerance::allclose(std::max(0.0, o.rtol), std::max(0.0, o.atol));
  return Tolerance::relative(o.tolerance >= 0 ? o.tolerance : default_limit(precision));
}

std::string rule_text(const Tolerance& t) {
  if (t.rule == Tolerance::Rule::allclose) return "|got-want| <= " + shortest(t.atol) + " + " + shortest(t.rtol) + " |want|";
  return "max|got-want| <= " + shortest(t.limit) + " max|want|";
}

int run(const Options& o) {
  using Clock = std::chrono::steady_clock;
  if (o.expected.empty() && (o.rtol >= 0 || o.atol >= 0 || o.tolerance >= 0))
    fail_usage("--rtol, --atol, --tolerance", "--expected FILE with them", "none", "");
  const auto start = Clock::now();
  const auto session = runtime::Session::load(o.session.model, o.session.options());
  const auto loaded = Clock::now();
  const HostValues inputs = make_inputs(session->inputs(), o.inputs, o.inputs.files);
  const auto before = Clock::now();
  const HostValues outputs = session->run(inputs);
  const double load_s = std::chrono::duration<double>(loaded - start).count(), run_s = std::chrono::duration<double>(Clock::now() - before).count();
  note_fallbacks(*session);
  const auto& ports = session->outputs();
  if (!o.output.empty()) write_outputs(o.output, ports, outputs);

  ordered_json json;
  json["model"] = o.session.model;
  json["device"] = o.session.device;
  json["precision"] = session->options().precision;
  json["load_ms"] = load_s * 1e3;
  json["run_ms"] = run_s * 1e3;
  json["outputs"] = ordered_json::array();
  Table table(o.expected.empty() ? std::vector<std::string>{"output", "type", "values"}
                                 : std::vector<std::string>{"output", "type", "error", "result"});
  const Tolerance tolerance = tolerance_of(o, session->options().precision);
  std::map<size_t, HostValue> expected;
  if (!o.expected.empty()) expected = read_expected(o.expected, ports);
  bool same = true;
  std::string messages;
  for (size_t i = 0; i < outputs.size(); ++i) {
    ordered_json j{{"name", ports[i].name}};
    j.update(value_json(outputs[i], o.expected.empty() ? 1000 : 0));
    if (o.expected.empty()) {
      table.row({escaped(ports[i].name), type_text(outputs[i]), summary_text(outputs[i])});
    } else if (const auto want = expected.find(i); want != expected.end()) {
      const Difference d = runtime::compare(outputs[i], want->second, tolerance);
      same &= d.same;
      table.row({escaped(ports[i].name), type_text(outputs[i]), shortest(d.error), d.same ? "ok" : "MISMATCH"});
      if (!d.same) messages += "output '" + escaped(ports[i].name) + "': " + d.message + "\n";
      j.erase("data");
      j["error"] = std::isfinite(d.error) ? ordered_json(d.error) : ordered_json(nullptr);
      j["ok"] = d.same;
      j["message"] = d.message;
    } else {
      table.row({escaped(ports[i].name), type_text(outputs[i]), "", "not expected"});
      j.erase("data");
    }
    json["outputs"].push_back(std::move(j));
  }
  if (!o.expected.empty()) {
    json["rule"] = rule_text(tolerance);
    json["ok"] = same;
  }
  if (o.format == Format::json) {
    print(json_text(json));
  } else {
    print(table.text());
    if (!o.expected.empty()) print("rule: " + rule_text(tolerance) + "\n");
  }
  if (!messages.empty()) note("the answer differs from " + escaped(o.expected) + "\n" + messages.substr(0, messages.size() - 1));
  return same ? 0 : 1;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("run", "Runs a model once; prints, writes or compares its outputs");
  auto o = std::make_shared<Options>();
  add_session(*verb, o->session);
  add_ranks(*verb, o->session);
  add_inputs(*verb, o->inputs);
  verb->add_option("--output", o->output, "Write the outputs to y.npz (or the only one to y.npy)")->type_name("FILE");
  verb->add_option("--expected", o->expected,
                   "Compare with e.npz (arrays NAME or out:NAME), .npy, .pb or a folder test_data_set_K; exit 1 on mismatch")
      ->type_name("FILE");
  verb->add_option("--rtol", o->rtol, "Compare elementwise: |got-want| <= atol + rtol |want|")->check(CLI::NonNegativeNumber)->type_name("R");
  verb->add_option("--atol", o->atol, "See --rtol")->check(CLI::NonNegativeNumber)->type_name("A");
  verb->add_option("--tolerance", o->tolerance, "Limit of max|got-want| / max|want| (default by precision: f32 2e-3, f16 2e-2, bf16 1e-1, 8 bits 3e-1)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("T");
  add_format(*verb, o->format);
  verb->footer(
      "Examples:\n"
      "  bascule run model.onnx                                 inputs made from the model's types\n"
      "  bascule run model.onnx --input x.npz --output y.npz\n"
      "  bascule run model.onnx --input x.npz --expected e.npz --rtol 1e-3 --atol 1e-5\n"
      "  bascule run resnet50.onnx --input image=cat.jpg --resize --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225\n"
      "  bascule run model.mlir --input 0=x.npy");
  verb->callback([&action, o] { action = [o] { return run(*o); }; });
}

}  // namespace bascule::cli
