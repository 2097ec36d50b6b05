// device/chip/map_tile.cc — the tile mapper's frame: where values live and how long, the order of steps, which engine does which class of work.
#include "device/chip/map_tile.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"
#include "device/chip/timing.h"
#include "graph/op_def.h"

namespace bascule::device::chip {

int64_t Box::elements() const {
  int64_t n = 1;
  for (const int64_t s : size) n *= s;
  return n;
}

Box whole_box(const Extents& extents) { return {Extents(extents.size(), 0), extents}; }

std::vector<Box> TileMapper::grid(const Extents& extents, const Extents& size) {
  std::vector<Box> all{{Extents{}, Extents{}}};
  for (size_t a = 0; a < extents.size(); ++a) {
    std::vector<Box> next;
    for (const Box& b : all)
      for (int64_t at = 0; at < extents[a]; at += std::max<int64_t>(size[a], 1)) {
        next.push_back(b);
        next.back().begin.push_back(at);
        next.back().size.push_back(std::min(size[a], extents[a] - at));
      }
    all = std::move(next);
  }
  return all;
}

namespace {

// What stands for a class of work that no engine of the chip has a price for.
WorkClass like(WorkClass c) {
  switch (c) {
    case WorkClass::stats:
    case WorkClass::scan:
    case WorkClass::search: return WorkClass::reduce;
    case WorkClass::divide: return WorkClass::transcendental;
    case WorkClass::transcendental:
    case WorkClass::select:
    case WorkClass::reduce: return WorkClass::arith2;
    case WorkClass::arith2: return WorkClass::arith;
    case WorkClass::arith: return WorkClass::copy;
    case WorkClass::fill:
    case WorkClass::gather:
    case WorkClass::transpose:
    case WorkClass::matmul:
    case WorkClass::copy: return WorkClass::arith;
  }
  return WorkClass::arith;
}

}  // namespace

TileMapper::TileMapper(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options)
    : chip_(chip), graph_(graph), steps_(steps), options_(options), e_(chip, graph.name, options.cores > 0 ? options.cores : std::max<int64_t>(chip.default_cores, 1)) {
  Program& program = e_.program();
  if (program.cores > chip.cores)
    fail_usage("chip:" + chip.name, "at most " + std::to_string(chip.cores) + " cores", std::to_string(program.cores), "Ask for fewer cores, or more chips");
  program.chips = std::max<int64_t>(options.chips, 1);
  program.ranks = std::max<int64_t>(options.ranks, 1);
  if (program.chips != program.ranks)
    fail_internal("mapping to chip:" + chip.name, "a rank for each chip (map_ranks.h)", std::to_string(program.ranks) + " ranks for " + std::to_string(program.chips) + " chips");
  cores_ = static_cast<int32_t>(program.cores);
  staged_ = chip.machine == Machine::scratchpad && chip.level == Level::tile && chip.scratchpad();
  overlap_ = chip.software.overlap;
  precision_ = options.precision.value_or(chip.arithmetic.default_type);
  if (chip.matrix.peak_flop_per_s(precision_) <= 0) {
    std::string known;
    for (const auto& [t, passes] : chip.matrix.passes) known += (known.empty() ? "" : " ") + std::string(info(t).name);
    fail_unsupported("chip:" + chip.name, "matrix inputs of one of " + known, std::string(info(precision_).name), "Choose another --precision");
  }
  e_.program().precision = precision_;
  store_ = chip.arithmetic.store_default_type ? precision_ : DType::f32;
  if (staged_) local_limit_ = static_cast<double>(e_.capacity(Role::scratchpad)) * cores_ * (overlap_ ? 0.2 : 0.4);
  else local_limit_ = 16e6;  // temporaries of a kernel: what registers and shared memories hold in all
  for (int c = 0; c < kWorkClasses; ++c) {
    auto work = static_cast<WorkClass>(c);
    int32_t best = -1;
    for (int tries = 0; tries < kWorkClasses && best < 0; ++tries, work = best < 0 ? like(work) : work) {
      double least = std::numeric_limits<double>::infinity();
      for (size_t e = 0; e < chip.engines.size(); ++e) {
        const auto rate = chip.engines[e].rate(work, false, Width::wide);
        if (!rate) continue;
        const double ns = rate->cycles_per_element / static_cast<double>(chip.engines[e].lanes) / chip.engines[e].clock_hz;
        if (ns < least) least = ns, best = static_cast<int32_t>(e);
      }
      if (best >= 0) break;
    }
    engines_[static_cast<size_t>(c)] = {best, work};
  }
  pinned_ = read_pins(options.pinned);
  search_left_ = options.search_ms * kInstructionsPerMs;
}

// Values read by steps: when last, and whether as operands of products.
void TileMapper::find_uses() {
  home_.assign(graph_.values.size(), -1);
  last_use_.assign(graph_.values.size(), -1);
  uses_.assign(graph_.values.size(), 0);
  matrix_weight_.assign(graph_.values.size(), false);
  host_reads_.assign(graph_.values.size(), false);
  coordinates_ = find_coordinates(graph_);
  for (const Step& s : steps_) made_.insert(s.results.begin(), s.results.end());
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& s = steps_[i];
    const auto use = [&](Value v) {
      if (!v) return;
      last_use_[static_cast<size_t>(v.id)] = static_cast<int32_t>(i);
      if (std::find(s.results.begin(), s.results.end(), v) == s.results.end()) ++uses_[static_cast<size_t>(v.id)];
    };
    use(s.lhs.value);
    use(s.rhs.value);
    for (const Value v : s.spec_values) use(v);
    for (const View& v : s.views) use(v.value);
    for (const View& v : s.epilogue_operands) use(v.value);
    for (const Piece& p : s.pieces) use(p.from.value);
    for (const Value v : s.results) use(v);
    host_.push_back(refusal(chip_, graph_, s));
    if (!host_.back().empty())
      for (const Value v : host_operands(graph_, s, made_)) {
        use(v);
        host_reads_[static_cast<size_t>(v.id)] = true;
      }
    for (const View* v : {&s.lhs, &s.rhs})
      if (v->value) matrix_weight_[static_cast<size_t>(v->value.id)] = true;
  }
  for (const Value v : graph_.outputs) last_use_[static_cast<size_t>(v.id)] = std::numeric_limits<int32_t>::max();
  for (size_t v = 0; v < last_use_.size(); ++v)
    if (last_use_[v] >= 0 && last_use_[v] < std::numeric_limits<int32_t>::max()) dies_[last_use_[v]].push_back(Value{static_cast<int32_t>(v)});
}

