// passes/shard.cc — shard(): writes the graph of one rank as the schedule of its plan says. See shard_plan.cc for the decisions.
#include "passes/shard.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "graph/builder.h"
#include "graph/op_def.h"
#include "passes/shard_schedule.h"

namespace bascule::passes {
namespace {

constexpr int64_t kAlwaysCopiedBytes = 65536;

// Elements [from, from + count) of each of `outer` rows of `all`; beyond the end of a row zeros.
Tensor part_of(const Tensor& t, std::vector<int64_t> dims, int64_t outer, int64_t all, int64_t from, int64_t count) {
  const int64_t bits = info(t.dtype()).storage_bits;
  if (outer == 1 && from + count <= all && from * bits % 8 == 0)
    return Tensor::view(t.dtype(), std::move(dims), t.data() + from * bits / 8, std::make_shared<const Tensor>(t));
  Tensor out(t.dtype(), std::move(dims));
  const int64_t there = std::clamp<int64_t>(all - from, 0, count);
  std::byte* to = out.mutable_data();
  for (int64_t o = 0; o < outer && there > 0; ++o) {
    const int64_t at = o * all + from, into = o * count;
    if (bits % 8 == 0) {
      std::memcpy(to + into * bits / 8, t.data() + at * bits / 8, static_cast<size_t>(there * bits / 8));
      continue;
    }
    for (int64_t k = 0; k < there; ++k) {  // packed below a byte
      if (is_float(t.dtype())) store_double(t.dtype(), to, into + k, t.number(at + k));
      else store_int(t.dtype(), to, into + k, t.integer(at + k));
    }
  }
  return out;
}

class Writer {
 public:
  Writer(const Graph& g, const Shards& plan, int64_t rank, ShardWeights weights)
      : g_(g), plan_(plan), rank_(rank), weights_(weights), rules_(g, plan.ranks), forms_(g.values.size()) {}

  Graph run() {
    Shards counted = plan_;
    const ShardSchedule s = schedule(g_, rules_, counted);
    out_.name = g_.name;
    out_.output_names = g_.output_names;
    for (size_t k = 0; k < g_.inputs.size(); ++k) {
      const Value v = g_.inputs[k];
      const Part p = rules_.outside(v, plan_.inputs[k]);
      keep(v, p, out_.add_input(rules_.local_type(g_.type(v), p), g_.at(v).name));
    }
    for (const Value v : g_.inputs) convert(v, s);
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      for (const Way& way : s.nodes[i]) node(g_.nodes[i], way);
      for (const Value v : g_.nodes[i].outputs) convert(v, s);
    }
    for (size_t k = 0; k < g_.outputs.size(); ++k) out_.outputs.push_back(form(g_.outputs[k], rules_.outside(g_.outputs[k], plan_.outputs[k])));
    return std::move(out_);
  }

 private:
  void keep(Value old, const Part& p, Value made) { forms_[static_cast<size_t>(old.id)].emplace_back(p, made); }
  Value form(Value old, const Part& p) const {
    for (const auto& [part, v] : forms_[static_cast<size_t>(old.id)])
      if (part == p) return v;
    fail_internal("shard of " + g_.name, "a form of %" + std::to_string(old.id) + " before its use", "none");
  }

  void node(const Node& n, const Way& way) {
    if (is_literal(n) && way.results[0].kind == Part::split) return literal(n, way.results[0]);
    Node m;
    m.op = n.op;
    m.attrs = rules_.local_attrs(n, way);
    m.captures = n.captures;
    m.regions = n.regions;
    m.specialization = n.specialization;
    m.origin = n.origin;
    m.location = n.location;
    for (size_t k = 0; k < n.inputs.size(); ++k)
      m.inputs.push_back(!n.inputs[k] ? kNoValue : way.shift >= 0 && k == 1 ? near_indices(n, way) : form(n.inputs[k], way.operands[k]));
    std::vector<Type> types;
    for (size_t k = 0; k < n.outputs.size(); ++k) types.push_back(rules_.local_type(g_.type(n.outputs[k]), way.results[k]));
    const int32_t at = out_.add_node(std::move(m), std::move(types));
    for (size_t k = 0; k < n.outputs.size(); ++k) {
      const Value made = out_.nodes[static_cast<size_t>(at)].outputs[k];
      out_.at(made).name = g_.at(n.outputs[k]).name;
      if (way.results[k].kind == Part::whole) out_.at(made).known = g_.at(n.outputs[k]).known;
      keep(n.outputs[k], way.results[k], made);
    }
  }

