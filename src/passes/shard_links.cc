// passes/shard_links.cc — the rule of each operator: which dimensions of its operands and results are split together. An operator that is not here
// takes whole operands.
#include <algorithm>
#include <set>

#include "graph/builder.h"
#include "graph/op_def.h"
#include "passes/fuse.h"
#include "passes/shard_ways.h"

namespace bascule::passes {
namespace {

bool has(const Ints& list, size_t x) { return std::find(list.begin(), list.end(), static_cast<int64_t>(x)) != list.end(); }
int16_t narrow(size_t x) { return static_cast<int16_t>(x); }
int16_t narrow(int64_t x) { return static_cast<int16_t>(x); }

struct Maker {
  const Graph& g;
  const Node& n;
  std::vector<Link> out{};

  const Dims& in(size_t k) const { return g.type(n.inputs[k]).dims; }
  const Dims& result(size_t k = 0) const { return g.type(n.outputs[k]).dims; }
  Link none() const { return {std::vector<int16_t>(n.inputs.size(), -1), std::vector<int16_t>(n.outputs.size(), -1), 0, std::nullopt}; }
  // Dimension a of operand 0 and of all results.
  Link same(size_t a) const {
    Link l = none();
    l.operands[0] = narrow(a);
    std::fill(l.results.begin(), l.results.end(), narrow(a));
    return l;
  }

  // Each element from the elements at its place; operands of rank 0 repeat.
  void elementwise() {
    const size_t rank = result().size();
    for (const Value v : n.inputs)
      if (!v || (g.type(v).rank() != 0 && g.type(v).dims != result())) return;
    for (size_t a = 0; a < rank; ++a) {
      Link l = none();
      for (size_t k = 0; k < n.inputs.size(); ++k)
        if (g.type(n.inputs[k]).rank() != 0) l.operands[k] = narrow(a);
      l.results[0] = narrow(a);
      out.push_back(std::move(l));
    }
  }

  // All dimensions but these, of operand 0 and the results, or of all operands where they have its rank.
  void all_but(const Ints& axes, bool every_operand = false) {
    for (size_t a = 0; a < in(0).size(); ++a) {
      if (has(axes, a)) continue;
      Link l = same(a);
      if (every_operand) std::fill(l.operands.begin(), l.operands.end(), narrow(a));
      out.push_back(std::move(l));
    }
  }

  // layer_norm, rms_norm: the axes before `axis`; scale and bias stretch to x from its last axis on.
  void norm() {
    const auto first = static_cast<size_t>(std::max<int64_t>(0, n.attrs.integer("axis")));
    for (size_t a = 0; a < std::min(first, in(0).size()); ++a) {
      Link l = same(a);
      for (size_t k = 1; k < n.inputs.size(); ++k) {
        if (!n.inputs[k]) continue;
        const size_t missing = in(0).size() - in(k).size();
        if (a >= missing && !in(k)[a - missing].is(1)) l.operands[k] = narrow(a - missing);
      }
      out.push_back(std::move(l));
    }
  }

  void group_norm() {
    out.push_back(same(0));
    Link l = same(1);
    l.units = n.attrs.integer("groups");
    for (size_t k = 1; k < n.inputs.size(); ++k)
      if (n.inputs[k]) l.operands[k] = 0;
    out.push_back(std::move(l));
  }

  void transpose() {
    const Ints& from = n.attrs.ints("permutation");
    for (size_t a = 0; a < from.size(); ++a) {
      Link l = none();
      l.operands[0] = narrow(from[a]);
      l.results[0] = narrow(a);
      out.push_back(std::move(l));
    }
  }

  void broadcast() {
    const Ints& axes = n.attrs.ints("broadcast_dimensions");
    for (size_t a = 0; a < result().size(); ++a) {
      Link l = none();
      l.results[0] = narrow(a);
      const auto at = std::find(axes.begin(), axes.end(), static_cast<int64_t>(a));
      if (at != axes.end()) {
        const auto k = static_cast<size_t>(at - axes.begin());
        if (!in(0)[k].is(1)) l.operands[0] = narrow(k);
      }
      out.push_back(std::move(l));
    }
  }

  void reduce() {
    const Ints& folded = n.attrs.ints("dimensions");
    const size_t operands = n.inputs.size() / 2;
    int16_t kept = 0;
    for (size_t a = 0; a < in(0).size(); ++a) {
      Link l = none();
      for (size_t k = 0; k < operands; ++k) l.operands[k] = narrow(a);
      if (!has(folded, a)) std::fill(l.results.begin(), l.results.end(), kept++);
      else if (const auto fold = operands == 1 ? fold_of() : std::nullopt) l.folds = *fold;
      else continue;
      out.push_back(std::move(l));
    }
  }
  // Sums from 0 are sums of the ranks' sums; the largest is the largest of theirs from any start.
  std::optional<Part::Fold> fold_of() const {
    const std::string_view body = reduction_body(*n.regions[0]);
    if (body == "maximum") return Part::maximum;
    if (body == "minimum") return Part::minimum;
    const Tensor* start = g.constant(n.inputs[1]);
    const bool zero = start && start->elements() == 1 && !is_complex(start->dtype()) && !is_bool(start->dtype()) && start->number(0) == 0;
    return body == "add" && zero && g.type(n.outputs[0]).dtype == g.type(n.inputs[0]).dtype ? std::optional(Part::add) : std::nullopt;
  }

