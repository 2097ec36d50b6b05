// ops/reduce.cc — folds axes of one or more operands with a region, each from its init value.
#include <map>

#include "base/budget.h"
#include "ops/scalar_region.h"
#include "ops/walk.h"

namespace bascule::ops {
namespace {

bool is_reduced(const Ints& axes, size_t axis) {
  for (const int64_t a : axes)
    if (a == static_cast<int64_t>(axis)) return true;
  return false;
}

std::vector<Type> reduce_type(const OpView& op) {
  const size_t n = op.inputs.size() / 2;
  if (op.inputs.empty() || op.inputs.size() % 2 != 0) op.fail("N operands and N init values, N >= 1", std::to_string(op.inputs.size()) + " values", "C3");
  const Ints& axes = op.attrs.ints("dimensions");
  std::vector<DType> arguments;
  for (size_t i = 0; i < n; ++i) {
    require_same_dims(op, op.in(0), op.in(i), "C1");
    if (op.in(n + i).rank() != 0) op.fail("init values of rank 0", op.in(n + i).text(), "C2");
    if (!promotable(op.in(n + i).dtype, op.regions[0]->outputs.size() == n ? op.regions[0]->type(op.regions[0]->outputs[i]).dtype : op.in(n + i).dtype))
      op.fail("init values of the region's element types", op.in(n + i).text(), "C2");
  }
  require_axes(op, axes, op.in(0).rank(), "dimensions", "C4, C5");
  for (size_t i = 0; i < n; ++i) arguments.push_back(op.in(n + i).dtype);
  for (size_t i = 0; i < n; ++i) arguments.push_back(op.in(i).dtype);
  const std::vector<DType> types = require_scalar_region(op, 0, arguments, n, "C6");
  Dims dims;
  for (size_t a = 0; a < op.in(0).rank(); ++a) {
    if (is_reduced(axes, a)) continue;
    Dim d = op.in(0).dims[a];
    for (size_t i = 1; i < n; ++i)
      if (op.in(i).dims[a].is_constant()) d = op.in(i).dims[a];
    dims.push_back(d);
  }
  std::vector<Type> out;
  for (const DType t : types) out.push_back(Type::tensor(t, dims));
  return out;
}

// The axes of a tensor that stay and those that are folded.
struct Kept {
  std::vector<int64_t> dims, strides, folded_dims, folded_strides;
  Kept(const std::vector<int64_t>& all, const Ints& axes) {
    const std::vector<int64_t> steps = strides_of(all);
    for (size_t a = 0; a < all.size(); ++a) {
      const bool folded = is_reduced(axes, a);
      (folded ? folded_dims : dims).push_back(all[a]);
      (folded ? folded_strides : strides).push_back(steps[a]);
    }
  }
};

HostValues reduce_reference(const Call& call) {
  const size_t n = call.inputs.size() / 2;
  const Kept kept_axes(call.in(0).dims(), call.op.attrs.ints("dimensions"));
  std::vector<Tensor> out;
  std::vector<std::byte*> to;
  std::vector<Scalar> start;
  for (size_t i = 0; i < n; ++i) {
    out.push_back(call.result(i));
    to.push_back(out[i].mutable_data());
    start.push_back(load_scalar(call.in(n + i).dtype(), call.in(n + i).data(), 0));
  }
  ScalarRegion body(call, 0);
  std::vector<Scalar> values(2 * n), results(n);
  int64_t at = 0;
  for (Walk kept(kept_axes.dims, kept_axes.strides); kept; kept.next(), ++at) {
    check_budget();
    if (const auto fold = body.float_fold(); fold && n == 1) {
      double sum = start[0].real;
      for (Walk folded(kept_axes.folded_dims, kept_axes.folded_strides); folded; folded.next()) {
        check_budget();
        sum = fold(sum, load_double(call.in(0).dtype(), call.in(0).data(), kept.offset() + folded.offset()));
      }
      store_double(out[0].dtype(), to[0], at, sum);
      continue;
    }
    results = start;
    for (Walk folded(kept_axes.folded_dims, kept_axes.folded_strides); folded; folded.next()) {
      for (size_t i = 0; i < n; ++i) {
        values[i] = results[i];
        values[n + i] = load_scalar(call.in(i).dtype(), call.in(i).data(), kept.offset() + folded.offset());
      }
      body(values, results);
    }
    for (size_t i = 0; i < n; ++i) store_scalar(out[i].dtype(), to[i], at, results[i]);
  }
  return {out.begin(), out.end()};
}

// Sums, products, smallest and largest of symbolic integers.
std::optional<Dims> reduce_symbolic(const OpView& op, std::span<const Dims* const> in, const Type& result) {
  static const std::map<std::string_view, Dim (*)(const Dim&, const Dim&)> folds = {{"add", [](const Dim& a, const Dim& b) { return a + b; }},
                                                                                    {"multiply", [](const Dim& a, const Dim& b) { return a * b; }},
                                                                                    {"maximum", Dim::max},
                                                                                    {"minimum", Dim::min}};
  if (op.inputs.size() != 2 || !in[0] || !in[1] || !is_int(result.dtype)) return std::nullopt;
  const auto fold = folds.find(reduction_body(*op.regions[0]));
  const auto dims = constants(op.in(0).dims);
  if (fold == folds.end() || !dims) return std::nullopt;
  const Kept kept(*dims, op.attrs.ints("dimensions"));
  Dims out;
  for (Walk to(kept.dims, kept.strides); to; to.next()) {
    out.push_back((*in[1])[0]);
    for (Walk from(kept.folded_dims, kept.folded_strides); from; from.next()) out.back() = fold->second(out.back(), (*in[0])[static_cast<size_t>(to.offset() + from.offset())]);
  }
  return out;
}

std::vector<Value> reduce_case(Builder& b, std::vector<int64_t> dims, Ints axes, std::string_view body, DType t) {
  return {b.reduce(body, b.input(Type::tensor(t, to_dims(dims))), std::move(axes), false)};
}

// The largest value and its index: two operands folded together.
std::vector<Value> argmax_case(Builder& b) {
  const Value x = b.input(Type::tensor(DType::f32, {4, 5}));
  const Value i = b.iota(DType::i32, {4, 5}, 1);
  OpenRegion body(b, "argmax");
  Builder& r = body.builder();
  const Value v = body.argument(Type::tensor(DType::f32, {})), vi = body.argument(Type::tensor(DType::i32, {}));
  const Value w = body.argument(Type::tensor(DType::f32, {})), wi = body.argument(Type::tensor(DType::i32, {}));
  const Value first = r.compare(v, w, "GE");
  body.finish({r.select(first, v, w), r.select(first, vi, wi)});
  return b.ops("reduce", {x, i, b.constant_like(-1e30, DType::f32), b.constant_like(0, DType::i32)}, {{"dimensions", Ints{1}}}, std::vector<OpenRegion>{body});
}

}  // namespace

const OpDef reduce{
    .name = "reduce",
    .doc = "y[kept] = region(... region(region(init, x[kept, 0]), x[kept, 1]) ...) over the axes `dimensions`, in row-major order",
    .inputs = {{"inputs_and_init_values", DTypes::tensors, kVariadic}},
    .attrs = {{"dimensions", AttrKind::ints}},
    .regions = 1,
    .type = reduce_type,
    .reference = reduce_reference,
    .symbolic = reduce_symbolic,
    .work =
        [](const OpView& op, std::span<const Type> results) {
          Work w;
          const std::string_view body = reduction_body(*op.regions[0]);
          const double n = op.inputs.empty() ? 0 : elements(op.in(0)) * static_cast<double>(std::max<size_t>(op.regions[0]->nodes.size(), 1));
          (body == "add" || body == "multiply" ? w.adds : w.compares) += n;
          add_traffic(op, results, w);
          return w;
        },
    .cases = {{.name = "rows", .build = [](Builder& b) { return reduce_case(b, {7, 129}, {1}, "add", DType::f32); }},
              {.name = "columns", .build = [](Builder& b) { return reduce_case(b, {7, 129}, {0}, "maximum", DType::f32); }},
              {.name = "all", .build = [](Builder& b) { return reduce_case(b, {2, 3, 4}, {0, 1, 2}, "minimum", DType::f32); }},
              {.name = "outer_and_inner", .build = [](Builder& b) { return reduce_case(b, {5, 4, 3}, {0, 2}, "add", DType::f32); }},
              {.name = "empty_axis", .build = [](Builder& b) { return reduce_case(b, {2, 0}, {1}, "add", DType::f32); }},
              {.name = "integers", .build = [](Builder& b) { return reduce_case(b, {6, 5}, {0}, "multiply", DType::i32); }},
              {.name = "bools", .build = [](Builder& b) { return reduce_case(b, {6, 5}, {1}, "or", DType::i1); }},
              {.name = "argmax", .build = argmax_case}},
};
BASCULE_OP(reduce);

}  // namespace bascule::ops
