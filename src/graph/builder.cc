// graph/builder.cc — node by node construction with type inference, small folding and symbolic integers.
#include "graph/builder.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "graph/evaluate.h"

namespace bascule {
namespace {

constexpr int64_t kMostFoldedOutput = 4096;   // elements; larger constants are folded by passes/fold within a budget
constexpr int64_t kMostFoldedInput = 65536;

bool foldable(const OpDef& def) { return def.reference && !def.random && !def.effect && !def.control && def.name != "constant" && def.name != "optimization_barrier"; }

Ints normalized(Ints axes, int64_t rank) {
  for (int64_t& a : axes)
    if (a < 0) a += rank;
  std::sort(axes.begin(), axes.end());
  return axes;
}

double neutral(std::string_view body, DType t) {
  if (body == "add" || body == "or" || body == "xor") return 0;
  if (body == "multiply") return 1;
  if (body == "and") return is_bool(t) ? 1 : -1;
  const bool maximum = body == "maximum";
  if (is_float(t)) {
    const FloatInfo f = float_info(t);
    const double edge = f.has_inf ? std::numeric_limits<double>::infinity() : f.largest;
    return maximum ? -edge : edge;
  }
  return maximum ? 0 : 1;  // bool; integers are handled by the caller
}

}  // namespace

Graph Builder::finish(Values outputs, std::vector<std::string> output_names) {
  graph_.outputs = std::move(outputs);
  graph_.output_names = std::move(output_names);
  return std::move(graph_);
}

Value Builder::input(Type t, std::string input_name) { return graph_.add_input(std::move(t), std::move(input_name)); }

Value Builder::constant(Tensor t) { return op("constant", {}, {{"value", std::move(t)}}); }

Value Builder::sizes(const Dims& d, DType t) {
  if (is_string(t)) fail("an integer element type", "string");
  if (const auto c = constants(d)) return ints(*c, t);
  return op("dims", {}, {{"dims", d}, {"dtype", t}});
}
Value Builder::size(const Dim& d, DType t) { return reshape(sizes({d}, t), {}); }

void Builder::fail(std::string expected, std::string found, std::string remedy) const {
  throw Error(blame, Problem{where, std::move(expected), std::move(found), std::move(remedy)});
}
void Builder::unsupported(std::string expected, std::string found, std::string remedy) const { fail_unsupported(where, std::move(expected), std::move(found), std::move(remedy)); }

std::optional<Values> Builder::folded(const Node& n, const std::vector<Type>& results) {
  if (!fold || !foldable(*n.op)) return std::nullopt;
  HostValues args;
  int64_t in_elements = 0, out_elements = 0;
  for (const Value v : n.inputs) {
    if (!v) {
      args.push_back(HostValue::none());
      continue;
    }
    const Tensor* t = graph_.constant(v);
    if (!t) return std::nullopt;
    in_elements += t->elements();
    args.push_back(*t);
  }
  for (const Type& t : results) {
    if (!t.is_tensor()) return std::nullopt;
    const auto dims = constants(t.dims);
    if (!t.ranked || !dims) {
      if (!n.op->data_dependent) return std::nullopt;
      continue;
    }
    const int64_t elements = element_count(*dims);
    if (elements < 0 || elements > kMostFoldedOutput) return std::nullopt;
    out_elements += elements;
  }
  if (in_elements > kMostFoldedInput || out_elements > kMostFoldedOutput) return std::nullopt;
  for (const auto& [attr_name, a] : n.attrs)
    if (const auto* d = std::get_if<Dims>(&a); d && !constants(*d)) return std::nullopt;
  EvalContext context;
  HostValues out;
  try {
    out = evaluate(n, args, {}, context);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::internal) throw;
    return std::nullopt;  // an error of values belongs to the run, where it names the input
  }
  Values values;
  for (HostValue& v : out) {
    if (!v.is_tensor()) return std::nullopt;
    values.push_back(constant(std::move(v.tensor())));
  }
  return values;
}

