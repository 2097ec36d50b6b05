// cli/check.cc — `bascule check`: every operator that a device cannot run, at once, with the reason; for modelled chips with the cost of the host's
// part.
#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/values.h"
#include "device/chip/chip.h"
#include "device/device.h"
#include "import/importer.h"
#include "inspect/host_split.h"
#include "inspect/modelled.h"
#include "passes/pipeline.h"

namespace bascule::cli {
namespace {
using inspect::HostPart;
using nlohmann::ordered_json;

struct Options {
  std::string model;
  std::vector<std::string> devices, shapes;
  Format format = Format::table;
};

struct Refusal {
  std::string device;
  HostPart part;  // of devices that are no modelled chips: operators, origin and reason
  bool costed = false;
};

constexpr std::string_view kFamily = "chip:";

// "cpu", "reference" and the like, or chip:NAME; a chip's bare name is one too.
std::vector<std::string> devices_of(const std::vector<std::string>& given) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& name) {
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  };
  for (const std::string& name : given) {
    if (name == "all") {
      add("cpu");
      for (const std::string& chip : inspect::real_chips()) add(std::string(kFamily) + chip);
    } else {
      const std::vector<std::string> others = device::device_names();
      const bool is_device = name.starts_with(kFamily) || std::find(others.begin(), others.end(), name) != others.end();
      add(is_device ? name : std::string(kFamily) + name);
    }
  }
  return out;
}

void refusals(const device::Device& d, const Graph& g, std::vector<Refusal>& out) {
  for (const Node& n : g.nodes) {
    if (n.op->control || n.op->host || n.specialization) {
      if (n.op->control)
        for (const auto& region : n.regions) refusals(d, *region, out);
      continue;  // the runtime runs these on the host, for every device
    }
    if (const device::Support s = d.supports(g, n); !s) out.push_back({d.info().name, {std::string(n.op->name), n.origin, s.reason, {}, {}, 0, {}}});
  }
}

std::string node_text(const HostPart& p) { return p.operators + (p.origin ? " of " + safe(text(p.origin)) : ""); }

// The reason without the operator's name before it, which stands in a column of its own.
std::string bare_reason(const HostPart& p) {
  const std::string prefix = p.operators.substr(0, p.operators.find(" inside ")) + ": ";
  return p.reason.starts_with(prefix) ? p.reason.substr(prefix.size()) : p.reason;
}

// The chip is asked once more after the part: request, transfers, the host's work.
std::optional<double> total_ns(const HostPart& p) {
  if (!p.transfer_ns || !p.host_ns) return std::nullopt;
  return p.request_ns + *p.transfer_ns + *p.host_ns;
}

// "cpu, chip:trainium2", "all 31 chips", "chip:l4, chip:l40s and 5 more"
std::string names_text(const std::vector<std::string>& names, const std::vector<std::string>& devices) {
  constexpr size_t kMostNamed = 3;
  const auto chips = [](const std::vector<std::string>& list) {
    return static_cast<size_t>(std::count_if(list.begin(), list.end(), [](const std::string& d) { return d.starts_with(kFamily); }));
  };
  std::string out;
  size_t named = 0, left = 0;
  const bool every_chip = chips(names) == chips(devices) && chips(names) > kMostNamed;
  for (const std::string& d : names) {
    if (every_chip && d.starts_with(kFamily)) continue;
    if (named < kMostNamed) out += (named++ ? ", " : "") + d;
    else ++left;
  }
  if (every_chip) out += (named ? " and all " : "all ") + std::to_string(chips(names)) + " chips";
  return left ? out + " and " + std::to_string(left) + " more" : out;
}

// A sum that is unknown when one of its terms is.
struct Sum {
  double value = 0;
  bool known = true;
  void operator+=(std::optional<double> x) {
    known = known && x;
    value += x.value_or(0);
  }
};

std::string span_text(const std::vector<Sum>& sums, std::string (*unit)(double), double scale, const std::string& unknown) {
  double low = 0, high = 0;
  bool any = false;
  for (const Sum& s : sums) {
    if (!s.known) continue;
    low = any ? std::min(low, s.value) : s.value;
    high = any ? std::max(high, s.value) : s.value;
    any = true;
  }
  if (!any) return unknown;
  return unit(low * scale) + (high > low * 1.05 ? " to " + unit(high * scale) : "");
}

