// bench/chip_accuracy/gpu.cc — bf16 products above 10 us on GPUs.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>

#include "bench/chip_accuracy/mapped.h"
#include "bench/chip_accuracy/rows.h"

namespace bascule::bench {
namespace chip = device::chip;

Accuracy gpu(const Options& o) {
  Accuracy result;
  result.good = true;
  const std::vector<Row> rows = read_csv(o.shared + "/facts/published/kernels_train.csv");
  Table table({"chip", "shape", "published us", "predicted us", "error %", "limiter"}), summary({"chip", "products", "median %", "p90 %", "median of signed %"});
  for (const std::string name : {"h100_sxm", "h200_sxm", "a100_80g"}) {
    std::vector<double> errors;
    size_t met = 0;
    for (const Row& row : rows) {
      if (row.at("chip") != name || row.at("op") != "matmul" || row.at("dtype") != "bf16" || row.at("metric") != "kernel_us" || number(row, "value") <= 10) continue;
      if (!selected(o, row) || met++ % o.every != 0) continue;
      long long m = 0, n = 0, k = 0;
      if (std::sscanf(row.at("shape").c_str(), "m=%lld,n=%lld,k=%lld", &m, &n, &k) != 3) continue;
      const chip::Chip& c = chip::find_chip(name);
      const chip::Timing t = chip::simulate(c, mapped(c, linear_chain(m, k, n, DType::bf16, 1, false), {}));
      const double us = t.total_ns * 1e-3, published = number(row, "value");
      errors.push_back(std::abs(us / published - 1));
      result.errors[name].push_back(us / published - 1);
      table.row({name, row.at("shape"), fmt::format("{:.1f}", published), fmt::format("{:.1f}", us), fmt::format("{:+.1f}", (us / published - 1) * 100), t.limiter});
    }
    summary.row({name, std::to_string(errors.size()), fmt::format("{:.1f}", quantile(errors, 0.5) * 100), fmt::format("{:.1f}", quantile(errors, 0.9) * 100),
                 fmt::format("{:+.1f}", quantile(result.errors[name], 0.5) * 100)});
    result.good = result.good && quantile(errors, 0.5) <= 0.10;
  }
  result.text = (o.markdown ? "" : table.text(false) + "\n") + summary.text(o.markdown);  // hundreds of rows: documents take the summary
  return result;
}

}  // namespace bascule::bench
