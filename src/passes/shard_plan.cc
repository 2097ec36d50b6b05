// passes/shard_plan.cc — plan_shards: what every rank has of each value, chosen by weighing work saved against bytes sent. Node after node in order,
// the cheapest ways to every state of the values still in use are kept (a beam).
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <unordered_map>

#include "base/budget.h"
#include "base/error.h"
#include "graph/op_def.h"
#include "passes/shard_schedule.h"

namespace bascule::passes {
namespace {

constexpr int64_t kMostStates = 32, kFewestStates = 4, kStatesTimesNodes = 64000;  // kept after each node: bounds the time of a plan
constexpr int64_t kFewestFilled = 16;       // of a rank, where ranks do not divide: the last one idles for a sixteenth at most
constexpr size_t kMostWishes = 6;           // of a value
constexpr double kFlopsPerByteHeld = 1e-3;  // of results: of plans that cost the same, the one that holds less

bool is_product(const Node& n) { return n.op->name == "dot_general" || n.op->name == "convolution"; }

class Planner {
 public:
  Planner(const Graph& g, const ShardPrices& prices, Shards& plan)
      : g_(g),
        prices_(prices),
        plan_(plan),
        rules_(g, plan.ranks),
        anywhere_(g.values.size(), false),
        parts_(g.values.size()),
        wishes_(g.values.size()),
        ways_(g.nodes.size()) {}

  void run() {
    plan_.inputs.assign(g_.inputs.size(), -1);
    plan_.outputs.assign(g_.outputs.size(), -1);
    plan_.ways.resize(g_.nodes.size());
    find_anywhere();
    if (plan_.split == Split::batch && plan_.ranks > 1) split_batch();
    if (plan_.split == Split::tensor && plan_.ranks > 1) make_wishes();
    search();
    note(schedule(g_, rules_, plan_));
  }

 private:
  // ---- what constants alone decide: each rank makes what it needs of it
  bool anywhere(Value v) const { return anywhere_[static_cast<size_t>(v.id)]; }
  bool anywhere(const Node& n) const { return !n.outputs.empty() && anywhere(n.outputs[0]); }
  void find_anywhere() {
    for (const Node& n : g_.nodes) {
      if (n.op->random || n.op->effect || n.op->control || n.op->host || n.op->data_dependent || n.specialization || n.outputs.empty()) continue;
      if (!std::all_of(n.inputs.begin(), n.inputs.end(), [&](Value v) { return !v || anywhere(v); })) continue;
      for (const Value v : n.outputs) anywhere_[static_cast<size_t>(v.id)] = true;
    }
    for (const Node& n : g_.nodes)
      if (const auto k = weight_of(n)) first_use_.try_emplace(n.inputs[*k], &n);
  }

  // ---- where splits begin
  void split_batch() {
    std::optional<int64_t> batch;
    int64_t whole = 0;
    for (size_t k = 0; k < g_.inputs.size(); ++k) {
      const Type& t = g_.type(g_.inputs[k]);
      const auto lead = t.is_tensor() && t.ranked && t.rank() > 0 ? t.dims[0].constant() : std::nullopt;
      if (lead && !batch) {
        batch = *lead;
        if (*batch % plan_.ranks != 0 || *batch == 0)
          fail_usage("input '" + escaped(g_.at(g_.inputs[k]).name) + "' " + t.text(),
                     "a batch that divides by " + std::to_string(plan_.ranks) + ", as many as run it", std::to_string(*batch),
                     "Choose a batch that is a multiple, or fewer cores or chips");
      }
      if (lead && lead == batch && rules_.divides(g_.inputs[k], Part::along(0))) plan_.inputs[k] = 0;
      else ++whole;
    }
    if (!batch)
      fail_usage("batch of " + g_.name, "an input with a leading dimension", "none", "Split the weights instead (tensor parallel), or use one core");
    if (whole)
      plan_.notes.push_back(std::to_string(whole) + " of " + std::to_string(g_.inputs.size()) +
                            " inputs go whole to every rank: their leading dimension is not the batch, " + std::to_string(*batch));
  }

