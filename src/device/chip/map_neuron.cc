// device/chip/map_neuron.cc — the order of work: values, what consumers wish of a result's layout, one step after the other.
#include "device/chip/map_neuron.h"

#include <algorithm>

#include "base/error.h"

namespace bascule::device::chip::neuron {
namespace {

bool dense(const std::vector<int64_t>& extents, const std::vector<int64_t>& strides, size_t first) {
  int64_t want = 1;
  for (size_t k = extents.size(); k-- > first;) {
    if (extents[k] != 1 && strides[k] != want) return false;
    want *= extents[k];
  }
  return true;
}

}  // namespace

Mapper::Mapper(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options, bool resident, double share, int64_t weight_room)
    : chip_(chip), graph_(graph), options_(options), emit_(chip, graph.name, 1), steps_(steps) {
  const Memory* local = chip.scratchpad();
  const Memory* sums = chip.accumulator();
  if (!local || !sums || local->partitions < 2)
    fail_unsupported("chip:" + chip.name, "a partitioned scratchpad and an accumulator", "a file without", "Give the chip level = \"tile\"");
  Program& program = emit_.program();
  program.cores = std::max<int64_t>(options.cores, 1);
  program.chips = std::max<int64_t>(options.chips, 1);
  program.ranks = std::max<int64_t>(options.ranks, 1);
  if (program.cores * program.chips != program.ranks)
    fail_internal("mapping to chip:" + chip.name, "a rank for each core (map_ranks.h)", std::to_string(program.ranks) + " ranks for " + std::to_string(program.cores) + " cores of " + std::to_string(program.chips) + " chips");
  partitions_ = local->partitions;
  capacity_ = emit_.capacity(Role::scratchpad);
  if (weight_room > 0) emit_.keep_for_weights(Role::scratchpad, weight_room);
  budget_ = static_cast<int64_t>(share * static_cast<double>(capacity_));
  precision_ = options.precision.value_or(chip.arithmetic.default_type);
  if (!chip.matrix.passes.contains(precision_))
    fail_unsupported("chip:" + chip.name, "a precision that the matrix engine takes", std::string(info(precision_).name), "Choose another precision");
  activation_ = chip.arithmetic.store_default_type ? precision_ : DType::f32;
  emit_.program().precision = precision_;
  pins_ = read_pins(options.pinned);
  for (const Engine& e : chip.engines) {
    Unit u;
    u.queue = emit_.engine(e.name);
    u.engine = &e;
    for (const auto& [a, b, where] : chip.exclusive) {
      if (where == "scratchpad" && b == e.name) u.shares = true;
      else if (where == "accumulator" && (a == e.name || b == e.name)) u.takes_turns = true;
    }
    units_.push_back(u);
  }
  item_.assign(graph.values.size(), -1);
  items_.reserve(graph.values.size());
  const std::vector<bool> coordinates = find_coordinates(graph);
  const auto add = [&](Value v, bool output) {
    if (!v) return;
    int32_t& at = item_[static_cast<size_t>(v.id)];
    if (at >= 0) return;
    const Type& t = graph.type(v);
    Item it;
    it.value = v;
    it.name = graph.at(v).name;
    it.weight = is_weight(graph, v);
    it.output = output;
    it.total = 1;
    for (const int64_t d : constants(t.dims).value_or(std::vector<int64_t>{0})) it.total *= d;
    const bool input = graph.at(v).node < 0;
    it.dtype = input || coordinates[static_cast<size_t>(v.id)] ? t.dtype : stored(t, output);
    at = static_cast<int32_t>(items_.size());
    items_.push_back(std::move(it));
    if (input) items_.back().main = emit_.main(items_.back().name, Buffer::input, t.dtype, items_.back().total, v);
  };
  for (const Value v : graph.inputs)
    if (graph.type(v).is_tensor()) add(v, false);
  for (const Value v : graph.outputs)
    if (graph.at(v).node >= 0 && !is_weight(graph, v)) add(v, true);
  std::vector<int32_t> last(graph.values.size(), -1);
  double weight_bytes = 0;
  std::set<Value> counted;
  for (const Step& s : steps_) made_.insert(s.results.begin(), s.results.end());
  for (size_t k = 0; k < steps_.size(); ++k) {
    const Step& s = steps_[k];
    std::vector<Value> reads;
    for (const View* v : {&s.lhs, &s.rhs}) reads.push_back(v->value);
    for (const auto* list : {&s.views, &s.epilogue_operands})
      for (const View& v : *list) reads.push_back(v.value);
    for (const Piece& p : s.pieces) reads.push_back(p.from.value);
    if (s.kind == Step::region) reads.insert(reads.end(), s.spec_values.begin(), s.spec_values.end() - 1);
    if (s.kind == Step::host) reads = host_operands(graph, s, made_);
    for (const Value v : reads) {
      if (!v) continue;
      add(v, false);
      Item& it = item(item_of(v));
      if (it.uses.empty() || it.uses.back() != static_cast<int32_t>(k)) it.uses.push_back(static_cast<int32_t>(k));
      const bool table = s.kind == Step::gather && s.views[0].value == v;
      if (it.weight && !table && counted.insert(v).second) weight_bytes += static_cast<double>(storage_bytes(is_float(it.dtype) ? precision_ : it.dtype, it.total));
    }
    for (const Value v : s.results) add(v, false);
    add(s.result, false);
  }
  resident_ = resident && weight_bytes < chip.software.resident_weight_bytes && weight_bytes < 0.75 * static_cast<double>(local->bytes);
  emit_.program().weights_resident = resident_;
  dying_.resize(steps_.size());
  for (size_t k = 0; k < items_.size(); ++k)
    if (!items_[k].uses.empty()) dying_[static_cast<size_t>(items_[k].uses.back())].push_back(static_cast<int32_t>(k));
  for (size_t k = 0; k < steps_.size(); ++k)
    for (const Value v : steps_[k].results)
      if (item(item_of(v)).uses.empty()) dying_[k].push_back(item_of(v));
}

// Activations are stored in the chip's default type; results of the model as the model says.
DType Mapper::stored(const Type& t, bool output) const { return is_float(t.dtype) && !output ? activation_ : t.dtype; }

Operand Mapper::operand(const View& v) const {
  Operand o;
  const auto found = taken_out_.find(v.value);
  o.item = found != taken_out_.end() ? found->second : item_of(v.value);
  o.total = items_[static_cast<size_t>(o.item)].total;
  o.strides = v.layout.strides;
  o.offset = v.layout.offset;
  return o;
}

Operand Mapper::result(const Step& s) const {
  Operand o;
  o.item = result_as_ >= 0 ? result_as_ : item_of(s.result);
  o.total = items_[static_cast<size_t>(o.item)].total;
  o.strides = s.out.strides;
  o.offset = s.out.offset;
  return o;
}

// What a later reader would like best, if it minds.
std::optional<Placement> Mapper::wish(const Item& it, int32_t after) const {
  for (const int32_t k : it.uses) {
    if (k <= after) continue;
    if (const auto p = wish_of(steps_[static_cast<size_t>(k)], it.value); p && fits(*p, it.total)) return p;
  }
  return std::nullopt;
}

std::optional<Placement> Mapper::wish_of(const Step& s, Value v) const {
  const int64_t total = items_[static_cast<size_t>(item_of(v))].total;
  const auto contracted = [&](const View& view, size_t first) -> std::optional<Placement> {
    int64_t best = 0, stride = 0;
    for (size_t a = 0; a < s.k.size(); ++a)
      if (s.k[a] > best) best = s.k[a], stride = view.layout.strides[first + a];
    if (best < 1 || stride < 1) return std::nullopt;
    return Placement{stride, best};
  };
  switch (s.kind) {
    case Step::contraction:
      if (s.lhs.value == v) return contracted(s.lhs, s.batch.size() + s.m.size());
      if (s.rhs.value == v) return contracted(s.rhs, s.batch.size() + s.n.size());
      return std::nullopt;
    case Step::rows:
      if (!s.views.empty() && s.views[0].value == v) {
        int64_t row = 1;
        for (size_t a = s.row_axis; a < s.axes.size(); ++a) row *= s.axes[a];
        if (dense(s.axes, s.views[0].layout.strides, 0)) return Placement{row, std::max<int64_t>(total / std::max<int64_t>(row, 1), 1)};
      }
      return std::nullopt;
    case Step::attention:
      for (size_t i = 0; i < 3 && i < s.views.size(); ++i) {
        if (s.views[i].value != v) continue;
        const auto& st = s.views[i].layout.strides;
        if (i == 2) return st[2] > 0 && s.keys > 0 ? std::optional(Placement{st[2], s.keys}) : std::nullopt;
        const int64_t heads = i == 0 ? s.axes[1] : s.kv_heads, d = s.head_size;
        if (st[3] < 1 || d < 1) return std::nullopt;
        const bool joins = st[1] == st[3] * d && ((partitions_ % d == 0 && d >= 32) || d % partitions_ == 0);
        return Placement{st[3], joins ? d * heads : d};
      }
      return std::nullopt;
    case Step::convolution:
      if (s.lhs.value == v) {
        const auto& st = s.lhs.layout.strides;  // N, G, C, S...
        const int64_t channels = s.groups * s.in_channels;
        if (s.groups > 1 && s.in_channels > 1 && st[1] != st[2] * s.in_channels) return Placement{st[2], s.in_channels};
        return Placement{s.in_channels > 1 ? st[2] : st[1], channels};
      }
      return std::nullopt;
    case Step::scan: {
      const auto& st = s.views[0].layout.strides;
      return st.size() > 1 && st[0] > 0 ? std::optional(Placement{st[s.row_axis - 1], s.axes[s.row_axis - 1]}) : std::nullopt;
    }
    case Step::window:
      if (!s.views.empty() && s.views[0].value == v) {
        const int rows = window_rows(s);
        if (rows < 0) return std::nullopt;
        const int64_t best = s.axes[static_cast<size_t>(rows)], stride = s.views[0].layout.strides[static_cast<size_t>(rows)];
        if (best > 1 && stride > 0) return Placement{stride, best};
      }
      return std::nullopt;
    case Step::collective:  // element for element: as its readers like it
      return s.fold == loops::Op::load ? std::nullopt : wish(items_[static_cast<size_t>(item_of(s.result))], -1);
    default: return std::nullopt;
  }
}

void Mapper::host_step(const Step& s) {
  emit_.step().host = s.reason.empty() ? "no layout for the chip's engines" : s.reason;
  emit_.step().nodes = s.nodes;
  std::vector<int32_t> in, out;
  for (const Value v : host_operands(graph_, s, made_)) {
    if (item_of(v) < 0) continue;  // a constant that no step reads: the host has it
    in.push_back(in_main(item_of(v)));
    Buffer& held = emit_.program().buffers[static_cast<size_t>(in.back())];
    if (!held.value) held.value = v;
  }
  for (const Value v : s.results) {
    Item& it = item(item_of(v));
    it.main = emit_.main(it.name, it.output ? Buffer::output : Buffer::activation, it.dtype, it.total, it.value);
    out.push_back(it.main);
  }
  emit_.host_work(std::move(in), std::move(out));
}

void Mapper::step(int32_t index) {
  now_ = index;
  const Step& made = steps_[static_cast<size_t>(index)];
  Step refused;
  if (made.kind != Step::host)
    if (std::string why = refusal(chip_, graph_, made); !why.empty()) {
      refused = made;
      refused.kind = Step::host;
      refused.reason = std::move(why);
    }
  const Step& s = refused.reason.empty() ? made : refused;
  StepInfo info;
  info.name = step_name(graph_, made);
  info.origin = step_origin(graph_, made);
  info.work = step_work(graph_, made);
  emit_.begin_step(std::move(info));
  if (item(item_of(s.result)).total > 0 || s.kind == Step::host) {
    switch (s.kind) {
      case Step::contraction: contraction(s); break;
      case Step::convolution: convolution(s); break;
      case Step::region: region(s); break;
      case Step::rows: rows(s); break;
      case Step::attention: attention(s); break;
      case Step::window: window_step(s); break;
      case Step::gather: gather(s); break;
      case Step::scatter: scatter(s); break;
      case Step::scan: rows(s); break;
      case Step::move: move(s); break;
      case Step::host: host_step(s); break;
      case Step::collective: collective(s); break;
    }
  }
  done();
  Item& r = item(item_of(s.result));
  if (r.output && r.main < 0 && (!r.local.empty() || !r.images.empty())) in_main(item_of(s.result));
  retire(index);
}

Program Mapper::run() {
  for (size_t k = 0; k < steps_.size(); ++k) step(static_cast<int32_t>(k));
  for (const Value v : graph_.outputs) {  // inputs and weights handed through
    const int32_t at = item_of(v);
    if (at >= 0 && item(at).output) continue;
    now_ = static_cast<int32_t>(steps_.size());
    StepInfo info;
    info.name = "output";
    emit_.begin_step(std::move(info));
    const Type& t = graph_.type(v);
    int64_t total = 1;
    for (const int64_t d : constants(t.dims).value_or(std::vector<int64_t>{})) total *= d;
    const int32_t from = at >= 0 ? in_main(at) : emit_.main(graph_.at(v).name, Buffer::weight, t.dtype, total, v);
    const int32_t to = emit_.main(graph_.at(v).name, Buffer::output, t.dtype, total, v);
    if (total > 0) {
      Instruction i;
      i.op = Opcode::copy;
      i.queue = emit_.dma(kStores);
      i.in[0] = emit_.whole(from);
      i.out = emit_.whole(to);
      emit_.emit(i);
    }
  }
  return emit_.finish();
}

}  // namespace bascule::device::chip::neuron
