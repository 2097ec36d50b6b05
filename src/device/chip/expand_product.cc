// device/chip/expand_product.cc — products that no matrix engine does as they are: sums over nothing, products of groups of rows, squared distances; products
// of 8-bit integers with zero points, which models hold in 32 bits.
#include <algorithm>

#include "device/chip/expand_rules.h"
#include "device/chip/step_maker.h"
#include "passes/match.h"

namespace bascule::device::chip {
namespace {

bool has(const Ints& list, int64_t x) { return std::find(list.begin(), list.end(), x) != list.end(); }

// ---- integers of 8 bits less their zero point

struct Narrow {
  Value value;                    // of 8 bits; or
  std::optional<Tensor> literal;  // such a constant
  Value zero;                     // over the same axes, of the wide type; none: 0
};

bool is_byte(DType t) { return (t == DType::i8 || t == DType::u8); }

std::optional<Tensor> byte_literal(const Tensor& t) {
  int64_t low = 0, high = 0;
  for (int64_t i = 0; i < t.elements(); ++i) {
    low = std::min(low, t.integer(i));
    high = std::max(high, t.integer(i));
  }
  if ((low < -128 || high > 127) && (low < 0 || high > 255)) return std::nullopt;
  return Tensor::from_ints(low < 0 || high <= 127 ? DType::i8 : DType::u8, t.dims(), t.ints());
}

std::optional<Narrow> narrow_of(const Graph& g, Value v) {
  if (is_byte(g.type(v).dtype)) return Narrow{v, {}, {}};
  if (const Tensor* t = g.constant(v)) {
    auto literal = byte_literal(*t);
    return literal ? std::optional(Narrow{{}, std::move(literal), {}}) : std::nullopt;
  }
  const Node* n = g.producer(v);
  if (!n) return std::nullopt;
  if (n->op->name == "convert" && is_byte(g.type(n->inputs[0]).dtype)) return Narrow{n->inputs[0], {}, {}};
  if (n->op->name != "subtract") return std::nullopt;
  auto x = narrow_of(g, n->inputs[0]);
  if (!x || x->zero) return std::nullopt;
  const auto zero = passes::splat_of(g, n->inputs[1]);
  if (zero == 0.0) return x;
  const Tensor* t = x->literal ? &*x->literal : g.constant(x->value);
  if (t && zero) {  // weights less a number: other weights
    std::vector<int64_t> shifted = t->ints();
    for (int64_t& i : shifted) i -= static_cast<int64_t>(*zero);
    if (auto literal = byte_literal(Tensor::from_ints(DType::i32, t->dims(), shifted))) return Narrow{{}, std::move(literal), {}};
  }
  x->zero = n->inputs[1];
  return x;
}

// Whether v may differ along the axis.
bool varies(const Graph& g, Value v, int64_t axis) {
  const Node* n = g.producer(v);
  if (passes::splat_of(g, v)) return false;
  if (!n || n->op->name != "broadcast_in_dim") return true;
  const Ints& axes = n->attrs.ints("broadcast_dimensions");
  const auto at = std::find(axes.begin(), axes.end(), axis);
  return at != axes.end() && !g.type(n->inputs[0]).dims[static_cast<size_t>(at - axes.begin())].is(1);
}

bool is_wide_product(const Graph& g, const Node& n) {
  const auto wide = [&](Value v) { return is_int(g.type(v).dtype) && info(g.type(v).dtype).bits >= 32; };
  return wide(n.outputs[0]) && (wide(n.inputs[0]) || wide(n.inputs[1])) && (wide(n.inputs[0]) || is_byte(g.type(n.inputs[0]).dtype)) &&
         (wide(n.inputs[1]) || is_byte(g.type(n.inputs[1]).dtype));
}

bool is_nothing(const Graph& g, const Node& n) {
  return all_static(g, n) && !g.type(n.outputs[0]).elements_count().is(0) && (g.type(n.inputs[0]).elements_count().is(0) || g.type(n.inputs[1]).elements_count().is(0));
}

bool ranked(const Graph& g, const Node& n) {
  return std::all_of(n.inputs.begin(), n.inputs.end(), [&](Value v) { return g.type(v).is_tensor() && g.type(v).ranked; });
}

Value made(Builder& b, passes::Rewriter& r, const Narrow& x) { return x.literal ? b.constant(*x.literal) : r(x.value); }

Values apply_nothing(passes::Rewriter& r, const Node& n) {
  const Type& t = r.old().type(n.outputs[0]);
  return {r.builder().full(t.dims, t.dtype, 0)};
}

// ---- dot_general: sum (a - za) (b - zb) = sum a b - za sum b - zb sum a + K za zb, where zero points do not vary along K

std::string refuse_product(const Graph& g, const Node& n) {
  if (!ranked(g, n)) return std::string(kAsItIs);
  if (is_nothing(g, n)) return "";
  if (!is_wide_product(g, n)) return std::string(kAsItIs);
  for (const size_t k : {0, 1}) {
    const auto x = narrow_of(g, n.inputs[k]);
    if (!x) return std::string(kAsItIs);
    for (const int64_t axis : n.attrs.ints(k == 0 ? "lhs_contracting_dimensions" : "rhs_contracting_dimensions"))
      if (x->zero && varies(g, x->zero, axis)) return std::string(kAsItIs);
  }
  return "";
}

Values apply_product(passes::Rewriter& r, const Node& n) {
  if (is_nothing(r.old(), n)) return apply_nothing(r, n);
  Builder& b = r.builder();
  const Type& result = r.old().type(n.outputs[0]);
  const Ints batch[2] = {n.attrs.ints("lhs_batching_dimensions"), n.attrs.ints("rhs_batching_dimensions")};
  const Ints contracting[2] = {n.attrs.ints("lhs_contracting_dimensions"), n.attrs.ints("rhs_contracting_dimensions")};
  Narrow x[2];
  Value byte[2], zero[2], sum[2];
  int64_t terms = 1;
  for (const size_t k : {0, 1}) {
    x[k] = *narrow_of(r.old(), n.inputs[k]);
    byte[k] = made(b, r, x[k]);
  }
  for (const int64_t a : contracting[0]) terms *= b.dim(byte[0], a).value();
  // Of one operand, without the axes that are summed over, spread over the result.
  const auto spread = [&](size_t k, Value v) {
    Ints axes;
    int64_t next = static_cast<int64_t>(batch[0].size());
    if (k == 1) next = b.rank(byte[0]) - static_cast<int64_t>(contracting[0].size());
    for (int64_t a = 0; a < b.rank(byte[k]); ++a) {
      if (has(contracting[k], a)) continue;
      const auto at = std::find(batch[k].begin(), batch[k].end(), a);
      axes.push_back(at != batch[k].end() ? at - batch[k].begin() : next++);
    }
    return b.broadcast_in_dim(v, result.dims, axes);
  };
  for (const size_t k : {0, 1}) {
    if (x[k].zero) {
      Value z = r(x[k].zero);
      for (const int64_t a : contracting[k]) z = b.slice_axis(z, a, 0, 1);
      zero[k] = spread(k, b.convert(b.squeeze(z, contracting[k]), result.dtype));
    }
    if (x[1 - k].zero) sum[k] = spread(k, b.sum(b.convert(byte[k], result.dtype), contracting[k], false));
  }
  Value y = b.op("dot_general", {byte[0], byte[1]}, n.attrs);
  for (const size_t k : {0, 1})
    if (zero[k]) y = b.subtract(y, b.multiply(zero[k], sum[1 - k]));
  if (zero[0] && zero[1]) y = b.add(y, b.multiply(b.multiply(zero[0], zero[1]), static_cast<double>(terms)));
  return {y};
}

// ---- convolution: the padding is that of x less its zero point, so x is padded with the zero point before

std::string refuse_convolution(const Graph& g, const Node& n) {
  if (!ranked(g, n)) return std::string(kAsItIs);
  if (is_nothing(g, n)) return "";
  if (!is_wide_product(g, n)) return std::string(kAsItIs);
  const auto x = narrow_of(g, n.inputs[0]), w = narrow_of(g, n.inputs[1]);
  if (!x || !w || w->zero) return std::string(kAsItIs);
  for (int64_t a = 0; x->zero && a < static_cast<int64_t>(g.type(n.inputs[0]).rank()); ++a)
    if (varies(g, x->zero, a)) return std::string(kAsItIs);
  return x->zero && n.attrs.has("lhs_dilation") && std::any_of(n.attrs.ints("lhs_dilation").begin(), n.attrs.ints("lhs_dilation").end(), [](int64_t d) { return d != 1; })
             ? std::string(kAsItIs) : "";
}

Values apply_convolution(passes::Rewriter& r, const Node& n) {
  if (is_nothing(r.old(), n)) return apply_nothing(r, n);
  Builder& b = r.builder();
  const Type& result = r.old().type(n.outputs[0]);
  const Narrow x = *narrow_of(r.old(), n.inputs[0]), w = *narrow_of(r.old(), n.inputs[1]);
  Value image = made(b, r, x), weights = made(b, r, w);
  if (!x.zero) return {b.op("convolution", {image, weights}, n.attrs)};
  const Value zero = b.reshape(b.slice(r(x.zero), Dims(static_cast<size_t>(b.rank(image)), 0), Dims(static_cast<size_t>(b.rank(image)), 1), Ints(static_cast<size_t>(b.rank(image)), 1)), {});
  Attrs attrs = n.attrs;
  const Ints& spatial = n.attrs.ints("input_spatial_dimensions");
  Dims low(static_cast<size_t>(b.rank(image)), 0), high = low;
  for (size_t k = 0; k < spatial.size(); ++k) {
    const auto axis = static_cast<size_t>(spatial[k]);
    if (n.attrs.has("padding_low") && !n.attrs.dims("padding_low").empty()) low[axis] = n.attrs.dims("padding_low")[k];
    if (n.attrs.has("padding_high") && !n.attrs.dims("padding_high").empty()) high[axis] = n.attrs.dims("padding_high")[k];
  }
  image = b.op("pad", {image, b.convert(zero, b.dtype(image))}, {{"edge_padding_low", low}, {"edge_padding_high", high}, {"interior_padding", Ints(low.size(), 0)}});
  attrs.set("padding_low", Dims(spatial.size(), 0));
  attrs.set("padding_high", Dims(spatial.size(), 0));
  Ints taps = n.attrs.ints("kernel_spatial_dimensions");
  taps.push_back(n.attrs.integer("kernel_input_feature_dimension"));
  const Value sums = b.reshape(b.sum(b.convert(weights, result.dtype), taps, true), {b.dim(weights, n.attrs.integer("kernel_output_feature_dimension"))});
  const Value shift = b.multiply(sums, b.broadcast_to(b.convert(zero, result.dtype), b.dims(sums)));
  const Value y = b.op("convolution", {image, weights}, attrs);
  return {b.subtract(y, b.broadcast_in_dim(shift, result.dims, {n.attrs.integer("output_feature_dimension")}))};
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
  return {{"dot_general", refuse_product, apply_product}, {"convolution", refuse_convolution, apply_convolution}, {"squared_distance", refuse_none, apply_distance}, {"ragged_dot", refuse_ragged, apply_ragged}};
}

}  // namespace bascule::device::chip