  // Which of the operands of a product is made of weights, if just one is.
  std::optional<size_t> weight_of(const Node& n) const {
    if (!is_product(n) || anywhere(n.inputs[0]) == anywhere(n.inputs[1])) return std::nullopt;
    return anywhere(n.inputs[0]) ? 0 : 1;
  }

  void wish(Value v, const Part& p) {
    if (!v || anywhere(v) || p.kind != Part::split) return;
    auto& list = wishes_[static_cast<size_t>(v.id)];
    if (list.size() < kMostWishes && std::find(list.begin(), list.end(), p) == list.end()) list.push_back(p);
  }
  // What products and attention wish for, then, where there is room for more, what results may leave in.
  void make_wishes() {
    pass_wishes_back();
    for (const Value v : g_.outputs)
      for (size_t a = 0; a < g_.type(v).dims.size(); ++a) {
        const Part p = rules_.outside(v, static_cast<int>(a));
        if (rules_.divides(v, p) && (!p.filled || g_.type(v).dims[a].value() >= kFewestFilled * plan_.ranks)) wish(v, p);
      }
    pass_wishes_back();
  }
  // From the last node back: attention wants heads in parts, a product with weights its contracted dimension. What moves elements asks of its operand
  // what it was asked for, up to the product that can leave its result so.
  void pass_wishes_back() {
    for (size_t i = g_.nodes.size(); i-- > 0;) {
      const Node& n = g_.nodes[i];
      if (n.outputs.empty() || anywhere(n)) continue;
      const auto ask = [&](const std::optional<Way>& way) {
        for (size_t k = 0; way && k < n.inputs.size(); ++k) wish(n.inputs[k], way->operands[k]);
      };
      if (is_product(n) || n.op->name == "attention")
        for (const Link& l : rules_.links(n))
          if (l.operands[0] >= (is_product(n) ? 0 : 1) && l.operands[1] >= 0) ask(rules_.along(n, l, 1));
      for (size_t k = 0; k < n.outputs.size(); ++k)
        for (const Part& p : wishes_[static_cast<size_t>(n.outputs[k].id)]) ask(rules_.from_result(n, k, p));
    }
  }
  // The ways in which a product takes columns of its weight (or groups) and leaves its result as somebody wishes. It takes rows only of an operand
  // that is in parts already: to cut a whole one and fold whole results is what nobody does.
  std::vector<Way> divided_weight(const Node& n) const {
    std::vector<Way> out;
    const auto weight = plan_.split == Split::tensor ? weight_of(n) : std::nullopt;
    if (!weight) return out;
    for (const Link& l : rules_.links(n))
      for (const Part& p : wishes_[static_cast<size_t>(n.outputs[0].id)])
        if (l.operands[*weight] >= 0 && l.results[0] == p.dim)
          if (auto way = rules_.along(n, l, p.blocks, p.filled)) out.push_back(std::move(*way));
    return out;
  }

