// import/onnx/node_context.cc — operands, attributes and subgraphs of one node, and the table of import functions.
#include <algorithm>
#include <map>

#include "base/error.h"
#include "import/onnx/graph_importer.h"

namespace bascule::onnx {
namespace {

using Key = std::pair<std::string_view, std::string_view>;
std::map<Key, std::map<int, Registration>>& table() {
  static std::map<Key, std::map<int, Registration>> t;
  return t;
}

}  // namespace

bool register_op(Registration r) { return table()[{r.domain, r.name}].emplace(r.since, r).second; }

const Registration* find_op(std::string_view domain, std::string_view name, int64_t version) {
  const auto at = table().find({domain, name});
  if (at == table().end()) return nullptr;
  if (version == INT64_MAX) return &at->second.begin()->second;
  const Registration* best = nullptr;
  for (const auto& [since, r] : at->second)
    if (since <= version) best = &r;
  return best;
}

std::vector<Registration> all_ops() {
  std::vector<Registration> out;
  for (const auto& [key, versions] : table())
    for (const auto& [since, r] : versions) out.push_back(r);
  return out;
}

NodeContext::NodeContext(GraphImporter& importer, const NodeProto& n, Builder& builder, int v) : b(builder), node(n), version(v), importer_(importer) {}

Value NodeContext::any(size_t i) const {
  if (!has(i)) b.fail("input " + std::to_string(i), "none");
  for (const auto& [at, v] : replaced_)
    if (at == i) return v;
  return importer_.resolve(node.inputs[i]);
}

Values NodeContext::as(std::string_view domain, std::string_view name, int at_version, std::vector<std::pair<size_t, Value>> replaced) const {
  const Registration* r = find_op(domain, name, at_version);
  if (!r) b.unsupported("the operator '" + std::string(name) + "' that this one builds on", "none", "Export it as standard operators");
  NodeContext inner(importer_, node, b, at_version);
  inner.replaced_ = std::move(replaced);
  Results out = r->function(inner, b);
  read_.insert(inner.read_.begin(), inner.read_.end());
  return out.values;
}

Value NodeContext::in(size_t i) const {
  const Value v = any(i);
  const Type& t = b.type(v);
  if (t.kind == Type::Kind::any || (t.is_tensor() && !t.ranked)) throw NeedsRun{i, false};
  if (!t.is_tensor()) b.fail("input " + std::to_string(i) + " to be a tensor", t.text());
  return v;
}

Dims NodeContext::sizes(size_t i) const {
  const Value v = in(i);
  const Type& t = b.type(v);
  if (!is_int(t.dtype) && !is_bool(t.dtype)) b.fail("input " + std::to_string(i) + " of an integer type", t.text());
  if (t.rank() > 1) b.fail("input " + std::to_string(i) + " of rank 0 or 1", t.text());
  if (const auto known = b.known(v)) return *known;
  if (const Tensor* c = b.constant(v)) return to_dims(c->ints());
  throw NeedsRun{i, true};
}

Dim NodeContext::size(size_t i) const {
  const Dims d = sizes(i);
  if (d.size() != 1) b.fail("input " + std::to_string(i) + " with one element", std::to_string(d.size()) + " elements");
  return d[0];
}

Ints NodeContext::constants(size_t i) const {
  const auto v = bascule::constants(sizes(i));
  if (!v) throw NeedsRun{i, true};
  return *v;
}

int64_t NodeContext::constant(size_t i) const {
  const Ints v = constants(i);
  if (v.size() != 1) b.fail("input " + std::to_string(i) + " with one element", std::to_string(v.size()) + " elements");
  return v[0];
}

Tensor NodeContext::tensor(size_t i) const {
  if (const Tensor* c = b.constant(in(i))) return *c;
  throw NeedsRun{i, true};
}

const AttributeProto* NodeContext::attr(std::string_view name) const {
  read_.emplace(name);
  for (const AttributeProto& a : node.attributes) {
    if (a.name != name) continue;
    if (a.ref_attr_name.empty()) return &a;
    const auto& bound = importer_.scope().attributes;
    const auto at = bound.find(a.ref_attr_name);
    return at == bound.end() ? nullptr : at->second;
  }
  return nullptr;
}

bool NodeContext::has_attr(std::string_view name) const { return attr(name) != nullptr; }
void NodeContext::ignore(std::string_view name) const { read_.emplace(name); }

namespace {
// The attribute if present and of the right kind; nullptr if absent with a fallback; errors otherwise.
const AttributeProto* typed(const NodeContext& n, std::string_view name, AttributeProto::Kind kind, bool has_fallback) {
  const AttributeProto* a = n.attr(name);
  if (!a && !has_fallback) n.b.fail("attribute '" + std::string(name) + "' (" + std::string(attribute_kind_name(kind)) + ")", "none");
  if (a && a->kind != kind) n.b.fail("attribute '" + std::string(name) + "' of kind " + std::string(attribute_kind_name(kind)), std::string(attribute_kind_name(a->kind)));
  return a;
}
}  // namespace

int64_t NodeContext::integer(std::string_view name, std::optional<int64_t> fallback) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::i, fallback.has_value());
  return a ? a->i : *fallback;
}
double NodeContext::number(std::string_view name, std::optional<double> fallback) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::f, fallback.has_value());
  return a ? static_cast<double>(a->f) : *fallback;
}
std::string NodeContext::text(std::string_view name, std::optional<std::string> fallback) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::s, fallback.has_value());
  return a ? std::string(a->s) : *fallback;
}
Ints NodeContext::ints(std::string_view name, std::optional<Ints> fallback) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::ints, fallback.has_value());
  return a ? a->ints : *fallback;
}
Numbers NodeContext::numbers(std::string_view name, std::optional<Numbers> fallback) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::floats, fallback.has_value());
  return a ? Numbers(a->floats.begin(), a->floats.end()) : *fallback;
}
Texts NodeContext::texts(std::string_view name, std::optional<Texts> fallback) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::strings, fallback.has_value());
  return a ? Texts(a->strings.begin(), a->strings.end()) : *fallback;
}
Tensor NodeContext::attr_tensor(std::string_view name) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::tensor, false);
  return load_present(importer_.state().model.source, a->tensors.at(0), &importer_.state().files, b.where + " attribute '" + std::string(name) + "'");
}
std::vector<Tensor> NodeContext::attr_tensors(std::string_view name) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::tensors, false);
  std::vector<Tensor> out;
  for (const TensorProto& t : a->tensors) out.push_back(load_present(importer_.state().model.source, t, &importer_.state().files, b.where + " attribute '" + std::string(name) + "'"));
  return out;
}
DType NodeContext::dtype_attr(std::string_view name, std::optional<DType> fallback) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::i, fallback.has_value());
  if (!a) return *fallback;
  if (a->i < 0 || a->i > INT32_MAX) b.fail("an element type in attribute '" + std::string(name) + "'", std::to_string(a->i));
  return dtype_or_fail(static_cast<int32_t>(a->i), b.where);
}