Values Builder::ops(std::string_view name, Values operands, Attrs attrs, std::vector<std::shared_ptr<const Graph>> regions, Values captures) {
  Node n;
  n.op = &OpRegistry::get(name);
  n.attrs = std::move(attrs);
  n.regions = std::move(regions);
  n.captures = static_cast<int>(captures.size());
  n.origin = origin;
  n.location = location;
  std::vector<Type> types, captured;
  for (const Value v : operands) types.push_back(v ? type(v) : absent_type());
  for (const Value v : captures) captured.push_back(type(v));
  std::string at = where.empty() ? std::string(name) : where;
  std::vector<Type> results = infer(*n.op, n.attrs, types, n.regions, captured, at, blame);
  n.inputs = std::move(operands);
  n.inputs.insert(n.inputs.end(), captures.begin(), captures.end());
  if (auto constants_out = folded(n, results)) return *constants_out;

  std::shared_ptr<const Dims> known_result;
  if (n.op->symbolic && results.size() == 1 && (is_int(results[0].dtype) || is_bool(results[0].dtype)) && results[0].is_static()) {
    const int64_t elements = element_count(*constants(results[0].dims));
    if (elements >= 0 && elements <= kMostKnown) {
      std::vector<std::optional<Dims>> in;
      for (const Value v : n.inputs) in.push_back(v ? graph_.known(v) : std::nullopt);
      std::vector<const Dims*> pointers;
      for (const auto& k : in) pointers.push_back(k ? &*k : nullptr);
      const OpView view{*n.op, n.attrs, types, n.regions, captured, at, blame};
      std::optional<Dims> k;
      try {
        k = n.op->symbolic(view, pointers, results[0]);
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::capacity) throw;  // sizes beyond 63 bits: data whose arithmetic wraps, no sizes
      }
      if (k) {
        if (k->size() != static_cast<size_t>(elements)) fail_internal("symbolic rule of " + std::string(name), std::to_string(elements) + " elements", std::to_string(k->size()));
        known_result = std::make_shared<const Dims>(std::move(*k));
      }
    }
  }
  const int32_t index = graph_.add_node(std::move(n), std::move(results));
  Values out = graph_.nodes[static_cast<size_t>(index)].outputs;
  if (known_result) {
    const DType t = type(out[0]).dtype;
    if (const auto all = constants(*known_result); all && fold) {  // everything cancelled: a plain constant
      const auto dims_out = *constants(type(out[0]).dims);
      return {constant(Tensor::from_ints(t, dims_out, *all))};
    }
    graph_.at(out[0]).known = std::move(known_result);
  }
  return out;
}

Values Builder::specialize(std::shared_ptr<const Specialization> s, Values operands, std::vector<Type> results) {
  Node n;
  n.op = &OpRegistry::get("specialize");
  n.inputs = std::move(operands);
  n.specialization = std::move(s);
  n.origin = origin;
  n.location = location;
  const int32_t index = graph_.add_node(std::move(n), std::move(results));
  return graph_.nodes[static_cast<size_t>(index)].outputs;
}

Values Builder::ops(std::string_view name, Values operands, Attrs attrs, std::vector<OpenRegion> regions) {
  Values captures;
  for (const OpenRegion& r : regions)
    for (const auto& [outer, inner] : r.captured_)
      if (std::find(captures.begin(), captures.end(), outer) == captures.end()) captures.push_back(outer);
  std::vector<std::shared_ptr<const Graph>> built;
  for (OpenRegion& r : regions) {
    Graph g = r.builder_->finish(r.outputs_);
    const size_t arguments = g.inputs.size() - r.captured_.size();
    std::vector<Value> inputs(g.inputs.begin(), g.inputs.begin() + static_cast<int64_t>(arguments));
    for (const Value c : captures) {
      const auto at = std::find_if(r.captured_.begin(), r.captured_.end(), [&](const auto& p) { return p.first == c; });
      if (at != r.captured_.end()) inputs.push_back(at->second);
      else inputs.push_back(g.add_input(type(c), graph_.at(c).name));
    }
    g.inputs = std::move(inputs);
    for (size_t i = 0; i < g.inputs.size(); ++i) g.at(g.inputs[i]).result = static_cast<int32_t>(i);
    built.push_back(std::make_shared<const Graph>(std::move(g)));
  }
  return ops(name, std::move(operands), std::move(attrs), std::move(built), std::move(captures));
}

