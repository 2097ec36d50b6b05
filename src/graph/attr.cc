// graph/attr.cc — the attribute list.
#include "graph/attr.h"

#include <algorithm>

#include "base/error.h"

namespace bascule {
namespace {

template <class T>
const T& get(const Attrs& attrs, std::string_view name, const char* kind_name) {
  const Attr* a = attrs.find(name);
  if (!a) fail_internal("attribute '" + std::string(name) + "'", kind_name, "none");
  if (const T* value = std::get_if<T>(a)) return *value;
  fail_internal("attribute '" + std::string(name) + "'", kind_name, bascule::name(kind(*a)));
}

}  // namespace

const char* name(AttrKind k) {
  constexpr const char* kNames[] = {"a flag", "an integer", "a number", "a text", "an element type", "a list of integers", "a list of numbers", "a list of texts", "a list of sizes", "a tensor"};
  return kNames[static_cast<int>(k)];
}

bool operator==(const Tensor& a, const Tensor& b) { return a.identical(b); }

Attrs::Attrs(std::initializer_list<Entry> entries) {
  for (const Entry& e : entries) set(e.first, e.second);
}
void Attrs::set(std::string_view name, Attr value) {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), name, [](const Entry& e, std::string_view n) { return e.first < n; });
  if (at != entries_.end() && at->first == name) at->second = std::move(value);
  else entries_.insert(at, {std::string(name), std::move(value)});
}
void Attrs::erase(std::string_view name) {
  std::erase_if(entries_, [&](const Entry& e) { return e.first == name; });
}
const Attr* Attrs::find(std::string_view name) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), name, [](const Entry& e, std::string_view n) { return e.first < n; });
  return at != entries_.end() && at->first == name ? &at->second : nullptr;
}

bool Attrs::flag(std::string_view name) const { return get<bool>(*this, name, "a flag"); }
int64_t Attrs::integer(std::string_view name) const { return get<int64_t>(*this, name, "an integer"); }
double Attrs::number(std::string_view name) const {
  const Attr* a = find(name);
  if (a && std::holds_alternative<int64_t>(*a)) return static_cast<double>(std::get<int64_t>(*a));
  return get<double>(*this, name, "a number");
}
const std::string& Attrs::text(std::string_view name) const { return get<std::string>(*this, name, "a text"); }
DType Attrs::dtype(std::string_view name) const { return get<DType>(*this, name, "an element type"); }
const Ints& Attrs::ints(std::string_view name) const { return get<Ints>(*this, name, "a list of integers"); }
const Numbers& Attrs::numbers(std::string_view name) const { return get<Numbers>(*this, name, "a list of numbers"); }
const Texts& Attrs::texts(std::string_view name) const { return get<Texts>(*this, name, "a list of texts"); }
Dims Attrs::dims(std::string_view name) const {
  const Attr* a = find(name);
  if (a && std::holds_alternative<Ints>(*a)) return to_dims(std::get<Ints>(*a));
  return get<Dims>(*this, name, "a list of sizes");
}
std::vector<int64_t> Attrs::static_dims(std::string_view name) const {
  auto v = constants(dims(name));
  if (!v) fail_internal("attribute '" + std::string(name) + "'", "bound sizes", bascule::text(dims(name)));
  return *v;
}
const Tensor& Attrs::tensor(std::string_view name) const { return get<Tensor>(*this, name, "a tensor"); }

}  // namespace bascule
