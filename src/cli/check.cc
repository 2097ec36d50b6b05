// cli/check.cc — `bascule check`: every operator that a device cannot run, at once, with the reason.
#include "base/error.h"
#include "cli/cli.h"
#include "cli/values.h"
#include "device/device.h"
#include "import/importer.h"
#include "passes/pipeline.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;

struct Options {
  std::string model;
  std::vector<std::string> devices;
  Format format = Format::table;
};

struct Refusal {
  std::string device, node, reason;
};

void refusals(const device::Device& d, const Graph& g, std::vector<Refusal>& out) {
  for (const Node& n : g.nodes) {
    if (n.op->control || n.op->host || n.specialization) {
      if (n.op->control)
        for (const auto& region : n.regions) refusals(d, *region, out);
      continue;  // the runtime runs these on the host, for every device
    }
    if (const device::Support s = d.supports(g, n); !s)
      out.push_back({d.info().name, std::string(n.op->name) + (n.origin ? " of " + safe(text(n.origin)) : ""), s.reason});
  }
}

int check(const Options& o) {
  std::vector<Refusal> found;
  ordered_json per_device = ordered_json::array();
  Graph graph;
  try {
    graph = import_model(o.model).graph;
    passes::optimize(graph, {});
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::unsupported) throw;
    for (const Problem& p : e.problems()) found.push_back({"every", p.where, "expected " + p.expected + ", found " + p.found + ". " + p.remedy});
  }
  if (found.empty())
    for (const std::string& name : o.devices) refusals(device::find_device(name), graph, found);
  if (o.format == Format::json) {
    ordered_json list = ordered_json::array();
    for (const Refusal& r : found) list.push_back({{"device", r.device}, {"node", r.node}, {"reason", r.reason}});
    print(json_text({{"model", o.model}, {"devices", o.devices}, {"ok", found.empty()}, {"unsupported", list}}));
  } else if (found.empty()) {
    std::string names;
    for (const std::string& d : o.devices) names += (names.empty() ? "" : ", ") + d;
    print("every operator runs on " + names + "\n");
  } else {
    Table table({"device", "operator", "reason"});
    for (const Refusal& r : found) table.row({r.device, r.node, r.reason});
    print(table.text());
  }
  return found.empty() ? 0 : 3;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("check", "Lists every operator of a model that a device cannot run; exit 3 if there is one");
  auto o = std::make_shared<Options>();
  verb->add_option("MODEL", o->model, "An ONNX model or StableHLO text (.mlir)")->required();
  verb->add_option("--on", o->devices, "Devices, separated by commas (default: cpu)")->delimiter(',')->type_name("DEVICE,...");
  add_format(*verb, o->format);
  verb->footer("Example:\n  bascule check model.onnx --on cpu,reference");
  verb->callback([&action, o] {
    if (o->devices.empty()) o->devices = {"cpu"};
    action = [o] { return check(*o); };
  });
}

}  // namespace bascule::cli
