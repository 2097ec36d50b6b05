// inspect/modelled.cc — model file -> bound, straight graph -> program and timing; then sums over them.
#include "inspect/modelled.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "graph/builder.h"
#include "import/importer.h"
#include "inspect/summary.h"
#include "passes/bind.h"
#include "passes/pipeline.h"
#include "passes/resolve.h"

namespace bascule::inspect {
namespace {
using device::chip::Chip;
using device::chip::Instruction;
using device::chip::MapOptions;
using device::chip::Program;
using device::chip::Queue;
using device::chip::Timing;

constexpr std::string_view kPrefix = "chip:";
constexpr int64_t kMostDeciding = 8;  // elements of an input whose values may decide control flow

std::string describe(const Node& n) { return std::string(n.op->name) + (n.origin ? " of " + text(n.origin) : ""); }

bool decides(const Node& n) { return n.op->control || n.specialization; }

std::string key_of(const Sizes& s) {
  std::string key;
  for (const auto& [name, dims] : s.inputs) {
    key += name + '=';
    for (const int64_t d : dims) key += std::to_string(d) + 'x';
  }
  for (const auto& [name, size] : s.symbols) key += ';' + name + '=' + std::to_string(size);
  if (s.batch) key += ";batch " + std::to_string(*s.batch);
  for (const auto& [name, value] : s.values) {
    key += ';' + name + ':' + value.type_text();
    if (value.elements() <= kMostDeciding && !is_string(value.dtype()))
      key.append(reinterpret_cast<const char*>(value.data()), static_cast<size_t>(value.bytes()));
  }
  return key;
}

std::string key_of(const Placement& p) {
  return p.chip + ' ' + (p.precision ? std::string(info(*p.precision).name) : "default") + ' ' + std::to_string(p.cores) + ' ' +
         std::to_string(p.chips) + ' ' + p.split + ' ' + p.pinned;
}

Bindings bindings_of(const std::vector<runtime::Port>& inputs, const Sizes& sizes) {
  Bindings symbols = sizes.symbols;
  for (const auto& p : inputs) {
    const std::string where = "input '" + escaped(p.name) + "'";
    if (const auto it = sizes.values.find(p.name); it != sizes.values.end()) bind_symbols(p.type, Type::of(it->second), symbols, where);
    if (const auto it = sizes.inputs.find(p.name); it != sizes.inputs.end())
      bind_symbols(p.type, Type::tensor(p.type.dtype, to_dims(it->second)), symbols, "--shape of " + where);
  }
  if (!sizes.batch) return symbols;
  if (*sizes.batch < 1) fail_usage("--batch", "a number of 1 or more", std::to_string(*sizes.batch), "");
  const std::string name = batch_symbol(inputs);
  if (name.empty()) {
    for (const auto& p : inputs)
      if (p.type.is_tensor() && p.type.ranked && p.type.rank() > 0 && p.type.dims[0].is(*sizes.batch)) return symbols;
    fail_usage("--batch " + std::to_string(*sizes.batch), "inputs that share one open leading dimension", "none in this model",
               "Give --shape NAME=..., or export the model with an open batch");
  }
  const auto [at, fresh] = symbols.emplace(name, *sizes.batch);
  if (!fresh && at->second != *sizes.batch)
    fail_usage("--batch " + std::to_string(*sizes.batch), escaped(name) + " = " + std::to_string(at->second) + ", as --shape says", "another batch",
               "Leave one of them out");
  return symbols;
}

void straighten(Graph& g) {
  constexpr int kMostRounds = 8;  // a branch may hold what only folding decides
  for (int round = 0; round < kMostRounds; ++round) {
    passes::optimize(g, {});
    if (!passes::resolve(g)) return;
  }
}

bool has_decisions(const Graph& g) { return std::any_of(g.nodes.begin(), g.nodes.end(), decides); }

// Control flow that depends on small integer inputs: on the values given; where none are, on ones, and a note says so.
void decide(Graph& g, const std::map<std::string, Tensor>& given, std::vector<std::string>& notes) {
  std::map<std::string, Tensor> fixed, taken;
  for (const Value v : g.inputs) {
    const Type& t = g.type(v);
    if (!t.is_static() || t.rank() > 1 || is_float(t.dtype) || is_complex(t.dtype) || is_string(t.dtype)) continue;
    const std::vector<int64_t> dims = *constants(t.dims);
    if (element_count(dims) > kMostDeciding) continue;
    if (const auto at = given.find(g.at(v).name); at != given.end()) fixed.emplace(*at);
    else taken.emplace(g.at(v).name, Tensor::from_ints(t.dtype, dims, std::vector<int64_t>(static_cast<size_t>(element_count(dims)), 1)));
  }
  const auto fix = [&](const std::map<std::string, Tensor>& values) {
    if (values.empty() || !has_decisions(g)) return false;
    passes::resolve(g, values);
    straighten(g);
    return true;
  };
  fix(fixed);
  if (!fix(taken)) return;
  std::string names;
  for (const auto& [name, value] : taken) names += (names.empty() ? "'" : ", '") + escaped(name) + "'";
  notes.push_back("branches are chosen for inputs " + names + " of 1 (give others with --input NAME=VALUE)");
}

// Everything that stands between this graph and a chip, at once.
void check_mappable(const Graph& g) {
  std::vector<Problem> problems;
  for (const Node& n : g.nodes) {
    if (decides(n)) {
      problems.push_back({describe(n), "decisions known before the run (branches and trip counts of constants)",
                          "one that depends on values of the run",
                          "Give the deciding input with --input NAME=VALUE, or export the model without it"});
      continue;
    }
    for (const Value v : n.outputs) {
      const Type& t = g.type(v);
      if (t.is_static() && !is_string(t.dtype)) continue;
      const bool sized = !t.is_tensor() || is_string(t.dtype);
      problems.push_back({describe(n), sized ? "tensors of numbers" : "sizes known before the run", t.text(),
                          sized ? "Cut the model before it: such values stay on the host" : "Export the model with a fixed number of results"});
      break;
    }
  }
  if (!problems.empty()) throw Error(ErrorKind::unsupported, std::move(problems));
}

std::string engine_name(const Queue& q) {
  if (q.kind != Queue::dma) return q.name;
  return "dma";
}

std::vector<EngineUse> engine_uses(const Program& p, const Timing& t) {
  std::vector<EngineUse> out;
  std::vector<int64_t> queues;
  for (size_t i = 0; i < p.queues.size(); ++i) {
    const std::string name = engine_name(p.queues[i]);
    auto at = std::find_if(out.begin(), out.end(), [&](const EngineUse& e) { return e.name == name; });
    if (at == out.end()) {
      out.push_back({name, 0, 0, 0});
      queues.push_back(0);
      at = out.end() - 1;
    }
    at->busy_ns += t.queues[i].busy_ns;
    at->instructions += t.queues[i].instructions;
    ++queues[static_cast<size_t>(at - out.begin())];
  }
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].busy_ns /= static_cast<double>(queues[i]);
    out[i].share = t.total_ns > 0 ? out[i].busy_ns / t.total_ns : 0;
  }
  std::erase_if(out, [](const EngineUse& e) { return e.instructions == 0; });
  return out;
}