int64_t NodeContext::axis(int64_t a, int64_t rank) const {
  if (a < -rank || a >= rank) b.fail("an axis in [" + std::to_string(-rank) + ", " + std::to_string(rank) + ")", std::to_string(a));
  return a < 0 ? a + rank : a;
}
Ints NodeContext::axes(Ints a, int64_t rank) const {
  std::set<int64_t> seen;
  for (int64_t& x : a) {
    x = axis(x, rank);
    if (!seen.insert(x).second) b.fail("each axis once", std::to_string(x) + " twice");
  }
  return a;
}

const GraphProto& NodeContext::graph(std::string_view name) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::graph, false);
  return a->graphs.at(0);
}

namespace {
void check_depth(const GraphImporter& child, const Builder& b) {
  constexpr int kMaxSubgraphs = 128;  // through function calls too: each is some frames of stack
  if (child.depth() > kMaxSubgraphs) b.fail("subgraphs nested at most " + std::to_string(kMaxSubgraphs) + " deep", "deeper nesting");
}
}  // namespace

ImportedRegion NodeContext::region(std::string_view attr_name, const std::vector<Type>& arguments) const {
  return region(
      attr_name, arguments, [](OpenRegion&, const Values& a) { return a; }, [](Builder&, const Values&, Values results) { return results; });
}