DType TileMapper::stored_type(Value v) const {
  const DType t = graph_.type(v).dtype;
  if (!is_float(t) || (t == DType::f64 && !chip_.matrix.passes.contains(t))) return t;  // f64: the host's
  const bool output = std::find(graph_.outputs.begin(), graph_.outputs.end(), v) != graph_.outputs.end();
  const bool input = std::find(graph_.inputs.begin(), graph_.inputs.end(), v) != graph_.inputs.end();
  // Inputs arrive as activations are stored, or what is computed from them would differ from them: x == max(x) nowhere.
  if (output || (!input && coordinates_[static_cast<size_t>(v.id)])) return t;
  if (input) return t == DType::f32 ? store_ : t;
  const DType wanted = is_weight(graph_, v) && matrix_weight_[static_cast<size_t>(v.id)] ? precision_ : store_;
  if (info(t).bits < info(wanted).bits || (info(t).bits == info(wanted).bits && chip_.matrix.passes.contains(t))) return t;
  return wanted;
}

int32_t TileMapper::home(Value v) {
  int32_t& h = home_[static_cast<size_t>(v.id)];
  if (h >= 0) return h;
  const Type& t = graph_.type(v);
  if (!is_weight(graph_, v)) fail_internal("chip:" + chip_.name + ": value '" + escaped(graph_.at(v).name) + "'", "a result of an earlier step", "none");
  const DType type = stored_type(v);
  const int64_t elements = t.elements_count().value();
  const std::string name = graph_.at(v).name.empty() ? "w" + std::to_string(v.id) : graph_.at(v).name;
  if (resident_weights_) {
    h = e_.local(Role::scratchpad, name, type, 1, elements, 0, cores_);
    if (h >= 0) {
      Buffer& b = e_.program().buffers[static_cast<size_t>(h)];
      b.use = Buffer::weight;
      b.value = v;
      return h;
    }
  }
  return h = e_.main(name, Buffer::weight, type, elements, v);
}

