// device/chip/step_view.cc — layouts through reshapes and transposes, forward and back.
#include <algorithm>

#include "device/chip/step_maker.h"
#include "graph/op_def.h"

namespace bascule::device::chip {

std::optional<Layout> reshaped(const Layout& layout, const Extents& from, const Extents& to) {
  // Axes are matched in groups of equal products; a group of the source must run with one stride.
  Layout out{Extents(to.size(), 0), layout.offset};
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    const size_t i0 = i, j0 = j;
    int64_t pi = i < from.size() ? from[i++] : 1, pj = j < to.size() ? to[j++] : 1;
    while (pi != pj) {
      if (pi < pj && i < from.size()) pi *= from[i++];
      else if (pj < pi && j < to.size()) pj *= to[j++];
      else return std::nullopt;
    }
    if (pi == 0) return std::nullopt;
    int64_t stride = 1, run = 0;  // run: elements so far, 0 before the first axis over 1
    for (size_t k = i; k-- > i0;) {
      if (from[k] == 1) continue;
      if (run == 0) {
        stride = layout.strides[k];
        run = from[k];
      } else {
        if (layout.strides[k] != stride * run) return std::nullopt;
        run *= from[k];
      }
    }
    for (size_t k = j; k-- > j0;) {
      out.strides[k] = to[k] == 1 ? 0 : stride;
      stride *= to[k];
    }
  }
  return out;
}

Layout permuted(const Layout& layout, const Ints& permutation) {
  Layout out{{}, layout.offset};
  for (const int64_t a : permutation) out.strides.push_back(layout.strides[static_cast<size_t>(a)]);
  return out;
}

Extents permuted(const Extents& extents, const Ints& permutation) {
  Extents out;
  for (const int64_t a : permutation) out.push_back(extents[static_cast<size_t>(a)]);
  return out;
}

Ints inverse(const Ints& permutation) {
  Ints out(permutation.size());
  for (size_t k = 0; k < permutation.size(); ++k) out[static_cast<size_t>(permutation[k])] = static_cast<int64_t>(k);
  return out;
}

bool is_dense(const Layout& layout, const Extents& extents) {
  const Layout want = dense_layout(extents);
  if (layout.offset != 0) return false;
  for (size_t a = 0; a < extents.size(); ++a)
    if (extents[a] != 1 && layout.strides[a] != want.strides[a]) return false;
  return true;
}

void merge_axes(Extents& extents, const std::vector<std::vector<int64_t>*>& strides) {
  size_t kept = 0;
  for (size_t a = 0; a < extents.size(); ++a) {
    if (extents[a] == 1) continue;
    bool joins = kept > 0;
    for (const auto* s : strides) joins = joins && (*s)[kept - 1] == (*s)[a] * extents[a];
    if (!joins) {
      extents[kept] = extents[a];
      for (auto* s : strides) (*s)[kept] = (*s)[a];
      ++kept;
      continue;
    }
    extents[kept - 1] *= extents[a];
    for (auto* s : strides) (*s)[kept - 1] = (*s)[a];
  }
  extents.resize(kept);
  for (auto* s : strides) s->resize(kept);
}

std::optional<Hop> as_hop(const Graph& g, const Node& n) {
  const std::string_view name = n.op->name;
  if (name != "reshape" && name != "transpose" && name != "broadcast_in_dim") return std::nullopt;
  const auto from = constants(g.type(n.inputs[0]).dims), to = constants(g.type(n.outputs[0]).dims);
  if (!from || !to || element_count(*from) != element_count(*to)) return std::nullopt;
  Hop h{*from, *to, {}};
  if (name == "transpose") {
    h.permutation = n.attrs.ints("permutation");
  } else if (name == "broadcast_in_dim") {  // of as many elements: adds axes of extent 1, in order
    const Ints& axes = n.attrs.ints("broadcast_dimensions");
    if (!std::is_sorted(axes.begin(), axes.end())) return std::nullopt;
  }
  return h;
}

