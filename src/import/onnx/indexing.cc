// import/onnx/indexing.cc — shared index arithmetic of the operator families.
#include "import/onnx/indexing.h"

namespace bascule::onnx {
namespace {

Ints all_but(int64_t n, int64_t axis) {
  Ints out;
  for (int64_t i = 0; i < n; ++i)
    if (i != axis) out.push_back(i);
  return out;
}

}  // namespace

Value from_end(Builder& b, Value indices, const Dim& extent) {
  if (is_unsigned_int(b.dtype(indices))) return indices;
  return b.select(b.compare(indices, 0, "LT"), b.add(indices, b.size(extent, b.dtype(indices))), indices);
}

Value take(Builder& b, Value x, Value indices, int64_t axis) {
  const int64_t rank = b.rank(x), index_rank = b.rank(indices);
  if (axis >= rank) b.fail("data with axis " + std::to_string(axis), b.type(x).text());
  Dims sizes = b.dims(x);
  sizes[static_cast<size_t>(axis)] = 1;
  Ints offset;
  for (int64_t i = 0; i < rank; ++i)
    if (i != axis) offset.push_back(i < axis ? i : i - 1 + index_rank);
  return b.op("gather", {x, indices},
              {{"offset_dims", offset},
               {"collapsed_slice_dims", Ints{axis}},
               {"operand_batching_dims", Ints{}},
               {"start_indices_batching_dims", Ints{}},
               {"start_index_map", Ints{axis}},
               {"index_vector_dim", index_rank},
               {"slice_sizes", sizes},
               {"out_of_bounds", std::string("error")}});
}

Value full_indices(Builder& b, Value indices, int64_t axis) {
  const int64_t rank = b.rank(indices);
  Dims each = b.dims(indices);
  each.emplace_back(1);
  Values parts;
  for (int64_t i = 0; i < rank; ++i) {
    const Value at = i == axis ? indices : b.iota(b.dtype(indices), b.dims(indices), i);
    parts.push_back(b.reshape(at, each));
  }
  return b.concatenate(parts, rank);
}

Value take_along(Builder& b, Value x, Value indices, int64_t axis) {
  const int64_t rank = b.rank(x);
  if (axis >= rank || b.rank(indices) != rank) b.fail("data and indices of one rank with axis " + std::to_string(axis), b.type(x).text() + " and " + b.type(indices).text());
  Dims limit = b.dims(indices);
  limit[static_cast<size_t>(axis)] = b.dim(x, axis);
  x = b.slice(x, Dims(limit.size(), Dim(0)), limit, Ints(limit.size(), 1));
  const Ints others = all_but(rank, axis);
  return b.op("gather", {x, indices},
              {{"offset_dims", Ints{}},
               {"collapsed_slice_dims", Ints{axis}},
               {"operand_batching_dims", others},
               {"start_indices_batching_dims", others},
               {"start_index_map", Ints{axis}},
               {"index_vector_dim", rank},
               {"slice_sizes", Dims(static_cast<size_t>(rank), Dim(1))},
               {"out_of_bounds", std::string("error")}});
}

Value element(Builder& b, Value x, int64_t i) { return b.reshape(b.slice_axis(x, 0, i, i + 1), {}); }
Value scalar(Builder& b, Value x) { return b.reshape(x, {}); }

Numbers numbers_of(const NodeContext& n, size_t i) {
  const Tensor t = n.tensor(i);
  if (is_string(t.dtype()) || is_complex(t.dtype())) n.fail("input " + std::to_string(i) + " of real numbers", t.type_text());
  return t.doubles();
}

double number_of(const NodeContext& n, size_t i) {
  const Numbers values = numbers_of(n, i);
  if (values.size() != 1) n.fail("input " + std::to_string(i) + " with one element", std::to_string(values.size()) + " elements");
  return values[0];
}

Value cumulative(Builder& b, std::string_view body, Value x, int64_t axis, bool exclusive, bool reverse) {
  return b.op("cumulative", {x}, {{"body", std::string(body)}, {"axis", axis}, {"exclusive", exclusive}, {"reverse", reverse}});
}

}  // namespace bascule::onnx