Place TileMapper::place(Value v, const Layout& layout) { return {home(v), layout.offset, layout.strides}; }
Place TileMapper::place(const View& view) { return view.value ? place(view.value, view.layout) : Place{}; }

// Whether only the next step reads v, row by row: both are then one operator.
bool TileMapper::feeds_rows(Value v) const {
  const size_t next = at_ + 1;
  if (next >= steps_.size() || steps_[next].kind != Step::rows || last_use_[static_cast<size_t>(v.id)] != static_cast<int32_t>(next)) return false;
  const Step& made = steps_[at_];
  if (!host_[next].empty()) return false;
  return steps_[next].views[0].value == v && uses_[static_cast<size_t>(v.id)] == 1 && (made.kind == Step::contraction || made.kind == Step::region || made.kind == Step::rows);
}

// The buffer of a step's result: local where results stay on the cores and it is small enough, else in main memory.
void TileMapper::make_result(Value v, bool made_by_host) {
  int32_t& h = home_[static_cast<size_t>(v.id)];
  if (h >= 0) return;
  const Type& t = graph_.type(v);
  const int64_t elements = t.elements_count().value();
  const bool output = std::find(graph_.outputs.begin(), graph_.outputs.end(), v) != graph_.outputs.end();
  const DType type = stored_type(v);
  const std::string name = graph_.at(v).name.empty() ? "v" + std::to_string(v.id) : graph_.at(v).name;
  if (staged_ && (overlap_ || feeds_rows(v)) && !output && !host_reads_[static_cast<size_t>(v.id)] && !made_by_host) {
    const int64_t bytes = storage_bytes(type, elements) / cores_, room = e_.capacity(Role::scratchpad);
    if (bytes <= room / 8 && resident_bytes_ + bytes <= room * 2 / 5) {
      h = e_.local(Role::scratchpad, name, type, 1, elements, 0, cores_);
      if (h >= 0) {
        resident_bytes_ += bytes;
        return;
      }
    }
  }
  h = e_.main(name, output ? Buffer::output : Buffer::activation, type, elements, v);
}

void TileMapper::release_dead(size_t step) {
  const auto at = dies_.find(static_cast<int32_t>(step));
  if (at == dies_.end()) return;
  for (const Value v : at->second) {
    const int32_t h = home_[static_cast<size_t>(v.id)];
    if (h < 0) continue;
    const Buffer& b = e_.buffer(h);
    if (b.use == Buffer::weight || b.use == Buffer::input || b.use == Buffer::output) continue;
    if (b.memory != Role::main) resident_bytes_ -= storage_bytes(b.dtype, b.elements()) / cores_;
    e_.release(h);
  }
}

int32_t TileMapper::engine_for(WorkClass c) const {
  const int32_t e = engines_[static_cast<size_t>(c)].first;
  if (e < 0) fail_unsupported("chip:" + chip_.name, std::string("an engine for ") + name(c), "none in its file", "Add one to the chip file");
  return e;
}

std::string TileMapper::choice_of(const std::string& shape) {
  auto at = pinned_.find(e_.step().name + " of " + shape);
  if (at == pinned_.end()) at = pinned_.find(e_.step().name);
  return at == pinned_.end() ? "" : at->second;
}

