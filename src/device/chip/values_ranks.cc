// device/chip/values_ranks.cc — see values_ranks.h.
#include "device/chip/values_ranks.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace bascule::device::chip {
namespace {

// A tensor as `outer` runs of `run` elements along and below the dimension.
struct Runs {
  int64_t outer = 1, run = 1;
};
Runs runs_of(const Tensor& t, int dim) {
  Runs r;
  for (size_t d = 0; d < t.rank(); ++d) (static_cast<int>(d) < dim ? r.outer : r.run) *= t.dim(d);
  return r;
}

void require_dim(const Tensor& t, int dim) {
  if (dim >= static_cast<int>(t.rank())) fail_internal("parts of ranks", "a dimension of " + t.type_text(), std::to_string(dim));
}

// Copies `count` elements; places in elements. Packed types go through their numbers.
void copy_run(const Tensor& from, int64_t at, Tensor& to, int64_t into, int64_t count) {
  const int64_t bytes = info(to.dtype()).storage_bits / 8;
  if (count > 0) std::memcpy(to.mutable_data() + into * bytes, from.data() + at * bytes, static_cast<size_t>(count * bytes));
}

bool packed(DType t) { return info(t).storage_bits < 8; }
Tensor unpacked(const Tensor& t) {
  const std::vector<double> x = t.doubles();
  return Tensor::from_doubles(DType::f32, t.dims(), x);
}
Tensor packed_as(DType t, const Tensor& x) { return Tensor::from_doubles(t, x.dims(), x.doubles()); }

}  // namespace

Tensor part_of(const Tensor& t, int dim, int64_t rank, int64_t ranks) {
  if (dim < 0 || ranks == 1) return t;
  require_dim(t, dim);
  if (packed(t.dtype())) return packed_as(t.dtype(), part_of(unpacked(t), dim, rank, ranks));
  std::vector<int64_t> dims = t.dims();
  int64_t& extent = dims[static_cast<size_t>(dim)];
  if (extent % ranks != 0)
    fail_usage("an input of " + t.type_text(), "dimension " + std::to_string(dim) + " to divide into " + std::to_string(ranks) + " equal parts", std::to_string(extent), "Give a batch that divides");
  extent /= ranks;
  Tensor out(t.dtype(), dims);
  const Runs all = runs_of(t, dim);
  const int64_t run = all.run / ranks;
  for (int64_t o = 0; o < all.outer; ++o) copy_run(t, o * all.run + rank * run, out, o * run, run);
  return out;
}

Tensor joined(std::span<const Tensor> parts, int dim, std::optional<int64_t> extent) {
  if (dim < 0 || parts.size() == 1) return parts[0];
  require_dim(parts[0], dim);
  const auto ranks = static_cast<int64_t>(parts.size());
  if (packed(parts[0].dtype())) {
    std::vector<Tensor> wide;
    for (const Tensor& t : parts) wide.push_back(unpacked(t));
    return packed_as(parts[0].dtype(), joined(wide, dim, extent));
  }
  std::vector<int64_t> dims = parts[0].dims();
  int64_t& all = dims[static_cast<size_t>(dim)];
  if (extent && *extent > all * ranks) fail_internal("parts of ranks", std::to_string(*extent) + " in all of dimension " + std::to_string(dim), parts[0].type_text() + " each");
  all = extent.value_or(all * ranks);
  Tensor out(parts[0].dtype(), dims);
  const int64_t part = runs_of(parts[0], dim).run, whole = runs_of(out, dim).run;
  for (int64_t o = 0; o < runs_of(out, dim).outer; ++o)
    for (int64_t r = 0; r < ranks; ++r) copy_run(parts[static_cast<size_t>(r)], o * part, out, o * whole + r * part, std::min(part, whole - r * part));
  return out;
}

}  // namespace bascule::device::chip