  // ---- prices
  double multiply_adds(const Node& n) const {
    const auto elements = [&](Value v) {
      const auto d = constants(g_.type(v).dims);
      return d ? static_cast<double>(std::max<int64_t>(0, element_count(*d))) : 0.0;
    };
    const auto extent = [&](size_t k, int64_t a) {
      return static_cast<double>(g_.type(n.inputs[k]).dims[static_cast<size_t>(a)].constant().value_or(0));
    };
    double each = 0;
    if (n.op->name == "dot_general") {
      each = 1;
      for (const int64_t a : n.attrs.ints("lhs_contracting_dimensions")) each *= extent(0, a);
    } else if (n.op->name == "convolution") {
      each = extent(1, n.attrs.integer("kernel_input_feature_dimension"));
      for (const int64_t a : n.attrs.ints("kernel_spatial_dimensions")) each *= extent(1, a);
    } else if (n.op->name == "attention") {
      each = extent(1, 2) * (1 + extent(0, 3) / std::max(1.0, extent(2, 3)));
    }
    return each * elements(n.outputs[0]);
  }
  double share(const Part& p) const { return p.kind == Part::split ? 1.0 / static_cast<double>(plan_.ranks) : 1.0; }
  double price(const Node& n, const Way& way, double work_flops) const {
    const auto split = [](const Part& p) { return p.kind == Part::split; };
    const bool divided = std::any_of(way.operands.begin(), way.operands.end(), split) || std::any_of(way.results.begin(), way.results.end(), split);
    double sum = divided ? work_flops / static_cast<double>(plan_.ranks) : work_flops;
    if (const auto k = weight_of(n); k && first_use_.at(n.inputs[*k]) == &n)  // a weight that several nodes use is read once
      sum += prices_.flops_per_weight_byte * rules_.bytes(n.inputs[*k]) * share(way.operands[*k]);
    for (size_t k = 0; k < n.outputs.size(); ++k) sum += kFlopsPerByteHeld * rules_.bytes(n.outputs[k]) * share(way.results[k]);
    return sum;
  }
  double price_of_whole(Value v, const Part& from) const {
    if (from.kind == Part::whole) return 0;
    const double sent = static_cast<double>(plan_.ranks - 1) / static_cast<double>(plan_.ranks) * rules_.bytes(v);
    return prices_.flops_per_collective + prices_.flops_per_link_byte * (from.kind == Part::partial ? 2 : 1) * sent;
  }

  // ---- search. A value's state is one byte: 2 * (index into parts_) + whether the whole is there too.
  using States = std::string;
  struct Kept {
    States states;  // of the live values
    double cost = 0;
  };
  struct Choice {
    int32_t before = -1, way = -1;
  };
  struct Option {
    double cost = 0;
    int32_t way = -1;
    std::string results, operands;  // states: of the results, and of the operands (unique, in order) afterwards
  };

  // nullopt: more parts of one value than a state can tell apart.
  std::optional<char> state(Value v, const Part& p) {
    constexpr size_t kMostParts = 128;
    auto& list = parts_[static_cast<size_t>(v.id)];
    auto at = std::find(list.begin(), list.end(), p);
    if (at == list.end()) {
      if (list.size() == kMostParts) return std::nullopt;
      at = list.insert(list.end(), p);
    }
    return static_cast<char>(2 * (at - list.begin()));
  }
  const Part& part(Value v, char s) const { return parts_[static_cast<size_t>(v.id)][static_cast<uint8_t>(s) / 2]; }

  // Values that a later node or the caller uses, each with a place in States until its last use; then the place is 0 and may be another's.
  struct Live {
    std::vector<Value> values;   // by place, kNoValue where it is free
    std::vector<int32_t> place;  // by value
    std::vector<int32_t> free;
    size_t at(Value v) const { return static_cast<size_t>(place[static_cast<size_t>(v.id)]); }
    void begin(Value v) {
      if (free.empty()) {
        free.push_back(static_cast<int32_t>(values.size()));
        values.push_back(kNoValue);
      }
      place[static_cast<size_t>(v.id)] = free.back();
      values[static_cast<size_t>(free.back())] = v;
      free.pop_back();
    }
    void end(Value v) {
      values[at(v)] = kNoValue;
      free.push_back(place[static_cast<size_t>(v.id)]);
    }
  };

