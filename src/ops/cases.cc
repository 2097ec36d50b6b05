// ops/cases.cc — conformance cases as graphs with inputs.
#include "ops/cases.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace bascule::ops {
namespace {

double uniform(uint64_t& state) {  // splitmix64, in [0, 1)
  uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

DType default_type(DTypes allowed) {
  if (allowed.has(DType::f32)) return DType::f32;
  for (int t = 0; t < kDTypeCount; ++t)
    if (allowed.has(static_cast<DType>(t))) return static_cast<DType>(t);
  return DType::f32;
}

Dims symbols_of(const std::vector<int64_t>& dims) {
  Dims out;
  for (const int64_t d : dims) out.push_back(d > 1 ? Dim::symbol("s" + std::to_string(d)) : Dim(d));
  return out;
}

}  // namespace

Tensor random_tensor(DType t, std::vector<int64_t> dims, double low, double high, uint64_t& state) {
  Tensor x(t, std::move(dims));
  const auto draw = [&] { return low + (high - low) * uniform(state); };
  if (is_string(t)) {
    for (std::string& s : x.mutable_strings()) s = "s" + std::to_string(static_cast<int64_t>(draw()));
    return x;
  }
  std::byte* out = x.mutable_data();
  for (int64_t i = 0; i < x.elements(); ++i) {
    if (is_complex(t)) {
      const double real = draw();
      store_complex(t, out, i, {real, draw()});
    } else if (is_bool(t)) {
      store_int(t, out, i, uniform(state) < 0.5);
    } else if (is_int(t)) {
      const double top = t == DType::u64 ? 0x1p63 : static_cast<double>(int_max(t));
      store_int(t, out, i, static_cast<int64_t>(std::clamp(std::round(draw()), static_cast<double>(int_min(t)), top)));
    } else {
      store_double(t, out, i, draw());
    }
  }
  return x;
}

CaseGraph make_case(const OpDef& def, const Case& c, uint64_t seed, bool symbolic) {
  Builder b(std::string(def.name));
  b.fold = false;
  b.blame = ErrorKind::internal;
  b.where = "case '" + std::string(c.name) + "' of " + std::string(def.name);
  CaseGraph out;
  uint64_t state = seed;
  for (const char letter : def.name) state = state * 31 + static_cast<unsigned char>(letter);
  if (c.build) {
    Values results = c.build(b);
    out.graph = b.finish(std::move(results));
    if (c.inputs) out.inputs = c.inputs();
    else
      for (const Value v : out.graph.inputs) out.inputs.push_back(random_tensor(out.graph.type(v).dtype, constants(out.graph.type(v).dims).value(), c.low, c.high, state));
    return out;
  }
  HostValues given;
  if (c.inputs) given = c.inputs();
  const size_t operands = std::max(c.shapes.size(), given.size());
  Values values;
  for (size_t i = 0; i < operands; ++i) {
    if (i < c.shapes.size() && c.shapes[i] == std::vector<int64_t>{-1}) {
      values.push_back(kNoValue);
      continue;
    }
    if (i < given.size()) {
      values.push_back(b.input(Type::of(given[i])));
      out.inputs.push_back(given[i]);
      continue;
    }
    const DTypes allowed = def.inputs.empty() ? DTypes::any : def.inputs[std::min(i, def.inputs.size() - 1)].types;
    const DType t = i < c.dtypes.size() ? c.dtypes[i] : default_type(allowed);
    values.push_back(b.input(Type::tensor(t, symbolic ? symbols_of(c.shapes[i]) : to_dims(c.shapes[i]))));
    out.inputs.push_back(random_tensor(t, c.shapes[i], c.low, c.high, state));
  }
  Values results = b.ops(def.name, std::move(values), c.attrs);
  out.graph = b.finish(std::move(results));
  return out;
}

Graph decomposed(const Graph& g, const OpDef& def) {
  Builder b(g.name);
  b.fold = false;
  b.blame = ErrorKind::internal;
  std::vector<Value> now(g.values.size());
  for (const Value v : g.inputs) now[static_cast<size_t>(v.id)] = b.input(g.type(v), g.at(v).name);
  const auto mapped = [&](Value v) { return v ? now[static_cast<size_t>(v.id)] : kNoValue; };
  for (const Node& n : g.nodes) {
    Values operands, captures;
    for (size_t i = 0; i < n.inputs.size(); ++i) (i < n.operands() ? operands : captures).push_back(mapped(n.inputs[i]));
    b.origin = n.origin;
    Values results;
    if (n.op == &def && def.decompose) {
      std::vector<Type> types, captured;
      for (const Value v : operands) types.push_back(v ? b.type(v) : absent_type());
      for (const Value v : captures) captured.push_back(b.type(v));
      const OpView view{def, n.attrs, types, n.regions, captured, std::string(def.name), ErrorKind::internal};
      results = def.decompose(b, view, operands);
    } else {
      results = b.ops(n.op->name, operands, n.attrs, n.regions, captures);
    }
    if (results.size() != n.outputs.size()) fail_internal("decomposition of " + std::string(def.name), std::to_string(n.outputs.size()) + " results", std::to_string(results.size()));
    for (size_t i = 0; i < results.size(); ++i) now[static_cast<size_t>(n.outputs[i].id)] = results[i];
  }
  Values outputs;
  for (const Value v : g.outputs) outputs.push_back(mapped(v));
  return b.finish(std::move(outputs), g.output_names);
}

}  // namespace bascule::ops
