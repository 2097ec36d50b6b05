// cli/measure.h — times of a session on this machine, and the machine's own limit: what bench and compare share.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "kernels/peak.h"
#include "runtime/session.h"

namespace bascule::cli {

struct Measured {
  std::vector<double> times_ms, last_set_ms;  // sorted; those of the last set of inputs
  double first_ms = 0, peak_rss_mb = 0;
  HostValues answer;  // of the last iteration
  double mean_ms() const;
};
// Runs the sets in whole rounds for `seconds`, after one run of each. seen(seconds so far) after every run.
Measured measure(const runtime::Session& session, const std::vector<HostValues>& sets, double seconds, const std::function<void(double)>& seen);

// The value that a share p of the sorted list does not exceed.
double percentile(const std::vector<double>& sorted, double p);

// The least time that the machine could take for one set of inputs: its arithmetic at peak rate, or one pass over weights, inputs and
// outputs at memory's.
struct Limit {
  double compute_ms = 0, memory_ms = 0, flops = 0;
  double ms() const { return compute_ms > memory_ms ? compute_ms : memory_ms; }
};
// Empty when the graph does not tell the work (control flow, sizes of the run).
std::optional<Limit> limit_of(const runtime::Session& session, const HostValues& inputs, const HostValues& outputs, const kernels::Peak& peak);

}  // namespace bascule::cli
