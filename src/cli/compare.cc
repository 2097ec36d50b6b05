// cli/compare.cc — `bascule compare`: the scale. One line per chip, instance and price, the cheapest first; the cpu of this machine measured beside.
#include "inspect/compare.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/threads.h"
#include "cli/cli.h"
#include "cli/measure.h"
#include "cli/session_options.h"
#include "cli/values.h"
#include "cli/weigh.h"
#include "runtime/compare.h"

namespace bascule::cli {
namespace {
using inspect::Offer;
using nlohmann::ordered_json;

struct Options {
  std::string model, precision;
  std::vector<std::string> on;
  InputOptions inputs;
  WeighOptions weigh;
  Limits limits;
  double seconds = 1;
  int threads = 0;
  bool accuracy = false;
  Format format = Format::table;
};

struct Wanted {
  bool cpu = false;
  std::vector<std::string> chips;
};

Wanted wanted(const std::vector<std::string>& on) {
  Wanted w;
  const auto add = [&](const std::string& name) {
    if (std::find(w.chips.begin(), w.chips.end(), name) == w.chips.end()) w.chips.push_back(name);
  };
  for (const std::string& given : on) {
    if (given == "all") {
      w.cpu = true;
      for (const std::string& name : inspect::real_chips()) add(name);
    } else if (given == "cpu") {
      w.cpu = true;
    } else {
      const std::string name = inspect::chip_of_device(given).value_or(given);
      device::chip::find_chip(name);
      add(name);
    }
  }
  return w;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// The model spread over two, four ... chips of an instance when it does not fit one.
std::vector<Offer> offers_of(const inspect::ChipModel& model, const inspect::Sizes& sizes, inspect::Placement placement) {
  const device::chip::Chip* found = nullptr;
  try {
    found = &device::chip::find_chip(placement.chip);
  } catch (const Error& e) {  // a damaged chip file is a line of the table, not the end of it
    if (e.kind() != ErrorKind::invalid_file) throw;
    return {inspect::refused(placement.chip, placement, sizes.batch.value_or(1), first_line(e.what()), false)};
  }
  const device::chip::Chip& chip = *found;
  constexpr int64_t kMostLinked = 16;  // of chips that no instance groups
  int64_t most = chip.instances.empty() && chip.link ? std::min(chip.link->chips, kMostLinked) : 1;
  for (const auto& i : chip.instances) most = std::max(most, i.chips);
  if (chip.link && chip.link->chips > 0) most = std::min(most, chip.link->chips);  // one domain of links
  const int64_t batch = sizes.batch.value_or(1);
  std::string spread;  // why it is on several chips
  for (;; placement.chips *= 2) {
    std::string why;
    try {
      inspect::Modelled m = model.weigh(sizes, placement);
      if (m.fits) {
        if (!spread.empty())
          m.notes.push_back(placement.chip + ": spread over " + std::to_string(placement.chips) + " chips, since one does not hold it: " + spread);
        return inspect::offers(m, device::chip::prices());
      }
      why = "needs " + bytes_text(m.memory_bytes) + " of main memory, has " + bytes_text(m.capacity_bytes);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::usage || e.kind() == ErrorKind::invalid_file) throw;
      if (e.kind() != ErrorKind::capacity) {
        const bool too_big = !spread.empty();  // for one chip, and several cannot share it
        return {inspect::refused(placement.chip, placement, batch, too_big ? spread : first_line(e.what()), too_big)};
      }
      check_budget();
      why = first_line(e.what());
    }
    if (spread.empty()) spread = why;
    if (placement.chips * 2 > most || !chip.link) return {inspect::refused(placement.chip, placement, batch, why, true)};
  }
}

// This machine, measured.
Offer cpu_offer(const Options& o, const inspect::Sizes& sizes, int64_t absent_parameters, Progress& progress, double done, double total) {
  Offer out;
  out.chip = "cpu";
  out.instance = "this machine";
  out.basis = "measured";
  out.precision = "f32";
  out.cores_used = o.threads ? o.threads : machine_threads();
  out.batch = sizes.batch.value_or(1);
  out.cost_reason = "this machine has no price list";
  out.energy_basis = "no meter is read";
  if (absent_parameters) {
    out.reason = "the weights are absent: a model can be measured only with them";
    out.cost_reason = out.energy_basis = out.reason;
    return out;
  }
  try {
    runtime::Options options{.device = "cpu", .threads = o.threads, .memory_limit_bytes = o.limits.memory_bytes(), .time_limit_s = o.limits.time_s()};
    const auto session = runtime::Session::load(o.model, options);
    InputOptions inputs = o.inputs;
    if (const auto symbol = inspect::batch_symbol(session->inputs()); o.weigh.batch && !symbol.empty())
      inputs.shapes.push_back(symbol + "=" + std::to_string(o.weigh.batch));
    const std::vector<HostValues> sets{make_inputs(session->inputs(), inputs, inputs.files)};
    if (!sets[0].empty() && sets[0][0].is_tensor() && sets[0][0].tensor().rank() > 1) out.batch = std::max<int64_t>(1, sets[0][0].tensor().dim(0));
    const Measured m =
        measure(*session, sets, o.seconds, [&](double s) { progress.update(done + std::min(1.0, s / std::max(o.seconds, 1e-9)), total, "cpu"); });
    out.latency_ms = percentile(m.times_ms, 0.5);
    out.throughput_per_s = 1e3 * static_cast<double>(out.batch) / m.mean_ms();
    out.fits = true;
    out.memory_bytes = m.peak_rss_mb * 1e6;
    out.capacity_bytes = static_cast<double>(machine_memory_bytes());
    const kernels::Peak peak = kernels::measure_peak(static_cast<int>(out.cores_used));
    if (const auto limit = limit_of(*session, sets[0], m.answer, peak)) {
      out.limiter = limit->compute_ms > limit->memory_ms ? "compute" : "memory";
      out.utilisation = limit->flops / (*out.latency_ms * 1e-3) / peak.flop_per_s;
    }
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::usage || e.kind() == ErrorKind::invalid_file) throw;
    out.reason = out.cost_reason = out.energy_basis = first_line(e.what());
    if (e.kind() == ErrorKind::capacity) out.fits = false;
  }
  return out;
}

// The model's answers on this machine in f32, and how far a chip's arithmetic is from them.
class Accuracy {
 public:
  explicit Accuracy(const Options& o) : options_(o) {
    const auto session = load("cpu", "");
    InputOptions inputs = o.inputs;
    if (const auto symbol = inspect::batch_symbol(session->inputs()); o.weigh.batch && !symbol.empty())
      inputs.shapes.push_back(symbol + "=" + std::to_string(o.weigh.batch));
    inputs_ = make_inputs(session->inputs(), inputs, inputs.files);
    want_ = session->run(inputs_);
  }
  // max|got - want| / max|want| of the worst output.
  double error_on(const std::string& chip) const {
    const HostValues got = load("chip:" + chip, options_.precision)->run(inputs_);
    double worst = 0;
    for (size_t i = 0; i < want_.size(); ++i) worst = std::max(worst, runtime::compare(got[i], want_[i], runtime::Tolerance::relative(0)).error);
    return worst;
  }

