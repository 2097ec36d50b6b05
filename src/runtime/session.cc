// runtime/session.cc — import, optimise, plan; then runs under a budget each.
#include "runtime/session.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "import/importer.h"
#include "passes/pipeline.h"
#include "runtime/plan.h"

namespace bascule::runtime {
namespace {

std::shared_ptr<Budget> make_budget(const Options& o) {
  auto b = std::make_shared<Budget>();
  b->limit_bytes = o.memory_limit_bytes > 0 ? o.memory_limit_bytes : machine_memory_bytes();
  if (o.time_limit_s > 0) b->deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(static_cast<int64_t>(std::min(o.time_limit_s, 1e9) * 1e6));
  return b;
}

}  // namespace

struct Session::State {
  Options options;
  Imported imported;
  std::vector<Port> inputs, outputs;
  std::shared_ptr<const Graph> optimized;
  std::unique_ptr<Plan> plan;
  std::unique_ptr<PlanCache> plans;
  std::mutex mutex;
  std::set<std::shared_ptr<Budget>> running;
  std::map<std::set<std::string>, std::shared_ptr<Session>> variants;  // by the names of constants that are fed

  void prepare();
  std::shared_ptr<Session> variant(const std::set<std::string>& fed);
  HostValues run(const HostValues& args);
};

Session::Session() : state_(std::make_unique<State>()) {}
Session::~Session() = default;

void Session::State::prepare() {
  const Graph& g = imported.graph;
  for (size_t i = 0; i < g.inputs.size(); ++i) {
    const Value v = g.inputs[i];
    inputs.push_back({g.at(v).name, g.type(v), i < imported.defaults.size() && imported.defaults[i].has_value()});
  }
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    std::string name = i < g.output_names.size() ? g.output_names[i] : g.at(g.outputs[i]).name;
    if (name.empty()) name = "output_" + std::to_string(i);
    outputs.push_back({std::move(name), g.type(g.outputs[i])});
  }
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].name.empty()) inputs[i].name = "input_" + std::to_string(i);
  const device::Device& d = device::find_device(options.device);
  const auto& precisions = d.info().precisions;
  if (options.precision.empty()) options.precision = precisions.front();
  if (std::find(precisions.begin(), precisions.end(), options.precision) == precisions.end()) {
    std::string have;
    for (const std::string& p : precisions) have += (have.empty() ? "" : ", ") + p;
    fail_unsupported("device '" + d.info().name + "'", "a precision of " + have, escaped(options.precision), "Leave --precision out");
  }
  device::Options compile;
  compile.precision = options.precision;
  compile.accumulate = options.accumulate;
  compile.dump_passes = options.dump_passes;
  Graph work = g;
  if (options.optimize) passes::optimize(work, {.dump_folder = options.dump_passes});
  optimized = std::make_shared<const Graph>(std::move(work));
  plan = std::make_unique<Plan>(optimized, d, compile);
  compile.dump_passes.clear();
  plans = std::make_unique<PlanCache>(d, compile, options.optimize);
}

std::shared_ptr<Session> Session::load(const std::string& path, const Options& options) {
  const std::shared_ptr<Session> s(new Session);
  s->state_->options = options;
  const BudgetScope scope(make_budget(options));
  const ThreadLimit limit(options.threads);
  s->state_->imported = import_model(path);
  s->state_->prepare();
  check_mapped_files();
  return s;
}

std::shared_ptr<Session> Session::from_graph(Graph graph, const Options& options) {
  const std::shared_ptr<Session> s(new Session);
  s->state_->options = options;
  const BudgetScope scope(make_budget(options));
  const ThreadLimit limit(options.threads);
  s->state_->imported.graph = std::move(graph);
  s->state_->prepare();
  return s;
}

const std::vector<Port>& Session::inputs() const { return state_->inputs; }
const std::vector<Port>& Session::outputs() const { return state_->outputs; }
const Graph& Session::graph() const { return state_->imported.graph; }
const Graph& Session::optimized() const { return *state_->optimized; }
const Options& Session::options() const { return state_->options; }
const std::vector<std::pair<std::string, std::string>>& Session::facts() const { return state_->imported.facts; }