std::optional<std::vector<EvenIndex>> even_gather(const Graph& g, const Node& n) {
  constexpr int64_t kMostIndices = int64_t{1} << 20;
  const Tensor* indices = g.constant(n.inputs[1]);
  const auto x = constants(g.type(n.inputs[0]).dims), y = constants(g.type(n.outputs[0]).dims);
  if (!indices || !x || !y || indices->elements() == 0 || indices->elements() > kMostIndices || element_count(*y) == 0) return std::nullopt;
  const Ints &offsets = n.attrs.ints("offset_dims"), &collapsed = n.attrs.ints("collapsed_slice_dims"), &map = n.attrs.ints("start_index_map");
  const Ints &batching = n.attrs.ints("operand_batching_dims"), &index_batching = n.attrs.ints("start_indices_batching_dims");
  const auto vector_axis = static_cast<size_t>(n.attrs.integer("index_vector_dim"));
  const Extents window = n.attrs.static_dims("slice_sizes");
  const auto has = [](const Ints& list, size_t v) { return std::find(list.begin(), list.end(), static_cast<int64_t>(v)) != list.end(); };
  // Axes of the index tensor that are positions, and the result axis of each.
  std::vector<size_t> position_axes, result_axes;
  for (size_t a = 0; a < indices->rank(); ++a)
    if (a != vector_axis) position_axes.push_back(a);
  for (size_t a = 0; a < y->size(); ++a)
    if (!has(offsets, a)) result_axes.push_back(a);
  const Layout at = dense_layout(indices->dims());
  std::vector<EvenIndex> out(x->size(), {0, Extents(y->size(), 0)});
  for (size_t j = 0; j < map.size(); ++j) {
    EvenIndex& e = out[static_cast<size_t>(map[j])];
    const int64_t base = vector_axis < indices->rank() ? static_cast<int64_t>(j) * at.strides[vector_axis] : 0;
    e.start = indices->integer(base);
    Extents extents, steps, strides;
    for (size_t k = 0; k < position_axes.size(); ++k) {
      const size_t a = position_axes[k];
      extents.push_back(indices->dim(a));
      strides.push_back(at.strides[a]);
      steps.push_back(indices->dim(a) > 1 ? indices->integer(base + at.strides[a]) - e.start : 0);
      if (steps.back() < 0) return std::nullopt;
      e.step[result_axes[k]] = steps.back();
    }
    const int64_t most = (*x)[static_cast<size_t>(map[j])] - window[static_cast<size_t>(map[j])];
    Extents index(extents.size(), 0);
    for (int64_t left = element_count(extents); left > 0; --left) {
      int64_t where = base, want = e.start;
      for (size_t k = 0; k < index.size(); ++k) {
        where += index[k] * strides[k];
        want += index[k] * steps[k];
      }
      if (indices->integer(where) != want || want < 0 || want > most) return std::nullopt;
      for (size_t k = index.size(); k-- > 0;) {
        if (++index[k] < extents[k]) break;
        index[k] = 0;
      }
    }
  }
  for (size_t k = 0; k < batching.size(); ++k) {
    const auto position = std::find(position_axes.begin(), position_axes.end(), static_cast<size_t>(index_batching[k])) - position_axes.begin();
    out[static_cast<size_t>(batching[k])].step[result_axes[static_cast<size_t>(position)]] = 1;
  }
  size_t next = 0;
  for (size_t d = 0; d < x->size(); ++d)
    if (!has(collapsed, d) && !has(batching, d)) out[d].step[static_cast<size_t>(offsets[next++])] = 1;
  return out;
}

std::optional<Layout> back(Layout layout, const Path& path) {
  for (auto h = path.rbegin(); h != path.rend(); ++h) {
    if (!h->permutation.empty()) {
      layout = permuted(layout, inverse(h->permutation));
      continue;
    }
    auto before = reshaped(layout, h->to, h->from);
    if (!before) return std::nullopt;
    layout = std::move(*before);
  }
  return layout;
}

std::optional<Layout> along(Layout layout, const Path& path) {
  for (const Hop& h : path) {
    if (!h.permutation.empty()) {
      layout = permuted(layout, h.permutation);
      continue;
    }
    auto after = reshaped(layout, h.from, h.to);
    if (!after) return std::nullopt;
    layout = std::move(*after);
  }
  return layout;
}

}  // namespace bascule::device::chip
