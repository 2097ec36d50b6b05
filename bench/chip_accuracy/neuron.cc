// bench/chip_accuracy/neuron.cc — encoders and vision models on NeuronCore-v2: host latency, copy rate and schedule factor fitted on the other families.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>

#include "base/error.h"
#include "bench/chip_accuracy/mapped.h"
#include "bench/chip_accuracy/rows.h"

namespace bascule::bench {
namespace {
namespace chip = device::chip;

// Time on one core at schedule factors kLow, kLow + kStep ...
constexpr double kLow = 0.8, kStep = 0.1;
constexpr int kFactors = 13;

struct Device {
  std::vector<double> us;
  std::vector<std::string> limiter;
  double io_bytes = 0;
  double at(double k) const {
    const double x = std::clamp((k - kLow) / kStep, 0.0, kFactors - 1.0);
    const auto i = std::min(static_cast<size_t>(x), static_cast<size_t>(kFactors - 2));
    return us[i] + (us[i + 1] - us[i]) * (x - static_cast<double>(i));
  }
  const std::string& limiter_at(double k) const {
    return limiter[static_cast<size_t>(std::lround(std::clamp((k - kLow) / kStep, 0.0, kFactors - 1.0)))];
  }
};

struct Point {
  const Row* row = nullptr;
  const Device* device = nullptr;
  std::string family;
  double target_us = 0;
  bool latency = false;  // else service time: the device's alone
};

struct Fit {
  double h_us = 200, bytes_per_us = 6000, k = 1.1;
  double predict(const Point& p) const { return p.device->at(k) + (p.latency ? h_us + p.device->io_bytes / bytes_per_us : 0); }
};

// Mean over families of the mean absolute log error.
double loss(const std::vector<Point>& points, const Fit& f, const std::string& without) {
  std::map<std::string, std::pair<double, int>> families;
  for (const Point& p : points) {
    if (p.family == without) continue;
    auto& [sum, n] = families[p.family];
    sum += std::abs(std::log(f.predict(p) / p.target_us));
    ++n;
  }
  double total = 0;
  for (const auto& [name, of] : families) total += of.first / of.second;
  return total / static_cast<double>(families.size());
}

Fit fitted(const std::vector<Point>& points, const std::string& without) {
  Fit best;
  double least = INFINITY;
  const auto look = [&](double h0, double h1, double dh, double r0, double r1, double dr, double k0, double k1, double dk) {
    for (double h = h0; h <= h1; h += dh)
      for (double r = r0; r <= r1; r += dr)
        for (double k = k0; k <= k1; k += dk) {
          const Fit f{h, r, k};
          if (h < 0 || r <= 0 || k < kLow) continue;
          if (const double l = loss(points, f, without); l < least) {
            least = l;
            best = f;
          }
        }
  };
  look(0, 500, 25, 3000, 12000, 1500, kLow, 2, 0.05);
  const Fit b = best;
  look(b.h_us - 25, b.h_us + 25, 5, b.bytes_per_us - 1500, b.bytes_per_us + 1500, 500, b.k - 0.05, b.k + 0.05, 0.01);
  return best;
}

Device timed(const Row& row, const Options& o) {
  const auto begin = std::chrono::steady_clock::now();
  const chip::Chip& c = chip::find_chip(row.at("chip"));
  const Graph bound = bound_model(o.shared + "/" + row.at("graph"), row.at("shape"));
  const auto mapping = std::chrono::steady_clock::now();
  const chip::Program program = mapped(c, bound, {.cores = 1});
  const auto timing = std::chrono::steady_clock::now();
  Device d;
  for (int i = 0; i < kFactors; ++i) {
    const chip::Timing t = chip::simulate(c, program, {.schedule_factor = kLow + kStep * i});
    d.us.push_back(t.total_ns * 1e-3);
    d.limiter.push_back(t.limiter);
  }
  d.io_bytes = static_cast<double>(program.input_bytes + program.output_bytes);
  const auto done = std::chrono::steady_clock::now();
  const auto ms = [](auto a, auto b) { return std::chrono::duration<double, std::milli>(b - a).count(); };
  if (o.progress)
    fmt::print(stderr, "{} {} {}: {} instructions, {:.0f} us at factor 1; import {:.0f} ms, map {:.0f} ms, simulate {:.1f} ms\n", row.at("chip"), row.at("graph"),
               row.at("shape"), program.code.size(), d.at(1), ms(begin, mapping), ms(mapping, timing), ms(timing, done) / kFactors);
  return d;
}

}  // namespace

Accuracy neuron(const Options& o) {
  Accuracy result;
  const std::vector<Row> rows = read_csv(o.shared + "/facts/neuron_eval.csv");
  std::map<std::string, Device> devices;
  std::vector<Point> points;
  for (const Row& row : rows) {
    if (!selected(o, row)) continue;
    const std::string key = row.at("chip") + " " + row.at("graph") + " " + row.at("shape");
    try {
      if (!devices.contains(key)) devices[key] = timed(row, o);
    } catch (const Error& e) {
      result.failed.push_back(row.at("id") + " " + key + ": " + e.what());
      continue;
    }
    points.push_back({&row, &devices[key], row.at("family"), number(row, "target_ms") * 1e3, row.at("target") == "latency"});
  }
  std::map<std::string, Fit> fits;
  for (const Point& p : points)
    if (!fits.contains(p.family)) fits[p.family] = fitted(points, p.family);
  Table table({"id", "chip", "model", "batch", "target", "published ms", "predicted ms", "error %", "limiter"});
  for (const Point& p : points) {
    const Fit& f = fits[p.family];
    const double t = f.predict(p), error = t / p.target_us - 1;
    result.errors[p.row->at("chip")].push_back(error);
    table.row({p.row->at("id"), p.row->at("chip"), p.row->at("model"), p.row->at("batch"), p.row->at("target"), fmt::format("{:.3f}", p.target_us * 1e-3),
               fmt::format("{:.3f}", t * 1e-3), fmt::format("{:+.1f}", error * 100), p.device->limiter_at(f.k)});
  }
  Table folds({"family left out", "host us", "copy GB/s", "schedule factor", "error of the others %"});
  const auto fold = [&](const std::string& label, const Fit& f, const std::string& without) {
    folds.row({label, fmt::format("{:.0f}", f.h_us), fmt::format("{:.1f}", f.bytes_per_us * 1e-3), fmt::format("{:.2f}", f.k),
               fmt::format("{:.1f}", loss(points, f, without) * 100)});
  };
  for (const auto& [family, f] : fits) fold(family, f, family);
  fold("none", fitted(points, ""), "");
  const chip::Software& file = chip::find_chip("inferentia2").software;
  fold("(the chip file)", {file.request_ns * 1e-3, file.copy_bytes_per_s * 1e-6, file.schedule_factor}, "");
  const std::vector<double> errors = result.all_errors();
  const double median = quantile(errors, 0.5), p90 = quantile(errors, 0.9);
  result.text = fmt::format("{}\n{}\n{} rows: median {:.1f} %, p90 {:.1f} %, largest {:.1f} %\n", table.text(o.markdown), folds.text(o.markdown), points.size(),
                            median * 100, p90 * 100, quantile(errors, 1) * 100);
  result.good = result.failed.empty() && median <= 0.10 && p90 <= 0.25;
  return result;
}

}  // namespace bascule::bench
