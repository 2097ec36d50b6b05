// cli/bench.cc — `bascule bench`: latency and throughput of a loaded model, load time, memory; measured here, or modelled for a chip.
#include <optional>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/measure.h"
#include "cli/session_options.h"
#include "cli/values.h"
#include "cli/weigh.h"
#include "kernels/peak.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Options {
  SessionOptions session;
  InputOptions inputs;
  WeighOptions weigh;
  double seconds = 3;
  std::string output;
  Format format = Format::table;
};

double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

// Each file is one whole set of inputs, except NAME=FILE and lone arrays, which together make one set.
std::vector<HostValues> input_sets(const runtime::Session& session, const InputOptions& o) {
  std::vector<std::string> rest;
  std::vector<std::string> whole;
  for (const std::string& f : o.files) (f.ends_with(".npz") || f.find("test_data_set_") != std::string::npos ? whole : rest).push_back(f);
  std::vector<HostValues> sets;
  for (const std::string& f : whole) {
    std::vector<std::string> files = rest;
    files.push_back(f);
    sets.push_back(make_inputs(session.inputs(), o, files));
  }
  if (sets.empty()) sets.push_back(make_inputs(session.inputs(), o, rest));
  return sets;
}

// One deterministic figure: all percentiles are the same.
int bench_chip(const Options& o, const std::string& chip) {
  const BudgetScope scope(o.session.limits.budget());
  if (!o.output.empty())
    fail_usage("--output", "a device that runs the model", "--device chip:" + escaped(chip) + ", whose times need no answer",
               "Use bascule run for the answer in the chip's arithmetic");
  const inspect::Modelled m = weigh(o.session.model, chip, o.session.precision, o.inputs, o.weigh);
  const auto& p = *m.program;
  const auto& t = *m.timing;
  const double latency_ms = t.latency_ns() * 1e-6;
  const std::optional<double> joules = t.joules ? std::optional(*t.joules / static_cast<double>(m.batch)) : std::nullopt;
  if (o.format == Format::json) {
    ordered_json j;
    j["model"] = o.session.model;
    j["device"] = o.session.device;
    j["basis"] = "modelled";
    j["level"] = inspect::level_name(m.chip->level);
    j["precision"] = info(p.precision).name;
    j["threads"] = nullptr;
    j["cores"] = p.cores;
    j["chips"] = p.chips;
    j["ranks"] = p.ranks;
    j["spread"] = p.spread.empty() ? ordered_json(nullptr) : ordered_json(p.spread);
    j["batch"] = m.batch;
    j["symbols"] = ordered_json::object();
    for (const auto& [name, size] : m.symbols) j["symbols"][name] = size;
    j["latency_ms"] = {{"min", latency_ms}, {"p50", latency_ms}, {"p90", latency_ms}, {"p99", latency_ms}, {"mean", latency_ms}};
    j["latency_parts_ms"] = {{"chip", t.total_ns * 1e-6}, {"host", t.request_ns * 1e-6}, {"copies", t.copy_ns * 1e-6}};
    j["interval"] = nullptr;
    j["throughput_per_s"] = m.throughput_per_s();
    j["service_ms"] = m.service_ns * 1e-6;
    j["streams"] = m.streams;
    j["iterations"] = 1;
    j["load_ms"] = t.weight_load_ns * 1e-6;
    j["first_ms"] = latency_ms;
    j["peak_rss_mb"] = nullptr;
    j["limiter"] = t.limiter;
    j["engines"] = engines_json(m);
    j["utilisation"] = m.utilisation;
    j["memory_bytes"] = m.memory_bytes;
    j["capacity_bytes"] = m.capacity_bytes;
    j["fits"] = m.fits;
    j["scratchpad_bytes"] = p.scratchpad_bytes;
    j["weights_resident"] = p.weights_resident;
    j["joules_per_inference"] = optional_json(joules);
    j["energy_basis"] = t.energy_basis;
    j["error_vs_f32"] = nullptr;
    j["assumed"] = figures_json(*m.chip, true);
    j["fitted"] = figures_json(*m.chip, false);
    j["notes"] = m.notes;
    print(json_text(j));
    return 0;
  }
  Table table({"modelled on " + o.session.device, "(to the " + std::string(inspect::level_name(m.chip->level)) + ")"});
  table.row({"latency of one request", seconds_text(latency_ms * 1e-3) + "  (chip " + seconds_text(t.total_ns * 1e-9) + ", host " +
                                           seconds_text(t.request_ns * 1e-9) + ", copies " + seconds_text(t.copy_ns * 1e-9) + ")"});
  table.row({"throughput of a chip", shortest(m.throughput_per_s()) + " /s  (" + std::to_string(m.streams) + " streams of batch " +
                                         std::to_string(m.batch) + ", requests overlapping)"});
  table.row({"limiter", t.limiter});
  table.row({"busy", engines_text(m)});
  table.row({"of the cores' peak", fixed(100 * m.utilisation, 1) + " %  (matrix products, requests overlapping)"});
  table.row({"memory", bytes_text(m.memory_bytes) + " of " + bytes_text(m.capacity_bytes) + (p.weights_resident ? ", weights stay on chip" : "")});
  table.row({"load of the weights", seconds_text(t.weight_load_ns * 1e-9)});
  table.row({"energy", joules ? shortest(*joules) + " J an inference  (" + t.energy_basis + ")" : "not known: " + t.energy_basis});
  const std::string over = p.ranks > 1 ? " of " + std::to_string(p.chips) + " chip" + (p.chips > 1 ? "s" : "") + " as " + std::to_string(p.ranks) + " ranks (" + p.spread + ")" : "";
  table.row({"cores, precision", std::to_string(p.cores) + " of " + std::to_string(m.chip->cores) + over + ", " + std::string(info(p.precision).name)});
  table.row({"figures of the chip", figures_text(*m.chip)});
  print(table.text());
  return 0;
}

