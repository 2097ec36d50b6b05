// ops/gather.cc — windows of an operand at positions that an index tensor gives.
#include <algorithm>
#include <cstring>

#include "base/budget.h"
#include "ops/indexed.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

Indexed read(const OpView& op) {
  const Attrs& a = op.attrs;
  return {a.ints("offset_dims"), a.ints("collapsed_slice_dims"), a.ints("operand_batching_dims"), a.ints("start_indices_batching_dims"), a.ints("start_index_map"), a.integer("index_vector_dim"), a.dims("slice_sizes")};
}

std::vector<Type> gather_type(const OpView& op) {
  const Indexed g = read(op);
  const Type &x = op.in(0), &indices = op.in(1);
  out_of_bounds(op);
  const bool vectors = g.index_vector_dim >= 0 && g.index_vector_dim < static_cast<int64_t>(indices.rank());
  const size_t full_rank = g.window_dims.size() + indices.rank() - (vectors ? 1 : 0);
  g.check(op, x, indices, full_rank, {"C1", "C2", "C3", "C4", "C4, C5", "C6, C8, C11", "C7", "C8", "C10", "C11", "C13", "C13, C14", "C15", "C16", "C17", "C18, C19", "C19"});
  if (g.window.size() != x.rank()) op.fail(std::to_string(x.rank()) + " slice_sizes", std::to_string(g.window.size()), "C20");
  const auto within = [](const Dim& d, const Dim& most) { return !d.is_constant() || !most.is_constant() || d.value() <= most.value(); };
  for (size_t d = 0; d < x.rank(); ++d) {
    const Dim& size = g.window[d];
    // An axis of extent 0 has no slice of 1, so every index is out of range: fine where that is an error or a fill, and there are no indices.
    const bool none_to_take = x.dims[d].is(0) && size.is(1) && op.attrs.text("out_of_bounds") != "clamp";
    if ((size.is_constant() && size.value() < 0) || (!within(size, x.dims[d]) && !none_to_take)) op.fail("slice_sizes in [0, " + x.dims[d].text() + "] on axis " + std::to_string(d), size.text(), "C21");
  }
  for (const int64_t d : g.collapsed)
    if (!within(g.window[static_cast<size_t>(d)], 1)) op.fail("slice_sizes of at most 1 on collapsed axes", g.window[static_cast<size_t>(d)].text(), "C9");
  for (const int64_t d : g.operand_batching)
    if (!within(g.window[static_cast<size_t>(d)], 1)) op.fail("slice_sizes of at most 1 on batching axes", g.window[static_cast<size_t>(d)].text(), "C12");
  Dims kept;
  for (size_t d = 0; d < x.rank(); ++d)
    if (std::find(g.collapsed.begin(), g.collapsed.end(), static_cast<int64_t>(d)) == g.collapsed.end() && std::find(g.operand_batching.begin(), g.operand_batching.end(), static_cast<int64_t>(d)) == g.operand_batching.end())
      kept.push_back(g.window[d]);
  Dims dims;
  const Ints positions = g.position_axes(indices.rank());
  size_t next_offset = 0, next_position = 0;
  for (size_t a = 0; a < full_rank; ++a) dims.push_back(g.is_window_axis(a) ? kept[next_offset++] : indices.dims[static_cast<size_t>(positions[next_position++])]);
  return {Type::tensor(x.dtype, dims)};
}

// For each result element in order: take(operand element, or -1 where the window is out of bounds and dropped). False if `read_index` had to give up.
template <class ReadIndex, class Take>
void visit(const OpView& op, const Type& result, ReadIndex read_index, Take take) {
  const Indexed g = read(op);
  const std::vector<int64_t> x = static_dims(op.in(0)), indices = static_dims(op.in(1)), full = static_dims(result), window = *constants(g.window), strides = strides_of(x);
  const Locator locator(g, x, indices, full.size());
  const OutOfBounds mode = out_of_bounds(op);
  std::vector<int64_t> start(x.size()), offset(x.size());
  for (Walk w(full, std::vector<int64_t>(full.size(), 0)); w; w.next()) {
    check_budget();
    locator.locate(w.index(), read_index, start, offset);
    int64_t at = 0;
    for (size_t d = 0; d < x.size() && at >= 0; ++d) {
      if (window[d] == 0) {  // a collapsed axis of an empty window: there is nothing to read
        at = -1;
        break;
      }
      const int64_t most = x[d] - window[d];
      if (start[d] < 0 || start[d] > most) {
        if (mode == OutOfBounds::error) fail_usage(op.where, "index in [0, " + std::to_string(most + 1) + ") for axis " + std::to_string(d), std::to_string(start[d]), "Check the values of the index input");
        if (mode == OutOfBounds::drop) {
          at = -1;
          break;
        }
        start[d] = std::clamp<int64_t>(start[d], 0, std::max<int64_t>(most, 0));
      }
      at += (start[d] + offset[d]) * strides[d];
    }
    take(at);
  }
}

