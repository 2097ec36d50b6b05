// device/chip/map_neuron_search.cc — how much of the scratchpad blocks may take, whether weights stay, and a search over the products' choices: each kind of
// product is tuned alone, as it lies in the whole program, and what gains there must gain in the whole program too.
#include "device/chip/map_neuron_search.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "device/chip/map_neuron.h"
#include "device/chip/timing.h"

namespace bascule::device::chip::neuron {
namespace {

// How the mapper is set up, and what it made.
struct Mapping {
  bool resident = true;
  double share = 1;
  int64_t weight_room = 0;
  Program program;
  std::vector<Mapper::Scene> scenes;
};

// With weights that stay, or large blocks, other data may find too little room: then without, then in smaller blocks. `cramped`: the step that finds no room
// even so, when this throws.
Mapping settle(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options, int32_t& cramped) {
  constexpr double kLeastShare = 1.0 / 16;
  bool resident = true;
  for (double share = 1;; share /= 2) {
    Mapper first(chip, graph, steps, options, resident, share);
    const bool stay = first.resident();
    std::optional<Mapper> second;
    try {
      Program program = first.run();
      if (!stay) return {resident, share, 0, std::move(program), first.scenes()};
      // once more, now that it is known how much room the weights that stay want for themselves
      second.emplace(chip, graph, steps, options, resident, share, first.weight_room());
      second->reuse(std::move(program));
      program = second->run();
      Mapping kept{resident, share, first.weight_room(), std::move(program), second->scenes()};
      if (!second->spilled()) return kept;
      // weights that stay push activations out: what is faster?
      Mapper streaming(chip, graph, steps, options, false);
      program = streaming.run();
      if (simulate(chip, program).total_ns >= simulate(chip, kept.program).total_ns) return kept;
      return {false, 1, 0, std::move(program), streaming.scenes()};
    } catch (const Error& e) {
      cramped = second ? second->cramped() : first.cramped();
      if (e.kind() != ErrorKind::capacity || share <= kLeastShare) throw;
    }
    if (stay) share *= 2;
    resident = false;
  }
}

class Search {
 public:
  Search(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options, Mapping start)
      : chip_(chip), graph_(graph), steps_(steps), options_(options), best_(std::move(start)), left_(options.search_ms * kInstructionsPerMs) {}
  Program run();

 private:
  // A product of one name and shape, as one of its steps stands in the program.
  struct Kind {
    Mapper::Scene scene;
    std::string choice, better;
    double ns = 0, gain = 0;  // in the whole program; expected
    int64_t count = 0;
  };
  std::vector<Kind> kinds() const;
  void tune(Kind& k);
  std::optional<double> alone(const Kind& k, const std::string& choice, std::string* printed);
  bool accept(const std::vector<const Kind*>& changed);

