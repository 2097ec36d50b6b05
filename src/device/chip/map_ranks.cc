// device/chip/map_ranks.cc — see map_ranks.h. Tries the ways to cut a request that are open, each mapped by closed forms and timed, then maps the best in
// full.
#include "device/chip/map_ranks.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "device/chip/timing.h"

namespace bascule::device::chip {
namespace {

constexpr std::string_view kPin = "ranks";

const char* name(passes::Split s) { return s == passes::Split::batch ? "batch" : "tensor"; }

// One way to lay a request over cores and chips.
struct Way {
  int64_t cores = 0, chips = 1, ranks = 1;  // cores 0: the mapper's default
  std::optional<passes::Split> split;       // of several ranks
};

struct Wanted {
  int64_t cores = 0, chips = 1;
  std::optional<passes::Split> split;
};

int64_t number_of(std::string_view word) {
  int64_t n = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), n);
  return failed == std::errc() && end == word.data() + word.size() ? n : -1;
}

[[noreturn]] void bad_pin(const std::string& word) {
  fail_usage("pinned choice 'ranks'", "cores=N, chips=N, split=batch or split=tensor", "'" + escaped(word) + "'", "Keep the line as compile prints it");
}

// What the options ask for; a pinned line fills in what they leave open.
Wanted wanted(const MapOptions& o) {
  Wanted w{o.cores, std::max<int64_t>(o.chips, 1), std::nullopt};
  if (!o.split.empty()) {
    w.split = split_from_name(o.split);
    if (!w.split) fail_usage("the split of a request", "batch or tensor", "'" + escaped(o.split) + "'", "Give one of these, or leave it open");
  }
  const auto pins = read_pins(o.pinned);
  const auto pin = pins.find(kPin);
  if (pin == pins.end()) return w;
  for (size_t at = 0; at < pin->second.size();) {
    const size_t end = std::min(pin->second.find(' ', at), pin->second.size());
    const std::string word = pin->second.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    const size_t equals = std::min(word.find('='), word.size() - 1);
    const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
    const int64_t n = number_of(value);
    if (key == "cores" && n > 0) w.cores = o.cores > 0 ? o.cores : n;
    else if (key == "chips" && n > 0) w.chips = std::max(w.chips, n);
    else if (const auto s = split_from_name(value); key == "split" && s) w.split = w.split ? w.split : s;
    else bad_pin(word);
  }
  return w;
}

std::string without_pin(const std::string& pinned) {
  std::string out;
  for (size_t at = 0; at < pinned.size();) {
    const size_t end = std::min(pinned.find('\n', at), pinned.size());
    const std::string line = pinned.substr(at, end - at);
    if (!line.starts_with(std::string(kPin) + ": ")) out += line + "\n";
    at = end + 1;
  }
  return out;
}

void require_there(const Chip& chip, const Wanted& w) {
  if (w.cores > chip.cores)
    fail_usage("chip:" + chip.name, "at most " + std::to_string(chip.cores) + " cores", std::to_string(w.cores), "Ask for fewer cores, or more chips");
  if (w.chips <= 1) return;
  if (!chip.link)
    fail_unsupported("chip:" + chip.name, "links between " + std::to_string(w.chips) + " chips", "no [link] in its file", "Map to one chip, or add the link");
  if (chip.link->chips > 0 && w.chips > chip.link->chips)
    fail_usage("chip:" + chip.name, "at most " + std::to_string(chip.link->chips) + " chips, as many as one domain links", std::to_string(w.chips), "Ask for fewer chips");
}

std::vector<Way> ways(const Chip& chip, const Wanted& w) {
  const bool core_ranks = chip.level == Level::instruction && chip.machine == Machine::scratchpad;
  std::vector<int64_t> cores{w.cores};
  if (core_ranks && w.cores == 0) {
    cores = {std::max<int64_t>(chip.default_cores, 1)};
    const int64_t other = w.chips > 1 ? chip.cores : 1;  // where the model needs several chips, all of their cores may as well help
    if (other != cores[0]) cores.push_back(other);
  }
  std::vector<Way> out;
  for (const int64_t c : cores) {
    const int64_t ranks = w.chips * (core_ranks ? c : 1);
    if (ranks == 1) {
      out.push_back({c, w.chips, 1, std::nullopt});
      continue;
    }
    for (const passes::Split s : {passes::Split::batch, passes::Split::tensor})
      if (!w.split || *w.split == s) out.push_back({c, w.chips, ranks, s});
  }
  return out;
}