  std::vector<Option> options(size_t i, const std::vector<Value>& unique, const std::string& before) {
    const Node& n = g_.nodes[i];
    std::vector<Way>& known = ways_[i];
    std::vector<Way> candidates{rules_.whole(n)};
    const auto consider = [&](std::optional<Way> way) {
      if (way && std::find(candidates.begin(), candidates.end(), *way) == candidates.end()) candidates.push_back(std::move(*way));
    };
    for (size_t k = 0; k < n.inputs.size(); ++k) {
      const auto at = std::find(unique.begin(), unique.end(), n.inputs[k]);
      if (!n.inputs[k] || at == unique.end()) continue;
      consider(rules_.from_operand(n, k, part(n.inputs[k], before[static_cast<size_t>(at - unique.begin())])));
    }
    for (Way& w : divided_weight(n)) consider(std::move(w));
    const double work = 2 * multiply_adds(n);
    std::vector<Option> out;
    for (Way& way : candidates) {
      Option o;
      o.operands = before;
      o.cost = price(n, way, work);
      bool possible = true;
      for (size_t k = 0; k < n.inputs.size() && possible; ++k) {
        const Value v = n.inputs[k];
        if (!v) continue;
        const Part& want = way.operands[k];
        const auto at = std::find(unique.begin(), unique.end(), v);
        if (at == unique.end()) {
          possible = want.kind != Part::partial;
          continue;
        }
        char& s = o.operands[static_cast<size_t>(at - unique.begin())];
        const Part& have = part(v, s);
        if (have == want) continue;
        possible = want.kind != Part::partial;
        if (!possible || (s & 1) || have.kind == Part::whole) continue;
        o.cost += price_of_whole(v, have);
        s = static_cast<char>(s | 1);
      }
      if (!possible) continue;
      for (size_t k = 0; k < n.outputs.size() && possible; ++k) {
        const auto made = state(n.outputs[k], way.results[k]);
        possible = made.has_value();
        if (made) o.results.push_back(*made);
      }
      if (!possible) continue;
      const auto at = std::find(known.begin(), known.end(), way);
      o.way = static_cast<int32_t>(at - known.begin());
      if (at == known.end()) known.push_back(std::move(way));
      out.push_back(std::move(o));
    }
    return out;
  }

  void search() {
    std::vector<int32_t> last(g_.values.size(), -1);
    const auto nodes = static_cast<int32_t>(g_.nodes.size());
    int64_t decided = 0;
    for (int32_t i = 0; i < nodes; ++i)
      for (const Value v : g_.nodes[static_cast<size_t>(i)].inputs)
        if (v) last[static_cast<size_t>(v.id)] = i;
    for (const Value v : g_.outputs) last[static_cast<size_t>(v.id)] = nodes;
    for (const Node& n : g_.nodes) decided += !anywhere(n);
    const auto most = static_cast<size_t>(std::clamp(kStatesTimesNodes / std::max<int64_t>(1, decided), kFewestStates, kMostStates));

    Live live;
    live.place.assign(g_.values.size(), -1);
    std::vector<Kept> kept(1);
    for (size_t k = 0; k < g_.inputs.size(); ++k) {
      const Value v = g_.inputs[k];
      const char s = *state(v, rules_.outside(v, plan_.inputs[k]));
      if (last[static_cast<size_t>(v.id)] < 0) continue;
      live.begin(v);
      kept[0].states.push_back(s);
    }

    std::vector<std::vector<Choice>> choices(g_.nodes.size());
    for (int32_t i = 0; i < nodes; ++i)
      if (!anywhere(g_.nodes[static_cast<size_t>(i)])) step(i, last, most, live, kept, choices[static_cast<size_t>(i)]);
    finish(live, kept, choices);
  }

