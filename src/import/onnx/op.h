// import/onnx/op.h — what one ONNX operator's import function sees, and how it registers. One function per operator:
//   ONNX_OP(HardSwish, 14) { return b.multiply(n.in(0), ...); }        n: NodeContext, b: Builder
#pragma once
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "graph/builder.h"
#include "import/onnx/proto.h"
#include "import/onnx/tensor_pb.h"

namespace bascule::onnx {

class GraphImporter;

// Results in the order of the node's outputs; may stop early where the rest is not asked for.
struct Results {
  Values values;
  Results(Value v) : values{v} {}            // NOLINT
  Results(Values v) : values(std::move(v)) {}  // NOLINT
  Results(std::initializer_list<Value> v) : values(v) {}
};

// Thrown (and caught by the importer) when a node's graph depends on the type or value of an input that is only known at run time:
// the rest of the model then becomes a `specialize` node. Not an error.
struct NeedsRun {
  size_t input;
  bool value;  // false: its type suffices
};

// A subgraph (body of If, Loop, Scan) imported for given argument types.
struct ImportedRegion {
  OpenRegion region;           // ready for Builder::ops
  std::vector<Type> outputs;
  Values values;               // the region's own, as region.builder() knows them
};

// A region's block arguments to the inputs of the subgraph inside it, and the subgraph's results to what the region returns.
using RegionEntry = std::function<Values(OpenRegion& region, const Values& arguments)>;
using RegionExit = std::function<Values(Builder& b, const Values& arguments, Values results)>;

class NodeContext {
 public:
  NodeContext(GraphImporter& importer, const NodeProto& node, Builder& b, int version);

  Builder& b;
  const NodeProto& node;
  const int version;  // of the node's domain, as the model imports it

  // ---- operands
  size_t inputs() const { return node.inputs.size(); }
  bool has(size_t i) const {
    for (const auto& [at, v] : replaced_)
      if (at == i) return static_cast<bool>(v);
    return i < node.inputs.size() && !node.inputs[i].empty();
  }
  Value in(size_t i) const;            // an error names the missing operand. A tensor of known rank, else NeedsRun
  Value any(size_t i) const;           // any type (sequence, optional, map, unranked tensor)
  Value in_or_none(size_t i) const { return has(i) ? in(i) : kNoValue; }
  DType dtype(size_t i) const { return b.dtype(in(i)); }
  size_t outputs() const { return node.outputs.size(); }
  bool wants(size_t i) const { return i < node.outputs.size() && !node.outputs[i].empty(); }

  // ---- operands that shape the result: never assumed constant. Each throws NeedsRun where the value is not known yet.
  Dims sizes(size_t i) const;          // integer tensor, elements possibly symbolic
  Dim size(size_t i) const;            // one element
  Ints constants(size_t i) const;      // integers that must be plain numbers (axes, steps, repeats with data-dependent meaning)
  int64_t constant(size_t i) const;
  Tensor tensor(size_t i) const;       // any constant tensor by value (scales, roi, class tables)

  // ---- attributes. Reading one marks it known; an attribute that nobody read is refused after the function returns.
  bool has_attr(std::string_view name) const;
  int64_t integer(std::string_view name, std::optional<int64_t> fallback = std::nullopt) const;  // no fallback: required
  bool flag(std::string_view name, bool fallback) const { return integer(name, fallback) != 0; }
  double number(std::string_view name, std::optional<double> fallback = std::nullopt) const;
  std::string text(std::string_view name, std::optional<std::string> fallback = std::nullopt) const;
  Ints ints(std::string_view name, std::optional<Ints> fallback = std::nullopt) const;
  Numbers numbers(std::string_view name, std::optional<Numbers> fallback = std::nullopt) const;
  Texts texts(std::string_view name, std::optional<Texts> fallback = std::nullopt) const;
  Tensor attr_tensor(std::string_view name) const;
  std::vector<Tensor> attr_tensors(std::string_view name) const;
  DType dtype_attr(std::string_view name, std::optional<DType> fallback = std::nullopt) const;  // an ONNX data_type number
  const AttributeProto* attr(std::string_view name) const;  // references resolved; nullptr if absent
  void ignore(std::string_view name) const;  // known to have no effect on values

