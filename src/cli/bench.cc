// cli/bench.cc — `bascule bench`: latency and throughput of a loaded model, load time, memory.
#include <sys/resource.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/session_options.h"
#include "cli/values.h"
#include "inspect/summary.h"
#include "kernels/peak.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Options {
  SessionOptions session;
  InputOptions inputs;
  double seconds = 3;
  std::string output;
  Format format = Format::table;
};

double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

// The value that a share p of the sorted list does not exceed.
double percentile(const std::vector<double>& sorted, double p) {
  const auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

double peak_rss_mb() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;  // Linux counts in KiB
}

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

// The least time that the machine could take for one set of inputs: its arithmetic at peak rate, or one pass over weights, inputs and
// outputs at memory's. Empty when the graph does not tell the work (control flow, sizes of the run).
std::optional<double> limit_ms(const runtime::Session& session, const HostValues& inputs, const HostValues& outputs, const kernels::Peak& peak) {
  Bindings symbols;
  double bytes = 0;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].is_tensor()) {
      bind_symbols(session.inputs()[i].type, Type::of(inputs[i]), symbols, "input");
      bytes += static_cast<double>(inputs[i].tensor().bytes());
    }
  for (const HostValue& v : outputs)
    if (v.is_tensor()) bytes += static_cast<double>(v.tensor().bytes());
  const inspect::Summary s = inspect::summarize(session.graph(), symbols);
  if (!s.notes.empty()) return std::nullopt;
  bytes += static_cast<double>(s.parameter_bytes);
  return 1e3 * std::max(s.work.flops() / peak.flop_per_s, bytes / peak.bytes_per_s);
}

int bench(const Options& o) {
  auto start = Clock::now();
  const auto session = runtime::Session::load(o.session.model, o.session.options());
  const double load_ms = ms_since(start);
  const std::vector<HostValues> sets = input_sets(*session, o.inputs);

  start = Clock::now();
  HostValues answer = session->run(sets[0]);
  const double first_ms = ms_since(start);
  for (size_t i = 1; i < sets.size(); ++i) session->run(sets[i]);  // another shape compiles anew: not timed

  // Whole rounds over the sets, so that each weighs the same.
  std::vector<double> times_ms, last_set_ms;
  Progress progress("bench");
  const auto begin = Clock::now();
  do {
    for (const HostValues& inputs : sets) {
      start = Clock::now();
      answer = session->run(inputs);
      times_ms.push_back(ms_since(start));
      progress.update(ms_since(begin) / 1e3, o.seconds);
    }
    last_set_ms.push_back(times_ms.back());
  } while (ms_since(begin) < o.seconds * 1e3);
  note_fallbacks(*session);
  if (!o.output.empty()) write_outputs(o.output, session->outputs(), answer);

  std::vector<double> sorted = times_ms;
  std::sort(sorted.begin(), sorted.end());
  const double mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / static_cast<double>(sorted.size());
  std::sort(last_set_ms.begin(), last_set_ms.end());
  const double last_ms = percentile(last_set_ms, 0.5);
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
  j["first_ms"] = first_ms;
  const double rss_mb = peak_rss_mb();  // before the yardstick takes memory of its own
  j["peak_rss_mb"] = rss_mb;
  const kernels::Peak peak = kernels::measure_peak(threads);
  const std::optional<double> limit = limit_ms(*session, sets.back(), answer, peak);
  const double share = limit ? 100 * *limit / last_ms : 0;
  j["peak_flop_per_s"] = peak.flop_per_s;
  j["peak_bytes_per_s"] = peak.bytes_per_s;
  j["limit_ms"] = limit ? ordered_json(*limit) : ordered_json(nullptr);
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
  table.row({"first run", seconds_text(first_ms / 1e3)});
  table.row({"peak memory", bytes_text(rss_mb * 1e6)});
  table.row({"of the machine's limit", limit ? fixed(share, 1) + " %  (" + seconds_text(*limit / 1e3) + " at " + shortest(peak.flop_per_s / 1e9) +
                                                   " GFLOP/s, " + shortest(peak.bytes_per_s / 1e9) + " GB/s)"
                                             : "not known: the graph does not tell its work"});
  table.row({"threads, precision", std::to_string(threads) + ", " + session->options().precision});
  print(table.text());
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("bench", "Measures latency, throughput, load time and memory");
  auto o = std::make_shared<Options>();
  add_session(*verb, o->session);
  add_inputs(*verb, o->inputs);
  verb->add_option("--seconds", o->seconds, "How long to measure (default: 3)")->check(CLI::Range(0.0, 86400.0))->type_name("S");
  verb->add_option("--output", o->output, "Write the answer of the last timed iteration, to the last of the --input files")->type_name("FILE");
  add_format(*verb, o->format);
  verb->footer(
      "Examples:\n"
      "  bascule bench model.onnx --shape input=1x3x224x224 --seconds 10\n"
      "  bascule bench model.onnx --input short.npz --input long.npz --format json\n"
      "Each .npz is a whole set of inputs; iterations rotate over them.");
  verb->callback([&action, o] { action = [o] { return bench(*o); }; });
}

}  // namespace bascule::cli
