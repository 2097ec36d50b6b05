// passes/fold.cc — nodes whose operands are all constants become constants, within a budget of bytes and of reference time. Pure movement of
// large constants is left alone: devices read it in place as a view.
#include <set>

#include "base/error.h"
#include "graph/evaluate.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

namespace bascule::passes {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 21;   // of one node; a reference takes some 50 ns an element
constexpr int64_t kMostInAll = int64_t{1} << 23;
constexpr int64_t kSmall = 65536;

bool moves_only(std::string_view name) {
  static const std::set<std::string_view> names = {"broadcast_in_dim", "reshape", "transpose", "slice", "reverse", "iota", "concatenate", "pad"};
  return names.contains(name);
}

bool fold(Graph& g, const PassOptions& options) {
  int64_t left_bytes = options.fold_bytes, left_elements = kMostInAll;
  return rewrite(g, [&](Rewriter& r, const Node& n) {
    const OpDef& def = *n.op;
    if (!def.reference || def.random || def.effect || def.control || def.host || n.specialization || def.name == "constant" || def.name == "optimization_barrier") return false;
    HostValues in;
    int64_t elements = 0, in_bytes = 0, out_bytes = 0;
    for (const Value v : n.inputs) {
      const Tensor* t = v ? r.builder().constant(r(v)) : nullptr;
      if (v && !t) return false;
      if (t) {
        elements += t->elements();
        in_bytes += t->bytes();
        in.emplace_back(*t);
      } else {
        in.push_back(HostValue::none());
      }
    }
    for (const auto& [name, a] : n.attrs)
      if (const auto* d = std::get_if<Dims>(&a); d && !constants(*d)) return false;
    if (def.data_dependent && elements > kSmall) return false;
    for (const Value v : n.outputs) {
      const Type& t = r.old().type(v);
      if (!t.is_tensor() || is_string(t.dtype)) return false;
      const auto dims = constants(t.dims);
      if (!dims) {
        if (!def.data_dependent) return false;
        continue;
      }
      const int64_t count = element_count(*dims);
      if (count < 0) return false;
      elements += count;
      out_bytes += storage_bytes(t.dtype, count);
    }
    if (elements > kMostElements || elements > left_elements || out_bytes > left_bytes) return false;
    if (elements > kSmall && (moves_only(def.name) || out_bytes > 2 * in_bytes)) return false;
    HostValues out;
    EvalContext context;
    try {
      out = evaluate(n, in, {}, context);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::internal) throw;
      return false;  // an error of values belongs to the run
    }
    Values results;
    for (HostValue& v : out) {
      if (!v.is_tensor()) return false;
      results.push_back(r.builder().constant(std::move(v.tensor())));
    }
    left_elements -= elements;
    left_bytes -= out_bytes;
    r.replace(n, results);
    return true;
  });
}

[[maybe_unused]] const bool registered = register_pass({"fold", "operators of constants are constants, within a budget", fold});

}  // namespace
}  // namespace bascule::passes
