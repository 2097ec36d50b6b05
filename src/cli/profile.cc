// cli/profile.cc — `bascule profile`: where the time of a modelled run goes, by source operator, engine and step; a trace for Perfetto.
#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/session_options.h"
#include "cli/values.h"
#include "cli/weigh.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;

struct Options {
  std::string model, device, precision, output;
  InputOptions inputs;
  WeighOptions weigh;
  Limits limits;
  int rows = 20;
  Format format = Format::table;
};

ordered_json profile_json(const Options& o, const inspect::Modelled& m) {
  const auto& t = *m.timing;
  const double whole = t.total_ns > 0 ? t.total_ns : 1;
  ordered_json j;
  j["model"] = o.model;
  j["device"] = o.device;
  j["basis"] = "modelled";
  j["precision"] = info(m.program->precision).name;
  j["cores"] = m.program->cores;
  j["chips"] = m.program->chips;
  j["ranks"] = m.program->ranks;
  j["batch"] = m.batch;
  j["latency_ms"] = t.latency_ns() * 1e-6;
  j["latency_parts_ms"] = {{"chip", t.total_ns * 1e-6}, {"host", t.request_ns * 1e-6}, {"copies", t.copy_ns * 1e-6}};
  j["limiter"] = t.limiter;
  j["engines"] = engines_json(m);
  j["critical_path"] = ordered_json::array();
  for (const auto& [resource, ns] : t.limits)
    j["critical_path"].push_back({{"resource", resource}, {"ms", ns * 1e-6}, {"percent", 100 * ns / whole}});
  j["operators"] = ordered_json::array();
  for (const auto& s : inspect::times_by_source(m))
    j["operators"].push_back({{"source", s.source}, {"ms", s.ns * 1e-6}, {"percent", 100 * s.ns / whole}, {"apportioned", s.shared}});
  j["steps"] = ordered_json::array();
  for (const auto& s : inspect::roofline(m)) {
    const auto& info = m.program->steps[static_cast<size_t>(s.step)];
    j["steps"].push_back({{"step", info.name},
                          {"source", text(info.origin)},
                          {"choice", info.choice},
                          {"host", info.host.empty() ? ordered_json(nullptr) : ordered_json(info.host)},
                          {"ms", s.ns * 1e-6},
                          {"flops", s.flops},
                          {"bytes", s.bytes},
                          {"roof_flop_per_s", s.roof_flop_per_s},
                          {"of_roof", optional_json(s.achieved)}});
  }
  j["notes"] = m.notes;
  return j;
}

// By operator of the source: "MatMul 97".
std::string kinds_text(const std::vector<inspect::SourceTime>& sources, double whole_ns) {
  std::map<std::string, std::pair<int64_t, double>> kinds;
  for (const auto& s : sources) {
    auto& [count, ns] = kinds[s.source.empty() ? "(no operator)" : s.source.substr(0, s.source.find(' '))];
    ++count;
    ns += s.ns;
  }
  std::vector<std::pair<std::string, std::pair<int64_t, double>>> sorted(kinds.begin(), kinds.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.second > b.second.second; });
  Table table({"kind", "count", "time", "%"});
  for (const auto& [kind, of] : sorted)
    table.row({safe(kind), std::to_string(of.first), seconds_text(of.second * 1e-9), fixed(100 * of.second / whole_ns, 1)});
  return table.text();
}

// Steps that are the same in work and choice are one row.
std::string steps_text(const inspect::Modelled& m, int rows) {
  struct Same {
    inspect::StepPoint sum;
    int64_t count = 0;
    double achieved = 0;  // weighted by time
  };
  std::map<std::tuple<std::string, std::string, double, double>, Same> groups;
  for (const auto& s : inspect::roofline(m)) {
    const auto& step = m.program->steps[static_cast<size_t>(s.step)];
    Same& g = groups[{step.name, step.host.empty() ? step.choice : "on the host: " + step.host, s.flops, s.bytes}];
    g.sum = {s.step, g.sum.ns + s.ns, s.flops, s.bytes, s.roof_flop_per_s, std::nullopt};
    g.achieved += s.achieved.value_or(0) * s.ns;
    ++g.count;
  }
  std::vector<std::pair<std::string, Same>> sorted;
  for (const auto& [key, g] : groups) sorted.emplace_back(std::get<1>(key), g);
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.sum.ns > b.second.sum.ns; });
  Table table({"step", "count", "time", "FLOPs each", "bytes each", "FLOP/byte", "% of roof", "choice"});
  for (size_t i = 0; i < sorted.size() && i < static_cast<size_t>(rows); ++i) {
    const auto& [choice, g] = sorted[i];
    const auto& s = g.sum;
    table.row({safe(m.program->steps[static_cast<size_t>(s.step)].name, 50), std::to_string(g.count), seconds_text(s.ns * 1e-9), count_text(s.flops),
               bytes_text(s.bytes), s.bytes > 0 ? fixed(s.flops / s.bytes, 1) : "",
               s.ns > 0 && g.achieved > 0 ? fixed(100 * g.achieved / s.ns, 1) : "", safe(choice, 70)});
  }
  return table.text();
}

