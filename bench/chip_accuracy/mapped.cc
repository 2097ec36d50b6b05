// bench/chip_accuracy/mapped.cc — see mapped.h.
#include "bench/chip_accuracy/mapped.h"

#include <cmath>

#include "base/error.h"
#include "graph/builder.h"
#include "import/importer.h"
#include "passes/pipeline.h"

namespace bascule::bench {
namespace {

Value weight(Builder& b, DType t, std::vector<int64_t> dims) {
  return b.op("absent", {}, {{"dtype", t}, {"dims", to_dims(dims)}, {"reason", std::string("only timed")}});
}

Value dense(Builder& b, Value x, int64_t n, bool bias = true) {  // x[..., k] w[k, n] + bias[n]
  const int64_t rank = b.rank(x), k = b.dim(x, -1).value();
  const DType t = b.dtype(x);
  const Value y = b.dot_general(x, weight(b, t, {k, n}), {}, {}, {rank - 1}, {0});
  return bias ? b.add(y, weight(b, t, {n})) : y;
}

Value layer_norm(Builder& b, Value x) {
  const int64_t d = b.dim(x, -1).value();
  const DType t = b.dtype(x);
  return b.op("layer_norm", {x, weight(b, t, {d}), weight(b, t, {d})}, {{"axis", b.rank(x) - 1}, {"epsilon", 1e-12}});
}

}  // namespace

Graph bound_model(const std::string& path, const std::string& shapes) {
  Imported model = import_model(path);
  Bindings symbols;
  for (size_t at = 0; at < shapes.size();) {
    const size_t end = std::min(shapes.find(';', at), shapes.size()), equal = shapes.find('=', at);
    const std::string name = shapes.substr(at, equal - at);
    std::vector<int64_t> dims;
    for (size_t d = equal + 1; d < end;) {
      size_t used = 0;
      dims.push_back(std::stoll(shapes.substr(d, end - d), &used));
      d += used + 1;
    }
    at = end + 1;
    for (const Value v : model.graph.inputs)
      if (model.graph.at(v).name == name) bind_symbols(model.graph.type(v), Type::tensor(model.graph.type(v).dtype, to_dims(dims)), symbols, name);
  }
  for (const std::string& symbol : model.graph.symbols()) symbols.try_emplace(symbol, 1);
  Graph g = substitute(model.graph, symbols);
  passes::optimize(g, {});
  return g;
}

Graph bert_encoder(int64_t batch, int64_t sequence) {
  constexpr int64_t kWide = 768, kHeads = 12, kHead = 64, kInner = 3072;
  Builder b("bert_encoder");
  b.fold = false;
  Value x = b.input(Type::tensor(DType::bf16, to_dims({batch, sequence, kWide})), "x");
  for (int layer = 0; layer < 12; ++layer) {
    b.origin = make_origin({"layer " + std::to_string(layer)});
    const auto heads = [&](Value y) { return b.transpose(b.reshape(y, to_dims({batch, sequence, kHeads, kHead})), {0, 2, 1, 3}); };
    const Value q = heads(dense(b, x, kWide)), k = heads(dense(b, x, kWide)), v = heads(dense(b, x, kWide));
    const Value y = b.op("attention", {q, k, v}, {{"scale", 0.125}});
    const Value joined = b.reshape(b.transpose(y, {0, 2, 1, 3}), to_dims({batch, sequence, kWide}));
    x = layer_norm(b, b.add(dense(b, joined, kWide), x));
    x = layer_norm(b, b.add(dense(b, b.op("gelu", {dense(b, x, kInner)}), kWide), x));
  }
  return b.finish({x}, {"y"});
}

Graph linear_chain(int64_t m, int64_t k, int64_t n, DType t, int count, bool bias) {
  Builder b("linear");
  b.fold = false;
  Value x = b.input(Type::tensor(t, to_dims({m, k})), "x");
  for (int i = 0; i < count; ++i) {
    b.origin = make_origin({"linear " + std::to_string(i)});
    x = dense(b, x, n, bias);
  }
  return b.finish({x}, {"y"});
}

device::chip::Program mapped(const device::chip::Chip& chip, const Graph& bound, const device::chip::MapOptions& options) {
  return device::chip::map(chip, device::chip::prepare(bound), options);
}

}  // namespace bascule::bench
