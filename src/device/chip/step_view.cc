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
