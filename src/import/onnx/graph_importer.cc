// import/onnx/graph_importer.cc — the walk over nodes: names, function calls, refused nodes, and the rest that only a run can tell.
#include "import/onnx/graph_importer.h"

#include <algorithm>
#include <new>
#include <stdexcept>

#include "base/error.h"
#include "graph/size_limit.h"

namespace bascule::onnx {
namespace {

constexpr size_t kMaxCallDepth = 64;
constexpr int kMaxSpecialized = 512;   // operators in one chain that need the value of what the one before computed
constexpr int64_t kMaxCalls = 1'000'000;  // function calls of one model: f1 calls f2 ten times, f2 calls f3 ten times ...

// Names that nodes from `first` on (and their subgraphs) read, whether or not they define them too.
void add_read_names(const std::vector<NodeProto>& nodes, size_t first, std::set<std::string_view>& into) {
  for (size_t i = first; i < nodes.size(); ++i) {
    for (const std::string_view name : nodes[i].inputs)
      if (!name.empty()) into.insert(name);
    for (const AttributeProto& a : nodes[i].attributes)
      for (const GraphProto& g : a.graphs) {
        add_read_names(g.nodes, 0, into);
        for (const ValueInfo& o : g.outputs) into.insert(o.name);
      }
  }
}

// The rest of a model from one node on: frames to continue, and where each name's value comes from.
class Rest final : public Specialization {
 public:
  struct Slot {
    size_t frame;
    std::string_view name;
  };
  std::shared_ptr<ModelState> state;
  std::vector<Frame> frames;                       // environments are empty: filled per instance
  std::vector<Slot> operands;
  std::vector<bool> by_value;
  std::vector<std::pair<Slot, Tensor>> constants;
  std::vector<std::string_view> outputs;
  int levels = 1;

  bool needs_value(size_t operand) const override { return by_value[operand]; }

