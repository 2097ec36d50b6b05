// ops/scatter.cc — combines windows of updates into one or more operands at positions that an index tensor gives.
#include <algorithm>

#include "base/budget.h"
#include "ops/indexed.h"
#include "ops/scalar_region.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

struct Operands {
  size_t n;  // operands [0, n), indices n, updates [n + 1, 2n + 1)
  Indexed g;
};

Operands read(const OpView& op) {
  const Attrs& a = op.attrs;
  if (op.inputs.size() < 3 || op.inputs.size() % 2 != 1) op.fail("N operands, indices, N updates", std::to_string(op.inputs.size()) + " values", "C5");
  Operands o{op.inputs.size() / 2, {a.ints("update_window_dims"), a.ints("inserted_window_dims"), a.ints("input_batching_dims"), a.ints("scatter_indices_batching_dims"), a.ints("scatter_dims_to_operand_dims"), a.integer("index_vector_dim"), {}}};
  const Type &x = op.in(0), &updates = op.in(o.n + 1);
  size_t next = 0;
  for (size_t d = 0; d < x.rank(); ++d) {
    const auto in = [d](const Ints& v) { return std::find(v.begin(), v.end(), static_cast<int64_t>(d)) != v.end(); };
    if (in(o.g.collapsed) || in(o.g.operand_batching) || next >= o.g.window_dims.size()) {
      o.g.window.push_back(1);
      continue;
    }
    const int64_t axis = o.g.window_dims[next++];
    o.g.window.push_back(axis >= 0 && axis < static_cast<int64_t>(updates.rank()) ? updates.dims[static_cast<size_t>(axis)] : Dim(1));
  }
  return o;
}

std::vector<Type> scatter_type(const OpView& op) {
  const Operands o = read(op);
  const Type &x = op.in(0), &indices = op.in(o.n), &updates = op.in(o.n + 1);
  out_of_bounds(op);
  op.require(is_int(indices.dtype), "indices of an integer type", indices.text());
  o.g.check(op, x, indices, updates.rank(), {"C2", "C22", "C19", "C7", "C7, C8", "C9, C11, C13", "C10", "C11", "C12", "C13", "C14", "C14, C15", "C16", "C17", "C18", "C20, C21", "C21"});
  const Ints positions = o.g.position_axes(indices.rank());
  if (updates.rank() != positions.size() + o.g.window_dims.size()) op.fail("updates of rank " + std::to_string(positions.size() + o.g.window_dims.size()), updates.text(), "C4");
  size_t next = 0;
  for (size_t a = 0; a < updates.rank(); ++a)
    if (!o.g.is_window_axis(a)) op.require_equal(updates.dims[a], indices.dims[static_cast<size_t>(positions[next++])], "updates that fit the indices on axis " + std::to_string(a), "C4");
  for (size_t d = 0; d < x.rank(); ++d)
    if (o.g.window[d].is_constant() && x.dims[d].is_constant() && o.g.window[d].value() > x.dims[d].value() && x.dims[d].value() > 0)
      op.fail("update windows that fit the operand's extent " + x.dims[d].text() + " of axis " + std::to_string(d), o.g.window[d].text(), "C4");
  std::vector<DType> arguments;
  for (size_t i = 0; i < o.n; ++i) {
    require_same_dims(op, x, op.in(i), "C1");
    require_same_dims(op, updates, op.in(o.n + 1 + i), "C3");
    if (op.in(i).dtype != op.in(o.n + 1 + i).dtype) op.fail("operands and updates of one element type", op.in(i).text() + " and " + op.in(o.n + 1 + i).text(), "C6");
    arguments.push_back(op.in(i).dtype);
  }
  for (size_t i = 0; i < o.n; ++i) arguments.push_back(op.in(i).dtype);
  const std::vector<DType> types = require_scalar_region(op, 0, arguments, o.n, "C23");
  std::vector<Type> out;
  for (size_t i = 0; i < o.n; ++i) {
    Type t = op.in(i);
    t.dtype = types[i];
    out.push_back(t);
  }
  return out;
}