double matrix_flops(const Program& p) {
  double flops = 0;
  for (const auto& s : p.steps) flops += 2 * s.work.multiply_adds;
  return flops * static_cast<double>(p.ranks);
}

// The cores that share one stack of main memory share its bandwidth, so no stream is faster than its bytes times the streams beside it.
void overlap(Modelled& m) {
  const Program& p = *m.program;
  const Timing& t = *m.timing;
  const auto& main = m.chip->main();
  m.memory_bytes = static_cast<double>(p.main_bytes * p.ranks);
  m.capacity_bytes = static_cast<double>(main.bytes * p.chips);
  m.fits = m.memory_bytes <= m.capacity_bytes;
  const int64_t cores = m.chip->cores;
  m.streams = std::max<int64_t>(1, cores / std::max<int64_t>(1, p.cores));
  if (m.fits && m.memory_bytes > 0) m.streams = std::clamp<int64_t>(static_cast<int64_t>(m.capacity_bytes / m.memory_bytes), 1, m.streams);
  const int64_t sharing = main.shared_by_cores > 0 ? std::min(main.shared_by_cores, cores) : cores;
  const double beside = std::max(1.0, static_cast<double>(m.streams) * static_cast<double>(sharing) / static_cast<double>(cores));
  m.service_ns = std::max({t.total_ns, t.main_busy_ns * beside, t.copy_ns, 1e-3});
  const double peak = m.chip->matrix.peak_flop_per_s(p.precision) * static_cast<double>(p.cores * p.chips);
  m.utilisation = peak > 0 ? matrix_flops(p) / (m.service_ns * 1e-9) / peak : 0;
}

}  // namespace

std::optional<std::string> chip_of_device(const std::string& device) {
  if (!device.starts_with(kPrefix)) return std::nullopt;
  return device.substr(kPrefix.size());
}

std::vector<std::string> real_chips() {
  std::vector<std::string> names = device::chip::chip_names();
  std::erase_if(names, [](const std::string& n) { return n == "teach" || n == "unit"; });
  return names;
}

const char* level_name(device::chip::Level level) {
  switch (level) {
    case device::chip::Level::instruction: return "instruction";
    case device::chip::Level::tile: return "tile";
    case device::chip::Level::roofline: return "roofline";
  }
  return "";
}