  void step(int32_t i, const std::vector<int32_t>& last, size_t most, Live& live, std::vector<Kept>& kept, std::vector<Choice>& choices) {
    check_budget();
    const Node& n = g_.nodes[static_cast<size_t>(i)];
    std::vector<Value> unique;
    std::vector<size_t> from, made, ended;  // places
    for (const Value v : n.inputs)
      if (v && !anywhere(v) && std::find(unique.begin(), unique.end(), v) == unique.end()) {
        unique.push_back(v);
        from.push_back(live.at(v));
      }
    for (const Value v : unique)
      if (last[static_cast<size_t>(v.id)] <= i) {
        ended.push_back(live.at(v));
        live.end(v);
      }
    std::vector<size_t> results;
    for (size_t k = 0; k < n.outputs.size(); ++k)
      if (last[static_cast<size_t>(n.outputs[k].id)] > i) {
        live.begin(n.outputs[k]);
        made.push_back(live.at(n.outputs[k]));
        results.push_back(k);
      }

    std::unordered_map<std::string, std::vector<Option>> by_states;
    std::unordered_map<States, size_t> index;
    std::vector<Kept> next;
    std::vector<Choice> chosen;
    std::string key, states;
    for (size_t b = 0; b < kept.size(); ++b) {
      key.clear();
      for (const size_t k : from) key.push_back(kept[b].states[k]);
      auto [at, fresh] = by_states.try_emplace(key);
      if (fresh) at->second = options(static_cast<size_t>(i), unique, key);
      for (const Option& o : at->second) {
        states = kept[b].states;
        states.resize(live.values.size(), 0);
        for (size_t k = 0; k < from.size(); ++k) states[from[k]] = o.operands[k];
        for (const size_t place : ended) states[place] = 0;
        for (size_t k = 0; k < made.size(); ++k) states[made[k]] = o.results[results[k]];
        const double cost = kept[b].cost + o.cost;
        const auto [known, first] = index.try_emplace(states, next.size());
        if (first) {
          next.push_back({states, cost});
          chosen.push_back({static_cast<int32_t>(b), o.way});
        } else if (cost < next[known->second].cost) {
          next[known->second].cost = cost;
          chosen[known->second] = {static_cast<int32_t>(b), o.way};
        }
      }
    }
    std::vector<size_t> order(next.size());
    for (size_t k = 0; k < order.size(); ++k) order[k] = k;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return next[a].cost < next[b].cost; });
    // What is whole now costs more than parts that are paid for later: never dropped, so that both can be compared where the parts end.
    const auto all_whole = [&](size_t k) {
      for (size_t j = 0; j < live.values.size(); ++j)
        if (live.values[j] && part(live.values[j], next[k].states[j]).kind != Part::whole) return false;
      return true;
    };
    if (order.size() > most) {
      const auto at = std::find_if(order.begin(), order.end(), all_whole);
      if (at != order.end() && at - order.begin() >= static_cast<std::ptrdiff_t>(most)) order[most - 1] = *at;
      order.resize(most);
    }
    kept.clear();
    choices.clear();
    for (const size_t k : order) {
      kept.push_back(std::move(next[k]));
      choices.push_back(chosen[k]);
    }
  }

  void finish(const Live& live, const std::vector<Kept>& kept, const std::vector<std::vector<Choice>>& choices) {
    const auto ends_in_parts = [](const Part& p) { return p.kind == Part::split && p.blocks == 1; };
    const auto state_of = [&](const Kept& k, Value v) { return k.states[live.at(v)]; };
    size_t best = 0;
    double least = -1;
    for (size_t b = 0; b < kept.size(); ++b) {
      double cost = kept[b].cost;
      for (const Value v : g_.outputs)
        if (!anywhere(v) && !(state_of(kept[b], v) & 1) && !ends_in_parts(part(v, state_of(kept[b], v))))
          cost += price_of_whole(v, part(v, state_of(kept[b], v)));
      if (least < 0 || cost < least) {
        least = cost;
        best = b;
      }
    }
    for (size_t k = 0; k < g_.outputs.size(); ++k) {
      const Value v = g_.outputs[k];
      if (!anywhere(v) && ends_in_parts(part(v, state_of(kept[best], v)))) plan_.outputs[k] = part(v, state_of(kept[best], v)).dim;
    }
    auto at = static_cast<int32_t>(best);
    for (size_t i = g_.nodes.size(); i-- > 0;) {
      if (choices[i].empty()) continue;
      const Choice& c = choices[i][static_cast<size_t>(at)];
      plan_.ways[i] = ways_[i][static_cast<size_t>(c.way)];
      at = c.before;
    }
  }

