// device/chip/expand_product.cc — products that no matrix engine does as they are: sums over nothing, products of groups of rows, squared distances.
#include <algorithm>

#include "device/chip/expand_rules.h"
#include "device/chip/step_maker.h"

namespace bascule::device::chip {
namespace {

std::string refuse_product(const Graph& g, const Node& n) {
  for (const Value v : n.inputs)
    if (!g.type(v).is_tensor() || !g.type(v).ranked) return std::string(kAsItIs);
  const bool nothing = all_static(g, n) && !g.type(n.outputs[0]).elements_count().is(0) && (g.type(n.inputs[0]).elements_count().is(0) || g.type(n.inputs[1]).elements_count().is(0));
  return nothing ? "" : std::string(kAsItIs);
}

Values apply_nothing(passes::Rewriter& r, const Node& n) {
  const Type& t = r.old().type(n.outputs[0]);
  return {r.builder().full(t.dims, t.dtype, 0)};
}

std::string refuse_none(const Graph&, const Node&) { return ""; }

Values apply_distance(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]), y = r(n.inputs[1]);
  const Dims dims{b.dim(x, 0), b.dim(y, 0), b.dim(x, 1)};
  if (dims[2].is(0)) return apply_nothing(r, n);
  const Value d = b.subtract(b.broadcast_in_dim(x, dims, {0, 2}), b.broadcast_in_dim(y, dims, {1, 2}));
  return {b.sum(b.multiply(d, d), {2}, false)};
}

// ---- ragged_dot whose groups are rows: sum over g of (rows of group g, 0 elsewhere) * rhs[g]

std::string refuse_ragged(const Graph& g, const Node& n) {
  const Type &lhs = g.type(n.inputs[0]), &sizes = g.type(n.inputs[2]);
  if (!lhs.ranked || !sizes.ranked) return "a value whose rank is only known at run time";
  const Ints &ragged = n.attrs.ints("lhs_ragged_dimensions"), &contracting = n.attrs.ints("lhs_contracting_dimensions"), &batching = n.attrs.ints("lhs_batching_dimensions");
  const auto in = [&](const Ints& list) { return std::find(list.begin(), list.end(), ragged[0]) != list.end(); };
  return ragged.size() == 1 && !in(contracting) && !in(batching) && sizes.rank() == 1 ? "" : "groups of other than free rows";
}

Values apply_ragged(passes::Rewriter& r, const Node& n) {
  Builder& b = r.builder();
  const Value x = r(n.inputs[0]), sizes = r(n.inputs[2]);
  const int64_t rows = n.attrs.ints("lhs_ragged_dimensions")[0];
  const Dim groups = b.dim(sizes, 0);
  const Type& result = r.old().type(n.outputs[0]);
  if (result.elements_count().is(0) || groups.is(0)) return apply_nothing(r, n);
  const Value end = b.op("cumulative", {b.convert(sizes, DType::i32)}, {{"axis", int64_t{0}}});
  const Dims mask_dims{groups, b.dim(x, rows)};
  const Value at = b.iota(DType::i32, mask_dims, 1), ends = b.broadcast_in_dim(end, mask_dims, {0});
  const Value starts = b.broadcast_in_dim(b.subtract(end, b.convert(sizes, DType::i32)), mask_dims, {0});
  const Value mask = b.logical_and(b.compare(at, starts, "GE"), b.compare(at, ends, "LT"));
  Dims dims{groups};
  Ints axes;
  for (int64_t a = 0; a < b.rank(x); ++a) {
    dims.push_back(b.dim(x, a));
    axes.push_back(a + 1);
  }
  const Value grouped = b.select(b.broadcast_in_dim(mask, dims, {0, rows + 1}), b.broadcast_in_dim(x, dims, axes), 0);
  const auto later = [](Ints list) {
    for (int64_t& a : list) ++a;
    return list;
  };
  Ints contracting = later(n.attrs.ints("lhs_contracting_dimensions")), of_rhs = n.attrs.ints("rhs_contracting_dimensions");
  contracting.insert(contracting.begin(), 0);
  of_rhs.insert(of_rhs.begin(), n.attrs.ints("rhs_group_dimensions")[0]);
  return {b.dot_general(grouped, r(n.inputs[1]), later(n.attrs.ints("lhs_batching_dimensions")), n.attrs.ints("rhs_batching_dimensions"), contracting, of_rhs, result.dtype)};
}

}  // namespace

std::vector<ExpansionRule> product_rules() {
  return {{"dot_general", refuse_product, apply_nothing}, {"convolution", refuse_product, apply_nothing}, {"squared_distance", refuse_none, apply_distance}, {"ragged_dot", refuse_ragged, apply_ragged}};
}

}  // namespace bascule::device::chip