 private:
  std::shared_ptr<runtime::Session> load(const std::string& device, const std::string& precision) const {
    runtime::Options options{.device = device,
                             .threads = options_.threads,
                             .precision = precision,
                             .memory_limit_bytes = options_.limits.memory_bytes(),
                             .time_limit_s = options_.limits.time_s()};
    return runtime::Session::load(options_.model, options);
  }
  const Options& options_;
  HostValues inputs_, want_;
};

void add_accuracy(const Options& o, int64_t absent_parameters, std::vector<Offer>& rows, Progress& progress, double done, double total) {
  if (absent_parameters)
    fail_usage("--accuracy", "a model with its weights", std::to_string(absent_parameters) + " parameters are absent",
               "Put the weights file beside the model, or leave --accuracy out");
  const Accuracy accuracy(o);
  std::map<std::string, std::optional<double>> errors;
  for (Offer& row : rows) {
    if (row.basis != "modelled" || !row.reason.empty()) continue;
    if (!errors.contains(row.chip)) {
      progress.update(done++, total, row.chip);
      try {
        errors[row.chip] = accuracy.error_on(row.chip);
      } catch (const Error& e) {
        errors[row.chip] = std::nullopt;
        note("no error against f32 for " + row.chip + ": " + safe(first_line(e.what()), 300));
      }
    }
    row.error_vs_f32 = errors[row.chip];
  }
}

ordered_json row_json(const Offer& o) {
  const auto text_or_null = [](const std::string& s) { return s.empty() ? ordered_json(nullptr) : ordered_json(s); };
  ordered_json j;
  j["chip"] = o.chip;
  j["instance"] = text_or_null(o.instance);
  j["chips"] = o.chips;
  j["cores_used"] = o.cores_used;
  j["batch"] = o.batch;
  j["basis"] = o.basis;
  j["latency_ms"] = optional_json(o.latency_ms);
  j["throughput_per_s"] = optional_json(o.throughput_per_s);
  j["usd_per_million"] = optional_json(o.usd_per_million);
  j["joules_per_inference"] = optional_json(o.joules_per_inference);
  j["fits"] = o.fits ? ordered_json(*o.fits) : ordered_json(nullptr);
  j["limiter"] = text_or_null(o.limiter);
  j["interval"] = nullptr;
  j["error_vs_f32"] = optional_json(o.error_vs_f32);
  j["level"] = text_or_null(o.level);
  j["precision"] = text_or_null(o.precision);
  j["utilisation"] = optional_json(o.utilisation);
  j["memory_bytes"] = o.memory_bytes;
  j["capacity_bytes"] = o.capacity_bytes;
  j["price_kind"] = text_or_null(o.price_kind);
  j["currency"] = text_or_null(o.currency);
  j["price_per_hour"] = optional_json(o.price_per_hour);
  j["region"] = text_or_null(o.region);
  j["price_date"] = text_or_null(o.price_date);
  j["price_source"] = text_or_null(o.price_source);
  j["cost_reason"] = text_or_null(o.cost_reason);
  j["energy_basis"] = text_or_null(o.energy_basis);
  j["reason"] = text_or_null(o.reason);
  j["notes"] = o.notes;
  return j;
}

// Three significant digits, in plain notation.
std::string three(const std::optional<double>& x) {
  if (!x) return "";
  const double a = std::abs(*x);
  return fixed(*x, a >= 100 || a == 0 ? 0 : std::clamp(2 - static_cast<int>(std::floor(std::log10(a))), 0, 9));
}

void print_table(const std::vector<Offer>& rows) {
  const bool errors = std::any_of(rows.begin(), rows.end(), [](const Offer& o) { return o.error_vs_f32.has_value(); });
  std::vector<std::string> header{"chip",          "instance", "price",     "cores",  "type",    "latency ms", "per s",
                                  "USD / million", "mJ each",  "of peak %", "memory", "limiter", "basis",      "error"};
  if (!errors) header.pop_back();
  Table table(header);
  std::string refused;
  std::map<std::string, std::string> unpriced;
  bool any_assumed = false;
  for (const Offer& o : rows) {
    if (!o.reason.empty()) {
      refused += "  " + o.chip + ": " + (o.fits && !*o.fits ? "does not fit: " : "") + safe(o.reason, 300) + "\n";
      continue;
    }
    if (!o.usd_per_million && !o.cost_reason.empty()) unpriced[o.chip] = o.cost_reason;
    const bool assumed = o.price_source.starts_with("assumed");
    any_assumed = any_assumed || assumed;
    const bool bound = o.level == inspect::level_name(device::chip::Level::roofline);
    std::vector<std::string> cells{o.chip,
                                   o.instance + (o.chips > 1 ? " (" + std::to_string(o.chips) + " chips)" : ""),
                                   o.price_kind + (assumed ? " *" : ""),
                                   std::to_string(o.cores_used),
                                   o.precision,
                                   three(o.latency_ms),
                                   three(o.throughput_per_s),
                                   three(o.usd_per_million),
                                   three(o.joules_per_inference ? std::optional(*o.joules_per_inference * 1e3) : std::nullopt),
                                   three(o.utilisation ? std::optional(*o.utilisation * 100) : std::nullopt),
                                   bytes_text(o.memory_bytes),
                                   o.limiter,
                                   o.basis + (o.level.empty() ? "" : ": " + o.level) + (bound ? ", a bound" : "")};
    if (errors) cells.push_back(o.error_vs_f32 ? fixed(*o.error_vs_f32, 5) : "");
    table.row(std::move(cells));
  }
  if (!table.empty()) print(table.text());
  if (any_assumed) print("* a price without a published source\n");
  if (!unpriced.empty()) {
    print("cost not known:\n");
    for (const auto& [chip, reason] : unpriced) print("  " + chip + ": " + reason + "\n");
  }
  if (!refused.empty()) print("cannot run it:\n" + refused);
}

int compare(const Options& o) {
  const BudgetScope scope(o.limits.budget());
  const Wanted w = wanted(o.on);
  const auto model = inspect::ChipModel::load(o.model);
  const inspect::Sizes sizes = sizes_of(*model, o.inputs, o.weigh);
  const auto count = static_cast<double>(w.chips.size());
  const double total = count * (o.accuracy ? 2 : 1) + (w.cpu ? 1 : 0);
  Progress progress("compare");
  std::vector<Offer> rows;
  if (w.cpu) rows.push_back(cpu_offer(o, sizes, model->absent_parameters(), progress, 0, total));
  double done = w.cpu ? 1 : 0;
  std::mutex mutex;
  std::vector<std::vector<Offer>> of_chips(w.chips.size());
  const auto weigh_on = [&](int64_t i) {
    const std::string& chip = w.chips[static_cast<size_t>(i)];
    of_chips[static_cast<size_t>(i)] = offers_of(*model, sizes, placement_of(chip, o.precision, o.weigh));
    const std::lock_guard lock(mutex);
    progress.update(++done, total, chip);
  };
  if (!w.chips.empty()) weigh_on(0);  // binds the sizes that all share
  parallel_for(static_cast<int64_t>(w.chips.size()) - 1, [&](int64_t i) { weigh_on(i + 1); });
  for (auto& list : of_chips)
    for (Offer& offer : list) rows.push_back(std::move(offer));
  if (o.accuracy) add_accuracy(o, model->absent_parameters(), rows, progress, done, total);
  inspect::sort_by_cost(rows);
  std::set<std::string> notes;
  for (const Offer& row : rows)
    if (row.reason.empty()) notes.insert(row.notes.begin(), row.notes.end());
  if (o.format == Format::json) {
    ordered_json list = ordered_json::array();
    for (const Offer& row : rows) list.push_back(row_json(row));
    print(json_text(list));
  } else {
    print_table(rows);
  }
  for (const std::string& n : notes) note(safe(n, 400));
  return 0;
}

}  // namespace