// For each update element in order: put(operand element, update element), those out of bounds left out.
template <class ReadIndex, class Put>
void visit(const OpView& op, ReadIndex read_index, Put put) {
  const Operands o = read(op);
  const std::vector<int64_t> x = static_dims(op.in(0)), indices = static_dims(op.in(o.n)), full = static_dims(op.in(o.n + 1)), window = *constants(o.g.window), strides = strides_of(x);
  const Locator locator(o.g, x, indices, full.size());
  const OutOfBounds mode = out_of_bounds(op);
  std::vector<int64_t> start(x.size()), offset(x.size());
  int64_t update = 0;
  for (Walk w(full, std::vector<int64_t>(full.size(), 0)); w; w.next(), ++update) {
    check_budget();
    locator.locate(w.index(), read_index, start, offset);
    int64_t at = 0;
    bool inside = true;
    for (size_t d = 0; d < x.size(); ++d) {
      if (mode == OutOfBounds::clamp) start[d] = std::clamp<int64_t>(start[d], 0, std::max<int64_t>(x[d] - window[d], 0));
      if (start[d] < -offset[d] || start[d] >= x[d] - offset[d]) {
        if (mode == OutOfBounds::error) fail_usage(op.where, "index in [0, " + std::to_string(x[d] - offset[d]) + ") for axis " + std::to_string(d), std::to_string(start[d]), "Check the values of the index input");
        inside = false;
        break;
      }
      at += (start[d] + offset[d]) * strides[d];
    }
    if (inside) put(at, update);
  }
}

HostValues scatter_reference(const Call& call) {
  const size_t n = call.inputs.size() / 2;
  const Tensor& indices = call.in(n);
  const auto read_index = [&](int64_t i) {
    const int64_t v = indices.integer(i);
    return indices.dtype() == DType::u64 && v < 0 ? INT64_MAX / 2 : std::clamp<int64_t>(v, INT64_MIN / 2, INT64_MAX / 2);
  };
  std::vector<Tensor> out;
  for (size_t i = 0; i < n; ++i) out.push_back(call.in(i));
  if (returns_arguments(*call.op.regions[0], n)) {  // plain assignment, of any type
    visit(call.op, read_index, [&](int64_t at, int64_t update) {
      for (size_t i = 0; i < n; ++i) copy_element(call.in(n + 1 + i), update, out[i], at);
    });
    return {out.begin(), out.end()};
  }
  ScalarRegion body(call, 0);
  if (const auto fold = body.float_fold(); fold && n == 1 && out[0].dtype() == call.results[0].dtype) {
    const DType t = out[0].dtype();
    check_room(out[0].elements() * static_cast<int64_t>(sizeof(double)), "scatter's sums");
    std::vector<double> sums = out[0].doubles();
    visit(call.op, read_index, [&](int64_t at, int64_t update) {
      double& sum = sums[static_cast<size_t>(at)];
      sum = fold(sum, load_double(t, call.in(2).data(), update));
    });
    std::byte* to = out[0].mutable_data();
    for (size_t i = 0; i < sums.size(); ++i) store_double(t, to, static_cast<int64_t>(i), sums[i]);
    return {out.begin(), out.end()};
  }
  std::vector<std::byte*> to;
  for (size_t i = 0; i < n; ++i) {
    if (out[i].dtype() != call.results[i].dtype) {  // a region that promotes
      Tensor wide = call.result(i);
      for (int64_t k = 0; k < out[i].elements(); ++k) store_scalar(wide.dtype(), wide.mutable_data(), k, load_scalar(out[i].dtype(), out[i].data(), k));
      out[i] = wide;
    }
    to.push_back(out[i].mutable_data());
  }
  std::vector<Scalar> values(2 * n), results(n);
  visit(call.op, read_index, [&](int64_t at, int64_t update) {
    for (size_t i = 0; i < n; ++i) {
      values[i] = load_scalar(out[i].dtype(), to[i], at);
      values[n + i] = load_scalar(call.in(n + 1 + i).dtype(), call.in(n + 1 + i).data(), update);
    }
    body(values, results);
    for (size_t i = 0; i < n; ++i) store_scalar(out[i].dtype(), to[i], at, results[i]);
  });
  return {out.begin(), out.end()};
}