constexpr const char* kOnlyRun = "known only in a run";
std::string time_text(const std::vector<Sum>& bytes, const std::vector<Sum>& ns) {
  const bool sizes = std::any_of(bytes.begin(), bytes.end(), [](const Sum& s) { return s.known; });
  return span_text(ns, seconds_text, 1e-9, sizes ? "the chip's file gives no link rate" : kOnlyRun);
}

// One row for each operator and reason: where it stands, on which devices, what it costs there in each run.
std::string by_operator(const std::vector<Refusal>& found, const std::vector<std::string>& devices) {
  struct Row {
    std::set<std::string> on, nodes;
    std::string first;
    std::map<std::string, Sum> bytes, ns;  // by device
    bool costed = false;
  };
  std::map<std::pair<std::string, std::string>, Row> rows;
  for (const Refusal& r : found) {
    Row& row = rows[{r.part.operators, bare_reason(r.part)}];
    row.on.insert(r.device);
    if (row.nodes.insert(node_text(r.part)).second && row.nodes.size() == 1) row.first = r.part.origin ? safe(text(r.part.origin)) : "";
    row.costed = row.costed || r.costed;
    if (!r.costed) continue;
    row.bytes[r.device] += r.part.transfer_bytes;
    row.ns[r.device] += total_ns(r.part);
  }
  Table table({"operator", "where", "on", "reason", "over the link", "more time"});
  for (const auto& [key, row] : rows) {
    const auto values = [](const std::map<std::string, Sum>& m) {
      std::vector<Sum> out;
      for (const auto& [device, sum] : m) out.push_back(sum);
      return out;
    };
    table.row({key.first, row.first + (row.nodes.size() > 1 ? " and " + std::to_string(row.nodes.size() - 1) + " more" : ""),
               names_text({row.on.begin(), row.on.end()}, devices), safe(key.second, 160),
               row.costed ? span_text(values(row.bytes), bytes_text, 1, kOnlyRun) : "",
               row.costed ? time_text(values(row.bytes), values(row.ns)) : ""});
  }
  return table.text();
}

std::string by_device(const std::vector<Refusal>& found, const std::vector<std::string>& devices) {
  std::vector<std::pair<std::vector<std::string>, std::vector<std::string>>> rows;  // what is said, of which devices
  for (const std::string& d : devices) {
    size_t count = 0;
    Sum bytes, ns;
    bool costed = false;
    for (const Refusal& r : found)
      if (r.device == d) {
        ++count;
        costed = costed || r.costed;
        bytes += r.part.transfer_bytes;
        ns += total_ns(r.part);
      }
    std::vector<std::string> cells{count ? std::to_string(count) : "none", costed ? span_text({bytes}, bytes_text, 1, kOnlyRun) : "",
                                   costed ? time_text({bytes}, {ns}) : ""};
    const auto same = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.first == cells; });
    if (same == rows.end()) rows.push_back({std::move(cells), {d}});
    else same->second.push_back(d);
  }
  Table table({"device", "operators on the host", "over the link", "more time"});
  for (const auto& [cells, names] : rows) table.row({names_text(names, devices), cells[0], cells[1], cells[2]});
  return table.text();
}

ordered_json refusals_json(const std::vector<Refusal>& found) {
  ordered_json list = ordered_json::array();
  const auto number = [](std::optional<double> x, double scale) { return x ? ordered_json(*x * scale) : ordered_json(nullptr); };
  for (const Refusal& r : found) {
    ordered_json j = {{"device", r.device}, {"operator", r.part.operators}, {"node", node_text(r.part)}, {"reason", r.part.reason}};
    if (r.costed) {
      j["transfer_bytes"] = number(r.part.transfer_bytes, 1);
      j["transfer_ms"] = number(r.part.transfer_ns, 1e-6);
      j["request_ms"] = r.part.request_ns * 1e-6;
      j["host_ms"] = number(r.part.host_ns, 1e-6);
    }
    list.push_back(std::move(j));
  }
  return list;
}