void add_compare(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("compare", "The scale: latency, throughput, cost and energy of a model on chips that are not here");
  auto o = std::make_shared<Options>();
  verb->add_option("MODEL", o->model, "An ONNX model or StableHLO text (.mlir); its weights may be absent")->required();
  verb->add_option("--on", o->on, "Chips, separated by commas, cpu (measured here), or all (default)")->delimiter(',')->type_name("CHIP,...");
  add_weigh(*verb, o->weigh);
  add_precision(*verb, o->precision);
  add_inputs(*verb, o->inputs);
  verb->add_flag("--accuracy", o->accuracy, "Also run the model in each chip's arithmetic, against f32 (slow; needs the weights)");
  verb->add_option("--seconds", o->seconds, "How long to measure the cpu (default: 1)")->check(CLI::Range(0.0, 86400.0))->type_name("S");
  verb->add_option("--threads", o->threads, "Threads of the cpu (default: all that the process may use)")->check(CLI::Range(0, 4096))->type_name("N");
  add_format(*verb, o->format);
  add_limits(*verb, o->limits);
  verb->footer(
      "Examples:\n"
      "  bascule compare bert_base.onnx --on all --batch 8 --shape seq=128\n"
      "  bascule compare resnet50.onnx --on cpu,inferentia2,tpu_v5e,l4 --batch 8\n"
      "  bascule compare model.onnx --on h100_sxm --precision f16 --format json\n"
      "Sorted by USD per million inferences; what has no price comes after, with the reason. Latency is one request alone on the cores shown;\n"
      "throughput is that of a whole instance whose chips all serve, requests overlapping. docs/modelling.md says what the figures mean.");
  verb->callback([&action, o] {
    if (o->on.empty()) o->on = {"all"};
    action = [o] { return compare(*o); };
  });
}

}  // namespace bascule::cli
