// device/chip/step_kind.cc — what each operator can be on a modelled chip, or in words why it runs on the host.
#include <algorithm>
#include <map>
#include <set>

#include "device/chip/expand.h"
#include "device/chip/expand_rules.h"
#include "device/chip/step_maker.h"
#include "graph/builder.h"
#include "passes/fuse.h"

namespace bascule::device::chip {
namespace {

Classified no(std::string why) { return {NodeKind::host, std::move(why)}; }

// Reasons of operators that no engine of any modelled chip does.
const std::map<std::string_view, std::string_view>& host_reasons() {
  static const std::map<std::string_view, std::string_view> m = {
      {"unique", "the size of the result depends on the data"},
      {"nonzero", "the size of the result depends on the data"},
      {"non_max_suppression", "the size of the result depends on the data"},
      {"select_and_scatter", "writes at positions that the data decide"},
      {"fft", "the chip has no Fourier transform"},
      {"rng", "the chip's random numbers would not be the model's"},
      {"rng_bit_generator", "the chip's random numbers would not be the model's"},
      {"random_normal", "the chip's random numbers would not be the model's"},
      {"random_uniform", "the chip's random numbers would not be the model's"},
      {"cholesky", "a factorisation goes element after element"},
      {"triangular_solve", "a solution goes element after element"},
  };
  return m;
}

Classified convolution_kind(const Graph&, const Node& n) {
  if (n.attrs.ints("input_spatial_dimensions").size() > 3) return no("a convolution over more than 3 axes");
  if (n.attrs.integer("batch_group_count") != 1) return no("a convolution with batch groups (a gradient)");
  return {NodeKind::convolution, ""};
}

Classified window_kind(const Graph& g, const Node& n) {
  if (n.inputs.size() != 2) return no("windows over several values at once");
  const std::string_view body = reduction_body(*n.regions[0]);
  const Tensor* start = g.constant(n.inputs[1]);
  if ((body != "add" && body != "maximum" && body != "minimum") || !start)
    return no("windows folded by other than sum, maximum or minimum from a constant");
  return {NodeKind::window, ""};
}

bool in(const Ints& list, int64_t x) { return std::find(list.begin(), list.end(), x) != list.end(); }

}  // namespace

std::vector<bool> find_coordinates(const Graph& g) {
  std::vector<bool> found(g.values.size());
  const auto at = [&](Value v) { return static_cast<size_t>(v.id); };
  const auto floats = [&](Value v) { return v && g.type(v).is_tensor() && is_float(g.type(v).dtype); };
  const auto each_alone = [](const Node& n) {
    static const std::set<std::string_view> moves = {"reshape", "broadcast_in_dim", "transpose", "slice", "concatenate", "reverse", "pad"};
    return n.outputs.size() == 1 && (passes::is_elementwise(n) || moves.contains(n.op->name));
  };
  bool any = false;
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const Node& n = g.nodes[i];
    if (n.outputs.size() != 1 || !g.type(n.outputs[0]).is_tensor()) continue;
    const DType t = g.type(n.outputs[0]).dtype;
    if (!found[at(n.outputs[0])] && !(is_int(t) && info(t).bits >= 32 && n.op->name == "convert")) continue;
    if (!each_alone(n)) continue;
    for (const Value v : n.inputs)
      if (floats(v)) found[at(v)] = any = true;
  }
  if (!any) return found;
  for (const Node& n : g.nodes) {
    if (!each_alone(n) || !floats(n.outputs[0])) continue;
    bool some = false, all = true;
    for (const Value v : n.inputs) {
      if (!floats(v) || is_weight(g, v)) continue;
      some = some || found[at(v)];
      all = all && found[at(v)];
    }
    if (some && all) found[at(n.outputs[0])] = true;
  }
  return found;
}

bool is_weight(const Graph& g, Value v) {
  const Node* n = g.producer(v);
  return n && (n->op->name == "constant" || n->op->name == "absent");
}

std::optional<RowGather> row_gather(const Graph& g, const Node& n) {
  const Ints &map = n.attrs.ints("start_index_map"), &collapsed = n.attrs.ints("collapsed_slice_dims");
  if (map.size() != 1 || !n.attrs.ints("operand_batching_dims").empty()) return std::nullopt;
  const Dims& x = g.type(n.inputs[0]).dims;
  const Dims window = n.attrs.dims("slice_sizes");
  RowGather r;
  r.axis = static_cast<size_t>(map[0]);
  for (size_t k = 0; k < x.size(); ++k) {
    const bool here = k == r.axis;
    if (here ? !window[k].is(1) || !in(collapsed, map[0]) : !(window[k] == x[k]) || in(collapsed, static_cast<int64_t>(k))) return std::nullopt;
  }
  r.vector_axis = n.attrs.integer("index_vector_dim") < static_cast<int64_t>(g.type(n.inputs[1]).rank());
  return r;
}

std::optional<JoinedRanks> joined_ranks(const Node& n) {
  if ((n.op->name != "all_reduce" && n.op->name != "all_gather") || n.inputs.size() != 1) return std::nullopt;
  const Tensor& groups = n.attrs.tensor("replica_groups");
  if (groups.rank() != 2 || groups.dim(0) != 1 || groups.dim(1) < 1) return std::nullopt;
  for (int64_t r = 0; r < groups.dim(1); ++r)
    if (groups.integer(r) != r) return std::nullopt;
  if (n.op->name == "all_gather") return JoinedRanks{groups.dim(1), loops::Op::load};
  const std::string_view body = reduction_body(*n.regions[0]);
  if (body != "add" && body != "maximum" && body != "minimum") return std::nullopt;
  return JoinedRanks{groups.dim(1), body == "add" ? loops::Op::add : body == "maximum" ? loops::Op::maximum : loops::Op::minimum};
}