  // ---- what the reader of a plan wants to know
  static std::string listed(const std::map<std::string, int64_t>& counts) {
    std::string out;
    for (const auto& [what, n] : counts) out += (out.empty() ? "" : ", ") + what + (n > 1 ? " (" + std::to_string(n) + ")" : "");
    return out;
  }
  bool can_divide(const Node& product) const {
    const auto weight = weight_of(product);
    return std::any_of(rules_.links(product).begin(), rules_.links(product).end(),
                       [&](const Link& l) { return l.operands[*weight] >= 0 && rules_.along(product, l, 1); });
  }
  void note(const ShardSchedule& s) {
    if (plan_.ranks == 1) return;
    const auto count = [](int64_t some, int64_t all, const char* what) { return std::to_string(some) + " of " + std::to_string(all) + " " + what; };
    int64_t products = 0, dear = 0, fixed = 0;
    std::map<std::string, int64_t> heads, gathered;
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      const Node& n = g_.nodes[i];
      const bool whole =
          std::all_of(plan_.ways[i].operands.begin(), plan_.ways[i].operands.end(), [](const Part& p) { return p.kind == Part::whole; }) &&
          plan_.ways[i].results == rules_.whole(n).results;
      if (weight_of(n)) {
        ++products;
        if (whole) ++(can_divide(n) ? dear : fixed);
      } else if (n.op->name == "attention" && !anywhere(n) && whole) {
        const Dims &q = g_.type(n.inputs[0]).dims, &k = g_.type(n.inputs[1]).dims;
        if (!rules_.from_result(n, 0, Part::along(1))) ++heads[q[1].text() + (q[1] == k[1] ? "" : " on " + k[1].text()) + " heads"];
      }
    }
    if (plan_.split == Split::tensor) {
      const std::string by = " by " + std::to_string(plan_.ranks);
      if (fixed)
        plan_.notes.push_back(count(fixed, products, "products with weights are done whole by every rank: neither columns nor rows divide") + by);
      if (dear)
        plan_.notes.push_back(
            count(dear, products, "products with weights are done whole by every rank: parts would save less than it costs to join them"));
      if (!heads.empty()) plan_.notes.push_back("attention is done whole by every rank where heads do not divide" + by + ": " + listed(heads));
    }
    for (size_t i = 0; i < g_.nodes.size(); ++i)
      for (size_t k = 0; k < plan_.ways[i].operands.size(); ++k) {
        const Value v = g_.nodes[i].inputs[k];
        if (!v || plan_.ways[i].operands[k].kind != Part::whole) continue;
        const auto& steps = s.values[static_cast<size_t>(v.id)];
        if (!steps.empty() && steps[0].from.kind == Part::split) ++gathered[std::string(g_.nodes[i].op->name)];
      }
    if (!gathered.empty()) plan_.notes.push_back("parts are gathered for operators that take whole operands: " + listed(gathered));
  }

  const Graph& g_;
  const ShardPrices& prices_;
  Shards& plan_;
  ShardRules rules_;
  std::vector<bool> anywhere_;              // by value
  std::map<Value, const Node*> first_use_;  // of weights, by products
  std::vector<std::vector<Part>> parts_;    // by value: in what parts some plan has it
  std::vector<std::vector<Part>> wishes_;
  std::vector<std::vector<Way>> ways_;  // by node: those of some plan
};

}  // namespace

Shards plan_shards(const Graph& graph, int64_t ranks, Split split, const ShardPrices& prices) {
  if (ranks < 1) fail_usage("shards of " + graph.name, "1 rank or more", std::to_string(ranks), "Ask for at least one core and one chip");
  static const std::set<std::string_view> together = {
      "all_reduce", "all_gather", "all_to_all", "reduce_scatter", "collective_permute", "collective_broadcast", "replica_id", "partition_id",
      "send",       "recv",       "infeed",     "outfeed"};
  for (const Node& n : graph.nodes)
    if (together.contains(n.op->name))
      fail_unsupported(std::string(n.op->name) + (n.origin ? " of " + text(n.origin) : ""), "a model of one process", "one written for several",
                       "Run it without splitting it further");
  Shards plan;
  plan.ranks = ranks;
  plan.split = split;
  Planner(graph, prices, plan).run();
  return plan;
}

}  // namespace bascule::passes
