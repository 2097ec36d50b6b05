// device/chip/map_tile_chips.cc — tensor parallel over chips: which results each chip has a part of, and the collectives that join them. A product with
// a weight on a whole operand leaves its result in parts (columns of the weight); on an operand in parts it gives sums to be reduced (rows of the weight).
#include <algorithm>

#include "base/error.h"
#include "device/chip/map_tile_mapper.h"

namespace bascule::device::chip {

void TileMapper::prepare_chips() {
  chips_ = options_.ranks > 1 ? 1 : std::max<int64_t>(options_.chips, 1);
  in_parts_.assign(graph_.values.size(), false);
  if (chips_ == 1) return;
  if (!chip_.link) fail_unsupported("chip:" + chip_.name, "links between " + std::to_string(chips_) + " chips", "no [link] in its file", "Map to one chip, or add the link");
  if (chip_.link->chips > 0 && chips_ > chip_.link->chips)
    fail_usage("chip:" + chip_.name, "at most " + std::to_string(chip_.link->chips) + " chips, as many as one domain links", std::to_string(chips_), "Ask for fewer chips");
  e_.note("tensor parallel over " + std::to_string(chips_) + " chips: weights in columns, then in rows; a collective after each pair and before each norm");
}

void TileMapper::join_chips(Value v, loops::Op fold) {
  const int32_t h = home(v);
  const int64_t n = e_.buffer(h).elements();
  if (n == 0) return;
  Instruction i;
  i.op = Opcode::collective;
  i.fn = fold;
  i.queue = e_.collective();
  i.out = Emitter::strided(h, 0, {n}, {1});
  i.in[0] = fold == loops::Op::load ? i.out : Emitter::strided(h, 0, {1, n}, {n, 1});
  e_.emit(i);
  in_parts_[static_cast<size_t>(v.id)] = false;
}

bool TileMapper::in_parts(Value v) const { return v && in_parts_[static_cast<size_t>(v.id)]; }

// Operands that the step needs whole.
void TileMapper::join_operands(const Step& s, bool on_host) {
  if (chips_ == 1) return;
  const auto join = [&](Value v) {
    if (in_parts(v)) join_chips(v, loops::Op::load);
  };
  if (on_host)
    for (const Value v : host_operands(graph_, s, made_)) join(v);
  if (s.kind == Step::rows && (s.row_function == Step::layer_norm || s.row_function == Step::rms_norm)) join(s.views[0].value);
}

// After the step's instructions from `begin` on.
void TileMapper::split_step(const Step& s, bool on_host, size_t begin) {
  if (chips_ == 1 || on_host) return;
  bool parts = false, reduce = false;
  const auto any = [&](const std::vector<View>& views) { return std::any_of(views.begin(), views.end(), [&](const View& v) { return in_parts(v.value); }); };
  switch (s.kind) {
    case Step::contraction:
    case Step::convolution: {
      const bool left = s.lhs.value && is_weight(graph_, s.lhs.value), right = s.rhs.value && is_weight(graph_, s.rhs.value);
      const bool operand = in_parts(left ? s.rhs.value : s.lhs.value);
      reduce = (left || right) && operand;
      parts = left || right ? !operand : operand || in_parts(s.rhs.value);
      break;
    }
    case Step::region:
      for (size_t k = 0; k + 1 < s.spec_values.size(); ++k) parts = parts || in_parts(s.spec_values[k]);
      if (!s.spec.reductions.empty()) reduce = parts, parts = false;
      break;
    case Step::move:
      for (const Piece& p : s.pieces) parts = parts || in_parts(p.from.value);
      break;
    default: parts = any(s.views); break;
  }
  const bool divided = parts || reduce;
  for (size_t k = begin; k < e_.program().code.size() && !divided; ++k) {  // every chip does all of it
    Instruction& i = e_.program().code[k];
    i.cores = std::max<int32_t>(1, i.cores / static_cast<int32_t>(chips_));
    i.flops *= static_cast<double>(chips_);
    double bytes = i.main_bytes;
    if (e_.program().queues[static_cast<size_t>(i.queue)].kind == Queue::dma)
      for (const Access* a : {&i.out, &i.in[0], &i.in[1]})
        if (*a && e_.buffer(a->buffer).memory == Role::main && a != table_of(i)) bytes += static_cast<double>(storage_bytes(e_.buffer(a->buffer).dtype, a->elements()));
    i.main_bytes = bytes * static_cast<double>(chips_);
  }
  for (const Value v : s.results) {
    in_parts_[static_cast<size_t>(v.id)] = parts;
    const bool output = std::find(graph_.outputs.begin(), graph_.outputs.end(), v) != graph_.outputs.end();
    if (reduce) join_chips(v, loops::Op::add);
    else if (parts && output) join_chips(v, loops::Op::load);
  }
}

}  // namespace bascule::device::chip