std::optional<loops::Op> scatter_fold(const Graph& g, const Node& n) {
  if (n.inputs.size() != 3 || g.type(n.inputs[0]).dtype != g.type(n.outputs[0]).dtype) return std::nullopt;
  const Graph& region = *n.regions[0];
  if (region.outputs[0] == region.inputs[1]) return loops::Op::load;
  const std::string_view body = reduction_body(region);
  const DType t = g.type(n.inputs[0]).dtype;
  if (is_bool(t)) return body == "maximum" || body == "or" || body == "add" ? std::optional(loops::Op::maximum) : std::nullopt;
  if (body == "add") return loops::Op::add;
  return body == "maximum" ? std::optional(loops::Op::maximum) : body == "minimum" ? std::optional(loops::Op::minimum) : std::nullopt;
}

bool row_scatter(const Graph& g, const Node& n) {
  if (n.inputs.size() != 3 || !scatter_fold(g, n)) return false;
  for (const Value v : n.inputs)
    if (!g.type(v).is_tensor() || !g.type(v).ranked) return false;
  const auto none = [&](std::string_view name) { return !n.attrs.has(name) || n.attrs.ints(name).empty(); };
  return g.type(n.inputs[0]).rank() == 2 && g.type(n.inputs[1]).rank() == 1 && g.type(n.inputs[2]).rank() == 2 && g.type(n.inputs[0]).dims[1] == g.type(n.inputs[2]).dims[1] &&
         n.attrs.ints("update_window_dims") == Ints{1} && n.attrs.ints("inserted_window_dims") == Ints{0} && n.attrs.ints("scatter_dims_to_operand_dims") == Ints{0} &&
         n.attrs.integer("index_vector_dim") == 1 && none("input_batching_dims") && n.attrs.text("out_of_bounds") == "drop";
}

Classified classify(const Graph& g, const Node& n) {
  const std::string_view name = n.op->name;
  if (name == "constant" || name == "absent" || name == "dims") return {NodeKind::weight, ""};
  if (n.specialization) return no("its graph is only known at run time");
  if (n.op->control) return no("control flow is the host's");
  if (n.op->host) return no("its values never enter a device");
  for (const auto& list : {n.inputs, n.outputs})
    for (const Value v : list) {
      if (!v) continue;
      const Type& t = g.type(v);
      if (!t.is_tensor() || is_string(t.dtype)) return no("values of type " + t.text());
      if (!t.ranked) return no("a value whose rank is only known at run time");
      if (is_complex(t.dtype)) return no("complex numbers");
    }
  if (n.op->data_dependent) return no("the size of the result depends on the data");
  if (name == "reshape" || name == "transpose" || name == "slice" || name == "broadcast_in_dim" ||
      (name == "optimization_barrier" && n.outputs.size() == 1))
    return {NodeKind::view, ""};
  if (passes::is_elementwise(n)) {
    if ((name == "power" || name == "atan2") && !is_float(g.type(n.outputs[0]).dtype)) return no("powers of integers");
    std::string why = no_loops(g, n);
    return why.empty() ? Classified{NodeKind::elementwise, ""} : no(std::move(why));
  }
  if (name == "reduce") {
    std::string why = no_loops(g, n);
    return why.empty() ? Classified{NodeKind::fold, ""} : no(std::move(why));
  }
  if (name == "dot_general") return {NodeKind::contraction, ""};
  if (name == "convolution") return convolution_kind(g, n);
  if (name == "softmax" || name == "log_softmax" || name == "layer_norm" || name == "rms_norm" || name == "group_norm") return {NodeKind::rows, ""};
  if (name == "attention") return {NodeKind::attention, ""};
  if (name == "reduce_window") return window_kind(g, n);
  if (name == "gather" && even_gather(g, n)) return {NodeKind::view, ""};
  if (name == "gather")
    return row_gather(g, n) ? Classified{NodeKind::gather, ""} : no("gather by more than one index for each slice, or of parts of rows");
  if (name == "scatter" && row_scatter(g, n)) return {NodeKind::scatter, ""};
  if (name == "cumulative" && cannot_expand(g, n) == kAsItIs) return {NodeKind::scan, ""};
  if (name == "concatenate" || name == "reverse") return {NodeKind::move, ""};
  if (name == "all_reduce" || name == "all_gather") {
    const auto joined = joined_ranks(n);
    if (joined && joined->count == 1 && g.type(n.inputs[0]).dtype == g.type(n.outputs[0]).dtype) return {NodeKind::view, ""};
    return joined ? Classified{NodeKind::collective, ""} : no("a collective of several operands, of groups, or by other than sum, maximum or minimum");
  }
  if (name == "pad") return g.constant(n.inputs[1]) ? Classified{NodeKind::move, ""} : no("padding with a number that is computed");
  if (const std::string why = cannot_expand(g, n); why != kAsItIs) return no(why.empty() ? "sizes that are not bound" : why);
  if (const auto at = host_reasons().find(name); at != host_reasons().end()) return no(std::string(at->second));
  return no("no engine of the chip does it");
}

}  // namespace bascule::device::chip
