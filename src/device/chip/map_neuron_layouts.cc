// device/chip/map_neuron_layouts.cc — see map_neuron_layouts.h.
#include "device/chip/map_neuron_layouts.h"

#include <algorithm>

#include "base/error.h"

namespace bascule::device::chip::neuron {

bool fits(Placement p, int64_t total) { return p.replicated() || (p.inner > 0 && total % (p.inner * p.extent) == 0); }

bool split(int64_t extent, int64_t stride, int64_t total, Placement p, std::vector<Digit>& out) {
  if (stride == 0 || extent == 1) {
    out.push_back({extent, 0, Level::inner});
    return true;
  }
  if (p.replicated()) {
    out.push_back({extent, stride, Level::inner});
    return true;
  }
  const int64_t block = p.inner * p.extent;
  const int64_t ends[3] = {p.inner, block, total};
  const int64_t units[3] = {1, p.inner, block};
  std::vector<Digit> found;  // innermost first
  for (int level = 0; level < 3 && extent > 1; ++level) {
    if (stride >= ends[level]) continue;
    if (stride % units[level] != 0) return false;
    const Level l = static_cast<Level>(level);
    if (level == 2 || (extent - 1) * stride < ends[level]) {
      found.push_back({extent, stride / units[level], l});
      extent = 1;
      break;
    }
    if (ends[level] % stride != 0) return false;
    const int64_t here = ends[level] / stride;
    if (extent % here != 0) return false;
    found.push_back({here, stride / units[level], l});
    extent /= here;
    stride = ends[level];
  }
  if (extent > 1) return false;
  out.insert(out.end(), found.rbegin(), found.rend());
  return true;
}

void Nest::merge() {
  for (size_t a = extents.size(); a-- > 0;)
    if (extents[a] == 1) {
      extents.erase(extents.begin() + static_cast<std::ptrdiff_t>(a));
      tags.erase(tags.begin() + static_cast<std::ptrdiff_t>(a));
      for (Operand& o : operands) o.strides.erase(o.strides.begin() + static_cast<std::ptrdiff_t>(a));
    }
  for (size_t a = extents.size(); a-- > 1;) {
    if (tags[a] != tags[a - 1]) continue;
    const bool alike = std::all_of(operands.begin(), operands.end(), [&](const Operand& o) { return o.strides[a - 1] == o.strides[a] * extents[a]; });
    if (!alike) continue;
    extents[a - 1] *= extents[a];
    extents.erase(extents.begin() + static_cast<std::ptrdiff_t>(a));
    tags.erase(tags.begin() + static_cast<std::ptrdiff_t>(a));
    for (Operand& o : operands) o.strides.erase(o.strides.begin() + static_cast<std::ptrdiff_t>(a) - 1);
  }
}

bool Nest::refine() {
  for (bool again = true; again;) {
    again = false;
    for (Operand& o : operands) {
      if (!o.placed) continue;
      if (!fits(o.placement, o.total)) return false;
      for (size_t a = 0; a < extents.size(); ++a) {
        std::vector<Digit> d;
        if (!split(extents[a], o.strides[a], o.total, o.placement, d)) return false;
        if (d.size() < 2) continue;
        // the axis becomes [rest, innermost digit] for all
        const int64_t last = d.back().extent;
        extents[a] /= last;
        extents.insert(extents.begin() + static_cast<std::ptrdiff_t>(a) + 1, last);
        tags.insert(tags.begin() + static_cast<std::ptrdiff_t>(a) + 1, tags[a]);
        for (Operand& other : operands) {
          other.strides.insert(other.strides.begin() + static_cast<std::ptrdiff_t>(a) + 1, other.strides[a]);
          other.strides[a] *= last;
        }
        again = true;
      }
    }
    if (extents.size() > kMostAxes) return false;
  }
  for (Operand& o : operands) {
    o.digits.clear();
    if (!o.placed) {
      o.digits.resize(extents.size());
      continue;
    }
    const int64_t block = o.placement.replicated() ? o.total : o.placement.inner * o.placement.extent;
    int64_t at[3] = {o.offset % o.placement.inner, 0, 0}, most[3] = {o.placement.inner, o.placement.extent, o.total / std::max<int64_t>(block, 1)};
    if (o.placement.replicated()) {
      at[0] = o.offset;
      most[0] = o.total;
      most[1] = most[2] = 1;
    } else {
      at[1] = o.offset / o.placement.inner % o.placement.extent;
      at[2] = o.offset / block;
    }
    for (size_t a = 0; a < extents.size(); ++a) {
      std::vector<Digit> d;
      if (!split(extents[a], o.strides[a], o.total, o.placement, d)) return false;
      at[static_cast<size_t>(d[0].level)] += (extents[a] - 1) * d[0].step;
      o.digits.push_back(d[0]);
    }
    for (size_t l = 0; l < 3; ++l)
      if (at[l] >= most[l]) return false;  // a sum of axes that carries over
  }
  return true;
}

Box Nest::all() const {
  Box b;
  for (size_t a = 0; a < extents.size(); ++a) b.size[a] = extents[a];
  return b;
}

int Nest::part_axis(size_t operand) const {
  const Operand& o = operands[operand];
  for (size_t a = 0; a < extents.size(); ++a)
    if (o.digits[a].level == Level::part && o.digits[a].step == 1) return static_cast<int>(a);
  return -1;
}

Origin0 origin(const Operand& o, const Place& at, const Box& box, int64_t partitions) {
  const Placement p = o.placement;
  int64_t i = o.offset, q = 0, outer = 0;
  if (!p.replicated()) {
    i = o.offset % p.inner;
    q = o.offset / p.inner % p.extent;
    outer = o.offset / (p.inner * p.extent);
  }
  for (size_t a = 0; a < o.digits.size(); ++a) {
    const Digit& d = o.digits[a];
    (d.level == Level::inner ? i : d.level == Level::part ? q : outer) += box.start[a] * d.step;
  }
  Origin0 r;
  r.q = q;
  r.column = ((q / partitions - at.tile0) * at.outers + (outer - at.outer0)) * at.inners + (i - at.inner0);
  return r;
}

int64_t free_stride(const Digit& d, const Place& at, int64_t partitions) {
  if (d.step == 0) return 0;
  if (d.level == Level::inner) return d.step;
  if (d.level == Level::outer) return d.step * at.inners;
  return d.step % partitions == 0 ? d.step / partitions * at.outers * at.inners : -1;
}

Pattern pattern(const Operand& o, const Place& at, const Box& box, int part, const std::vector<int>& free, int64_t pitch, int64_t partitions,
                int64_t row0, int64_t rows) {
  Pattern r;
  r.buffer = at.buffer;
  const Origin0 first = origin(o, at, box, partitions);
  const bool replicated = o.placement.replicated();
  r.offset = (replicated ? row0 : first.q % partitions) * pitch + first.column;
  const bool varies = part >= 0 && o.digits[static_cast<size_t>(part)].step != 0;
  if (varies && !replicated && (o.digits[static_cast<size_t>(part)].level != Level::part || o.digits[static_cast<size_t>(part)].step != 1))
    fail_internal("mapping to partitions", "an operand whose rows lie on partitions", "another layout");
  if (!varies && !replicated && rows > 1) fail_internal("mapping to partitions", "a replicated operand", "one on a single partition");
  if (varies && replicated) fail_internal("mapping to partitions", "rows on partitions", "a replicated operand");
  r.add(rows, pitch);
  for (const int a : free) {
    const auto k = static_cast<size_t>(a);
    if (box.size[k] == 1) {
      r.add(1, 0);
      continue;
    }
    const int64_t s = free_stride(o.digits[k], at, partitions);
    if (s < 0) fail_internal("mapping to partitions", "a free axis", "an axis over partitions");
    r.add(box.size[k], s);
  }
  return r;
}

namespace {

Access access_of(const Pattern& p, int first) {
  Access a;
  a.buffer = p.buffer;
  a.offset = p.offset;
  a.sizes[0] = static_cast<int32_t>(p.sizes[0]);
  a.strides[0] = p.strides[0];
  a.rank = 1;
  for (int k = first; k < p.rank; ++k) {
    a.sizes[static_cast<size_t>(a.rank)] = static_cast<int32_t>(p.sizes[static_cast<size_t>(k)]);
    a.strides[static_cast<size_t>(a.rank++)] = p.strides[static_cast<size_t>(k)];
  }
  return a;
}

}  // namespace

Cut cut(const std::array<Pattern, 5>& patterns, int most_dims) {
  std::array<Pattern, 5> p = patterns;
  int rank = 0;
  for (const Pattern& x : p) rank = std::max(rank, x.buffer >= 0 ? x.rank : 0);
  const auto present = [&](size_t k) { return p[k].buffer >= 0; };
  const auto drop = [&](int d) {
    for (size_t k = 0; k < p.size(); ++k)
      if (present(k)) {
        for (int j = d; j + 1 < rank; ++j) {
          p[k].sizes[static_cast<size_t>(j)] = p[k].sizes[static_cast<size_t>(j) + 1];
          p[k].strides[static_cast<size_t>(j)] = p[k].strides[static_cast<size_t>(j) + 1];
        }
        p[k].rank = rank - 1;
      }
    --rank;
  };
  for (int d = rank - 1; d >= 1; --d) {
    bool one = true, joins = d >= 2;
    for (size_t k = 0; k < p.size(); ++k)
      if (present(k)) {
        const auto e = static_cast<size_t>(d);
        one = one && p[k].sizes[e] == 1;
        joins = joins && p[k].strides[e - 1] == p[k].strides[e] * p[k].sizes[e];
      }
    if (one && rank > 2) {
      drop(d);
    } else if (joins && rank > 2) {
      for (size_t k = 0; k < p.size(); ++k)
        if (present(k)) {
          const auto e = static_cast<size_t>(d);
          p[k].sizes[e - 1] *= p[k].sizes[e];
          p[k].strides[e - 1] = p[k].strides[e];
        }
      drop(d);
    }
  }
  Cut out;
  const int looped = std::max(0, rank - most_dims);  // dimensions 1 .. looped are loops
  std::array<int64_t, Pattern::kMost> at{};
  for (;;) {
    std::array<Access, 5> a{};
    for (size_t k = 0; k < p.size(); ++k)
      if (present(k)) {
        Pattern q = p[k];
        for (int d = 1; d <= looped; ++d) q.offset += at[static_cast<size_t>(d)] * q.strides[static_cast<size_t>(d)];
        a[k] = access_of(q, looped + 1);
      }
    out.pieces.push_back(a);
    int d = looped;
    size_t first = 0;
    while (first < p.size() && !present(first)) ++first;
    while (d >= 1 && ++at[static_cast<size_t>(d)] == p[first].sizes[static_cast<size_t>(d)]) at[static_cast<size_t>(d--)] = 0;
    if (d < 1) break;
  }
  return out;
}

}  // namespace bascule::device::chip::neuron
