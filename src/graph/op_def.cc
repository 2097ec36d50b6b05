// graph/op_def.cc — the operator table and the checks every node passes before its own type rule.
#include "graph/op_def.h"

#include <algorithm>
#include <map>

#include "graph/evaluate.h"

namespace bascule {
namespace {

std::map<std::string_view, const OpDef*>& table() {
  static std::map<std::string_view, const OpDef*> t;
  return t;
}

const InputDef* input_def(const OpDef& def, size_t i) {
  if (i < def.inputs.size()) return &def.inputs[i];
  if (!def.inputs.empty() && (def.inputs.back().kind == InputDef::variadic || def.inputs.back().kind == InputDef::variadic_host)) return &def.inputs.back();
  return nullptr;
}

}  // namespace

std::string DTypes::text() const {
  std::string t;
  for (int i = 0; i < kDTypeCount; ++i)
    if (has(static_cast<DType>(i))) t += (t.empty() ? "" : " ") + std::string(info(static_cast<DType>(i)).name);
  return t;
}

const OpDef* OpRegistry::find(std::string_view name) {
  const auto at = table().find(name);
  return at == table().end() ? nullptr : at->second;
}
const OpDef& OpRegistry::get(std::string_view name) {
  const OpDef* def = find(name);
  if (!def) fail_internal("operator table", "operator '" + std::string(name) + "'", "none of that name");
  return *def;
}
std::vector<const OpDef*> OpRegistry::all() {
  std::vector<const OpDef*> out;
  for (const auto& [name, def] : table()) out.push_back(def);
  return out;
}
bool OpRegistry::add(const OpDef* def) {
  // Two definitions of one name cannot be told apart later; ops_test checks that `all()` has each file's operator.
  return table().emplace(def->name, def).second;
}

void OpView::fail(std::string expected, std::string found, std::string_view label) const {
  std::string at = where.empty() ? std::string(def.name) : where;
  if (!label.empty()) at += " (" + std::string(def.dialect) + " " + std::string(def.name) + " " + std::string(label) + ")";
  const char* remedy = blame == ErrorKind::usage ? "Check the shapes and values of the inputs" : blame == ErrorKind::invalid_file ? "The file contradicts itself or the standard: export it again" : "";
  throw Error(blame, Problem{std::move(at), std::move(expected), std::move(found), remedy});
}

void OpView::require_equal(const Dim& a, const Dim& b, std::string_view what, std::string_view label) const {
  if (a.is_constant() && b.is_constant() && !(a == b)) fail(std::string(what), a.text() + " and " + b.text(), label);
}

std::vector<Type> infer(const OpDef& def, Attrs& attrs, std::span<const Type> inputs, std::span<const std::shared_ptr<const Graph>> regions,
                        std::span<const Type> captures, const std::string& where, ErrorKind blame) {
  for (const AttrDef& a : def.attrs) {
    const Attr* given = attrs.find(a.name);
    const OpView view{def, attrs, inputs, regions, captures, where, blame};
    if (!given) {
      if (a.required) view.fail("attribute '" + std::string(a.name) + "' (" + name(a.kind) + ")", "none");
      if (!a.no_default) attrs.set(a.name, a.fallback);
    } else if (kind(*given) != a.kind) {
      const bool widens = (a.kind == AttrKind::dims && kind(*given) == AttrKind::ints) || (a.kind == AttrKind::number && kind(*given) == AttrKind::integer);
      if (!widens) view.fail("attribute '" + std::string(a.name) + "' to be " + name(a.kind), name(kind(*given)));
      if (a.kind == AttrKind::dims) attrs.set(a.name, attrs.dims(a.name));
      else attrs.set(a.name, attrs.number(a.name));
    }
  }
  const OpView view{def, attrs, inputs, regions, captures, where, blame};
  for (const auto& [attr_name, value] : attrs) {
    const bool declared = std::any_of(def.attrs.begin(), def.attrs.end(), [&](const AttrDef& a) { return a.name == attr_name; });
    if (!declared) view.fail("no attribute '" + attr_name + "'", "one");
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const InputDef* in = input_def(def, i);
    if (!in) view.fail("at most " + std::to_string(def.inputs.size()) + " operands", std::to_string(inputs.size()));
    if (in->kind == InputDef::host || in->kind == InputDef::variadic_host) continue;
    if (!view.has(i)) {
      if (in->kind == InputDef::one) view.fail("operand " + std::to_string(i) + " '" + std::string(in->name) + "'", "none");
      continue;
    }
    if (!inputs[i].is_tensor() && (def.control || def.host) && in->kind == InputDef::variadic) continue;  // carried values, items: of any kind
    if (!inputs[i].is_tensor()) view.fail("operand '" + std::string(in->name) + "' to be a tensor", inputs[i].text());
    if (!in->types.has(inputs[i].dtype)) view.fail("operand '" + std::string(in->name) + "' of type " + in->types.text(), inputs[i].text());
    if (!inputs[i].ranked && !def.host && !def.control) view.fail("operand '" + std::string(in->name) + "' of known rank", inputs[i].text());
  }
  for (size_t i = inputs.size(); i < def.inputs.size(); ++i)
    if (def.inputs[i].kind == InputDef::one || def.inputs[i].kind == InputDef::host) view.fail("operand " + std::to_string(i) + " '" + std::string(def.inputs[i].name) + "'", "none");
  if (def.regions >= 0 && regions.size() != static_cast<size_t>(def.regions)) view.fail(std::to_string(def.regions) + " regions", std::to_string(regions.size()));
  std::vector<Type> results = def.type(view);
  for (const Type& t : results)
    for (const Dim& d : t.dims) view.require(!d.is_constant() || d.value() >= 0, "result sizes of 0 or more", t.text());
  return results;
}

Work& Work::operator+=(const Work& o) {
  multiply_adds += o.multiply_adds;
  adds += o.adds;
  divides += o.divides;
  transcendentals += o.transcendentals;
  compares += o.compares;
  bytes_read += o.bytes_read;
  bytes_written += o.bytes_written;
  return *this;
}

Tensor Call::result(size_t i) const { return Tensor(results[i].dtype, result_dims(i)); }
std::vector<int64_t> Call::result_dims(size_t i) const {
  auto dims = constants(results[i].dims);
  if (!dims) fail_internal(std::string(op.def.name), "a static result type", results[i].text());
  return *dims;
}
HostValues Call::run_region(size_t r, HostValues block_arguments) const {
  block_arguments.insert(block_arguments.end(), captures.begin(), captures.end());
  return context.call(op.regions[r], block_arguments);
}

HostValues EvalContext::call(const std::shared_ptr<const Graph>& region, const HostValues& args) { return evaluate(*region, args, *this); }
HostValues EvalContext::specialize(const std::shared_ptr<const Specialization>& s, const HostValues& args, const std::string&) {
  std::vector<Type> types;
  std::vector<const HostValue*> values;
  for (size_t i = 0; i < args.size(); ++i) {
    types.push_back(Type::of(args[i]));
    values.push_back(s->needs_value(i) ? &args[i] : nullptr);
  }
  return evaluate(s->instantiate(types, values), args, *this);
}

}  // namespace bascule
