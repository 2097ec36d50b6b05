// bench/chip_accuracy/neuron.cc — encoders and vision models on NeuronCore-v2: host latency, copy rate and schedule factor fitted on the other families.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>
#include <set>

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

}  // namespace

bool neuron(const Options& o) {
  const std::vector<Row> rows = read_csv(o.shared + "/facts/neuron_eval.csv");
  std::map<std::string, Device> devices;
  std::vector<Point> points;
  for (const Row& row : rows) {
    const std::string key = row.at("chip") + " " + row.at("graph") + " " + row.at("shape");
    auto [at, made] = devices.try_emplace(key);
    if (made) {
      const auto begin = std::chrono::steady_clock::now();
      const chip::Chip& c = chip::find_chip(row.at("chip"));
      const Graph bound = bound_model(o.shared + "/" + row.at("graph"), row.at("shape"));
      const auto mapping = std::chrono::steady_clock::now();
      const chip::Program program = mapped(c, bound, {.cores = 1});
      const auto timing = std::chrono::steady_clock::now();
      for (int i = 0; i < kFactors; ++i) {
        const chip::Timing t = chip::simulate(c, program, {.schedule_factor = kLow + kStep * i});
        at->second.us.push_back(t.total_ns * 1e-3);
        at->second.limiter.push_back(t.limiter);
      }
      at->second.io_bytes = static_cast<double>(program.input_bytes + program.output_bytes);
      const auto done = std::chrono::steady_clock::now();
      const auto ms = [](auto a, auto b) { return std::chrono::duration<double, std::milli>(b - a).count(); };
      fmt::print(stderr, "{}: {} instructions, {:.0f} us at factor 1; import {:.0f} ms, map {:.0f} ms, simulate {:.1f} ms\n", key, program.code.size(), at->second.at(1),
                 ms(begin, mapping), ms(mapping, timing), ms(timing, done) / kFactors);
    }
    points.push_back({&row, &at->second, row.at("family"), number(row, "target_ms") * 1e3, row.at("target") == "latency"});
  }
  std::map<std::string, Fit> fits;
  for (const Point& p : points)
    if (!fits.contains(p.family)) fits[p.family] = fitted(points, p.family);
  Table table({"id", "chip", "model", "batch", "target", "published ms", "predicted ms", "error %", "limiter"});
  std::vector<double> errors;
  for (const Point& p : points) {
    const Fit& f = fits[p.family];
    const double t = f.predict(p), error = t / p.target_us - 1;
    errors.push_back(std::abs(error));
    table.row({p.row->at("id"), p.row->at("chip"), p.row->at("model"), p.row->at("batch"), p.row->at("target"), fmt::format("{:.3f}", p.target_us * 1e-3),
               fmt::format("{:.3f}", t * 1e-3), fmt::format("{:+.1f}", error * 100), p.device->limiter_at(f.k)});
  }
  fmt::print("{}\n", table.text(o.markdown));
  const Fit all = fitted(points, "");
  Table folds({"family left out", "host us", "copy GB/s", "schedule factor", "error of the others %"});
  for (const auto& [family, f] : fits)
    folds.row({family, fmt::format("{:.0f}", f.h_us), fmt::format("{:.1f}", f.bytes_per_us * 1e-3), fmt::format("{:.2f}", f.k), fmt::format("{:.1f}", loss(points, f, family) * 100)});
  folds.row({"none", fmt::format("{:.0f}", all.h_us), fmt::format("{:.1f}", all.bytes_per_us * 1e-3), fmt::format("{:.2f}", all.k), fmt::format("{:.1f}", loss(points, all, "") * 100)});
  const double median = quantile(errors, 0.5), p90 = quantile(errors, 0.9);
  fmt::print("{}\n{} rows: median {:.1f} %, p90 {:.1f} %, largest {:.1f} %\n", folds.text(o.markdown), points.size(), median * 100, p90 * 100,
             quantile(errors, 1) * 100);
  return median <= 0.10 && p90 <= 0.25;
}

}  // namespace bascule::bench
