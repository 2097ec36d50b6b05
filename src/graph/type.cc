// graph/type.cc — texts, compatibility and binding of types.
#include "graph/type.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"

namespace bascule {

std::string Type::text() const {
  switch (kind) {
    case Kind::tensor: return std::string(info(dtype).name) + (ranked ? bascule::text(dims) : "[*]");
    case Kind::sequence: return "sequence<" + (elements.empty() ? "?" : elements[0].text()) + ">";
    case Kind::optional: return "optional<" + (elements.empty() ? "?" : elements[0].text()) + ">";
    case Kind::map: return "map<" + std::string(info(dtype).name) + "," + (elements.empty() ? "?" : elements[0].text()) + ">";
    case Kind::token: return "token";
    case Kind::any: return "any";
    case Kind::tuple: break;
  }
  std::string t = "tuple<";
  for (size_t i = 0; i < elements.size(); ++i) t += (i ? "," : "") + elements[i].text();
  return t + ">";
}

Type Type::of(const HostValue& v) {
  switch (v.kind()) {
    case HostValue::Kind::tensor: return tensor(v.tensor().dtype(), to_dims(v.tensor().dims()));
    case HostValue::Kind::token: return token();
    case HostValue::Kind::map: {  // the type of one key's value
      Type each = of(v.items().at(0));
      if (each.is_tensor() && each.ranked && !each.dims.empty()) each.dims.erase(each.dims.begin());
      else if (each.kind == Kind::sequence && !each.elements.empty()) each = Type(each.elements[0]);
      return map(v.keys().dtype(), std::move(each));
    }
    case HostValue::Kind::optional: {
      Type t{Kind::optional, DType::f32, true, {}, {}};
      if (!v.items().empty()) t.elements.push_back(of(v.items()[0]));
      return t;
    }
    case HostValue::Kind::sequence: break;
  }
  Type t{Kind::sequence, DType::f32, true, {}, {}};
  for (const HostValue& item : v.items()) {
    Type e = of(item);
    if (t.elements.empty()) t.elements.push_back(std::move(e));
    else if (t.elements[0] != e && e.is_tensor()) t.elements[0] = unranked(e.dtype);
  }
  return t;
}

bool compatible(const Type& got, const Type& want) {
  if (got.kind == Type::Kind::any || want.kind == Type::Kind::any) return true;
  if (got.kind != want.kind) return false;
  if (got.kind == Type::Kind::tensor) {
    if (got.dtype != want.dtype) return false;
    if (!got.ranked || !want.ranked) return true;
    if (got.dims.size() != want.dims.size()) return false;
    for (size_t i = 0; i < got.dims.size(); ++i)
      if (got.dims[i].is_constant() && want.dims[i].is_constant() && !(got.dims[i] == want.dims[i])) return false;
    return true;
  }
  if (got.kind == Type::Kind::map && got.dtype != want.dtype) return false;
  if (got.kind == Type::Kind::tuple && got.elements.size() != want.elements.size()) return false;
  for (size_t i = 0; i < got.elements.size() && i < want.elements.size(); ++i)
    if (!compatible(got.elements[i], want.elements[i])) return false;
  return true;
}

std::optional<Type> join(const Type& a, const Type& b) {
  if (a.kind == Type::Kind::any || b.kind == Type::Kind::any) return Type::any();
  if (a.kind != b.kind) return std::nullopt;
  Type out = a;
  if (a.kind == Type::Kind::tensor || a.kind == Type::Kind::map) {
    if (a.dtype != b.dtype) return std::nullopt;
  }
  if (a.kind == Type::Kind::tensor) {
    if (!a.ranked || !b.ranked || a.dims.size() != b.dims.size()) return Type::unranked(a.dtype);
    for (size_t i = 0; i < a.dims.size(); ++i)
      if (!(a.dims[i] == b.dims[i])) out.dims[i] = fresh_dim("n");
    return out;
  }
  if (a.elements.empty() || b.elements.empty()) return a.elements.empty() ? b : a;
  if (a.elements.size() != b.elements.size()) return std::nullopt;
  for (size_t i = 0; i < a.elements.size(); ++i) {
    auto e = join(a.elements[i], b.elements[i]);
    if (!e) return std::nullopt;
    out.elements[i] = std::move(*e);
  }
  return out;
}

void add_symbols(const Type& t, std::set<std::string>& into) {
  for (const Dim& d : t.dims) d.add_symbols(into);
  for (const Type& e : t.elements) add_symbols(e, into);
}

Type with_symbols(const Type& t, const std::set<std::string>& known) {
  Type out = t;
  for (Dim& d : out.dims) {
    std::set<std::string> used;
    d.add_symbols(used);
    if (!std::includes(known.begin(), known.end(), used.begin(), used.end())) d = fresh_dim("n");
  }
  for (Type& e : out.elements) e = with_symbols(e, known);
  return out;
}

Type substitute(const Type& t, const Bindings& b) {
  Type out = t;
  for (Dim& d : out.dims) d = d.substitute(b);
  for (Type& e : out.elements) e = substitute(e, b);
  return out;
}

void bind_symbols(const Type& declared, const Type& got, Bindings& into, const std::string& where) {
  const auto refuse = [&] { fail_usage(where, declared.text(), got.text(), "Give an input of the declared type"); };
  if (!compatible(got, declared)) refuse();
  if (!declared.is_tensor()) return;
  if (!declared.ranked) return;
  if (!got.ranked) refuse();
  for (size_t i = 0; i < declared.dims.size(); ++i) {
    const auto name = declared.dims[i].as_symbol();
    const auto value = got.dims[i].constant();
    if (!name || !value) continue;
    const auto [at, fresh] = into.try_emplace(*name, *value);
    if (!fresh && at->second != *value)
      fail_usage(where, declared.text() + " with " + *name + " = " + std::to_string(at->second) + " as in another input", got.text(), "Give inputs whose sizes agree");
  }
  for (size_t i = 0; i < declared.dims.size(); ++i) {
    const auto want = declared.dims[i].evaluate(into);
    const auto value = got.dims[i].constant();
    if (want && value && *want != *value) refuse();
  }
}

Dim fresh_dim(std::string_view hint) {
  static std::atomic<int64_t> next{0};
  return Dim::symbol(std::string(hint) + "_" + std::to_string(next.fetch_add(1)));
}

}  // namespace bascule