  Graph instantiate(const std::vector<Type>& types, const std::vector<const HostValue*>& values) const override {
    Builder b("rest");
    b.blame = ErrorKind::usage;
    std::vector<Frame> live = frames;
    for (size_t k = 0; k < live.size(); ++k) {
      auto env = std::make_shared<Env>();
      env->declared = frames[k].env->declared;
      live[k].env = std::move(env);
    }
    for (size_t i = 0; i < operands.size(); ++i) {
      const Value v = b.input(types[i], std::string(operands[i].name));
      const bool fixed = values[i] && values[i]->is_tensor();
      live[operands[i].frame].env->values[operands[i].name] = fixed ? b.constant(values[i]->tensor()) : v;
    }
    for (const auto& [slot, tensor] : constants) live[slot.frame].env->values[slot.name] = b.constant(tensor);
    std::vector<Problem> problems;
    GraphImporter importer(state, b, problems);
    importer.enter(std::move(live));
    importer.set_specialized(levels);
    Values results;
    try {
      results = importer.run(outputs);
    } catch (const NodeSkipped&) {
    }
    if (!problems.empty()) throw_problems(std::move(problems), true);
    return b.finish(std::move(results));
  }
};

}  // namespace

ModelState::ModelState(ModelProto m) : model(std::move(m)), files(model.source.file) {
  for (const FunctionProto& f : model.functions) {
    if (functions.emplace(std::tuple(plain_domain(f.domain), f.name, f.overload), &f).second) continue;
    fail_file(escaped(model.source.file) + ": function '" + escaped(f.name) + "'", "one function of each domain, name and overload", "two", "Export the model again");
  }
}

std::string_view plain_domain(std::string_view domain) { return domain == "ai.onnx" ? std::string_view() : domain; }

void throw_problems(std::vector<Problem> problems, bool unsupported_only) { throw Error(unsupported_only ? ErrorKind::unsupported : ErrorKind::invalid_file, std::move(problems)); }

Type type_of(const TypeProto& t, const std::string& hint, const std::string& where) {
  switch (t.kind) {
    case TypeProto::Kind::tensor:
    case TypeProto::Kind::sparse_tensor: {
      if (t.elem_type == 0) return Type::any();
      const DType dtype = dtype_or_fail(t.elem_type, where);
      if (!t.has_shape) return Type::unranked(dtype);
      Dims dims;
      for (size_t i = 0; i < t.shape.size(); ++i) {
        const DimProto& d = t.shape[i];
        if (d.kind == DimProto::Kind::value && d.value >= 0) dims.push_back(d.value);
        else if (d.kind == DimProto::Kind::value && d.value != -1) fail_file(where, "dims of 0 or more", std::to_string(d.value), "Export the model again");
        else if (d.kind == DimProto::Kind::param && !d.param.empty()) dims.push_back(Dim::symbol(d.param));
        else dims.push_back(hint.empty() ? fresh_dim("n") : Dim::symbol(hint + "_" + std::to_string(i)));
      }
      return Type::tensor(dtype, std::move(dims));
    }
    case TypeProto::Kind::sequence: return t.inner.empty() ? Type::any() : Type::sequence(type_of(t.inner[0], "", where));
    case TypeProto::Kind::optional: return t.inner.empty() ? Type::any() : Type::optional(type_of(t.inner[0], "", where));
    case TypeProto::Kind::map: return t.inner.empty() ? Type::any() : Type::map(dtype_or_fail(t.elem_type, where), type_of(t.inner[0], "", where));
    case TypeProto::Kind::opaque: fail_unsupported(where, "a tensor, sequence, optional or map type", "an opaque type", "Export without custom types");
    case TypeProto::Kind::absent: break;
  }
  return Type::any();
}

Opsets opsets_of(const std::vector<OpsetImport>& imports, const std::string& file) {
  constexpr int64_t kNewest = 28;
  Opsets out;
  for (const OpsetImport& o : imports) {
    const std::string_view domain = plain_domain(o.domain);
    const std::string where = file + ": opset_import '" + escaped(domain) + "'";
    if (o.version < 1) fail_file(where, "a version of 1 or more", std::to_string(o.version), "Export the model again");
    if (domain.empty() && o.version > kNewest) fail_unsupported(where, "a version up to " + std::to_string(kNewest), std::to_string(o.version), "Export with an older opset");
    const auto [at, fresh] = out.emplace(domain, o.version);
    if (!fresh && at->second != o.version) fail_file(where, "one version", std::to_string(at->second) + " and " + std::to_string(o.version), "Export the model again");
  }
  return out;
}

Env& GraphImporter::enter(const GraphProto& g, std::shared_ptr<const FunctionScope> scope) {
  auto env = std::make_shared<Env>();
  for (const ValueInfo& v : g.value_infos) env->declared.emplace(v.name, &v.type);
  for (const ValueInfo& v : g.outputs) env->declared[v.name] = &v.type;
  for (const TensorProto& t : g.initializers)
    if (!env->initializers.emplace(t.name, &t).second)
      fail_file(escaped(state_->model.source.file) + ": initializer '" + escaped(t.name) + "'", "a name of its own", "a second initializer of this name", "Export the model again");
  for (const SparseTensorProto& t : g.sparse_initializers) env->sparse_initializers.emplace(t.values.name, &t);
  frames_.push_back({&g.nodes, 0, env, std::move(scope), nullptr});
  return *env;
}

std::string GraphImporter::describe(const NodeProto& node, int64_t version) const {
  const std::string_view name = !node.name.empty() || node.outputs.empty() ? node.name : node.outputs[0];
  const std::string_view domain = plain_domain(node.domain);
  std::string where = escaped(state_->model.source.file) + ": ";
  if (!domain.empty()) where += escaped(domain) + ".";
  where += escaped(node.op_type);
  if (version > 0) where += "_" + std::to_string(version);
  return where + " '" + escaped(scope().where + std::string(name)) + "'";
}

std::optional<Value> GraphImporter::find(std::string_view name) {
  Env& env = *frames_.back().env;
  if (const auto at = env.values.find(name); at != env.values.end()) return at->second;
  if (env.poisoned.count(name)) throw NodeSkipped();
  const std::string where = escaped(state_->model.source.file) + ": initializer '" + escaped(name) + "'";
  if (const auto at = env.initializers.find(name); at != env.initializers.end()) {
    LoadedTensor t = load_tensor(state_->model.source, *at->second, &state_->files, where);
    const Value v = t.value ? b_.constant(std::move(*t.value)) : b_.op("absent", {}, {{"dtype", t.dtype}, {"dims", to_dims(t.dims)}, {"reason", t.absent}});
    b_.graph().at(v).name = std::string(name);
    return env.values[name] = v;
  }
  if (const auto at = env.sparse_initializers.find(name); at != env.sparse_initializers.end())
    return env.values[name] = b_.constant(load_sparse(state_->model.source, *at->second, &state_->files, where));
  if (outer_ && frames_.size() == 1) {  // a subgraph sees the names around it, a function body does not
    if (const auto v = outer_->find(name)) return env.values[name] = region_ ? region_->capture(*v) : *v;
  }
  return std::nullopt;
}

Value GraphImporter::resolve(std::string_view name) {
  if (const auto v = find(name)) return *v;
  const Frame& f = frames_.back();
  for (size_t i = f.next; i < f.nodes->size(); ++i)
    for (const std::string_view o : (*f.nodes)[i].outputs)
      if (o == name) b_.fail("nodes in the order of use", "input '" + escaped(name) + "' that a later node makes (or a cycle)", "Sort the nodes topologically and export again");
  b_.fail("inputs that are graph inputs, initializers or results of nodes", "'" + escaped(name) + "', which nothing defines", "Export the model again");
}

Type GraphImporter::declared(std::string_view name) const {
  const Env& env = *frames_.back().env;
  const auto at = env.declared.find(name);
  return at == env.declared.end() ? Type::any() : type_of(*at->second, "", b_.where);
}

void GraphImporter::poison(const NodeProto& node) {
  for (const std::string_view name : node.outputs) frames_.back().env->poisoned.insert(name);
}

void GraphImporter::bind_outputs(const NodeProto& node, const Values& values) {
  Env& env = *frames_.back().env;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const std::string_view name = node.outputs[i];
    if (name.empty()) continue;
    if (i >= values.size() || !values[i]) b_.unsupported("results of this operator that Bascule makes", "output " + std::to_string(i) + " '" + escaped(name) + "' asked for", "Remove that output");
    if (env.values.count(name) || env.initializers.count(name)) b_.fail("one definition of each name", "a second one of '" + escaped(name) + "'");
    env.values[name] = values[i];
    std::string& label = b_.graph().at(values[i]).name;
    if (label.empty()) label = std::string(name);
  }
}

