// bench/chip_accuracy/tpu.cc — the encoder of BERT-base in the TPU compiler's own cycles.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "bench/chip_accuracy/mapped.h"
#include "bench/chip_accuracy/rows.h"

namespace bascule::bench {
namespace chip = device::chip;

Accuracy tpu(const Options& o) {
  Accuracy result;
  struct Point {
    const Row* row;
    chip::Program program;
  };
  const std::vector<Row> rows = read_csv(o.shared + "/facts/tpu_compiler_eval.csv");
  std::map<std::string, std::vector<Point>> chips;
  for (const Row& row : rows) {
    if (!selected(o, row)) continue;
    const Graph bound = bert_encoder(std::lround(number(row, "batch")), std::lround(number(row, "seq")));
    chips[row.at("chip")].push_back({&row, mapped(chip::find_chip(row.at("chip")), bound, {.cores = 1})});
  }
  Table table({"chip", "batch", "sequence", "compiler's cycles", "predicted", "error %", "limiter"});
  const auto predict = [](const chip::Chip& c, const Point& p) {
    const chip::Timing t = chip::simulate(c, p.program);
    return std::pair(t.total_ns * number(*p.row, "clock_hz_assumed") * 1e-9, t.limiter);
  };
  for (const auto& [name, points] : chips) {
    const chip::Chip& c = chip::find_chip(name);
    for (const Point& p : points) {
      const auto [cycles, limiter] = predict(c, p);
      const double error = cycles / number(*p.row, "estimated_cycles") - 1;
      result.errors[name].push_back(error);
      table.row({name, p.row->at("batch"), p.row->at("seq"), p.row->at("estimated_cycles"), fmt::format("{:.0f}", cycles), fmt::format("{:+.1f}", error * 100), limiter});
    }
    if (!o.fit) continue;
    // The two constants that a chip may have fitted: those that make its largest error least.
    double least = INFINITY, factor = 1, operator_ns = 0;
    chip::Chip trial = c;
    for (double f = 0.6; f < 2.6; f += 0.05)
      for (double ns = 0; ns <= 6000; ns += 100) {
        trial.software.schedule_factor = f;
        trial.software.operator_ns = ns;
        double most = 0;
        for (const Point& p : points) most = std::max(most, std::abs(std::log(predict(trial, p).first / number(*p.row, "estimated_cycles"))));
        if (most < least) {
          least = most;
          factor = f;
          operator_ns = ns;
        }
      }
    result.text += fmt::format("{}: schedule_factor {:.2f} and operator_ns {:.0f} leave at most {:.1f} %\n", name, factor, operator_ns, least * 100);
  }
  const double worst = quantile(result.all_errors(), 1);
  result.text += fmt::format("{}\nlargest error {:.1f} %\n", table.text(o.markdown), worst * 100);
  result.good = worst <= 0.20;
  return result;
}

}  // namespace bascule::bench
