// inspect/by_source.cc — the time of a modelled run by operator of the source model, and each step's place under the roofline.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "device/chip/cost.h"
#include "inspect/modelled.h"
#include "inspect/summary.h"

namespace bascule::inspect {
namespace {
using device::chip::Opcode;
using device::chip::Program;

// FLOPs, and a quarter for each byte: the split must give copies and casts a share too.
double weight(const Work& w) { return w.flops() + 0.25 * (w.bytes_read + w.bytes_written) + 1; }

// Work of each source operator over the graph; a node of several operators gives each an equal part.
std::unordered_map<std::string, double> weights_by_source(const Graph& g) {
  std::unordered_map<std::string, double> out;
  for (const Node& n : g.nodes) {
    if (!n.origin || n.origin->empty() || n.op->name == "constant" || n.op->name == "absent") continue;
    const double w = weight(work_of(g, n)) / static_cast<double>(n.origin->size());
    for (const std::string& name : *n.origin) out[name] += w;
  }
  return out;
}

}  // namespace

std::vector<SourceTime> times_by_source(const Modelled& m) {
  const Program& p = *m.program;
  const auto weights = weights_by_source(*m.graph);
  std::map<std::string, SourceTime> sums;
  const auto add = [&](const std::string& source, double ns, bool shared) {
    SourceTime& t = sums[source];
    t.source = source;
    t.ns += ns;
    t.shared = t.shared || shared;
  };
  double claimed_ns = 0;
  for (size_t i = 0; i < p.steps.size() && i < m.timing->step_ns.size(); ++i) {
    const double ns = m.timing->step_ns[i];
    claimed_ns += ns;
    const Origin& origin = p.steps[i].origin;
    if (!origin || origin->empty()) {
      add("", ns, false);
      continue;
    }
    double whole = 0;
    const auto weight_of = [&](const std::string& name) {
      const auto at = weights.find(name);
      return at == weights.end() ? 1.0 : at->second;
    };
    for (const std::string& name : *origin) whole += weight_of(name);
    for (const std::string& name : *origin) add(name, ns * weight_of(name) / whole, origin->size() > 1);
  }
  if (const double rest = m.timing->total_ns - claimed_ns; rest > 1e-6 * m.timing->total_ns) add("", rest, false);
  std::vector<SourceTime> out;
  for (auto& [name, t] : sums) out.push_back(std::move(t));
  std::stable_sort(out.begin(), out.end(), [](const SourceTime& a, const SourceTime& b) { return a.ns > b.ns; });
  return out;
}

std::vector<StepPoint> roofline(const Modelled& m) {
  const Program& p = *m.program;
  std::vector<StepPoint> out(p.steps.size());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].step = static_cast<int32_t>(i);
    out[i].ns = i < m.timing->step_ns.size() ? m.timing->step_ns[i] : 0;
    out[i].flops = p.steps[i].work.flops() * static_cast<double>(p.ranks);
  }
  const device::chip::CostModel cost(*m.chip, p, 0);
  for (const auto& instruction : p.code)
    if (instruction.step >= 0 && static_cast<size_t>(instruction.step) < out.size())
      out[static_cast<size_t>(instruction.step)].bytes += cost(instruction).main_bytes * static_cast<double>(p.ranks);
  const auto& main = m.chip->main();
  const double peak = m.chip->matrix.peak_flop_per_s(p.precision) * static_cast<double>(p.cores * p.chips),
               bytes_per_s = main.bytes_per_s * main.achieved * static_cast<double>(p.chips);
  for (StepPoint& s : out) {
    s.roof_flop_per_s = s.bytes > 0 ? std::min(peak, s.flops / s.bytes * bytes_per_s) : peak;
    if (s.ns > 0 && s.flops > 0 && s.roof_flop_per_s > 0) s.achieved = s.flops / (s.ns * 1e-9) / s.roof_flop_per_s;
  }
  return out;
}

}  // namespace bascule::inspect
