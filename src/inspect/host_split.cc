// inspect/host_split.cc — see host_split.h.
#include "inspect/host_split.h"

#include <algorithm>
#include <map>
#include <set>

#include "device/chip/chip.h"
#include "device/chip/map.h"
#include "device/chip/timing.h"
#include "inspect/summary.h"
#include "passes/rewrite.h"

namespace bascule::inspect {
namespace {

using namespace device::chip;

// Whether steps can be made of the whole graph: all sizes known, nothing for the runtime to decide.
bool is_one_program(const Graph& g) {
  for (const Node& n : g.nodes) {
    if (n.op->control || n.op->host || n.op->data_dependent || n.specialization) return false;
    for (const Value v : n.outputs)
      if (!g.type(v).is_tensor() || !g.type(v).is_static() || is_string(g.type(v).dtype)) return false;
  }
  return std::all_of(g.inputs.begin(), g.inputs.end(),
                     [&](Value v) { return g.type(v).is_tensor() && g.type(v).is_static() && !is_string(g.type(v).dtype); });
}

std::optional<double> bytes_of(const Graph& g, Value v) {
  const Type& t = g.type(v);
  if (!t.is_tensor() || !t.ranked) return std::nullopt;
  const auto dims = constants(t.dims);
  return dims ? std::optional(static_cast<double>(storage_bytes(t.dtype, element_count(*dims)))) : std::nullopt;
}

bool is_view(const Node& n) {
  const std::string_view name = n.op->name;
  return name == "reshape" || name == "transpose" || name == "broadcast_in_dim" || name == "slice";
}

using OnHost = std::set<std::pair<const Graph*, int32_t>>;

// Behind views: whether the host has v anyway.
bool host_has(const Graph& g, const OnHost& on_host, Value v) {
  while (const Node* n = g.producer(v)) {
    if (on_host.contains({&g, g.at(v).node}) || is_weight(g, v)) return true;
    if (!is_view(*n)) return false;
    v = n->inputs[0];
  }
  return true;  // an input of the model
}

// Behind views: whether the chip reads v.
bool chip_reads(const Graph& g, const OnHost& on_host, const std::vector<std::vector<int32_t>>& users, Value v) {
  std::vector<Value> open{v};
  while (!open.empty()) {
    const Value x = open.back();
    open.pop_back();
    for (const int32_t user : users[static_cast<size_t>(x.id)]) {
      if (user < 0 || on_host.contains({&g, user})) continue;
      const Node& n = g.nodes[static_cast<size_t>(user)];
      if (!is_view(n)) return true;
      open.push_back(n.outputs[0]);
    }
  }
  return false;
}

std::string without_end(std::string reason, std::string_view end) {
  if (reason.ends_with(end)) reason.resize(reason.size() - end.size());
  return reason;
}

}  // namespace

HostSplit::HostSplit(const Graph& optimized, Bindings symbols) {
  std::set<std::string> free;
  for (const Value v : optimized.inputs) add_symbols(optimized.type(v), free);
  for (const std::string& s : free) symbols.try_emplace(s, 1);
  auto bound = std::make_shared<const Graph>(substitute(optimized, symbols));
  if (!is_one_program(*bound)) {
    split_nodes(bound, "");
    return;
  }
  const auto prepared = std::make_shared<const Graph>(prepare(*bound));
  if (!is_one_program(*prepared)) {
    split_nodes(bound, "");
    return;
  }
  steps_ = make_steps(*prepared);
  for (const Step& s : steps_) pieces_.push_back({s.nodes, &s, "", prepared});
}

void HostSplit::split_nodes(const std::shared_ptr<const Graph>& graph, const std::string& inside) {
  for (size_t i = 0; i < graph->nodes.size(); ++i) {
    const Node& n = graph->nodes[i];
    if (n.op->name == "constant" || n.op->name == "absent" || n.op->name == "dims") continue;
    pieces_.push_back({{static_cast<int32_t>(i)}, nullptr, inside, graph});
    if (n.op->control)
      for (const auto& region : n.regions) split_nodes(region, std::string(n.op->name));
  }
}

std::vector<HostPart> HostSplit::parts(const Chip& chip) const {
  std::vector<std::string> reasons;
  OnHost on_host;
  for (const Piece& p : pieces_) {
    std::string reason;
    if (p.step) reason = refusal(chip, *p.graph, *p.step);
    else if (const device::Support s = supports(chip, *p.graph, p.graph->nodes[static_cast<size_t>(p.nodes[0])]); !s) reason = s.reason;
    if (!reason.empty())
      for (const int32_t i : p.nodes) on_host.emplace(p.graph.get(), i);
    reasons.push_back(without_end(std::move(reason), "; runs on the host"));
  }
  std::map<const Graph*, std::vector<std::vector<int32_t>>> users_of_graph;
  std::vector<HostPart> out;
  for (size_t k = 0; k < pieces_.size(); ++k) {
    if (reasons[k].empty()) continue;
    const Piece& p = pieces_[k];
    const Graph& g = *p.graph;
    HostPart part;
    part.reason = reasons[k];
    Work work;
    std::set<Value> crossing;
    bool known = true;
    auto& users = users_of_graph[&g];
    if (users.empty()) users = passes::users_of(g);
    for (const int32_t i : p.nodes) {
      const Node& n = g.nodes[static_cast<size_t>(i)];
      part.operators += (part.operators.empty() ? "" : " + ") + std::string(n.op->name);
      part.origin = merge_origins(part.origin, n.origin);
      work += work_of(g, n);
      for (const Value v : n.inputs)
        if (v && !host_has(g, on_host, v)) crossing.insert(v);
      for (const Value v : n.outputs) {
        known = known && bytes_of(g, v).has_value();
        if (chip_reads(g, on_host, users, v)) crossing.insert(v);
      }
    }
    if (!p.inside.empty()) part.operators += " inside " + p.inside;
    double bytes = 0;
    for (const Value v : crossing) {
      const auto b = bytes_of(g, v);
      known = known && b;
      bytes += b.value_or(0);
    }
    part.request_ns = chip.software.request_ns;
    if (known) {
      part.transfer_bytes = bytes;
      if (bytes == 0) part.transfer_ns = 0;
      else if (chip.software.copy_bytes_per_s > 0) part.transfer_ns = bytes / chip.software.copy_bytes_per_s * 1e9;
      part.host_ns = std::max(work.flops() / kHostFlopPerS, (work.bytes_read + work.bytes_written) / kHostBytesPerS) * 1e9;
    }
    out.push_back(std::move(part));
  }
  return out;
}

}  // namespace bascule::inspect