OpenRegion::OpenRegion(Builder& outer, std::string name) : outer_(&outer), builder_(std::make_shared<Builder>(std::move(name))) {
  builder_->where = outer.where;
  builder_->origin = outer.origin;
  builder_->location = outer.location;
  builder_->blame = outer.blame;
  builder_->fold = outer.fold;
}

Value OpenRegion::capture(Value outer) {
  for (const auto& [o, inner] : captured_)
    if (o == outer) return inner;
  if (const Tensor* t = outer_->constant(outer)) return builder_->constant(*t);
  const Value inner = builder_->input(outer_->type(outer), outer_->graph().at(outer).name);
  builder_->graph().at(inner).known = outer_->graph().at(outer).known;
  captured_.emplace_back(outer, inner);
  return inner;
}

Value Builder::as_value(const Operand& x, const Operand& other) {
  if (x.value) return x.value;
  if (!other.value) fail_internal(where, "at least one value among the operands", "numbers");
  if (is_string(dtype(other.value))) fail("an operand of numbers", type(other.value).text());
  return constant_like(x.number, dtype(other.value));
}

Dims Builder::broadcast_dims(const Dims& a, const Dims& b) const {
  Dims out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {  // i from the last axis
    const Dim x = i < a.size() ? a[a.size() - 1 - i] : Dim(1);
    const Dim y = i < b.size() ? b[b.size() - 1 - i] : Dim(1);
    if (x.is_constant() && y.is_constant() && !(x == y) && !x.is(1) && !y.is(1))
      throw Error(blame, Problem{where, "shapes that broadcast", bascule::text(a) + " and " + bascule::text(b), "Check the shapes of the operands"});
    out[out.size() - 1 - i] = Dim::broadcast(x, y);
  }
  return out;
}

Value Builder::broadcast_to(Value x, const Dims& out) {
  if (dims(x) == out) return x;
  Ints axes(static_cast<size_t>(rank(x)));
  std::iota(axes.begin(), axes.end(), static_cast<int64_t>(out.size()) - rank(x));
  return broadcast_in_dim(x, out, axes);
}

Value Builder::binary(std::string_view name, Operand a, Operand b) {
  const Value x = as_value(a, b), y = as_value(b, a);
  const Dims out = broadcast_dims(dims(x), dims(y));
  return op(name, {broadcast_to(x, out), broadcast_to(y, out)});
}

Value Builder::compare(Operand a, Operand b, std::string_view direction) {
  const Value x = as_value(a, b), y = as_value(b, a);
  const Dims out = broadcast_dims(dims(x), dims(y));
  return op("compare", {broadcast_to(x, out), broadcast_to(y, out)}, {{"comparison_direction", std::string(direction)}});
}

Value Builder::select(Value predicate, Operand on_true, Operand on_false) {
  const Value x = as_value(on_true, on_false), y = as_value(on_false, on_true);
  const Dims out = broadcast_dims(dims(predicate), broadcast_dims(dims(x), dims(y)));
  return op("select", {broadcast_to(predicate, out), broadcast_to(x, out), broadcast_to(y, out)});
}

Value Builder::clamp(Operand low, Value x, Operand high) {
  const Value l = as_value(low, x), h = as_value(high, x);
  const auto fit = [&](Value v) { return rank(v) == 0 ? v : broadcast_to(v, dims(x)); };
  return op("clamp", {fit(l), x, fit(h)});
}

Value Builder::convert(Value x, DType t) { return dtype(x) == t ? x : op("convert", {x}, {{"dtype", t}}); }

Value Builder::reshape(Value x, const Dims& out) { return dims(x) == out ? x : op("reshape", {x}, {{"dims", out}}); }