HostValues gather_reference(const Call& call) {
  const Tensor &x = call.in(0), &indices = call.in(1);
  Tensor y = call.result();
  const auto read_index = [&](int64_t i) {
    const int64_t v = indices.integer(i);
    return indices.dtype() == DType::u64 && v < 0 ? INT64_MAX : v;
  };
  const int bits = info(x.dtype()).storage_bits;
  int64_t j = 0;
  if (bits >= 8) {
    std::byte* to = y.mutable_data();
    const auto width = static_cast<size_t>(bits / 8);
    visit(call.op, call.results[0], read_index, [&](int64_t from) {
      if (from >= 0) std::memcpy(to, x.data() + static_cast<size_t>(from) * width, width);
      to += width;
    });
  } else {
    visit(call.op, call.results[0], read_index, [&](int64_t from) {
      if (from >= 0) copy_element(x, from, y, j);
      ++j;
    });
  }
  return one(std::move(y));
}

std::optional<Dims> gather_symbolic(const OpView& op, std::span<const Dims* const> in, const Type& result) {
  if (!in[0] || !in[1] || !op.in(0).is_static() || !op.in(1).is_static() || !constants(op.attrs.dims("slice_sizes"))) return std::nullopt;
  const auto indices = constants(*in[1]);
  if (!indices) return std::nullopt;
  Dims out;
  try {
    visit(op, result, [&](int64_t i) { return (*indices)[static_cast<size_t>(i)]; }, [&](int64_t from) { out.push_back(from < 0 ? Dim(0) : (*in[0])[static_cast<size_t>(from)]); });
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::usage) throw;
    return std::nullopt;  // an index out of range is the run's error
  }
  return out;
}

Attrs rows(int64_t width) {
  return {{"offset_dims", Ints{1}}, {"collapsed_slice_dims", Ints{0}}, {"start_index_map", Ints{0}}, {"index_vector_dim", int64_t{1}}, {"slice_sizes", Dims{1, width}}};
}
HostValues table_and_indices(std::vector<int64_t> indices) {
  std::vector<double> table;
  for (int i = 0; i < 15; ++i) table.push_back(i);
  const auto n = static_cast<int64_t>(indices.size());
  return {Tensor::from_doubles(DType::f32, {5, 3}, table), Tensor::from_ints(DType::i32, {n}, indices)};
}

}  // namespace

const OpDef gather{
    .name = "gather",
    .doc = "y[position, offset] = x[start_indices[position] + offset]; a window out of bounds is an error, is moved inside (clamp) or reads 0 (drop)",
    .inputs = {{"operand"}, {"start_indices", DTypes::ints}},
    .attrs = {{"offset_dims", AttrKind::ints},
              {"collapsed_slice_dims", AttrKind::ints, false, Ints{}},
              {"operand_batching_dims", AttrKind::ints, false, Ints{}},
              {"start_indices_batching_dims", AttrKind::ints, false, Ints{}},
              {"start_index_map", AttrKind::ints},
              {"index_vector_dim", AttrKind::integer},
              {"slice_sizes", AttrKind::dims},
              {"indices_are_sorted", AttrKind::flag, false, false},
              {"out_of_bounds", AttrKind::text, false, std::string("clamp")}},
    .type = gather_type,
    .reference = gather_reference,
    .symbolic = gather_symbolic,
    .work = no_arithmetic(),
    .cases = {{.name = "rows", .shapes = {{5, 3}, {4}}, .attrs = rows(3), .dtypes = {DType::f32, DType::i32}, .inputs = [] { return table_and_indices({4, 0, 0, 2}); }},
              {.name = "nothing_of_nothing",
               .shapes = {{0, 3}, {0}},
               .attrs = {{"offset_dims", Ints{1}}, {"collapsed_slice_dims", Ints{0}}, {"start_index_map", Ints{0}}, {"index_vector_dim", int64_t{1}}, {"slice_sizes", Dims{1, 3}}, {"out_of_bounds", std::string("error")}},
               .dtypes = {DType::f32, DType::i64}},
              {.name = "clamped", .shapes = {{5, 3}, {3}}, .attrs = rows(3), .dtypes = {DType::f32, DType::i32}, .inputs = [] { return table_and_indices({-7, 9, 1}); }},
              {.name = "dropped",
               .shapes = {{5, 3}, {3}},
               .attrs = {{"offset_dims", Ints{1}}, {"collapsed_slice_dims", Ints{0}}, {"start_index_map", Ints{0}}, {"index_vector_dim", int64_t{1}}, {"slice_sizes", Dims{1, 3}}, {"out_of_bounds", std::string("drop")}},
               .dtypes = {DType::f32, DType::i32},
               .inputs = [] { return table_and_indices({-1, 5, 1}); }},
              {.name = "empty", .shapes = {{5, 3}, {0}}, .attrs = rows(3), .dtypes = {DType::f32, DType::i32}, .inputs = [] { return table_and_indices({}); }}},
};
BASCULE_OP(gather);

}  // namespace bascule::ops
