// cli/inspect.cc — `bascule inspect`: what a model file holds and what one run of it costs.
#include "base/error.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/values.h"
#include "graph/text/text.h"
#include "import/importer.h"
#include "inspect/summary.h"
#include "passes/pipeline.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;

struct Options {
  std::string model;
  std::vector<std::string> shapes, after;
  bool graph = false;
  Format format = Format::table;
  Limits limits;
};

std::vector<runtime::Port> ports(const Graph& g, const std::vector<Value>& values, const std::vector<std::string>& names) {
  std::vector<runtime::Port> out;
  for (size_t i = 0; i < values.size(); ++i) out.push_back({i < names.size() ? names[i] : g.at(values[i]).name, g.type(values[i])});
  return out;
}

std::string counts_text(const std::map<std::string, int64_t>& counts) {
  std::vector<std::pair<int64_t, std::string>> sorted;
  for (const auto& [name, n] : counts) sorted.emplace_back(-n, name);
  std::sort(sorted.begin(), sorted.end());
  std::string out;
  for (const auto& [n, name] : sorted) out += (out.empty() ? "" : ", ") + escaped(name) + " " + std::to_string(-n);
  return out.empty() ? "none" : out;
}

ordered_json ports_json(const std::vector<runtime::Port>& list) {
  ordered_json j = ordered_json::array();
  for (const auto& p : list) j.push_back({{"name", p.name}, {"type", p.type.text()}});
  return j;
}

int inspect(const Options& o) {
  const BudgetScope scope(o.limits.budget());
  Imported model = import_model(o.model);
  for (const std::string& pass : o.after) {
    if (pass == "optimize" || pass == "device") passes::run_pipeline(pass, model.graph, {});
    else passes::run_pass(pass, model.graph);
  }
  const Graph& g = model.graph;
  if (o.graph) {
    print(bascule::print(g, {.largest_constant = 64}));
    return 0;
  }
  const std::vector<runtime::Port> inputs = ports(g, g.inputs, {}), outputs = ports(g, g.outputs, g.output_names);
  const Shapes shapes = parse_shapes(o.shapes, inputs);
  Bindings symbols = shapes.symbols;
  for (const auto& p : inputs)
    if (const auto it = shapes.inputs.find(p.name); it != shapes.inputs.end())
      bind_symbols(p.type, Type::tensor(p.type.dtype, to_dims(it->second)), symbols, "--shape of input '" + escaped(p.name) + "'");
  std::set<std::string> free;
  for (const auto& p : inputs)
    for (const Dim& d : p.type.dims) d.add_symbols(free);
  for (const auto& [name, size] : symbols) free.erase(name);
  const inspect::Summary s = inspect::summarize(g, symbols);
  const double bytes = s.work.bytes_read + s.work.bytes_written;
  if (o.format == Format::json) {
    ordered_json j;
    j["model"] = o.model;
    j["facts"] = ordered_json::object();
    for (const auto& [key, value] : model.facts) j["facts"][key] = value;
    j["inputs"] = ports_json(inputs);
    j["outputs"] = ports_json(outputs);
    j["symbols"] = ordered_json::object();
    for (const auto& [name, size] : symbols) j["symbols"][name] = size;
    for (const std::string& name : free) j["symbols"][name] = 1;
    j["source_operators"] = s.source_operators;
    j["operators"] = s.operators;
    j["parameters"] = s.parameters;
    j["parameter_bytes"] = s.parameter_bytes;
    j["absent_parameters"] = s.absent_parameters;
    j["flops"] = s.work.flops();
    j["multiply_adds"] = s.work.multiply_adds;
    j["transcendentals"] = s.work.transcendentals;
    j["bytes"] = bytes;
    j["peak_activation_bytes"] = s.peak_activation_bytes;
    j["unsupported"] = ordered_json::array();
    j["notes"] = s.notes;
    print(json_text(j));
    return 0;
  }
  Table facts({"model", escaped(o.model)});
  for (const auto& [key, value] : model.facts) facts.row({escaped(key), escaped(value)});
  for (const auto& p : inputs) facts.row({"input", "'" + escaped(p.name) + "'  " + safe(p.type.text())});
  for (const auto& p : outputs) facts.row({"output", "'" + escaped(p.name) + "'  " + safe(p.type.text())});
  facts.row({"operators", counts_text(s.source_operators)});
  facts.row({"in the graph", counts_text(s.operators)});
  facts.row({"parameters", count_text(static_cast<double>(s.parameters)) + "  (" + bytes_text(static_cast<double>(s.parameter_bytes)) + ")"});
  std::string at;
  for (const auto& [name, size] : symbols) at += (at.empty() ? "" : ", ") + escaped(name) + "=" + std::to_string(size);
  for (const std::string& name : free) at += (at.empty() ? "" : ", ") + escaped(name) + "=1";
  facts.row({"one run", at.empty() ? "" : "for " + at});
  facts.row({"  FLOPs", count_text(s.work.flops()) + "  (multiply-adds " + count_text(s.work.multiply_adds) + ", transcendentals " +
                            count_text(s.work.transcendentals) + ")"});
  facts.row({"  bytes", bytes_text(bytes) + "  (operands and results of each operator, once each)"});
  facts.row({"  peak memory", bytes_text(static_cast<double>(s.peak_activation_bytes)) + "  (activations)"});
  facts.row({"unsupported", "none"});
  for (const std::string& n : s.notes) facts.row({"note", n});
  print(facts.text());
  if (!free.empty()) note("symbols without --shape count as 1");
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("inspect", "Shows inputs, outputs, operators, parameters, FLOPs and memory of a model");
  auto o = std::make_shared<Options>();
  verb->add_option("MODEL", o->model, "An ONNX model or StableHLO text (.mlir)")->required();
  verb->add_option("--shape", o->shapes, "Shapes of inputs or sizes of symbols: image=8x3x224x224,seq=128")
      ->type_name("NAME=1x128")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  verb->add_flag("--graph", o->graph, "Print the graph's text form instead (constants over 64 elements are left out)");
  verb->add_option("--after", o->after, "Show the model after this pass, or after the pipeline \"optimize\"")
      ->type_name("PASS")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_format(*verb, o->format);
  add_limits(*verb, o->limits);
  verb->footer("Examples:\n  bascule inspect model.onnx --shape batch=8,seq=128\n  bascule inspect model.onnx --graph --after optimize");
  verb->callback([&action, o] { action = [o] { return inspect(*o); }; });
}

}  // namespace bascule::cli