void TileMapper::map_step(size_t index) {
  at_ = index;
  const Step& s = steps_[index];
  const bool on_host = !host_[index].empty();
  StepInfo info{.name = step_name(graph_, s), .origin = step_origin(graph_, s), .work = step_work(graph_, s), .choice = "", .host = host_[index], .nodes = s.nodes};
  e_.begin_step(std::move(info));
  bool empty = true;
  for (const Value v : s.results) empty = empty && graph_.type(v).elements_count().is(0);
  for (const Value v : s.results) make_result(v, on_host);
  if (empty) return;
  if (on_host) {
    map_host(s);
    return;
  }
  if (s.kind == Step::collective) {
    map_collective(s);
    return;
  }
  begin_kernel();
  switch (s.kind) {
    case Step::contraction: map_contraction(s); break;
    case Step::convolution: map_convolution(s); break;
    case Step::region: map_region(s); break;
    case Step::rows: map_rows(s); break;
    case Step::attention: map_attention(s); break;
    case Step::window: map_window(s); break;
    case Step::gather: map_gather(s); break;
    case Step::scatter: map_scatter(s); break;
    case Step::scan: map_scan(s); break;
    case Step::move: map_move(s); break;
    case Step::collective:
    case Step::host: break;
  }
  drop_fetched();
  // The fixed cost of an operator stands on its first instruction.
  auto& code = e_.program().code;
  const bool joined = s.kind == Step::rows && !overlap_ && staged_ && e_.buffer(home(s.views[0].value)).memory != Role::main;  // one operator with the step before
  if (kernel_begin_ < code.size() && code[kernel_begin_].launches == 0 && !joined) code[kernel_begin_].launches = 1;
}

Program TileMapper::run() {
  find_uses();
  double weight_bytes = 0;
  std::vector<Value> weights;
  for (size_t v = 0; v < last_use_.size(); ++v)
    if (const Value w{static_cast<int32_t>(v)}; last_use_[v] >= 0 && graph_.type(w).is_tensor() && is_weight(graph_, w)) {
      weights.push_back(w);
      weight_bytes += static_cast<double>(storage_bytes(stored_type(w), graph_.type(w).elements_count().value()));
    }
  resident_weights_ = staged_ && weight_bytes > 0 && weight_bytes <= chip_.software.resident_weight_bytes &&
                      weight_bytes <= 0.5 * static_cast<double>(e_.capacity(Role::scratchpad)) * cores_;
  e_.program().weights_resident = resident_weights_;
  for (const Value v : graph_.inputs) {
    const std::string name = graph_.at(v).name.empty() ? "in" + std::to_string(v.id) : graph_.at(v).name;
    if (graph_.type(v).is_tensor()) home_[static_cast<size_t>(v.id)] = e_.main(name, Buffer::input, stored_type(v), graph_.type(v).elements_count().value(), v);
  }
  for (const Value w : weights) home(w);  // before all else: their places are never given out again
  for (size_t i = 0; i < steps_.size(); ++i) {
    map_step(i);
    release_dead(i);
  }
  return e_.finish();
}

Program map_tiles(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options) {
  MapOptions closed = options;
  closed.search = false;
  std::optional<Program> found;
  try {
    TileMapper mapper(chip, graph, steps, options);
    found = mapper.run();
    if (!mapper.differs()) return std::move(*found);
  } catch (const Error& e) {  // a choice for one step may leave too little room for another of its kind
    if (!options.search || e.kind() != ErrorKind::capacity) throw;
  }
  // What is best of each step by itself is most often so of all together; if not, the closed forms' choices stand.
  Program other = TileMapper(chip, graph, steps, closed).run();
  return found && simulate(chip, *found).total_ns <= simulate(chip, other).total_ns ? std::move(*found) : other;
}

}  // namespace bascule::device::chip
