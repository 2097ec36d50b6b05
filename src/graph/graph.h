// graph/graph.h — the IR: a Graph is a list of nodes in execution order over typed values. Plain data, copied cheaply (tensors are shared).
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "graph/attr.h"
#include "graph/type.h"

namespace bascule {

struct OpDef;
class Graph;

// A value of one graph, by number. An absent optional operand is kNoValue.
struct Value {
  int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
  friend bool operator==(Value, Value) = default;
  friend auto operator<=>(Value, Value) = default;
};
inline constexpr Value kNoValue{};

// The source operators a node or value came from, as users know them: "Conv 'stem/conv1'". Shared by many nodes.
using Origin = std::shared_ptr<const std::vector<std::string>>;
Origin make_origin(std::vector<std::string> names);
Origin merge_origins(const Origin& a, const Origin& b);
std::string text(const Origin& o);  // "Conv 'a' + Relu 'b'", "" for none

// A part of a model whose graph can only be made when types or values are known at run time (rank decided by a branch, sizes computed from
// data). The runtime calls instantiate once per distinct request and caches the result.
class Specialization {
 public:
  virtual ~Specialization() = default;
  // Whether operand i must be given by value (it shapes the result); otherwise only its concrete type is used.
  virtual bool needs_value(size_t operand) const = 0;
  // A graph whose inputs are all operands in order (also those given by value) and whose outputs are the node's results.
  // values[i] is null where needs_value(i) is false.
  virtual Graph instantiate(const std::vector<Type>& types, const std::vector<const HostValue*>& values) const = 0;
};

struct Node {
  const OpDef* op = nullptr;
  std::vector<Value> inputs;   // operands, then `captures` values that all regions read; kNoValue where an optional operand is absent
  std::vector<Value> outputs;
  Attrs attrs;
  int captures = 0;
  // A region's graph inputs are its block arguments, then one for each captured value, in order. Its outputs are what it returns.
  std::vector<std::shared_ptr<const Graph>> regions;
  std::shared_ptr<const Specialization> specialization;  // of the operator "specialize" only
  Origin origin;
  std::string location;  // where in a text file it stood ("model.mlir:12:5"), or ""

  size_t operands() const { return inputs.size() - static_cast<size_t>(captures); }
};

struct ValueInfo {
  Type type;
  std::string name;     // the user's name for it ("logits"); may be "" and need not be unique
  int32_t node = -1;    // producer's index in nodes(); -1 for a graph input
  int32_t result = 0;   // which of its results, or which graph input
  // For integer values of at most kMostKnown elements: their symbolic elements in row-major order, where known.
  std::shared_ptr<const Dims> known;
};
inline constexpr int64_t kMostKnown = 1024;

class Graph {
 public:
  std::string name = "main";
  std::vector<Value> inputs;
  std::vector<Value> outputs;
  std::vector<std::string> output_names;  // as many as outputs, or empty
  std::vector<Node> nodes;                // each node stands after the producers of its inputs
  std::deque<ValueInfo> values;  // a deque: references to a type stay good while nodes are added

  const Type& type(Value v) const { return values[static_cast<size_t>(v.id)].type; }
  ValueInfo& at(Value v) { return values[static_cast<size_t>(v.id)]; }
  const ValueInfo& at(Value v) const { return values[static_cast<size_t>(v.id)]; }
  const Node* producer(Value v) const;          // nullptr for graph inputs and kNoValue
  const Tensor* constant(Value v) const;        // the tensor of a `constant` node, else nullptr
  // Elements of an integer value: from a constant, or tracked symbolically. nullopt when not known before the run, or too many.
  std::optional<Dims> known(Value v) const;

  Value add_input(Type t, std::string input_name);
  // Appends a node with results of these types; returns its index. The results are nodes[i].outputs.
  int32_t add_node(Node n, std::vector<Type> result_types);

  std::vector<Type> input_types() const;
  std::vector<Type> output_types() const;
  std::set<std::string> symbols() const;  // of inputs, values and attributes
};

// The graph with symbols replaced in types, attributes and regions. All symbols of inputs are usually bound; the fresh symbols of
// data-dependent results stay.
Graph substitute(const Graph& g, const Bindings& b);
Attrs substitute(const Attrs& a, const Bindings& b);

// Checks every node against its operator's definition and every use against its definition. InternalError says what and where:
// call after each pass.
void verify(const Graph& g, const std::string& after);

}  // namespace bascule