void GraphImporter::call_function(const NodeProto& node, const FunctionProto& f) {
  for (const GraphImporter* g = this; g; g = g->outer_)
    for (const Frame& frame : g->frames_)
      if (frame.scope->function == &f) b_.fail("functions that do not call themselves", "a recursive call of '" + escaped(f.name) + "'");
  if (frames_.size() >= kMaxCallDepth) b_.fail("function calls at most 64 deep", "a deeper one");
  if (++calls() > kMaxCalls) fail_capacity(b_.where, "at most 1000000 function calls", "more", "Inline fewer functions");
  auto scope_of_call = std::make_shared<FunctionScope>();
  scope_of_call->function = &f;
  scope_of_call->opsets = opsets_of(f.opset_imports, state_->model.source.file);
  scope_of_call->where = scope().where + std::string(node.name) + "/";
  const NodeContext context(*this, node, b_, 0);
  const auto bind_attribute = [&](std::string_view name, const AttributeProto* a) {
    if (a) scope_of_call->attributes[name] = a;
  };
  for (const AttributeProto& a : f.attribute_defaults) bind_attribute(a.name, &a);
  for (const std::string_view name : f.attributes) bind_attribute(name, context.attr(name));
  for (const AttributeProto& a : f.attribute_defaults) bind_attribute(a.name, context.attr(a.name));
  if (node.inputs.size() > f.inputs.size()) b_.fail("at most " + std::to_string(f.inputs.size()) + " inputs", std::to_string(node.inputs.size()));
  auto env = std::make_shared<Env>();
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (!node.inputs[i].empty()) env->values[f.inputs[i]] = resolve(node.inputs[i]);
  for (const ValueInfo& v : f.value_infos) env->declared.emplace(v.name, &v.type);
  frames_.push_back({&f.nodes, 0, std::move(env), std::move(scope_of_call), &node});
}

void GraphImporter::step(const NodeProto& node) {
  const std::string_view domain = plain_domain(node.domain);
  const FunctionScope& s = scope();
  auto opset = s.opsets.find(domain);
  if (opset == s.opsets.end()) opset = state_->opsets.find(domain);
  const std::string_view label = !node.name.empty() || node.outputs.empty() ? node.name : node.outputs[0];
  b_.origin = make_origin({std::string(node.op_type) + " '" + s.where + std::string(label) + "'"});
  b_.where = describe(node, 0);
  if (const auto f = state_->functions.find({domain, node.op_type, node.overload}); f != state_->functions.end()) return call_function(node, *f->second);
  const bool other_domain = domain != "" && opset == state_->opsets.end();
  const int64_t version = other_domain ? 1 : opset == state_->opsets.end() && s.opsets.empty() ? 0 : opset->second;
  if (version == 0) b_.fail("an opset_import for domain '" + escaped(domain) + "'", "none");
  const Registration* r = find_op(domain, node.op_type, version);
  if (!r) {
    const Registration* any = find_op(domain, node.op_type, INT64_MAX);
    if (any) b_.fail("operator '" + escaped(node.op_type) + "' from version " + std::to_string(any->since) + " of its domain on", "version " + std::to_string(version));
    b_.unsupported("an operator that Bascule knows", "'" + escaped(node.op_type) + "' of domain '" + escaped(domain.empty() ? "ai.onnx" : domain) + "' version " + std::to_string(version),
                   "Export it as standard operators, or as a model function");
  }
  b_.where = describe(node, r->since);
  NodeContext context(*this, node, b_, static_cast<int>(std::min<int64_t>(version, INT32_MAX)));
  const Results results = r->function(context, b_);
  context.check_all_attributes_read();
  bind_outputs(node, results.values);
}