  void window() {
    const Dims size = n.attrs.dims("window_dimensions"), low = n.attrs.dims("padding_low"), high = n.attrs.dims("padding_high");
    const auto plain = [&](const char* name, size_t a, int64_t usual) {
      const Ints& list = n.attrs.ints(name);
      return a >= list.size() || list[a] == usual;
    };
    const size_t operands = n.inputs.size() / 2;
    for (size_t a = 0; a < in(0).size(); ++a) {
      if (!size[a].is(1) || (a < low.size() && !low[a].is(0)) || (a < high.size() && !high[a].is(0)) || !plain("window_strides", a, 1) ||
          !plain("base_dilations", a, 1))
        continue;
      Link l = none();
      for (size_t k = 0; k < operands; ++k) l.operands[k] = narrow(a);
      std::fill(l.results.begin(), l.results.end(), narrow(a));
      out.push_back(std::move(l));
    }
  }

  // C[batch..., lhs free..., rhs free...]
  void dot() {
    const Ints &lb = n.attrs.ints("lhs_batching_dimensions"), &rb = n.attrs.ints("rhs_batching_dimensions"),
               &lc = n.attrs.ints("lhs_contracting_dimensions"), &rc = n.attrs.ints("rhs_contracting_dimensions");
    int16_t to = 0;
    const auto link = [&](int64_t lhs, int64_t rhs, int16_t result_dim) {
      Link l = none();
      l.operands[0] = narrow(lhs);
      l.operands[1] = narrow(rhs);
      l.results[0] = result_dim;
      if (result_dim < 0) l.folds = Part::add;
      out.push_back(std::move(l));
    };
    for (size_t k = 0; k < lb.size(); ++k) link(lb[k], rb[k], to++);
    for (size_t a = 0; a < in(0).size(); ++a)
      if (!has(lb, a) && !has(lc, a)) link(narrow(a), -1, to++);
    for (size_t a = 0; a < in(1).size(); ++a)
      if (!has(rb, a) && !has(rc, a)) link(-1, narrow(a), to++);
    for (size_t k = 0; k < lc.size(); ++k) link(lc[k], rc[k], -1);
  }

  void convolution() {
    if (n.attrs.integer("batch_group_count") != 1) return;
    const int64_t groups = n.attrs.integer("feature_group_count");
    const auto dim = [&](const char* name) { return narrow(n.attrs.integer(name)); };
    const auto link = [&](int16_t lhs, int16_t rhs, int16_t result_dim, int64_t units) {
      Link l = none();
      l.operands = {lhs, rhs};
      l.results = {result_dim};
      l.units = units;
      if (result_dim < 0) l.folds = Part::add;
      out.push_back(std::move(l));
    };
    const int16_t features = dim("input_feature_dimension"), made = dim("kernel_output_feature_dimension"), to = dim("output_feature_dimension");
    link(dim("input_batch_dimension"), -1, dim("output_batch_dimension"), 0);
    if (groups != 1) return link(features, made, to, groups);
    link(-1, made, to, 0);
    link(features, dim("kernel_input_feature_dimension"), -1, 0);
  }

  // q [B,H,S,D], k [B,K,T,D], v [B,K,T,E], bias and allowed [B,H,S,T] with extents of 1 stretched.
  void attention() {
    const auto masks = [&](Link& l, size_t a) {
      for (size_t k = 3; k < n.inputs.size(); ++k)
        if (n.inputs[k] && !in(k)[a].is(1)) l.operands[k] = narrow(a);
    };
    for (const size_t a : {size_t{0}, size_t{1}}) {
      Link l = same(a);
      l.operands[1] = l.operands[2] = narrow(a);
      if (a == 1) l.units = in(1)[1].constant().value_or(1);
      masks(l, a);
      out.push_back(std::move(l));
    }
    Link features = none();
    features.operands[2] = features.results[0] = 3;
    out.push_back(std::move(features));
  }