Value Builder::broadcast_in_dim(Value x, const Dims& out, const Ints& axes) { return op("broadcast_in_dim", {x}, {{"dims", out}, {"broadcast_dimensions", axes}}); }

Value Builder::transpose(Value x, const Ints& permutation) {
  return std::is_sorted(permutation.begin(), permutation.end()) && permutation.size() == static_cast<size_t>(rank(x)) ? x : op("transpose", {x}, {{"permutation", permutation}});
}

Value Builder::concatenate(const Values& x, int64_t axis) {
  return x.size() == 1 ? x[0] : op("concatenate", x, {{"dimension", axis < 0 && !x.empty() ? axis + rank(x[0]) : axis}});
}

Value Builder::slice(Value x, const Dims& start, const Dims& limit, const Ints& strides) {
  const bool whole = limit == dims(x) && std::all_of(start.begin(), start.end(), [](const Dim& d) { return d.is(0); }) && std::all_of(strides.begin(), strides.end(), [](int64_t s) { return s == 1; });
  return whole ? x : op("slice", {x}, {{"start_indices", start}, {"limit_indices", limit}, {"strides", strides}});
}

Value Builder::slice_axis(Value x, int64_t axis, const Dim& start, const Dim& limit, int64_t stride) {
  if (axis < -rank(x) || axis >= rank(x)) fail("an operand with axis " + std::to_string(axis), type(x).text());
  const auto a = static_cast<size_t>(axis < 0 ? axis + rank(x) : axis);
  Dims low(dims(x).size(), Dim(0)), high = dims(x);
  Ints strides(low.size(), 1);
  low[a] = start;
  high[a] = limit;
  strides[a] = stride;
  return slice(x, low, high, strides);
}

Value Builder::pad(Value x, Operand fill, const Dims& low, const Dims& high, const Ints& interior) {
  const auto none = [](const auto& v) { return std::all_of(v.begin(), v.end(), [](const auto& d) { return d == 0; }); };
  if (none(low) && none(high) && none(interior)) return x;
  const Value f = as_value(fill, x);
  return op("pad", {x, f}, {{"edge_padding_low", low}, {"edge_padding_high", high}, {"interior_padding", interior.empty() ? Ints(low.size(), 0) : interior}});
}

Value Builder::reverse(Value x, const Ints& axes) { return axes.empty() ? x : op("reverse", {x}, {{"dimensions", axes}}); }

Value Builder::iota(DType t, const Dims& out, int64_t axis) { return op("iota", {}, {{"dtype", t}, {"dims", out}, {"iota_dimension", axis}}); }

Value Builder::unsqueeze(Value x, Ints axes) {
  const int64_t r = rank(x) + static_cast<int64_t>(axes.size());  // before the move: arguments are evaluated in any order
  axes = normalized(std::move(axes), r);
  Dims out = dims(x);
  for (const int64_t a : axes) {
    if (a < 0 || a > static_cast<int64_t>(out.size())) fail("axes within the rank of the result", std::to_string(a));
    out.insert(out.begin() + a, Dim(1));
  }
  return reshape(x, out);
}
Value Builder::squeeze(Value x, Ints axes) {
  axes = normalized(std::move(axes), rank(x));
  Dims out = dims(x);
  for (size_t i = axes.size(); i-- > 0;) {
    if (axes[i] < 0 || axes[i] >= static_cast<int64_t>(out.size())) fail("axes within the rank", std::to_string(axes[i]));
    out.erase(out.begin() + axes[i]);
  }
  return reshape(x, out);
}

std::shared_ptr<const Graph> Builder::scalar_region(std::string_view body, DType t) {
  Builder b("reduction");
  const Value x = b.input(Type::tensor(t, {}), "a"), y = b.input(Type::tensor(t, {}), "b");
  return std::make_shared<const Graph>(b.finish({b.op(body, {x, y})}));
}

