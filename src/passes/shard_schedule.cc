// passes/shard_schedule.cc — see shard_schedule.h.
#include "passes/shard_schedule.h"

#include <algorithm>

#include "graph/op_def.h"

namespace bascule::passes {

bool is_literal(const Node& n) { return n.op->name == "constant" || n.op->name == "absent"; }

namespace {

using Parts = std::vector<Part>;

void want(Parts& parts, const Part& p) {
  if (std::find(parts.begin(), parts.end(), p) == parts.end()) parts.push_back(p);
}

class Scheduler {
 public:
  Scheduler(const Graph& g, const ShardRules& rules, Shards& plan) : g_(g), rules_(rules), plan_(plan), wanted_(g.values.size()) {
    s_.nodes.resize(g.nodes.size());
    s_.values.resize(g.values.size());
  }

  ShardSchedule run() {
    plan_.collectives = 0;
    plan_.collective_bytes = 0;
    for (size_t k = 0; k < g_.outputs.size(); ++k) want(wanted(g_.outputs[k]), rules_.outside(g_.outputs[k], plan_.outputs[k]));
    for (size_t i = g_.nodes.size(); i-- > 0;) node(i);
    for (size_t k = 0; k < g_.inputs.size(); ++k)
      forms(g_.inputs[k], rules_.outside(g_.inputs[k], plan_.inputs[k]), [](const Part&) { return false; });
    return std::move(s_);
  }

 private:
  Parts& wanted(Value v) { return wanted_[static_cast<size_t>(v.id)]; }

  void node(size_t i) {
    const Node& n = g_.nodes[i];
    const Way& planned = plan_.ways[i];
    const bool anywhere = planned.results.empty();  // only constants decide it
    const bool used = std::any_of(n.outputs.begin(), n.outputs.end(), [&](Value v) { return !wanted(v).empty(); });
    if (!used && !(n.op->effect && !anywhere)) return;
    const Way base = anywhere ? rules_.whole(n) : planned;
    const bool again = n.outputs.size() == 1 && (anywhere || n.op->name == "broadcast_in_dim");
    for (size_t k = 0; k < n.outputs.size(); ++k)
      forms(n.outputs[k], base.results[k], [&](const Part& p) {
        if (!again || p.kind != Part::split) return false;
        std::optional<Way> way = is_literal(n) ? std::optional(Way{{}, {p}}) : rules_.from_result(n, 0, p);
        if (!way || !rules_.divides(n.outputs[0], p)) return false;
        add(i, *way);
        return true;
      });
    const bool base_used = std::any_of(n.outputs.begin(), n.outputs.end(), [&](Value v) { return made_of_base_[static_cast<size_t>(v.id)]; });
    if (base_used || !used) add(i, base);
  }

  void add(size_t i, const Way& way) {
    s_.nodes[i].push_back(way);
    const Node& n = g_.nodes[i];
    for (size_t k = 0; k < n.inputs.size(); ++k)
      if (n.inputs[k] && !(way.shift >= 0 && k == 1)) want(wanted(n.inputs[k]), way.operands[k]);
  }

  // How each wanted form of v comes about, given the one it is made in. direct: whether its node gives this form too.
  template <class Direct>
  void forms(Value v, const Part& base, const Direct& direct) {
    Parts& parts = wanted(v);
    auto& steps = s_.values[static_cast<size_t>(v.id)];
    bool of_base = false, whole = false;
    Parts cut;
    for (const Part& p : parts) {
      if (p == base) of_base = true;
      else if (p.kind == Part::whole) whole = true;
      else if (!direct(p)) cut.push_back(p);
    }
    if (!cut.empty() && base.kind != Part::whole) whole = true;
    if (whole) {
      steps.push_back({base, Part()});
      ++plan_.collectives;
      const double share = static_cast<double>(plan_.ranks - 1) / static_cast<double>(plan_.ranks);
      plan_.collective_bytes += (base.kind == Part::partial ? 2 : 1) * share * rules_.bytes(v);
    }
    for (const Part& p : cut) steps.push_back({Part(), p});
    made_of_base_[static_cast<size_t>(v.id)] = of_base || whole || !cut.empty();
  }

  const Graph& g_;
  const ShardRules& rules_;
  Shards& plan_;
  std::vector<Parts> wanted_;
  std::vector<bool> made_of_base_ = std::vector<bool>(g_.values.size(), false);
  ShardSchedule s_;
};

}  // namespace

ShardSchedule schedule(const Graph& graph, const ShardRules& rules, Shards& plan) { return Scheduler(graph, rules, plan).run(); }

}  // namespace bascule::passes