  Value add(std::string_view op, Value in, Attrs attrs, Type type, const Origin& origin, std::vector<std::shared_ptr<const Graph>> regions = {}) {
    Node m;
    m.op = &OpRegistry::get(op);
    if (in) m.inputs = {in};
    m.attrs = std::move(attrs);
    m.regions = std::move(regions);
    m.origin = origin;
    const int32_t at = out_.add_node(std::move(m), {std::move(type)});
    return out_.nodes[static_cast<size_t>(at)].outputs[0];
  }
  Value reshape(Value in, const std::vector<int64_t>& dims, const Origin& origin) {
    return add("reshape", in, {{"dims", to_dims(dims)}}, Type::tensor(out_.type(in).dtype, to_dims(dims)), origin);
  }

  // The rank's part of a weight.
  void literal(const Node& n, const Part& p) {
    const Value v = n.outputs[0];
    const Type type = rules_.local_type(g_.type(v), p);
    const std::vector<int64_t> all = constants(g_.type(v).dims).value(), dims = rules_.local_dims(g_.type(v), p);
    const auto dim = static_cast<size_t>(p.dim);
    int64_t outer = p.blocks, inner = 1;
    for (size_t a = 0; a < dim; ++a) outer *= all[a];
    for (size_t a = dim + 1; a < all.size(); ++a) inner *= all[a];
    const int64_t row = all[dim] / p.blocks * inner, share = dims[dim] / p.blocks * inner;
    const Tensor* whole = g_.constant(v);
    Value made;
    // One program serves all ranks: integers, or one number throughout, that differ among them may not become part of it.
    const auto differs = [&] {
      const Tensor first = part_of(*whole, dims, outer, row, 0, share);
      for (int64_t i = 1; i < first.elements() && is_float(first.dtype()); ++i)
        if (first.number(i) != first.number(0)) return false;
      for (int64_t r = 1; r < plan_.ranks; ++r)
        if (!part_of(*whole, dims, outer, row, r * share, share).identical(first)) return true;
      return false;
    };
    if (!whole || (weights_ == ShardWeights::types && ((outer > 1 && whole->bytes() > kAlwaysCopiedBytes) || differs()))) {
      const std::string reason = whole ? "a rank's part of a weight, asked for without values" : n.attrs.text("reason");
      made = add("absent", kNoValue, {{"dtype", type.dtype}, {"dims", type.dims}, {"reason", reason}}, type, n.origin);
    } else {
      made = add("constant", kNoValue, {{"value", part_of(*whole, dims, outer, row, rank_ * share, share)}}, type, n.origin);
    }
    out_.at(made).name = g_.at(v).name;
    keep(v, p, made);
  }

  // Constant indices of the rank's positions, counted from the rank's first row.
  Value near_indices(const Node& n, const Way& way) {
    const Value v = n.inputs[1];
    const Part& p = way.operands[1];
    const Tensor& whole = *g_.constant(v);
    const auto dim = static_cast<size_t>(p.dim);
    int64_t outer = 1, inner = whole.dim(dim) / plan_.ranks;
    for (size_t a = 0; a < dim; ++a) outer *= whole.dim(a);
    for (size_t a = dim + 1; a < whole.rank(); ++a) inner *= whole.dim(a);
    Tensor t = part_of(whole, rules_.local_dims(g_.type(v), p), outer, inner * plan_.ranks, rank_ * inner, inner);
    const auto vector_dim = static_cast<size_t>(n.attrs.integer("index_vector_dim"));
    int64_t after = 1;
    for (size_t a = vector_dim + 1; a < t.rank(); ++a) after *= t.dim(a);
    const int64_t rows = g_.type(n.inputs[0]).dims[static_cast<size_t>(way.operands[0].dim)].value() / plan_.ranks;
    std::byte* to = t.mutable_data();
    for (int64_t i = 0; i < t.elements(); ++i)
      if (vector_dim >= t.rank() || i / after % t.dim(vector_dim) == way.shift) store_int(t.dtype(), to, i, t.integer(i) - rank_ * rows);
    const Type type = rules_.local_type(g_.type(v), p);
    return add("constant", kNoValue, {{"value", std::move(t)}}, type, n.origin);
  }

  void convert(Value v, const ShardSchedule& s) {
    const Node* made_by = g_.producer(v);
    const Origin origin = made_by ? made_by->origin : nullptr;
    for (const auto& [from, to] : s.values[static_cast<size_t>(v.id)]) {
      const Value x = form(v, from);
      keep(v, to,
           to.kind == Part::split       ? slice(v, x, to, origin)
           : from.kind == Part::partial ? reduce(v, x, from, origin)
                                        : gather(v, x, from, origin));
    }
  }

  Tensor everyone() const {
    std::vector<int64_t> ids(static_cast<size_t>(plan_.ranks));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
    return Tensor::from_ints(DType::i64, {1, plan_.ranks}, ids);
  }
  Attrs group() const {
    return {{"replica_groups", everyone()}, {"channel_id", int64_t{0}}, {"channel_type", int64_t{0}}, {"use_global_device_ids", false}};
  }

