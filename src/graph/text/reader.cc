// graph/text/reader.cc — syntax to Graph.
#include "graph/text/reader.h"

#include <algorithm>
#include <memory>

#include "base/budget.h"
#include "base/error.h"
#include "graph/text/forms.h"
#include "graph/text/lexer.h"
#include "graph/text/parser.h"
#include "graph/text/print_values.h"
#include "graph/text/text.h"

namespace bascule::mlir {
namespace {

using Kind = AttributeSyntax::Kind;

std::string_view dialect_of(std::string_view name) {
  const size_t dot = name.find('.');
  return dot == std::string_view::npos ? "" : name.substr(0, dot);
}
std::string_view operator_of(std::string_view name) { return name.substr(name.find('.') + 1); }

const AttrDef* find_attr(const OpDef& def, std::string_view name) {
  const auto at = std::find_if(def.attrs.begin(), def.attrs.end(), [&](const AttrDef& a) { return a.name == name; });
  return at == def.attrs.end() ? nullptr : &*at;
}

const char* describe(Kind k) {
  constexpr const char* kNames[] = {"a flag", "a truth value", "an integer", "a number", "a string", "a word",     "a symbol", "a type",
                                    "a list", "a dictionary",  "integers",   "numbers",  "a tensor", "a resource", "sizes",    "another attribute"};
  return kNames[static_cast<int>(k)];
}

}  // namespace

const OpDef* find_operator(std::string_view name) {
  const std::string_view dialect = dialect_of(name);
  const OpDef* def = OpRegistry::find(operator_of(name));
  if (!def) return nullptr;
  const bool theirs = dialect == "stablehlo" || dialect == "chlo" || dialect == "mhlo";
  return (theirs ? def->dialect != "bascule" : def->dialect == dialect) ? def : nullptr;
}

bool changes_no_value(std::string_view name) {
  constexpr std::string_view kPrefixes[] = {"sdy.", "jax.",   "tf.",   "tf_saved_model.", "tf_saved_model_", "ml_program.",    "xla.",
                                            "xla_", "torch.", "iree.", "_xla_",           "bascule.name",    "bascule.present"};
  constexpr std::string_view kNames[] = {"mhlo.sharding",
                                         "mhlo.frontend_attributes",
                                         "mhlo.layout_mode",
                                         "mhlo.memory_kind",
                                         "mhlo.num_partitions",
                                         "mhlo.num_replicas",
                                         "mhlo.is_dynamic",
                                         "mhlo.parameter_replication",
                                         "mhlo.xla_entry_computation_parameter_layouts",
                                         "mhlo.input_output_alias",
                                         "mhlo.use_auto_spmd_partitioning",
                                         "mhlo.is_same_data_across_replicas",
                                         "mhlo.spmd_output_sharding",
                                         "mhlo.spmd_parameters_shardings",
                                         "mhlo.original_value",
                                         "result_accuracy",
                                         "sym_visibility",
                                         "known_expanding_dimensions",
                                         "known_nonexpanding_dimensions"};
  for (const std::string_view p : kPrefixes)
    if (name.starts_with(p)) return true;
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Reader::Reader(const ModuleSyntax& module, const Lines& lines, ReadOptions options) : module_(module), lines_(lines), options_(std::move(options)) {
  for (const FunctionSyntax& f : module_.functions) functions_.emplace(f.name, &f);
}

std::string Reader::where(size_t offset) const { return options_.file + ":" + lines_.text(offset); }
void Reader::fail(size_t offset, std::string expected, std::string found) const {
  fail_file(where(offset), std::move(expected), std::move(found), "Fix the text, or export the model again");
}
void Reader::unsupported(size_t offset, std::string expected, std::string found, std::string remedy) const {
  fail_unsupported(where(offset), std::move(expected), std::move(found), std::move(remedy));
}

Type Reader::closed(const Type& t, std::string_view hint) const {
  Type out = t;
  for (size_t i = 0; i < out.dims.size(); ++i)
    if (is_unknown(out.dims[i])) out.dims[i] = Dim::symbol(std::string(hint) + "_" + std::to_string(i));
  return out;
}

Tensor Reader::tensor(const AttributeSyntax& a) const {
  if (a.kind == Kind::tensor) return *a.tensor;
  if (a.kind == Kind::resource) {
    const auto at = module_.resources.find(a.text);
    if (at == module_.resources.end())
      unsupported(a.at, "constants with their elements", "dense_resource<" + escaped(a.text) + ">, whose data is not in the file",
                  "Export the model again with its weights (large constants must not be elided)");
    std::string_view hex = at->second.substr(1, at->second.size() - 2);
    constexpr size_t kHeader = 2 + 8;  // 0x and the alignment, 4 bytes
    if (!hex.starts_with("0x") || hex.size() < kHeader) fail(a.at, "a resource of hexadecimal digits", "'" + escaped(hex.substr(0, 20)) + "'");
    if (a.type->kind != TypeSyntax::Kind::value) fail(a.at, "a tensor type", "another");
    return tensor_from_hex(hex.substr(kHeader), a.type->type, where(a.at));
  }
  fail(a.at, "a tensor (dense<...>)", describe(a.kind));
}

Attr Reader::attribute(AttrKind kind, const AttributeSyntax& a) const {
  const auto refuse = [&]() { fail(a.at, std::string("an attribute that is ") + bascule::name(kind), describe(a.kind)); };
  const auto text = [&](const AttributeSyntax& x) {
    if (x.kind != Kind::string && x.kind != Kind::word && x.kind != Kind::symbol && x.kind != Kind::dict && x.kind != Kind::opaque)
      fail(x.at, "a string or a word", describe(x.kind));
    return x.text;
  };
  const auto integers = [&]() -> Ints {
    if (a.kind == Kind::ints) return a.ints;
    if (a.kind == Kind::array) {
      Ints out;
      for (const AttributeSyntax& x : a.items) {
        if (x.kind != Kind::integer && x.kind != Kind::boolean) fail(x.at, "an integer", describe(x.kind));
        out.push_back(x.integer);
      }
      return out;
    }
    const Tensor t = tensor(a);
    if (!is_int(t.dtype()) && !is_bool(t.dtype())) fail(a.at, "integers", t.type_text());
    return t.ints();
  };
  switch (kind) {
    case AttrKind::flag:
      if (a.kind == Kind::unit) return true;
      if (a.kind != Kind::boolean && a.kind != Kind::integer) refuse();
      return a.integer != 0;
    case AttrKind::integer:
      if (a.kind != Kind::integer && a.kind != Kind::boolean) refuse();
      return a.integer;
    case AttrKind::number:
      if (a.kind == Kind::integer) return static_cast<double>(a.integer);
      if (a.kind != Kind::number) refuse();
      return a.number;
    case AttrKind::text: return text(a);
    case AttrKind::dtype:
      if (a.kind != Kind::type || a.type->kind != TypeSyntax::Kind::element) refuse();
      return a.type->type.dtype;
    case AttrKind::ints: return integers();
    case AttrKind::numbers: {
      if (a.kind == Kind::numbers) return a.numbers;
      Numbers out;
      if (a.kind == Kind::array) {
        for (const AttributeSyntax& x : a.items) {
          if (x.kind != Kind::number && x.kind != Kind::integer) fail(x.at, "a number", describe(x.kind));
          out.push_back(x.kind == Kind::number ? x.number : static_cast<double>(x.integer));
        }
        return out;
      }
      if (a.kind == Kind::ints && a.ints.empty()) return out;
      const Tensor t = tensor(a);
      if (is_complex(t.dtype()) || is_string(t.dtype())) refuse();
      return t.doubles();
    }
    case AttrKind::texts: {
      if (a.kind != Kind::array) refuse();
      Texts out;
      for (const AttributeSyntax& x : a.items) out.push_back(text(x));
      return out;
    }
    case AttrKind::dims:
      if (a.kind == Kind::dims) return a.dims;
      return to_dims(integers());
    case AttrKind::tensor: return tensor(a);
  }
  refuse();
  return false;
}

Attrs Reader::attributes(const OpDef& def, const OperationSyntax& op, Attrs given) {
  Attrs out = std::move(given);
  const auto put = [&](std::string_view name, const AttributeSyntax& a) {
    const AttrDef* d = find_attr(def, name);
    if (!d) unsupported(a.at, "attributes that '" + std::string(def.name) + "' has", "'" + escaped(name) + "'", "Export the model without it");
    out.set(name, attribute(d->kind, a));
  };
  for (const auto& [name, a] : op.attributes) {
    const StructAttribute* gathered = nullptr;
    for (const StructAttribute& s : struct_attributes())
      if (s.name == name && (s.op.empty() || s.op == def.name) && !find_attr(def, name)) gathered = &s;
    if (gathered && a.kind == Kind::dict) {
      const auto fields = split_pieces(gathered->fields);
      for (const auto& [key, value] : a.entries) {
        bool known = false;
        for (const std::string_view f : fields) {
          const size_t equals = f.find('=');
          const std::string_view theirs = f.substr(0, equals), ours = equals == std::string_view::npos ? f : f.substr(equals + 1);
          if (theirs != key) continue;
          known = true;
          put(ours, value);
        }
        if (!known) fail(value.at, "fields of #" + std::string(gathered->type), "'" + escaped(key) + "'");
      }
    } else if (name == "padding" && find_attr(def, "padding_low")) {
      const Tensor t = tensor(a);
      if (t.rank() != 2 || t.dim(1) != 2 || !is_int(t.dtype())) fail(a.at, "padding of shape [n,2]", t.type_text());
      Dims low, high;
      for (int64_t i = 0; i < t.dim(0); ++i) {
        low.emplace_back(t.integer(2 * i));
        high.emplace_back(t.integer(2 * i + 1));
      }
      out.set("padding_low", std::move(low));
      out.set("padding_high", std::move(high));
    } else if (find_attr(def, name)) {
      put(name, a);
    } else if (name.starts_with("bascule.") && is_extension(std::string_view(name).substr(8))) {
      put(std::string_view(name).substr(8), a);
    } else if (!changes_no_value(name)) {
      put(name, a);  // refuses
    }
  }
  for (const AttrDef& d : def.attrs) {
    if (out.has(d.name) || !d.required) continue;
    // What results must tell: their element type and sizes (the last tensor's; a token may follow it).
    const auto last = std::find_if(op.result_types.rbegin(), op.result_types.rend(),
                                   [](const TypeSyntax& t) { return t.kind == TypeSyntax::Kind::value && t.type.is_tensor(); });
    if (def.dialect != "bascule" && last != op.result_types.rend()) {
      const Type& t = last->type;
      if (d.name == "dtype" && d.kind == AttrKind::dtype) out.set("dtype", t.dtype);
      if (d.name == "dims" && d.kind == AttrKind::dims) {
        if (!t.ranked || std::any_of(t.dims.begin(), t.dims.end(), is_unknown))
          unsupported(op.at, "a result type whose sizes are known", t.text(), "Export the model with static or symbolic shapes");
        out.set("dims", t.dims);
      }
    }
    // Fields of a struct that are left out are empty, or 0.
    bool in_struct = false;
    for (const StructAttribute& s : struct_attributes())
      if (s.op == def.name)
        for (const std::string_view f : split_pieces(s.fields)) in_struct |= f == d.name;
    if (in_struct && d.kind == AttrKind::ints) out.set(d.name, Ints{});
    if (in_struct && d.kind == AttrKind::integer) out.set(d.name, int64_t{0});
  }
  return out;
}

// ---------------------------------------------------------------------------------------------------- blocks

class Reader::InBlock {  // makes a builder and a scope the current ones
 public:
  InBlock(Reader& r, Builder& b, Scope& s) : r_(r), builder_(r.builder_), scope_(r.scope_) {
    r.builder_ = &b;
    r.scope_ = &s;
  }
  ~InBlock() {
    r_.builder_ = builder_;
    r_.scope_ = scope_;
  }
  InBlock(const InBlock&) = delete;
  InBlock& operator=(const InBlock&) = delete;

 private:
  Reader& r_;
  Builder* builder_;
  Scope* scope_;
};

Value Reader::resolve(Scope& s, const UseSyntax& u) {
  const auto at = s.names.find(u.name);
  if (at != s.names.end() && u.index < at->second.size() && at->second[u.index]) return at->second[u.index];
  if (at != s.names.end() && !(s.parent && u.index < at->second.size()))
    fail(u.at, std::to_string(at->second.size()) + " results of %" + escaped(u.name), "number " + std::to_string(u.index));
  if (!s.parent) fail(u.at, "a value defined before its use", "%" + escaped(u.name));
  const Value outer = resolve(*s.parent, u);
  const Value inner = s.open->capture(outer);
  Values& mine = s.names[u.name];
  if (mine.size() <= u.index) mine.resize(u.index + 1, kNoValue);
  mine[u.index] = inner;
  return inner;
}

Values Reader::block(const RegionSyntax& r) {
  for (size_t i = 0; i < r.operations.size(); ++i) {
    const OperationSyntax& op = r.operations[i];
    check_budget();
    Values operands;
    for (const UseSyntax& u : op.operands) operands.push_back(resolve(*scope_, u));
    if (op.name == "func.return" || op.name == "return" || op.name == "stablehlo.return" || op.name == "mhlo.return") {
      if (i + 1 != r.operations.size()) fail(r.operations[i + 1].at, "the end of the block after its return", "another operation");
      return operands;
    }
    operation(op, operands);
  }
  fail(r.at, "a block that ends in a return", "none");
}

OpenRegion Reader::region(const RegionSyntax& r, const std::vector<Type>& argument_types) {
  OpenRegion open(*builder_, "region");
  Scope s;
  s.parent = scope_;
  s.open = &open;
  for (size_t i = 0; i < r.arguments.size(); ++i) {
    const ArgumentSyntax& a = r.arguments[i];
    const std::string name = is_value_name(a.name) ? std::string(a.name) : "";
    if (!s.names.emplace(a.name, Values{open.argument(closed(argument_types[i], fresh_dim("n").text()), name)}).second)
      fail(a.at, "each argument's name once", "%" + escaped(a.name) + " twice");
  }
  const InBlock in(*this, open.builder(), s);
  open.finish(block(r));
  return open;
}

Values Reader::call(std::string_view name, const Values& arguments, size_t at) {
  const auto found = functions_.find(name);
  if (found == functions_.end()) fail(at, "a function of the module", "@" + escaped(name));
  const FunctionSyntax& f = *found->second;
  if (!f.has_body) unsupported(at, "a function with a body", "@" + escaped(name), "Export the model with all its functions");
  constexpr size_t kDeepest = 100;
  if (std::find(active_.begin(), active_.end(), &f) != active_.end()) fail(at, "functions that do not call themselves", "@" + escaped(name));
  if (active_.size() >= kDeepest) fail(at, "calls at most " + std::to_string(kDeepest) + " deep", "more");
  if (arguments.size() != f.body.arguments.size())
    fail(at, std::to_string(f.body.arguments.size()) + " arguments of @" + escaped(name), std::to_string(arguments.size()));
  Scope s;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const ArgumentSyntax& a = f.body.arguments[i];
    if (!compatible(builder_->type(arguments[i]), a.type.type))
      fail(at, "argument " + std::to_string(i) + " of type " + a.type.type.text(), builder_->type(arguments[i]).text());
    if (!s.names.emplace(a.name, Values{arguments[i]}).second) fail(a.at, "each argument's name once", "%" + escaped(a.name) + " twice");
  }
  active_.push_back(&f);
  Values out;
  {
    const InBlock in(*this, *builder_, s);
    out = block(f.body);
  }
  active_.pop_back();
  if (out.size() != f.result_types.size()) fail(f.at, std::to_string(f.result_types.size()) + " results as declared", std::to_string(out.size()));
  for (size_t i = 0; i < out.size(); ++i)
    if (!compatible(builder_->type(out[i]), f.result_types[i].type))
      fail(f.at, "result " + std::to_string(i) + " of type " + f.result_types[i].type.text(), builder_->type(out[i]).text());
  return out;
}

Graph Reader::function(const FunctionSyntax& f) {
  if (!f.has_body) unsupported(f.at, "a function with a body", "@" + escaped(f.name), "Export the model with all its functions");
  Builder b(f.name);
  b.fold = options_.fold;
  Scope s;
  const auto name_in = [](const DictSyntax& d) -> std::string {
    for (const std::string_view key : {"bascule.name", "jax.arg_info", "jax.result_info", "ml_program.identifier"})
      if (const AttributeSyntax* a = find(d, key); a && a->kind == Kind::string) return a->text;
    if (const AttributeSyntax* a = find(d, "tf_saved_model.index_path"); a && a->kind == Kind::array && a->items.size() == 1) return a->items[0].text;
    return "";
  };
  for (size_t i = 0; i < f.body.arguments.size(); ++i) {
    const ArgumentSyntax& a = f.body.arguments[i];
    if (a.type.kind != TypeSyntax::Kind::value) fail(a.at, "an argument of a tensor or host type", "another type");
    std::string name = name_in(a.attributes);
    const bool numbered = !is_value_name(a.name);
    if (name.empty() && !find(a.attributes, "bascule.name"))
      name = a.location && !a.location->names.empty() ? a.location->names[0] : numbered ? "arg" + std::to_string(i) : std::string(a.name);
    const Value v = b.input(closed(a.type.type, numbered ? "arg" + std::to_string(i) : a.name), name);
    if (!s.names.emplace(a.name, Values{v}).second) fail(a.at, "each argument's name once", "%" + escaped(a.name) + " twice");
  }
  active_.push_back(&f);
  Values out;
  {
    const InBlock in(*this, b, s);
    out = block(f.body);
  }
  active_.pop_back();
  if (out.size() != f.result_types.size()) fail(f.at, std::to_string(f.result_types.size()) + " results as declared", std::to_string(out.size()));
  std::vector<std::string> names;
  bool named = false;
  for (size_t i = 0; i < out.size(); ++i) {
    if (!compatible(b.type(out[i]), f.result_types[i].type))
      fail(f.at, "result " + std::to_string(i) + " of type " + f.result_types[i].type.text(), b.type(out[i]).text());
    names.push_back(name_in(f.result_attributes[i]));
    named |= !names.back().empty();
  }
  if (!named) names.clear();
  return b.finish(std::move(out), std::move(names));
}

// ---------------------------------------------------------------------------------------------------- operations

void Reader::settle(Value v, const TypeSyntax& declared, size_t at) {
  if (declared.kind != TypeSyntax::Kind::value) fail(at, "a result of a tensor or host type", "another type");
  Type& have = builder_->graph().at(v).type;
  if (!compatible(have, declared.type)) fail(at, "result type " + have.text() + " by the operator's rule", declared.type.text());
  if (!have.is_tensor() || have.is_static()) return;
  const bool open = !declared.type.ranked || std::any_of(declared.type.dims.begin(), declared.type.dims.end(), is_unknown);
  if (!have.ranked) {
    if (!open) have = declared.type;
    return;
  }
  for (size_t i = 0; declared.type.ranked && i < have.dims.size(); ++i)
    if (!have.dims[i].is_constant() && !is_unknown(declared.type.dims[i])) have.dims[i] = declared.type.dims[i];
}

void Reader::name_results(const OperationSyntax& op, const Values& results) {
  Graph& g = builder_->graph();
  size_t i = 0;
  for (const ResultSyntax& r : op.results)
    for (uint32_t k = 0; k < r.count && i < results.size(); ++k, ++i)
      if (r.count == 1 && is_value_name(r.name) && g.at(results[i]).name.empty()) g.at(results[i]).name = std::string(r.name);
  if (const AttributeSyntax* names = find(op.attributes, "bascule.names"); names && names->kind == Kind::array)
    for (size_t k = 0; k < names->items.size() && k < results.size(); ++k) g.at(results[k]).name = names->items[k].text;
}

void Reader::operation(const OperationSyntax& op, const Values& operands) {
  if (++operations_ > options_.most_operations)
    fail_capacity(where(op.at), "at most " + std::to_string(options_.most_operations) + " operations after inlining calls", "more",
                  "Export the model with loops in place of repeated calls");
  for (size_t i = 0; i < op.operand_types.size(); ++i)
    if (op.operand_types[i].kind != TypeSyntax::Kind::value || !compatible(builder_->type(operands[i]), op.operand_types[i].type))
      fail(op.operands[i].at, "%" + escaped(op.operands[i].name) + " of type " + op.operand_types[i].type.text() + " as written",
           builder_->type(operands[i]).text());
  Builder& b = *builder_;
  const std::string here = where(op.at);
  b.where = here + ": " + escaped(op.name);
  if (options_.positions) {
    const std::string label = op.location && !op.location->names.empty() ? op.location->names[0] : here;
    b.location = here;
    b.origin = make_origin({std::string(operator_of(op.name)) + " '" + label + "'"});
  } else {
    b.location = op.location ? op.location->file : "";
    b.origin = op.location && !op.location->names.empty() ? make_origin(op.location->names) : nullptr;
  }
  const Values results = results_of(op, operands);
  if (results.size() != op.result_types.size())
    fail(op.at, std::to_string(results.size()) + " results of " + escaped(op.name), std::to_string(op.result_types.size()) + " result types");
  name_results(op, results);
  size_t i = 0;
  for (const ResultSyntax& r : op.results) {
    Values named(results.begin() + static_cast<int64_t>(i), results.begin() + static_cast<int64_t>(i + r.count));
    if (!scope_->names.emplace(r.name, std::move(named)).second) fail(op.at, "each value defined once", "%" + escaped(r.name) + " twice");
    i += r.count;
  }
}

Values Reader::results_of(const OperationSyntax& op, const Values& operands) {
  if (options_.foreign)
    if (auto results = options_.foreign->read(*this, op, operands)) return *results;
  if (op.name == "func.call" || op.name == "call") {
    const AttributeSyntax* callee = find(op.attributes, "callee");
    if (!callee) fail(op.at, "a callee", "none");
    Values out = call(callee->text, operands, op.at);
    for (size_t i = 0; i < out.size() && i < op.result_types.size(); ++i)
      if (!compatible(builder_->type(out[i]), op.result_types[i].type))
        fail(op.at, "result type " + builder_->type(out[i]).text(), op.result_types[i].type.text());
    return out;
  }
  if (op.name == "stablehlo.composite") return composite(op, operands);
  const OpDef* def = find_operator(op.name);
  if (!def)
    unsupported(op.at, "an operator that Bascule has", "'" + escaped(op.name) + "'",
                "See docs/ops.md for the operators; export the model without it");
  if (def->name == "specialize")
    unsupported(op.at, "an operator with a text form", "'bascule.specialize', a part of a model that is made when its operands are known",
                "Print the graph with concrete shapes");
  return apply(*def, op, operands);
}

Values Reader::composite(const OperationSyntax& op, const Values& operands) {
  const AttributeSyntax* name = find(op.attributes, "name");
  const AttributeSyntax* decomposition = find(op.attributes, "decomposition");
  const AttributeSyntax* attrs = find(op.attributes, "composite_attributes");
  if (!name || name->kind != Kind::string) fail(op.at, "a composite's name", "none");
  const OpDef* def = find_operator(name->text);
  if (def && dialect_of(name->text) != "bascule" && attrs)  // theirs: only if we know all that shapes it
    for (const auto& [key, value] : attrs->entries)
      if (!find_attr(*def, key)) def = nullptr;
  if (def && def->regions == 0) {
    OperationSyntax plain;
    plain.at = op.at;
    plain.name = name->text;
    if (attrs) plain.attributes = attrs->entries;
    plain.result_types = op.result_types;
    return apply(*def, plain, operands);
  }
  if (!decomposition || decomposition->kind != Kind::symbol) fail(op.at, "a composite with a decomposition", "'" + escaped(name->text) + "' without");
  return call(decomposition->text, operands, op.at);
}

Values Reader::apply(const OpDef& def, const OperationSyntax& op, const Values& operands) {
  Attrs attrs = attributes(def, op);
  Values given = operands;
  if (const AttributeSyntax* present = find(op.attributes, "bascule.present")) {
    given.clear();
    size_t next = 0;
    const Attr mask = attribute(AttrKind::ints, *present);
    for (const int64_t here : std::get<Ints>(mask)) {
      if (here && next >= operands.size()) fail(present->at, "as many operands as bascule.present says", std::to_string(operands.size()));
      given.push_back(here ? operands[next++] : kNoValue);
    }
    if (next != operands.size()) fail(present->at, "as many operands as bascule.present says", std::to_string(operands.size()));
  }
  std::vector<OpenRegion> regions;
  for (size_t k = 0; k < op.regions.size(); ++k) {
    const RegionSyntax& r = op.regions[k];
    std::vector<Type> types;
    for (size_t i = 0; i < r.arguments.size(); ++i) {
      Type t = r.arguments[i].type.type;
      if (r.arguments[i].type.kind != TypeSyntax::Kind::value) fail(r.arguments[i].at, "an argument of a tensor or host type", "another type");
      // A loop's values have the sizes of what it starts with.
      if (def.name == "while" && i < given.size() && given[i] && std::any_of(t.dims.begin(), t.dims.end(), is_unknown)) t = builder_->type(given[i]);
      types.push_back(std::move(t));
    }
    regions.push_back(region(r, types));
  }
  Values results =
      regions.empty() ? builder_->ops(def.name, given, std::move(attrs)) : builder_->ops(def.name, given, std::move(attrs), std::move(regions));
  for (size_t i = 0; i < results.size() && i < op.result_types.size(); ++i) settle(results[i], op.result_types[i], op.at);
  return results;
}

}  // namespace bascule::mlir

namespace bascule {

Graph parse_graph(std::string_view source, const ParseOptions& options) {
  const mlir::ModuleSyntax module = mlir::parse_module(source, options.file);
  const mlir::Lines lines(source);
  const mlir::FunctionSyntax* f = module.function(options.entry);
  if (!f) fail_file(options.file, "a function @" + escaped(options.entry), "none of that name", "Name the function to run");
  mlir::ReadOptions read;
  read.file = options.file;
  mlir::Reader reader(module, lines, read);
  Graph g = reader.function(*f);
  if (!module.name.empty() && options.entry == "main") g.name = module.name;
  return g;
}

}  // namespace bascule
