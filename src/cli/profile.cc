// cli/profile.cc — `bascule profile`: where the time of a modelled run goes, by source operator, engine and step; a trace for Perfetto.
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
  j["batch"] = m.batch;
  j["latency_ms"] = t.latency_ns() * 1e-6;
  j["latency_parts_ms"] = {{"chip", t.total_ns * 1e-6}, {"host", t.request_ns * 1e-6}, {"copies", t.copy_ns * 1e-6}};
  j["limiter"] = t.limiter;
  j["engines"] = engines_json(m);
  j["critical_path"] = ordered_json::array();
  for (const auto& [resource, ns] : t.limits) j["critical_path"].push_back({{"resource", resource}, {"ms", ns * 1e-6}, {"percent", 100 * ns / whole}});
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

void print_tables(const Options& o, const inspect::Modelled& m) {
  const auto& t = *m.timing;
  const double whole = t.total_ns > 0 ? t.total_ns : 1;
  const auto percent = [&](double ns) { return fixed(100 * ns / whole, 1); };
  Table head({"modelled on " + o.device, ""});
  head.row({"latency", seconds_text(t.latency_ns() * 1e-9) + "  (chip " + seconds_text(t.total_ns * 1e-9) + ", host " + seconds_text(t.request_ns * 1e-9) + ", copies " +
                           seconds_text(t.copy_ns * 1e-9) + ")"});
  head.row({"limiter", t.limiter});
  head.row({"busy", engines_text(m)});
  std::string path;
  for (const auto& [resource, ns] : t.limits) path += (path.empty() ? "" : ", ") + resource + " " + percent(ns) + " %";
  head.row({"critical path", path});
  print(head.text() + "\n");

  Table sources({"source operator", "time", "%", ""});
  double rest_ns = 0;
  int shown = 0, hidden = 0;
  for (const auto& s : inspect::times_by_source(m)) {
    if (shown < o.rows) {
      sources.row({s.source.empty() ? "(no operator)" : safe(s.source), seconds_text(s.ns * 1e-9), percent(s.ns), s.shared ? "apportioned by work" : ""});
      ++shown;
    } else {
      rest_ns += s.ns;
      ++hidden;
    }
  }
  if (hidden) sources.row({std::to_string(hidden) + " others", seconds_text(rest_ns * 1e-9), percent(rest_ns), ""});
  sources.row({"all", seconds_text(t.total_ns * 1e-9), percent(t.total_ns), ""});
  print(sources.text() + "\n");

  std::vector<inspect::StepPoint> steps = inspect::roofline(m);
  std::stable_sort(steps.begin(), steps.end(), [](const auto& a, const auto& b) { return a.ns > b.ns; });
  Table roof({"step", "time", "FLOPs", "bytes", "FLOP/byte", "% of roof", "choice"});
  for (size_t i = 0; i < steps.size() && i < static_cast<size_t>(o.rows); ++i) {
    const auto& s = steps[i];
    const auto& step = m.program->steps[static_cast<size_t>(s.step)];
    roof.row({safe(step.name, 50), seconds_text(s.ns * 1e-9), count_text(s.flops), bytes_text(s.bytes), s.bytes > 0 ? fixed(s.flops / s.bytes, 1) : "",
              s.achieved ? fixed(100 * *s.achieved, 1) : "", safe(step.host.empty() ? step.choice : "on the host: " + step.host, 70)});
  }
  print(roof.text());
}

int profile(const Options& o) {
  const BudgetScope scope(o.limits.budget());
  const auto chip = inspect::chip_of_device(o.device);
  if (!chip) {
    device::find_device(o.device);
    fail_unsupported("profile on device '" + escaped(o.device) + "'", "a modelled chip, --device chip:NAME", "a device that does not time its operators",
                     "See bascule bench for its whole time, and bascule chips for the chips");
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