void print_tables(const Options& o, const inspect::Modelled& m) {
  const auto& t = *m.timing;
  const double whole = t.total_ns > 0 ? t.total_ns : 1;
  const auto percent = [&](double ns) { return fixed(100 * ns / whole, 1); };
  Table head({"modelled on " + o.device, ""});
  head.row({"latency", seconds_text(t.latency_ns() * 1e-9) + "  (chip " + seconds_text(t.total_ns * 1e-9) + ", host " +
                           seconds_text(t.request_ns * 1e-9) + ", copies " + seconds_text(t.copy_ns * 1e-9) + ")"});
  head.row({"limiter", t.limiter});
  head.row({"busy", engines_text(m)});
  std::string path;
  for (const auto& [resource, ns] : t.limits) path += (path.empty() ? "" : ", ") + resource + " " + percent(ns) + " %";
  head.row({"critical path", path});
  print(head.text() + "\n");

  const std::vector<inspect::SourceTime> by_source = inspect::times_by_source(m);
  print(kinds_text(by_source, whole) + "\n");
  Table sources({"source operator", "time", "%", ""});
  double rest_ns = 0;
  int shown = 0, hidden = 0;
  for (const auto& s : by_source) {
    if (shown < o.rows) {
      sources.row(
          {s.source.empty() ? "(no operator)" : safe(s.source), seconds_text(s.ns * 1e-9), percent(s.ns), s.shared ? "apportioned by work" : ""});
      ++shown;
    } else {
      rest_ns += s.ns;
      ++hidden;
    }
  }
  if (hidden) sources.row({std::to_string(hidden) + " others", seconds_text(rest_ns * 1e-9), percent(rest_ns), ""});
  sources.row({"all", seconds_text(t.total_ns * 1e-9), percent(t.total_ns), ""});
  print(sources.text() + "\n");
  print(steps_text(m, o.rows));
}

int profile(const Options& o) {
  const BudgetScope scope(o.limits.budget());
  const auto chip = inspect::chip_of_device(o.device);
  if (!chip) {
    device::find_device(o.device);
    fail_unsupported("profile on device '" + escaped(o.device) + "'", "a modelled chip, --device chip:NAME",
                     "a device that does not time its operators", "See bascule bench for its whole time, and bascule chips for the chips");
  }
  const inspect::Modelled m = weigh(o.model, *chip, o.precision, o.inputs, o.weigh);
  if (!o.output.empty()) {
    write_file(o.output, device::chip::perfetto(*m.program, *m.timing));
    note("trace in " + escaped(o.output) + "; open it at https://ui.perfetto.dev");
  }
  if (o.format == Format::json) print(json_text(profile_json(o, m)));
  else print_tables(o, m);
  return 0;
}

}  // namespace

void add_profile(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("profile", "Where the time goes on a modelled chip: by source operator, engine and step; a Perfetto trace");
  auto o = std::make_shared<Options>();
  verb->add_option("MODEL", o->model, "An ONNX model or StableHLO text (.mlir); its weights may be absent")->required();
  verb->add_option("--device", o->device, "A modelled chip, chip:trainium2 (see bascule chips)")->required()->type_name("NAME");
  verb->add_option("-o,--output", o->output, "File for the timeline, in Perfetto's format: one track per engine and DMA queue")->type_name("FILE");
  verb->add_option("--rows", o->rows, "Rows of each table (default: 20)")->check(CLI::Range(1, 1 << 20))->type_name("N");
  add_weigh(*verb, o->weigh);
  add_precision(*verb, o->precision);
  add_inputs(*verb, o->inputs);
  add_format(*verb, o->format);
  add_limits(*verb, o->limits);
  verb->footer(
      "Examples:\n"
      "  bascule profile bert_base.onnx --device chip:trainium2 --shape batch=8,seq=128 -o trace.json\n"
      "  bascule profile resnet50.onnx --device chip:tpu_v5e --batch 8 --format json\n"
      "Times of operators add up to the time on the chip. A step of several operators is split by their work, and says so.");
  verb->callback([&action, o] { action = [o] { return profile(*o); }; });
}

}  // namespace bascule::cli