// The model with these constants as inputs: imported once for each set of names.
std::shared_ptr<Session> Session::State::variant(const std::set<std::string>& fed) {
  constexpr size_t kMostVariants = 16;
  const std::lock_guard lock(mutex);
  if (const auto at = variants.find(fed); at != variants.end()) return at->second;
  if (variants.size() >= kMostVariants) variants.clear();
  const std::shared_ptr<Session> s(new Session);
  s->state_->options = options;
  const BudgetScope scope(make_budget(options));
  const ThreadLimit limit(options.threads);
  s->state_->imported = imported.with_inputs(fed);
  s->state_->prepare();
  return variants[fed] = s;
}

HostValues Session::State::run(const HostValues& args) {
  const auto budget = make_budget(options);
  const BudgetScope scope(budget);
  const ThreadLimit limit(options.threads);
  {
    const std::lock_guard lock(mutex);
    running.insert(budget);
  }
  struct Leave {
    State& s;
    const std::shared_ptr<Budget>& b;
    ~Leave() {
      const std::lock_guard lock(s.mutex);
      s.running.erase(b);
    }
  } leave{*this, budget};
  Run r{*plans, budget, options.threads, {}, {}};
  HostValues out = plan->run(r, args, {});
  check_mapped_files();
  return out;
}

HostValues Session::run(const HostValues& given) const {
  const State& s = *state_;
  if (given.size() != s.inputs.size()) fail_usage("run", std::to_string(s.inputs.size()) + " inputs", std::to_string(given.size()), "Give one value for each input");
  HostValues args = given;
  for (size_t i = 0; i < args.size(); ++i)
    if (s.inputs[i].optional && args[i].kind() == HostValue::Kind::optional && args[i].items().empty()) args[i] = *s.imported.defaults[i];
  return state_->run(args);
}

std::map<std::string, HostValue> Session::run(const std::map<std::string, HostValue>& given) const {
  const State& s = *state_;
  const auto declared = [&] {
    std::string names;
    for (const Port& p : s.inputs) names += (names.empty() ? "" : ", ") + ("'" + escaped(p.name) + "' " + p.type.text());
    return names.empty() ? "no inputs" : names;
  };
  std::set<std::string> fed;
  for (const auto& [name, type] : s.imported.replaceable)
    if (given.count(name)) fed.insert(name);
  if (!fed.empty()) return state_->variant(fed)->run(given);
  std::vector<Problem> problems;
  for (const auto& [name, v] : given)
    if (std::none_of(s.inputs.begin(), s.inputs.end(), [&](const Port& p) { return p.name == name; }))
      problems.push_back({"input '" + escaped(name) + "'", declared(), "a name the model has not", "Leave it out"});
  HostValues args;
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    if (const auto at = given.find(s.inputs[i].name); at != given.end()) args.push_back(at->second);
    else if (s.inputs[i].optional) args.push_back(*s.imported.defaults[i]);
    else problems.push_back({"input '" + escaped(s.inputs[i].name) + "'", s.inputs[i].type.text(), "none", "Give it"});
  }
  if (!problems.empty()) throw Error(ErrorKind::usage, std::move(problems));
  HostValues results = state_->run(args);
  std::map<std::string, HostValue> out;
  for (size_t i = 0; i < results.size(); ++i) out.insert_or_assign(s.outputs[i].name, std::move(results[i]));
  return out;
}

void Session::cancel() const {
  const std::lock_guard lock(state_->mutex);
  for (const auto& b : state_->running) b->cancelled = true;
  for (const auto& [names, session] : state_->variants) session->cancel();
}

std::vector<device::Fallback> Session::fallbacks() const {
  std::vector<device::Fallback> out = state_->plan->fallbacks();
  for (auto& f : state_->plans->fallbacks()) out.push_back(std::move(f));
  return out;
}

std::string Session::program() const { return state_->plan->text(); }

}  // namespace bascule::runtime