Values GraphImporter::run(const std::vector<std::string_view>& outputs) {
  while (!frames_.empty()) {
    const size_t top = frames_.size() - 1;
    if (frames_[top].next == frames_[top].nodes->size()) {
      if (!frames_[top].call) break;
      const NodeProto& call = *frames_[top].call;
      const std::vector<std::string_view>& names = frames_[top].scope->function->outputs;
      Values results;
      bool skipped = false;
      for (size_t i = 0; i < call.outputs.size() && i < names.size(); ++i) {
        try {
          results.push_back(call.outputs[i].empty() ? kNoValue : resolve(names[i]));
        } catch (const NodeSkipped&) {
          skipped = true;
          break;
        }
      }
      frames_.pop_back();
      b_.where = describe(call, 0);
      if (skipped) poison(call);
      else bind_outputs(call, results);
      continue;
    }
    const NodeProto& node = (*frames_[top].nodes)[frames_[top].next];
    try {
      step(node);
      ++frames_[top].next;
    } catch (const NeedsRun& needs) {
      specialize_rest(needs, outputs);
      break;
    } catch (const NodeSkipped&) {
      poison(node);
      ++frames_[top].next;
    } catch (const std::length_error&) {
      b_.fail("attributes and shapes that lists of a sane length hold", "a longer or negative one");
    } catch (const std::bad_alloc&) {
      fail_capacity(b_.where, "memory from the system", "none left", "Use smaller attributes and constants");
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::capacity && e.problems()[0].where == kSymbolicSizes && !node.inputs.empty()) {
        specialize_rest({0, false}, outputs);
        break;
      }
      if (e.kind() != ErrorKind::unsupported) throw;  // the file contradicts itself: nothing after it can be trusted
      problems_.insert(problems_.end(), e.problems().begin(), e.problems().end());
      poison(node);
      ++frames_[top].next;
    }
  }
  Values values;
  b_.where = escaped(state_->model.source.file) + ": graph outputs";
  frames_.resize(1);
  for (const std::string_view name : outputs) values.push_back(resolve(name));
  return values;
}

void GraphImporter::specialize_rest(const NeedsRun& needs, const std::vector<std::string_view>& outputs) {
  auto rest = std::make_shared<Rest>();
  rest->state = state_;
  rest->levels = specialized_ + 1;
  if (rest->levels > kMaxSpecialized)
    fail_capacity(b_.where, "at most " + std::to_string(kMaxSpecialized) + " operators in a chain that each need a value computed by the one before", "more", "Fix some sizes in the model");
  Values operands;
  const std::string_view asked = (*frames_.back().nodes)[frames_.back().next].inputs[needs.input];
  const size_t top = frames_.size() - 1;
  std::vector<Frame> all = frames_;
  for (size_t k = 0; k < all.size(); ++k) {
    std::set<std::string_view> names;
    add_read_names(*all[k].nodes, k == top ? all[k].next : all[k].next, names);
    if (all[k].call)
      for (const std::string_view name : all[k].scope->function->outputs) names.insert(name);
    frames_.assign(all.begin(), all.begin() + static_cast<int64_t>(k) + 1);
    auto declared_only = std::make_shared<Env>();
    declared_only->declared = all[k].env->declared;
    for (const std::string_view name : names) {
      std::optional<Value> v;
      try {
        v = find(name);
      } catch (const NodeSkipped&) {
        continue;
      }
      if (!v) continue;
      if (const Tensor* t = b_.constant(*v)) {
        rest->constants.push_back({{k, name}, *t});
        continue;
      }
      rest->operands.push_back({k, name});
      const bool by_value = (k == top && name == asked && needs.value) || b_.known(*v).has_value();
      rest->by_value.push_back(by_value);
      operands.push_back(*v);
    }
    Frame kept = all[k];
    kept.env = std::move(declared_only);
    rest->frames.push_back(std::move(kept));
  }
  frames_ = {all[0]};
  std::vector<Type> types;
  for (const std::string_view name : outputs) {
    bool defined = false;
    try {
      defined = find(name).has_value();
    } catch (const NodeSkipped&) {
      defined = true;
    }
    if (defined || std::find(rest->outputs.begin(), rest->outputs.end(), name) != rest->outputs.end()) continue;
    Type t = declared(name);
    if (t.is_tensor()) t = Type::unranked(t.dtype);
    rest->outputs.push_back(name);
    types.push_back(std::move(t));
  }
  const std::vector<std::string_view> names = rest->outputs;
  const Values results = b_.specialize(std::move(rest), std::move(operands), std::move(types));
  for (size_t i = 0; i < names.size(); ++i) {
    frames_[0].env->values[names[i]] = results[i];
    b_.graph().at(results[i]).name = std::string(names[i]);
  }
}

}  // namespace bascule::onnx
