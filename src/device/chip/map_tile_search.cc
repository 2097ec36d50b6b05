// device/chip/map_tile_search.cc — the timing model's choice among the closed form's best, where transfers run beside the work and a closed form cannot
// know what hides behind what: each kind of product is mapped and timed by itself, behind a product before it. Knows no tile.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"
#include "device/chip/timing.h"

namespace bascule::device::chip {
namespace {

constexpr double kWorth = 1.3;  // times the closed form's best that a choice worth a trial may take
constexpr double kTrial = 60;   // instructions that beginning a trial takes the time of

}  // namespace

void TileMapper::Candidates::add(double seconds, std::string choice) {
  if (best.size() == kMost) best.pop_back();
  const auto at = std::upper_bound(best.begin(), best.end(), seconds, [](double s, const auto& c) { return s < c.first; });
  best.emplace(at, seconds, std::move(choice));
}

// Steps of one kind take the same time: sizes, types, where operands lie, about as much room. "": closed forms decide.
std::string TileMapper::kind_of(const Step& s) {
  if (!options_.search || !overlap_) return "";
  std::string key = e_.step().name;
  const auto add = [&](int64_t x) { key += ' ' + std::to_string(x); };
  const auto view = [&](const View& v) {
    const Buffer& b = e_.buffer(home(v.value));
    add(static_cast<int64_t>(b.memory));
    add(static_cast<int64_t>(b.dtype));
    for (const int64_t x : v.layout.strides) add(x);
  };
  for (const auto* group : {&s.batch, &s.m, &s.n, &s.k, &s.axes}) {
    key += ';';
    for (const int64_t x : *group) add(x);
  }
  for (const WindowAxis& w : s.windows)
    for (const int64_t x : {w.in, w.taps, w.stride, w.dilation, w.low, w.base}) add(x);
  view(s.lhs);
  view(s.rhs);
  for (const View& v : s.epilogue_operands) view(v);
  add(static_cast<int64_t>(e_.buffer(home(s.result)).memory));
  add(std::lround(8 * std::log2(1.0 + static_cast<double>(e_.largest_free(Role::scratchpad)))));
  return key;
}

// A buffer of its own for a value, of the kind and in the memory that `from` has it in.
void TileMapper::copy_home(TileMapper& from, Value v) {
  int32_t& h = home_[static_cast<size_t>(v.id)];
  if (!v || h >= 0) return;
  const Buffer& b = from.e_.buffer(from.home(v));
  h = b.memory == Role::main ? e_.main(b.name, b.use, b.dtype, b.elements(), v) : e_.local(b.memory, b.name, b.dtype, b.rows, b.row_elements, b.core, b.spread);
}

// Time of the step with this choice after a product of before_ns has made its left operand; loads of the right one may run beside that. Infinite: no room.
double TileMapper::trial_ns(const Step& s, const std::string& choice, double before_ns) {
  MapOptions options = options_;
  options.search = false;
  options.pinned.clear();
  TileMapper trial(chip_, graph_, steps_, options);
  trial.home_.assign(graph_.values.size(), -1);
  trial.matrix_weight_ = matrix_weight_;
  for (const Value v : {s.lhs.value, s.rhs.value, s.result}) trial.copy_home(*this, v);
  for (const View& v : s.epilogue_operands) trial.copy_home(*this, v.value);
  const int64_t taken = trial.e_.largest_free(Role::scratchpad) - e_.largest_free(Role::scratchpad);
  if (taken > 0) trial.e_.local(Role::scratchpad, "others", DType::i8, 1, taken * cores_, 0, cores_);
  trial.e_.begin_step({.name = e_.step().name});
  const Buffer& left = trial.e_.buffer(trial.home(s.lhs.value));
  if (left.use != Buffer::weight && left.elements() < std::numeric_limits<int32_t>::max()) {
    Instruction before;
    before.op = Opcode::matmul;
    before.work = WorkClass::matmul;
    before.queue = trial.e_.matrix();
    before.cores = cores_;
    before.flops = before_ns * 1e-9 * chip_.matrix.peak_flop_per_s(precision_) * chip_.matrix.achieved;
    const int32_t any = trial.e_.main("before", Buffer::activation, precision_, 1);
    before.in[0] = before.in[1] = Emitter::strided(any, 0, {1, 1}, {1, 1});
    before.out = Emitter::strided(trial.home(s.lhs.value), 0, {left.elements()}, {1});
    trial.e_.emit(before);
  }
  trial.pinned_[e_.step().name] = choice;
  try {
    if (s.kind == Step::convolution) trial.map_convolution(s);
    else trial.map_contraction(s);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::capacity) throw;
    return std::numeric_limits<double>::infinity();
  }
  const Program program = trial.e_.finish();
  search_left_ -= kTrial + static_cast<double>(program.code.size());
  return simulate(chip_, program).total_ns;
}

const std::string* TileMapper::known(const std::string& kind) const {
  const auto at = searched_.find(kind);
  return at == searched_.end() ? nullptr : &at->second;
}

std::string TileMapper::fastest(const Step& s, const std::string& kind, const Candidates& found) {
  const std::string& closed_form = found.best.front().second;
  if (kind.empty() || search_left_ <= 0) return closed_form;
  const auto at = searched_.try_emplace(kind, closed_form).first;
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [seconds, choice] : found.best) {
    if (search_left_ <= 0 || seconds > kWorth * found.best.front().first) break;
    const double ns = trial_ns(s, choice, found.best.front().first * 1e9);
    if (ns < least) least = ns, at->second = choice;
  }
  differs_ |= at->second != closed_form;
  return at->second;
}

}  // namespace bascule::device::chip