int bench(const Options& o) {
  if (const auto chip = inspect::chip_of_device(o.session.device)) return bench_chip(o, *chip);
  refuse_weigh(o.weigh, o.session.device);
  const auto start = Clock::now();
  const auto session = runtime::Session::load(o.session.model, o.session.options());
  const double load_ms = ms_since(start);
  const std::vector<HostValues> sets = input_sets(*session, o.inputs);
  Progress progress("bench");
  const Measured m = measure(*session, sets, o.seconds, [&](double s) { progress.update(s, o.seconds); });
  note_fallbacks(*session);
  if (!o.output.empty()) write_outputs(o.output, session->outputs(), m.answer);

  const std::vector<double>& sorted = m.times_ms;
  const double mean = m.mean_ms(), last_ms = percentile(m.last_set_ms, 0.5);
  const int threads = o.session.threads ? o.session.threads : device::find_device(o.session.device).info().cores;
  ordered_json j;
  j["model"] = o.session.model;
  j["device"] = o.session.device;
  j["basis"] = "measured";
  j["precision"] = session->options().precision;
  j["threads"] = threads;
  j["latency_ms"] = {
      {"min", sorted.front()}, {"p50", percentile(sorted, 0.5)}, {"p90", percentile(sorted, 0.9)}, {"p99", percentile(sorted, 0.99)}, {"mean", mean}};
  j["throughput_per_s"] = 1e3 / mean;
  j["iterations"] = sorted.size();
  j["input_sets"] = sets.size();
  j["load_ms"] = load_ms;
  j["first_ms"] = m.first_ms;
  j["peak_rss_mb"] = m.peak_rss_mb;  // before the yardstick takes memory of its own
  const kernels::Peak peak = kernels::measure_peak(threads);
  const std::optional<Limit> limit = limit_of(*session, sets.back(), m.answer, peak);
  const double share = limit ? 100 * limit->ms() / last_ms : 0;
  j["peak_flop_per_s"] = peak.flop_per_s;
  j["peak_bytes_per_s"] = peak.bytes_per_s;
  j["limit_ms"] = limit ? ordered_json(limit->ms()) : ordered_json(nullptr);
  j["percent_of_limit"] = limit ? ordered_json(share) : ordered_json(nullptr);
  if (o.format == Format::json) {
    print(json_text(j));
    return 0;
  }
  Table table({"measured on " + o.session.device, ""});
  table.row({"latency, median", seconds_text(percentile(sorted, 0.5) / 1e3)});
  table.row({"latency, min .. p99", seconds_text(sorted.front() / 1e3) + " .. " + seconds_text(percentile(sorted, 0.99) / 1e3)});
  table.row({"throughput", shortest(1e3 / mean) + " /s"});
  table.row({"iterations", std::to_string(sorted.size())});
  table.row({"load", seconds_text(load_ms / 1e3)});
  table.row({"first run", seconds_text(m.first_ms / 1e3)});
  table.row({"peak memory", bytes_text(m.peak_rss_mb * 1e6)});
  table.row({"of the machine's limit", limit ? fixed(share, 1) + " %  (" + seconds_text(limit->ms() / 1e3) + " at " +
                                                   shortest(peak.flop_per_s / 1e9) + " GFLOP/s, " + shortest(peak.bytes_per_s / 1e9) + " GB/s)"
                                             : "not known: the graph does not tell its work"});
  table.row({"threads, precision", std::to_string(threads) + ", " + session->options().precision});
  print(table.text());
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("bench", "Latency, throughput, load time and memory: measured here, or modelled for a chip");
  auto o = std::make_shared<Options>();
  add_session(*verb, o->session);
  add_inputs(*verb, o->inputs);
  add_weigh(*verb, o->weigh);
  verb->add_option("--seconds", o->seconds, "How long to measure (default: 3)")->check(CLI::Range(0.0, 86400.0))->type_name("S");
  verb->add_option("--output", o->output, "Write the answer of the last timed iteration, to the last of the --input files")->type_name("FILE");
  add_format(*verb, o->format);
  verb->footer(
      "Examples:\n"
      "  bascule bench model.onnx --shape input=1x3x224x224 --seconds 10\n"
      "  bascule bench model.onnx --input short.npz --input long.npz --format json\n"
      "  bascule bench model.onnx --device chip:trainium2 --shape batch=8,seq=128\n"
      "Each .npz is a whole set of inputs; iterations rotate over them. On a modelled chip nothing runs, and the weights may be absent:\n"
      "one request on the vendor's default of cores (one, if that is faster) and precision, unless --cores, --chips, --precision.");
  verb->callback([&action, o] { action = [o] { return bench(*o); }; });
}

}  // namespace bascule::cli