std::optional<Dims> scatter_symbolic(const OpView& op, std::span<const Dims* const> in, const Type&) {
  if (in.size() < 3 || op.inputs.size() != 3 || !in[0] || !in[1] || !in[2] || !returns_arguments(*op.regions[0], 1)) return std::nullopt;
  if (!op.in(0).is_static() || !op.in(1).is_static() || !op.in(2).is_static()) return std::nullopt;
  const auto indices = constants(*in[1]);
  if (!indices) return std::nullopt;
  Dims out = *in[0];
  try {
    visit(op, [&](int64_t i) { return (*indices)[static_cast<size_t>(i)]; }, [&](int64_t at, int64_t update) { out[static_cast<size_t>(at)] = (*in[2])[static_cast<size_t>(update)]; });
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::usage) throw;
    return std::nullopt;  // an index out of range is the run's error
  }
  return out;
}

HostValues table_and_updates(std::vector<int64_t> indices) {
  std::vector<double> table(15, 1), updates;
  const auto n = static_cast<int64_t>(indices.size());
  for (int64_t i = 0; i < 3 * n; ++i) updates.push_back(static_cast<double>(i));
  return {Tensor::from_doubles(DType::f32, {5, 3}, table), Tensor::from_ints(DType::i32, {n}, indices), Tensor::from_doubles(DType::f32, {n, 3}, updates)};
}
Case rows(std::string_view name, std::vector<int64_t> indices, std::string_view body, std::string mode) {
  const auto n = static_cast<int64_t>(indices.size());
  return {.name = name,
          .build =
              [=](Builder& b) {
                const Value x = b.input(Type::tensor(DType::f32, {5, 3})), i = b.input(Type::tensor(DType::i32, {n})), u = b.input(Type::tensor(DType::f32, {n, 3}));
                return b.ops("scatter", {x, i, u}, {{"update_window_dims", Ints{1}}, {"inserted_window_dims", Ints{0}}, {"scatter_dims_to_operand_dims", Ints{0}}, {"index_vector_dim", int64_t{1}}, {"out_of_bounds", mode}},
                             {Builder::scalar_region(body, DType::f32)});
              },
          .inputs = [=] { return table_and_updates(indices); }};
}

}  // namespace

const OpDef scatter{
    .name = "scatter",
    .doc = "y = x; then y[indices[position] + offset] = region(y[...], updates[position, offset]) in row-major order of the updates; out of bounds: error, clamp or drop",
    .inputs = {{"inputs_indices_updates", DTypes::any, kVariadic}},
    .attrs = {{"update_window_dims", AttrKind::ints},
              {"inserted_window_dims", AttrKind::ints, false, Ints{}},
              {"input_batching_dims", AttrKind::ints, false, Ints{}},
              {"scatter_indices_batching_dims", AttrKind::ints, false, Ints{}},
              {"scatter_dims_to_operand_dims", AttrKind::ints},
              {"index_vector_dim", AttrKind::integer},
              {"indices_are_sorted", AttrKind::flag, false, false},
              {"unique_indices", AttrKind::flag, false, false},
              {"out_of_bounds", AttrKind::text, false, std::string("drop")}},
    .regions = 1,
    .type = scatter_type,
    .reference = scatter_reference,
    .symbolic = scatter_symbolic,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          w.adds = elements(op.in(op.inputs.size() / 2 + 1)) * static_cast<double>(op.regions[0]->nodes.size());
          add_traffic(op, results, w);
          return w;
        },
    .cases = {rows("added", {4, 0, 4}, "add", "drop"), rows("dropped", {-1, 5, 2}, "add", "drop"), rows("clamped", {-7, 9}, "maximum", "clamp"), rows("empty", {}, "add", "error")},
};
BASCULE_OP(scatter);

}  // namespace bascule::ops