  const Chip& chip_;
  const Graph& graph_;
  const std::vector<Step>& steps_;
  MapOptions options_;
  Mapping best_;
  double best_ns_ = 0, left_ = 0;
};

// Those that take longest first.
std::vector<Search::Kind> Search::kinds() const {
  const Timing timing = simulate(chip_, best_.program);
  const auto pins = read_pins(options_.pinned);
  std::map<std::string, Kind> found;
  for (const Mapper::Scene& scene : best_.scenes) {
    const auto step = static_cast<size_t>(scene.first);
    const std::string key = scene.name + " of " + scene.shape;
    if (pins.contains(key) || pins.contains(scene.name) || !best_.program.steps[step].host.empty()) continue;
    Kind& k = found[key];
    k.ns += timing.step_ns[step];
    if (++k.count > 2) continue;  // the second: the first may read what comes from outside
    k.scene = scene;
    k.choice = best_.program.steps[step].choice;
  }
  std::vector<Kind> out;
  for (auto& [key, k] : found) out.push_back(std::move(k));
  std::stable_sort(out.begin(), out.end(), [](const Kind& a, const Kind& b) { return a.ns > b.ns; });
  return out;
}

// Time of the product's steps with this choice; none where it does not fit, or the budget is spent.
std::optional<double> Search::alone(const Kind& k, const std::string& choice, std::string* printed) {
  if (left_ < 0) return std::nullopt;
  try {
    Mapper mapper(chip_, graph_, steps_, options_, best_.resident, best_.share, best_.weight_room);
    const Program program = mapper.alone(k.scene, choice);
    left_ -= static_cast<double>(program.code.size());
    if (printed) *printed = program.steps.front().choice;
    return simulate(chip_, program).total_ns;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::capacity) throw;
    return std::nullopt;
  }
}

// The other side, then tiles twice as large and half, then weights kept or read again for each block.
void Search::tune(Kind& k) {
  std::string now = k.choice;
  const std::optional<double> start = alone(k, "", &now);
  if (!start) return;
  double least = *start;
  const auto attempt = [&](const std::string& choice) {
    std::string printed;
    const std::optional<double> ns = alone(k, choice, &printed);
    if (!ns || *ns >= least) return false;
    least = *ns;
    now = printed;
    return true;
  };
  const auto word = [&](const char* key) { return Mapper::pinned_word(now, key); };
  const auto with = [&](const std::string& n, const std::string& m, const std::string& weights) {
    return "stationary=" + word("stationary") + " n=" + n + (m.empty() ? "" : " m=" + m) + (weights.empty() ? "" : " weights=" + weights);
  };
  attempt(word("stationary") == "rows" ? "stationary=features" : "stationary=rows");
  for (const double factor : {2.0, 0.5}) {
    const auto scaled = [&](const char* key) { return std::to_string(static_cast<int64_t>(std::atof(word(key).c_str()) * factor)); };
    while (attempt(with(scaled("n"), "", word("weights")))) {}
    while (attempt(with(word("n"), scaled("m"), word("weights")))) {}
  }
  if (word("weights") == "kept") attempt(with(word("n"), word("m"), "streamed"));
  else if (word("weights") == "streamed") attempt(with(word("n"), word("m"), "kept"));
  constexpr double kLeastGain = 0.01;
  if (least > *start * (1 - kLeastGain)) return;
  k.better = now.substr(0, now.rfind(" of "));
  k.gain = (*start - least) * static_cast<double>(k.count);
}

// Maps the whole program with these choices, and keeps it if it is faster.
bool Search::accept(const std::vector<const Kind*>& changed) {
  left_ -= static_cast<double>(best_.program.code.size());
  if (left_ < 0) return false;
  MapOptions trial = options_;
  for (const Kind* k : changed) trial.pinned += "\n" + k->scene.name + ": " + k->better + " of " + k->scene.shape;
  try {
    int32_t cramped = -1;
    Mapping other = settle(chip_, graph_, steps_, trial, cramped);
    const double ns = simulate(chip_, other.program).total_ns;
    if (ns >= best_ns_) return false;
    best_ = std::move(other);
    best_ns_ = ns;
    options_ = std::move(trial);
    return true;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::capacity) throw;
    return false;
  }
}

Program Search::run() {
  const auto whole = static_cast<double>(best_.program.code.size());
  if (whole > left_) return std::move(best_.program);
  best_ns_ = simulate(chip_, best_.program).total_ns;
  std::vector<Kind> all = kinds();
  left_ -= whole;  // kept for the whole program
  std::vector<const Kind*> better;
  for (Kind& k : all) {
    if (left_ < 0) break;
    tune(k);
    if (!k.better.empty()) better.push_back(&k);
  }
  left_ += whole;
  if (better.empty() || accept(better) || better.size() == 1) return std::move(best_.program);
  std::stable_sort(better.begin(), better.end(), [](const Kind* a, const Kind* b) { return a->gain > b->gain; });
  for (const Kind* k : better) accept({k});
  return std::move(best_.program);
}

}  // namespace

Program map(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options) {
  // A step that no cut makes fit runs on the host.
  constexpr int kMostMoved = 16;
  std::vector<Step> moved;
  for (int more = kMostMoved;; --more) {
    const std::vector<Step>& now = moved.empty() ? steps : moved;
    int32_t cramped = -1;
    try {
      Mapping start = settle(chip, graph, now, options, cramped);
      return options.search ? Search(chip, graph, now, options, std::move(start)).run() : std::move(start.program);
    } catch (const Error& e) {
      const bool known = cramped >= 0 && cramped < static_cast<int32_t>(now.size());
      if (e.kind() != ErrorKind::capacity || !known || more == 0 || now[static_cast<size_t>(cramped)].kind == Step::host) throw;
    }
    if (moved.empty()) moved = steps;
    moved[static_cast<size_t>(cramped)].kind = Step::host;
    moved[static_cast<size_t>(cramped)].reason = "no cut of it fits " + chip.scratchpad()->name;
  }
}

}  // namespace bascule::device::chip::neuron