std::string_view reduction_body(const Graph& region) {
  if (region.nodes.size() != 1 || region.inputs.size() != 2 || region.outputs.size() != 1) return "";
  const Node& n = region.nodes[0];
  if (n.outputs.size() != 1 || region.outputs[0] != n.outputs[0] || n.inputs.size() != 2 || !n.regions.empty()) return "";
  const bool straight = n.inputs[0] == region.inputs[0] && n.inputs[1] == region.inputs[1];
  const bool swapped = n.inputs[0] == region.inputs[1] && n.inputs[1] == region.inputs[0];
  constexpr std::string_view kBodies[] = {"add", "multiply", "maximum", "minimum", "and", "or", "xor"};
  if (!straight && !swapped) return "";
  for (const std::string_view b : kBodies)
    if (n.op->name == b) return b;
  return "";
}

Value Builder::reduce(std::string_view body, Value x, Ints axes, bool keep) {
  axes = normalized(std::move(axes), rank(x));
  const DType t = dtype(x);
  Value start;
  if (is_int(t) && (body == "maximum" || body == "minimum")) start = constant(Tensor::scalar_int(t, body == "maximum" ? int_min(t) : int_max(t)));
  else start = constant_like(neutral(body, t), t);
  Dims kept = dims(x);
  for (const int64_t a : axes) {
    if (a < 0 || a >= rank(x)) fail("axes within rank " + std::to_string(rank(x)), std::to_string(a));
    kept[static_cast<size_t>(a)] = 1;
  }
  const Value y = axes.empty() ? x : ops("reduce", {x, start}, {{"dimensions", axes}}, {scalar_region(body, t)})[0];
  return keep ? reshape(y, kept) : y;
}

Value Builder::mean(Value x, Ints axes, bool keep) {
  axes = normalized(std::move(axes), rank(x));
  Dim count = 1;
  for (const int64_t a : axes) {
    if (a < 0 || a >= rank(x)) fail("axes within rank " + std::to_string(rank(x)), std::to_string(a));
    count = count * dim(x, a);
  }
  const Value total = sum(x, axes, keep);
  if (count.is_constant()) return divide(total, static_cast<double>(count.value()));
  return divide(total, convert(size(count), dtype(x)));
}

Value Builder::dot_general(Value a, Value b, Ints a_batch, Ints b_batch, Ints a_contract, Ints b_contract, std::optional<DType> t) {
  return op("dot_general", {a, b},
            {{"lhs_batching_dimensions", std::move(a_batch)},
             {"rhs_batching_dimensions", std::move(b_batch)},
             {"lhs_contracting_dimensions", std::move(a_contract)},
             {"rhs_contracting_dimensions", std::move(b_contract)},
             {"dtype", t ? *t : dtype(a)}});
}

Value Builder::matmul(Value a, Value b, std::optional<DType> t) {
  if (rank(a) == 0 || rank(b) == 0) fail("operands of rank 1 or more", type(a).text() + " and " + type(b).text());
  const bool row = rank(a) == 1, column = rank(b) == 1;
  if (row) a = unsqueeze(a, {0});
  if (column) b = unsqueeze(b, {1});
  const Dims batch = broadcast_dims(Dims(dims(a).begin(), dims(a).end() - 2), Dims(dims(b).begin(), dims(b).end() - 2));
  const auto n = static_cast<int64_t>(batch.size());
  Value y;
  if (rank(b) == 2) {  // one matrix for every batch: no broadcast of weights
    y = dot_general(a, b, {}, {}, {rank(a) - 1}, {0}, t);
  } else {
    const auto widen = [&](Value v) {
      Dims out = batch;
      out.insert(out.end(), dims(v).end() - 2, dims(v).end());
      return broadcast_to(v, out);
    };
    a = widen(a);
    b = widen(b);
    Ints axes(static_cast<size_t>(n));
    std::iota(axes.begin(), axes.end(), 0);
    y = dot_general(a, b, axes, axes, {n + 1}, {n}, t);
  }
  if (row) y = squeeze(y, {rank(y) - 2});
  if (column) y = squeeze(y, {rank(y) - 1});
  return y;
}

}  // namespace bascule