ImportedRegion NodeContext::region(std::string_view attr_name, const std::vector<Type>& arguments, const RegionEntry& entry, const RegionExit& exit) const {
  const GraphProto& g = graph(attr_name);
  ImportedRegion out{OpenRegion(b, std::string(attr_name)), {}, {}};
  Builder& inner = out.region.builder();
  GraphImporter child(importer_.shared_state(), inner, importer_.problems());
  child.set_outer(&importer_, &out.region);
  check_depth(child, b);
  Env& env = child.enter(g, importer_.shared_scope());
  Values block;
  for (const Type& t : arguments) block.push_back(out.region.argument(t, block.size() < g.inputs.size() ? std::string(g.inputs[block.size()].name) : ""));
  const Values inputs = entry(out.region, block);
  if (g.inputs.size() != inputs.size()) b.fail("attribute '" + std::string(attr_name) + "': a graph of " + std::to_string(inputs.size()) + " inputs", std::to_string(g.inputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (g.inputs[i].name.empty() || !env.values.emplace(g.inputs[i].name, inputs[i]).second)
      b.fail("a name of its own for each input of the graph in '" + std::string(attr_name) + "'", "'" + escaped(g.inputs[i].name) + "'");
  }
  std::vector<std::string_view> names;
  for (const ValueInfo& o : g.outputs) names.push_back(o.name);
  const Values results = child.run(names);
  inner.where = b.where;
  inner.origin = b.origin;
  out.values = exit(inner, block, results);
  for (const Value v : out.values) out.outputs.push_back(inner.type(v));
  out.region.finish(out.values);
  return out;
}

Values NodeContext::inlined(std::string_view attr_name, const Values& operands) const {
  const GraphProto& g = graph(attr_name);
  if (g.inputs.size() != operands.size()) b.fail("attribute '" + std::string(attr_name) + "': a graph of " + std::to_string(operands.size()) + " inputs", std::to_string(g.inputs.size()));
  GraphImporter child(importer_.shared_state(), b, importer_.problems());
  child.set_outer(&importer_, nullptr);
  check_depth(child, b);
  Env& env = child.enter(g, importer_.shared_scope());
  for (size_t i = 0; i < operands.size(); ++i) {
    if (g.inputs[i].name.empty() || !env.values.emplace(g.inputs[i].name, operands[i]).second)
      b.fail("a name of its own for each input of the graph in '" + std::string(attr_name) + "'", "'" + escaped(g.inputs[i].name) + "'");
  }
  std::vector<std::string_view> names;
  for (const ValueInfo& o : g.outputs) names.push_back(o.name);
  const std::string where = b.where;
  const Origin origin = b.origin;
  Values out = child.run(names);
  b.where = where;
  b.origin = origin;
  return out;
}

void NodeContext::inside(OpenRegion& region, const std::function<void(NodeContext&)>& f) const {
  static const std::vector<NodeProto> kNone;
  GraphImporter between(importer_.shared_state(), region.builder(), importer_.problems());
  between.set_outer(&importer_, &region);
  between.enter({Frame{&kNone, 0, std::make_shared<Env>(), importer_.shared_scope(), nullptr}});
  NodeContext context(between, node, region.builder(), version);
  f(context);
  read_.insert(context.read_.begin(), context.read_.end());
}

Tensor NodeContext::attr_sparse(std::string_view name) const {
  const AttributeProto* a = typed(*this, name, AttributeProto::Kind::sparse_tensor, false);
  return load_sparse(importer_.state().model.source, a->sparse_tensors.at(0), &importer_.state().files, b.where + " attribute '" + std::string(name) + "'");
}

Type NodeContext::declared_output(size_t i) const { return i < node.outputs.size() ? importer_.declared(node.outputs[i]) : Type::any(); }

void NodeContext::check_all_attributes_read() const {
  for (const AttributeProto& a : node.attributes)
    if (!read_.count(a.name)) b.unsupported("attributes that Bascule knows for this operator", "'" + escaped(a.name) + "'", "Remove the attribute, or export with a newer opset");
}

}  // namespace bascule::onnx