// Symbols of the inputs from --shape; the others are 1, which is said.
Bindings sizes_of(const Graph& g, const std::vector<std::string>& shapes) {
  std::vector<runtime::Port> ports;
  for (const Value v : g.inputs) ports.push_back({g.at(v).name, g.type(v), false});
  const Shapes given = parse_shapes(shapes, ports);
  Bindings symbols = given.symbols;
  for (const auto& p : ports)
    if (const auto at = given.inputs.find(p.name); at != given.inputs.end())
      bind_symbols(p.type, Type::tensor(p.type.dtype, to_dims(at->second)), symbols, "--shape of input '" + escaped(p.name) + "'");
  return symbols;
}

int check(const Options& o) {
  const std::vector<std::string> devices = devices_of(o.devices);
  std::vector<Refusal> found;
  Graph graph;
  bool imported = true;
  try {
    graph = import_model(o.model).graph;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::unsupported) throw;
    imported = false;
    for (const Problem& p : e.problems())
      found.push_back({"every", {p.where, {}, "expected " + p.expected + ", found " + p.found + ". " + p.remedy, {}, {}, 0, {}}});
  }
  Bindings symbols;
  if (imported) {
    symbols = sizes_of(graph, o.shapes);
    std::set<std::string> free;
    for (const Value v : graph.inputs) add_symbols(graph.type(v), free);
    for (const auto& [name, size] : symbols) free.erase(name);
    passes::optimize(graph, {});
    std::optional<inspect::HostSplit> split;
    for (const std::string& name : devices) {
      if (!name.starts_with(kFamily)) {
        refusals(device::find_device(name), graph, found);
        continue;
      }
      const device::chip::Chip& chip = device::chip::find_chip(name.substr(kFamily.size()));
      if (!split) {
        split.emplace(graph, symbols);
        if (!free.empty()) note("symbols without --shape count as 1");
      }
      for (HostPart& p : split->parts(chip)) found.push_back({name, std::move(p), true});
    }
  }
  if (o.format == Format::json) {
    ordered_json j = {{"model", o.model}, {"devices", devices}, {"ok", found.empty()}, {"unsupported", refusals_json(found)}};
    if (std::any_of(found.begin(), found.end(), [](const Refusal& r) { return r.costed; })) j["basis"] = "modelled";
    print(json_text(j));
  } else if (found.empty()) {
    print("every operator runs on " + names_text(devices, devices) + "\n");
  } else {
    print(by_operator(found, devices));
    if (devices.size() > 1 && imported) print("\n" + by_device(found, devices));
    if (std::any_of(found.begin(), found.end(), [](const Refusal& r) { return r.costed; }))
      note("more time: one more request to the chip, copies over the host link, and the work on a host assumed at 20 GFLOP/s and 10 GB/s; modelled");
  }
  return found.empty() ? 0 : 3;
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  CLI::App* verb =
      app.add_subcommand("check", "Lists every operator of a model that a device cannot run, and what the host's part costs; exit 3 if there is one");
  auto o = std::make_shared<Options>();
  verb->add_option("MODEL", o->model, "An ONNX model or StableHLO text (.mlir)")->required();
  verb->add_option("--on", o->devices, "Devices and modelled chips, separated by commas, or all (default: cpu)")
      ->delimiter(',')
      ->type_name("DEVICE,...");
  verb->add_option("--shape", o->shapes, "Shapes of inputs or sizes of symbols, for the costs: image=8x3x224x224,seq=128")->type_name("NAME=1x128");
  add_format(*verb, o->format);
  verb->footer(
      "Examples:\n  bascule check model.onnx --on cpu,reference\n  bascule check model.onnx --on all --shape batch=8\n  bascule check model.onnx "
      "--on chip:trainium2,chip:tpu_v5e --format json");
  verb->callback([&action, o] {
    if (o->devices.empty()) o->devices = {"cpu"};
    action = [o] { return check(*o); };
  });
}

}  // namespace bascule::cli