std::string batch_symbol(const std::vector<runtime::Port>& inputs) {
  std::vector<std::string> leading;
  for (const auto& p : inputs)
    if (p.type.is_tensor() && p.type.ranked && p.type.rank() > 0)
      if (const auto name = p.type.dims[0].as_symbol(); name && std::find(leading.begin(), leading.end(), *name) == leading.end())
        leading.push_back(*name);
  if (leading.size() == 1) return leading[0];
  for (const std::string& name : leading)
    if (name == "batch" || name == "batch_size" || name == "N" || name == "n") return name;
  return "";
}

ChipModel::ChipModel(Graph graph) {
  for (const Node& n : graph.nodes)
    if (n.op->name == "absent")
      if (const Type& t = graph.type(n.outputs[0]); t.is_static()) absent_parameters_ += element_count(*constants(t.dims));
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    ValueInfo& v = graph.at(graph.inputs[i]);
    if (v.name.empty()) v.name = "input_" + std::to_string(i);
    inputs_.push_back({v.name, v.type, false});
  }
  passes::optimize(graph, {});
  optimized_ = std::make_shared<const Graph>(std::move(graph));
}

std::shared_ptr<ChipModel> ChipModel::load(const std::string& path) { return from_graph(import_model(path).graph); }
std::shared_ptr<ChipModel> ChipModel::from_graph(Graph graph) { return std::shared_ptr<ChipModel>(new ChipModel(std::move(graph))); }

std::shared_ptr<const ChipModel::Bound> ChipModel::bind(const Sizes& sizes) const {
  const std::string key = key_of(sizes);
  {
    const std::lock_guard lock(mutex_);
    if (const auto at = bound_.find(key); at != bound_.end()) return at->second;
  }
  auto out = std::make_shared<Bound>();
  out->symbols = bindings_of(inputs_, sizes);
  std::set<std::string> open;
  for (const auto& p : inputs_) {
    if (p.type.is_tensor() && !p.type.ranked)
      fail_unsupported("input '" + escaped(p.name) + "'", "a declared rank", p.type.text(), "Export the model with the ranks of its inputs");
    for (const Dim& d : p.type.dims) d.add_symbols(open);
  }
  std::string ones;
  for (const std::string& s : open)
    if (out->symbols.emplace(s, 1).second) ones += (ones.empty() ? "" : ", ") + escaped(s) + " = 1";
  if (!ones.empty()) out->notes.push_back("sizes that nothing binds: " + ones + " (bind them with --shape)");
  const std::string batch = batch_symbol(inputs_);
  if (!batch.empty()) out->batch = out->symbols.at(batch);
  else if (!inputs_.empty() && inputs_[0].type.is_tensor() && inputs_[0].type.rank() > 1)
    out->batch = std::max<int64_t>(1, inputs_[0].type.dims[0].evaluate(out->symbols).value_or(1));

  Graph g = passes::bind(*optimized_, out->symbols);
  if (has_decisions(g)) {
    straighten(g);
    if (has_decisions(g)) decide(g, sizes.values, out->notes);
  }
  check_mappable(g);
  g = device::chip::prepare(g);
  out->graph = std::make_shared<const Graph>(std::move(g));
  if (absent_parameters_)
    out->notes.push_back("the weights are absent (" + std::to_string(absent_parameters_) + " parameters): times and sizes need only their types");
  const std::lock_guard lock(mutex_);
  return bound_[key] = out;
}

Modelled ChipModel::weigh(const Sizes& sizes, const Placement& placement) const {
  const Chip& chip = device::chip::find_chip(placement.chip);
  const auto bound = bind(sizes);
  const std::string key = key_of(sizes) + '\n' + key_of(placement);
  {
    const std::lock_guard lock(mutex_);
    if (const auto at = modelled_.find(key); at != modelled_.end()) return at->second;
  }
  MapOptions options;
  options.precision = placement.precision;
  options.cores = placement.cores;
  options.chips = placement.chips;
  options.split = placement.split;
  options.pinned = placement.pinned;
  Modelled m;
  m.chip = &chip;
  m.symbols = bound->symbols;
  m.batch = std::max<int64_t>(1, bound->batch);
  device::chip::Mapped mapped = device::chip::map_ranks(chip, bound->graph, options);
  m.graph = std::move(mapped.graph);
  m.program = std::make_shared<const Program>(std::move(mapped.program));
  m.timing = std::make_shared<const Timing>(device::chip::simulate(chip, *m.program));
  m.engines = engine_uses(*m.program, *m.timing);
  overlap(m);
  m.notes = bound->notes;
  for (const std::string& n : m.program->notes) m.notes.push_back(n);
  if (m.chip->level == device::chip::Level::roofline)
    m.notes.push_back("level roofline: only peak rates and bandwidth of the chip are known, its times are lower bounds");
  const std::lock_guard lock(mutex_);
  return modelled_.emplace(key, std::move(m)).first->second;
}

}  // namespace bascule::inspect
