// passes/match.cc — see match.h.
#include "passes/match.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "graph/op_def.h"

namespace bascule::passes {
namespace {
constexpr int64_t kMostSplat = 65536;  // what fold writes out of a broadcast number
}

const Node* made_by(const Graph& g, Value v, std::string_view op) {
  const Node* n = g.producer(v);
  return n && n->op->name == op ? n : nullptr;
}

std::optional<double> splat_of(const Graph& g, Value v) {
  for (int depth = 0; depth < 8; ++depth) {
    const Node* n = g.producer(v);
    if (!n) return std::nullopt;
    if (const Tensor* t = g.constant(v)) {
      if (t->elements() < 1 || t->elements() > kMostSplat || !(is_float(t->dtype()) || is_int(t->dtype()))) return std::nullopt;
      const double x = t->number(0);
      for (int64_t i = 1; i < t->elements(); ++i)
        if (!(t->number(i) == x)) return std::nullopt;
      return x;
    }
    const bool floats = n->op->name == "convert" && is_float(g.type(n->inputs[0]).dtype) && is_float(g.type(v).dtype);
    if (n->op->name != "broadcast_in_dim" && n->op->name != "reshape" && !floats) return std::nullopt;
    v = n->inputs[0];
  }
  return std::nullopt;
}

Value unbroadcast(const Graph& g, Value v) {
  for (int depth = 0; depth < 8; ++depth) {
    const Node* n = g.producer(v);
    if (!n || (n->op->name != "broadcast_in_dim" && n->op->name != "reshape")) break;
    if (n->op->name == "broadcast_in_dim" && !std::ranges::is_sorted(n->attrs.ints("broadcast_dimensions"))) break;
    v = n->inputs[0];
  }
  return v;
}

std::optional<Ints> axis_map(const Graph& g, Value v, Value base) {
  if (v == base) {
    Ints out;
    for (size_t i = 0; i < g.type(v).rank(); ++i) out.push_back(g.type(v).dims[i].is(1) ? -1 : static_cast<int64_t>(i));
    return out;
  }
  const Node* n = g.producer(v);
  if (!n || n->inputs.empty()) return std::nullopt;
  const auto inner = (n->op->name == "broadcast_in_dim" || n->op->name == "reshape") ? axis_map(g, n->inputs[0], base) : std::nullopt;
  if (!inner) return std::nullopt;
  const Dims &from = g.type(n->inputs[0]).dims, &to = g.type(v).dims;
  Ints out(to.size(), -1);
  if (n->op->name == "broadcast_in_dim") {
    const Ints& axes = n->attrs.ints("broadcast_dimensions");
    for (size_t k = 0; k < axes.size(); ++k) out[static_cast<size_t>(axes[k])] = (*inner)[k];
    return out;
  }
  size_t i = 0;
  for (size_t j = 0; j < to.size(); ++j) {
    if (to[j].is(1)) continue;
    while (i < from.size() && from[i].is(1)) ++i;
    if (i == from.size() || !(from[i] == to[j])) return std::nullopt;
    out[j] = (*inner)[i++];
  }
  while (i < from.size() && from[i].is(1)) ++i;
  return i == from.size() ? std::optional(out) : std::nullopt;
}

bool repeats_along(const Graph& g, Value v, Value stat, const Ints& axes, size_t rank) {
  const auto map = axis_map(g, v, stat);
  Ints all(rank), kept;
  std::iota(all.begin(), all.end(), 0);
  std::ranges::set_difference(all, axes, std::back_inserter(kept));
  // The axes of the value that u's axes are.
  const auto meaning = [&](Value u) -> const Ints* {
    const size_t r = g.type(u).rank();
    return r == rank ? &all : r == kept.size() ? &kept : nullptr;
  };
  const Ints *of_v = meaning(v), *of_stat = meaning(stat);
  if (!map || !of_v || !of_stat) return false;
  for (size_t k = 0; k < map->size(); ++k) {
    const int64_t from = (*map)[k];
    if (std::ranges::binary_search(axes, (*of_v)[k]) ? from != -1 : !g.type(v).dims[k].is(1) && (from == -1 || (*of_stat)[static_cast<size_t>(from)] != (*of_v)[k])) return false;
  }
  return true;
}

std::optional<Pair> operands(const Graph& g, Value v, std::string_view op) {
  const Node* n = made_by(g, v, op);
  if (!n || n->inputs.size() != 2) return std::nullopt;
  return Pair{n->inputs[0], n->inputs[1]};
}

std::optional<Mean> mean_of(const Graph& g, Value v) {
  v = unbroadcast(g, v);
  const Node* scaled = g.producer(v);
  if (!scaled || scaled->inputs.size() != 2) return std::nullopt;
  const bool divides = scaled->op->name == "divide";
  if (!divides && scaled->op->name != "multiply") return std::nullopt;
  for (const size_t side : {size_t{0}, size_t{1}}) {
    if (divides && side == 1) break;
    const Node* sum = made_by(g, unbroadcast(g, scaled->inputs[side]), "reduce");
    if (!sum || sum->inputs.size() != 2 || reduction_body(*sum->regions[0]) != "add" || splat_of(g, sum->inputs[1]) != 0.0) continue;
    Ints axes = sum->attrs.ints("dimensions");
    if (axes.empty()) continue;
    std::sort(axes.begin(), axes.end());
    Dim count = 1;
    for (const int64_t a : axes) count = count * g.type(sum->inputs[0]).dims[static_cast<size_t>(a)];
    const auto c = count.constant();
    const auto factor = splat_of(g, scaled->inputs[1 - side]);
    if (!c || !factor) continue;
    const double want = divides ? static_cast<double>(*c) : 1.0 / static_cast<double>(*c);
    if (std::abs(*factor - want) > 1e-6 * want) continue;
    return Mean{sum->inputs[0], axes};
  }
  return std::nullopt;
}

}  // namespace bascule::passes