  Value reduce(Value v, Value x, const Part& from, const Origin& origin) {
    const char* body = from.fold == Part::add ? "add" : from.fold == Part::maximum ? "maximum" : "minimum";
    return add("all_reduce", x, group(), g_.type(v), origin, {Builder::scalar_region(body, g_.type(v).dtype)});
  }

  // Blocks get a dimension of their own, so that what ranks have of each lies side by side.
  std::vector<int64_t> with_blocks(std::vector<int64_t> dims, const Part& p) const {
    const auto at = dims.begin() + p.dim;
    *at /= p.blocks;
    dims.insert(at, p.blocks);
    return dims;
  }

  Value gather(Value v, Value x, const Part& from, const Origin& origin) {
    const bool blocks = from.blocks > 1;
    std::vector<int64_t> dims = constants(g_.type(v).dims).value();
    if (blocks) {
      x = reshape(x, with_blocks(rules_.local_dims(g_.type(v), from), from), origin);
      dims = with_blocks(dims, from);
    }
    if (from.filled) dims[static_cast<size_t>(from.dim)] = out_.type(x).dims[static_cast<size_t>(from.dim)].value() * plan_.ranks;
    Attrs attrs = group();
    attrs.set("dims", to_dims(dims));
    attrs.set("all_gather_dim", int64_t{from.dim} + (blocks ? 1 : 0));
    const Value y = add("all_gather", x, std::move(attrs), Type::tensor(g_.type(v).dtype, to_dims(dims)), origin);
    if (from.filled) return cut(y, static_cast<size_t>(from.dim), 0, g_.type(v).dims[static_cast<size_t>(from.dim)].value(), origin);
    return blocks ? reshape(y, constants(g_.type(v).dims).value(), origin) : y;
  }

  Value cut(Value x, size_t dim, int64_t from, int64_t to, const Origin& origin) {
    const Type type = out_.type(x);
    Dims start(type.dims.size(), 0), limit = type.dims, made = type.dims;
    start[dim] = from;
    limit[dim] = to;
    made[dim] = to - from;
    return add("slice", x, {{"start_indices", start}, {"limit_indices", limit}, {"strides", Ints(start.size(), 1)}}, Type::tensor(type.dtype, made),
               origin);
  }

  // Zeros up to an extent.
  Value filled(Value x, size_t dim, int64_t extent, const Origin& origin) {
    Type type = out_.type(x);
    const Value zero = add("constant", kNoValue, {{"value", Tensor(type.dtype, {})}}, Type::tensor(type.dtype, {}), origin);
    Dims none(type.dims.size(), 0), high = none;
    high[dim] = extent - type.dims[dim].value();
    type.dims[dim] = extent;
    const Attrs attrs{{"edge_padding_low", none}, {"edge_padding_high", high}, {"interior_padding", Ints(none.size(), 0)}};
    const Value y = add("pad", x, attrs, type, origin);
    out_.nodes.back().inputs.push_back(zero);
    return y;
  }

  Value slice(Value v, Value x, const Part& to, const Origin& origin) {
    const bool blocks = to.blocks > 1;
    if (blocks) x = reshape(x, with_blocks(constants(g_.type(v).dims).value(), to), origin);
    const size_t dim = static_cast<size_t>(to.dim) + (blocks ? 1 : 0);
    const int64_t share = rules_.local_dims(g_.type(v), to)[static_cast<size_t>(to.dim)] / to.blocks;
    if (to.filled) x = filled(x, dim, share * plan_.ranks, origin);
    const Value y = cut(x, dim, rank_ * share, (rank_ + 1) * share, origin);
    return blocks ? reshape(y, rules_.local_dims(g_.type(v), to), origin) : y;
  }

  const Graph& g_;
  const Shards& plan_;
  int64_t rank_;
  ShardWeights weights_;
  ShardRules rules_;
  Graph out_;
  std::vector<std::vector<std::pair<Part, Value>>> forms_;
};

}  // namespace

Graph shard(const Graph& graph, const Shards& plan, int64_t rank, ShardWeights weights) {
  if (rank < 0 || rank >= plan.ranks)
    fail_usage("shard of " + graph.name, "a rank in [0, " + std::to_string(plan.ranks) + ")", std::to_string(rank),
               "Ask for one of the plan's ranks");
  if (plan.ways.size() != graph.nodes.size() || plan.inputs.size() != graph.inputs.size() || plan.outputs.size() != graph.outputs.size())
    fail_internal("shard of " + graph.name, "the graph that was planned", "another one");
  return Writer(graph, plan, rank, weights).run();
}

}  // namespace bascule::passes