  // An axis in [-rank, rank) made non-negative.
  int64_t axis(int64_t a, int64_t rank) const;
  Ints axes(Ints a, int64_t rank) const;  // each, unique

  // ---- subgraphs
  const GraphProto& graph(std::string_view name) const;
  // Imports the attribute's graph with block arguments of these types; names of the outer scope are captured. `known`: symbolic elements of arguments.
  ImportedRegion region(std::string_view attr_name, const std::vector<Type>& arguments) const;
  ImportedRegion region(std::string_view attr_name, const std::vector<Type>& arguments, const RegionEntry& entry, const RegionExit& exit) const;
  // The attribute's graph in place, its inputs bound to `operands`, where it is known that it runs.
  Values inlined(std::string_view attr_name, const Values& operands = {}) const;
  // Calls f with this node seen from inside `region`, which its subgraphs then capture through.
  void inside(OpenRegion& region, const std::function<void(NodeContext&)>& f) const;
  Tensor attr_sparse(std::string_view name) const;  // dense

  // ---- refusing: where is already in b.where
  [[noreturn]] void fail(std::string expected, std::string found) const { b.fail(std::move(expected), std::move(found)); }
  [[noreturn]] void unsupported(std::string expected, std::string found, std::string remedy) const { b.unsupported(std::move(expected), std::move(found), std::move(remedy)); }
  Type declared_output(size_t i) const;  // from the graph's value_info or outputs; Kind::any if not declared
  // This node read as another operator: its import function at `at_version`, with some operands replaced. For operators that extend one of another domain.
  Values as(std::string_view domain, std::string_view name, int at_version, std::vector<std::pair<size_t, Value>> replaced = {}) const;

  void check_all_attributes_read() const;

 private:
  GraphImporter& importer_;
  mutable std::set<std::string, std::less<>> read_;
  std::vector<std::pair<size_t, Value>> replaced_;  // operands that stand for the node's own
};

using ImportFunction = Results (*)(NodeContext& n, Builder& b);

struct Registration {
  std::string_view domain, name;
  int since;  // first operator set version whose semantics this function has; earlier registrations serve earlier versions
  ImportFunction function;
};
bool register_op(Registration r);
// The registration that serves this version; nullptr with `oldest` set when the operator exists only from a later version on.
const Registration* find_op(std::string_view domain, std::string_view name, int64_t version);
std::vector<Registration> all_ops();  // sorted by domain, name, since

#define BASCULE_ONNX_OP(domain_id, domain_text, Name, Since)                                                                              \
  static ::bascule::onnx::Results onnx_##domain_id##_##Name##_##Since([[maybe_unused]] ::bascule::onnx::NodeContext& n,                   \
                                                                      [[maybe_unused]] ::bascule::Builder& b);                            \
  [[maybe_unused]] static const bool onnx_##domain_id##_##Name##_##Since##_registered =                                                   \
      ::bascule::onnx::register_op({domain_text, #Name, Since, onnx_##domain_id##_##Name##_##Since});                                     \
  static ::bascule::onnx::Results onnx_##domain_id##_##Name##_##Since([[maybe_unused]] ::bascule::onnx::NodeContext& n,                   \
                                                                      [[maybe_unused]] ::bascule::Builder& b)
#define ONNX_OP(Name, Since) BASCULE_ONNX_OP(ai, "", Name, Since)
#define ONNX_ML_OP(Name, Since) BASCULE_ONNX_OP(ml, "ai.onnx.ml", Name, Since)
#define ONNX_MS_OP(Name, Since) BASCULE_ONNX_OP(ms, "com.microsoft", Name, Since)
#define ONNX_PREVIEW_OP(Name, Since) BASCULE_ONNX_OP(preview, "ai.onnx.preview", Name, Since)
#define ONNX_TRAINING_OP(Name, Since) BASCULE_ONNX_OP(training, "ai.onnx.preview.training", Name, Since)

}  // namespace bascule::onnx
