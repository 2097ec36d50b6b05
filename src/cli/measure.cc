// cli/measure.cc — see the header.
#include "cli/measure.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "inspect/summary.h"

namespace bascule::cli {
namespace {
using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

double peak_rss_mb() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;  // Linux counts in KiB
}
}  // namespace

double Measured::mean_ms() const { return std::accumulate(times_ms.begin(), times_ms.end(), 0.0) / static_cast<double>(times_ms.size()); }

Measured measure(const runtime::Session& session, const std::vector<HostValues>& sets, double seconds, const std::function<void(double)>& seen) {
  Measured m;
  auto start = Clock::now();
  m.answer = session.run(sets[0]);
  m.first_ms = ms_since(start);
  for (size_t i = 1; i < sets.size(); ++i) session.run(sets[i]);  // another shape compiles anew: not timed
  const auto begin = Clock::now();
  do {  // whole rounds over the sets, so that each weighs the same
    for (const HostValues& inputs : sets) {
      start = Clock::now();
      m.answer = session.run(inputs);
      m.times_ms.push_back(ms_since(start));
      seen(ms_since(begin) / 1e3);
    }
    m.last_set_ms.push_back(m.times_ms.back());
  } while (ms_since(begin) < seconds * 1e3);
  m.peak_rss_mb = peak_rss_mb();
  std::sort(m.times_ms.begin(), m.times_ms.end());
  std::sort(m.last_set_ms.begin(), m.last_set_ms.end());
  return m;
}

double percentile(const std::vector<double>& sorted, double p) {
  const auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

std::optional<Limit> limit_of(const runtime::Session& session, const HostValues& inputs, const HostValues& outputs, const kernels::Peak& peak) {
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
  return Limit{1e3 * s.work.flops() / peak.flop_per_s, 1e3 * bytes / peak.bytes_per_s, s.work.flops()};
}

}  // namespace bascule::cli