// What crosses the host link of a chip: parts of all its ranks; of results that each rank has whole, one.
void count_host_bytes(Program& p, const Graph& graph, const passes::Shards& plan) {
  const int64_t beside = p.ranks_of_chip();
  p.input_bytes = p.output_bytes = 0;
  for (const Buffer& b : p.buffers) {
    const int64_t bytes = storage_bytes(b.dtype, b.elements());
    if (b.use == Buffer::input) p.input_bytes += bytes * beside;
    if (b.use != Buffer::output) continue;
    const auto k = static_cast<size_t>(std::find(graph.outputs.begin(), graph.outputs.end(), b.value) - graph.outputs.begin());
    const bool part = k < plan.outputs.size() && plan.outputs[k] >= 0;
    p.output_bytes += bytes * (part ? beside : 1);
  }
}

// What no mapping could place: said before one is tried, since programs of such models are long.
void require_room(const Chip& chip, const Graph& graph, const MapOptions& o, int64_t ranks_of_chip) {
  const int bits = info(o.precision.value_or(chip.arithmetic.default_type)).storage_bits;
  int64_t room = chip.main().bytes / ranks_of_chip, weights = 0;
  for (const Memory& m : chip.memories)
    if (m.role == Role::scratchpad) room += m.bytes * chip.cores;
  for (const Node& n : graph.nodes) {
    if (n.op->name != "constant" && n.op->name != "absent") continue;
    const Type& t = graph.type(n.outputs[0]);
    if (!t.is_tensor() || !t.is_static() || is_string(t.dtype)) continue;
    const int64_t elements = t.elements_count().value(), own = info(t.dtype).storage_bits;
    weights += elements / 8 * (is_float(t.dtype) ? std::min<int64_t>(own, bits) : own);
  }
  if (weights > room)
    fail_capacity("chip:" + chip.name + ": the weights of '" + escaped(graph.name) + "'", "at most " + std::to_string(room) + " bytes of " + chip.main().name, std::to_string(weights), "Spread the model over more chips");
}

MapOptions options_of(const MapOptions& options, const Way& way) {
  MapOptions o = options;
  o.cores = way.cores;
  o.chips = way.chips;
  o.ranks = way.ranks;
  o.pinned = without_pin(options.pinned);
  return o;
}

Mapped map_way(const Chip& chip, const std::shared_ptr<const Graph>& graph, const MapOptions& options, const Way& way) {
  Mapped m;
  m.graph = graph;
  if (way.ranks > 1) {
    m.plan = passes::plan_shards(*graph, way.ranks, *way.split);
    m.graph = std::make_shared<const Graph>(passes::shard(*graph, m.plan, 0, passes::ShardWeights::types));
  }
  require_room(chip, *m.graph, options, way.ranks / way.chips);
  m.program = map(chip, *m.graph, options_of(options, way));
  return m;
}

void finish(Mapped& m) {
  if (m.program.ranks == 1) return;
  count_host_bytes(m.program, *m.graph, m.plan);
  for (const std::string& n : m.plan.notes) m.program.notes.push_back(n);
}

std::string text(const Way& way) {
  std::string out = way.cores > 0 ? "cores=" + std::to_string(way.cores) + " " : "";
  out += "chips=" + std::to_string(way.chips);
  return way.split ? out + " split=" + name(*way.split) : out;
}

}  // namespace

std::optional<passes::Split> split_from_name(const std::string& word) {
  if (word == "batch") return passes::Split::batch;
  if (word == "tensor") return passes::Split::tensor;
  return std::nullopt;
}

Mapped map_ranks(const Chip& chip, const std::shared_ptr<const Graph>& graph, const MapOptions& options) {
  const Wanted w = wanted(options);
  require_there(chip, w);
  const std::vector<Way> open = ways(chip, w);
  if (open.size() == 1) {
    Mapped only = map_way(chip, graph, options, open[0]);
    finish(only);
    if (open[0].ranks > 1) only.program.spread = text(open[0]);
    return only;
  }
  MapOptions quick = options;
  quick.search = false;
  std::optional<Mapped> best;
  size_t which = 0;
  double best_ns = 0;
  std::optional<Error> refused;
  for (size_t k = 0; k < open.size(); ++k) {
    try {
      Mapped m = map_way(chip, graph, quick, open[k]);
      count_host_bytes(m.program, *m.graph, m.plan);
      const double ns = simulate(chip, m.program).latency_ns();
      if (best && ns >= best_ns) continue;
      best = std::move(m);
      which = k;
      best_ns = ns;
    } catch (const Error& e) {  // too large, or a split that this graph does not allow
      if (e.kind() != ErrorKind::capacity && e.kind() != ErrorKind::usage && e.kind() != ErrorKind::unsupported) throw;
      if (!refused || (e.kind() == ErrorKind::capacity && refused->kind() != ErrorKind::capacity)) refused = e;
    }
  }
  if (!best) throw *refused;
  // Too long a program is not searched: it would come out the same.
  if (options.search && static_cast<double>(best->program.code.size()) <= options.search_ms * kInstructionsPerMs)
    best->program = map(chip, *best->graph, options_of(options, open[which]));
  finish(*best);
  best->program.spread = text(open[which]);
  return std::move(*best);
}

}  // namespace bascule::device::chip