  // Windows that span a dimension of the operand; positions of the indices; dimensions that both have.
  void gather() {
    const Ints &offsets = n.attrs.ints("offset_dims"), &collapsed = n.attrs.ints("collapsed_slice_dims"),
               &batching = n.attrs.ints("operand_batching_dims"), &index_batching = n.attrs.ints("start_indices_batching_dims"),
               &moved = n.attrs.ints("start_index_map");
    const Dims window = n.attrs.dims("slice_sizes");
    size_t next = 0;
    for (size_t d = 0; d < in(0).size(); ++d) {
      if (has(collapsed, d) || has(batching, d)) continue;
      const size_t to = static_cast<size_t>(offsets[next++]);
      if (has(moved, d) || !(window[d] == in(0)[d])) continue;
      Link l = none();
      l.operands[0] = narrow(d);
      l.results[0] = narrow(to);
      out.push_back(std::move(l));
    }
    size_t to = 0;
    for (size_t a = 0; a < in(1).size(); ++a) {
      if (static_cast<int64_t>(a) == n.attrs.integer("index_vector_dim")) continue;
      while (has(offsets, to)) ++to;
      Link l = none();
      l.operands[1] = narrow(a);
      l.results[0] = narrow(to++);
      for (size_t k = 0; k < index_batching.size(); ++k)
        if (index_batching[k] == static_cast<int64_t>(a)) l.operands[0] = narrow(batching[k]);
      out.push_back(std::move(l));
    }
  }

  void pad() {
    const Dims low = n.attrs.dims("edge_padding_low"), high = n.attrs.dims("edge_padding_high");
    const Ints& between = n.attrs.ints("interior_padding");
    for (size_t a = 0; a < in(0).size(); ++a)
      if (low[a].is(0) && high[a].is(0) && between[a] == 0) out.push_back(same(a));
  }

  void dynamic_slice(size_t parts) {
    const Dims& all = in(0);
    const Dims part = parts ? in(1) : result();
    for (size_t a = 0; a < all.size(); ++a) {
      if (!(all[a] == part[a])) continue;
      out.push_back(same(a));
      if (parts) out.back().operands[1] = narrow(a);
    }
  }

  void iota() {
    for (size_t a = 0; a < result().size(); ++a) {
      if (static_cast<int64_t>(a) == n.attrs.integer("iota_dimension")) continue;
      Link l = none();
      l.results[0] = narrow(a);
      out.push_back(std::move(l));
    }
  }

  void make() {
    static const std::set<std::string_view> more_elementwise = {"square",
                                                                "sinh",
                                                                "cosh",
                                                                "asin",
                                                                "acos",
                                                                "atan",
                                                                "asinh",
                                                                "acosh",
                                                                "atanh",
                                                                "erfc",
                                                                "is_inf",
                                                                "is_pos_inf",
                                                                "is_neg_inf",
                                                                "hard_swish",
                                                                "shift_left",
                                                                "shift_right_arithmetic",
                                                                "shift_right_logical",
                                                                "popcnt",
                                                                "count_leading_zeros",
                                                                "lgamma",
                                                                "digamma",
                                                                "real",
                                                                "imag",
                                                                "complex",
                                                                "conj",
                                                                "reduce_precision",
                                                                "erf_inv"};
    const std::string_view name = n.op->name;
    if (name == "iota") return iota();
    if (is_elementwise(n) || more_elementwise.contains(name)) return elementwise();
    if (name == "transpose") return transpose();
    if (name == "broadcast_in_dim") return broadcast();
    if (name == "dot_general") return dot();
    if (name == "convolution") return convolution();
    if (name == "attention") return attention();
    if (name == "layer_norm" || name == "rms_norm") return norm();
    if (name == "group_norm") return group_norm();
    if (name == "softmax" || name == "log_softmax" || name == "cumulative" || name == "topk") return all_but({n.attrs.integer("axis")});
    if (name == "top_k") return all_but({static_cast<int64_t>(in(0).size()) - 1});
    if (name == "sort") return all_but({n.attrs.integer("dimension")}, true);
    if (name == "reverse") return all_but(n.attrs.ints("dimensions"));
    if (name == "concatenate") return all_but({n.attrs.integer("dimension")}, true);
    if (name == "reduce") return reduce();
    if (name == "reduce_window") return window();
    if (name == "gather") return gather();
    if (name == "pad") return pad();
    if (name == "dynamic_slice") return dynamic_slice(0);
    if (name == "dynamic_update_slice") return dynamic_slice(1);
  }
};

}  // namespace

const std::vector<Link>& ShardRules::links(const Node& n) const {
  std::optional<std::vector<Link>>& known = links_[static_cast<size_t>(&n - g_.nodes.data())];
  if (known) return *known;
  known.emplace();
  for (const auto* list : {&n.inputs, &n.outputs})
    for (const Value v : *list)
      if (v && (!g_.type(v).is_tensor() || !g_.type(v).ranked || is_string(g_.type(v).dtype))) return *known;
  if (n.outputs.empty() || n.specialization || n.captures) return *known;
  Maker m{g_, n};
  m.make();
  return *known = std::move(m.out);
}

}  // namespace bascule::passes
