// import/onnx/graph_importer.h — walks the nodes of one graph (main, subgraph, or the rest of a model at run time) and calls their import functions.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "import/onnx/op.h"

namespace bascule::onnx {

using Opsets = std::map<std::string_view, int64_t>;

// What all importers of one model share. Alive as long as any graph that may still be specialised.
struct ModelState {
  ModelProto model;
  ExternalFiles files;
  std::map<std::tuple<std::string_view, std::string_view, std::string_view>, const FunctionProto*> functions;  // by domain, name, overload
  Opsets opsets;
  explicit ModelState(ModelProto m);
};

// One call of a model function: what its attribute references and operator versions mean.
struct FunctionScope {
  const FunctionProto* function = nullptr;  // null: the main graph
  std::map<std::string_view, const AttributeProto*> attributes;
  Opsets opsets;
  std::string where;  // "layer_norm 'encoder/ln'/"
};

// Names of one graph or function instance.
struct Env {
  std::map<std::string_view, Value> values;
  std::set<std::string_view> poisoned;  // results of nodes that were refused
  std::map<std::string_view, const TensorProto*> initializers;  // made constants at first use
  std::map<std::string_view, const SparseTensorProto*> sparse_initializers;
  std::map<std::string_view, const TypeProto*> declared;
};

struct Frame {
  const std::vector<NodeProto>* nodes = nullptr;
  size_t next = 0;
  std::shared_ptr<Env> env;
  std::shared_ptr<const FunctionScope> scope;
  const NodeProto* call = nullptr;  // the node this function instance serves: its results go to the frame below
};

struct NodeSkipped {};  // thrown when an operand comes from a refused node: that node's problem is already listed

class GraphImporter {
 public:
  GraphImporter(std::shared_ptr<ModelState> state, Builder& b, std::vector<Problem>& problems) : state_(std::move(state)), b_(b), problems_(problems) {}

  // A subgraph: names not found here are looked up in `outer` and captured through `region` (null: the same builder, nothing to capture).
  void set_outer(GraphImporter* outer, OpenRegion* region) {
    outer_ = outer;
    region_ = region;
    specialized_ = outer->specialized_;
  }
  // Defines initializers and declared types of a graph in a new bottom frame.
  Env& enter(const GraphProto& g, std::shared_ptr<const FunctionScope> scope);
  void enter(std::vector<Frame> frames) { frames_ = std::move(frames); }
  // Imports every node; the values of these names. Throws NodeSkipped if one cannot be had because of listed problems.
  Values run(const std::vector<std::string_view>& outputs);

  std::optional<Value> find(std::string_view name);  // in the current frame, then outside; NodeSkipped if poisoned
  Value resolve(std::string_view name);              // or an InvalidFileError
  Type declared(std::string_view name) const;
  const FunctionScope& scope() const { return *frames_.back().scope; }
  std::shared_ptr<const FunctionScope> shared_scope() const { return frames_.back().scope; }
  ModelState& state() { return *state_; }
  const std::shared_ptr<ModelState>& shared_state() const { return state_; }
  std::vector<Problem>& problems() { return problems_; }
  Builder& builder() { return b_; }
  int depth() const { return outer_ ? outer_->depth() + 1 : 0; }  // subgraphs around this one
  // How many `specialize` nodes stand around this graph at run time.
  void set_specialized(int levels) { specialized_ = levels; }

 private:
  void step(const NodeProto& node);
  void call_function(const NodeProto& node, const FunctionProto& f);
  void bind_outputs(const NodeProto& node, const Values& values);
  void poison(const NodeProto& node);
  void specialize_rest(const NeedsRun& needs, const std::vector<std::string_view>& outputs);
  std::string describe(const NodeProto& node, int64_t version) const;

  std::shared_ptr<ModelState> state_;
  Builder& b_;
  std::vector<Problem>& problems_;
  GraphImporter* outer_ = nullptr;
  OpenRegion* region_ = nullptr;
  std::vector<Frame> frames_;
  int64_t& calls() { return outer_ ? outer_->calls() : calls_; }
  int64_t calls_ = 0;  // of functions, in this graph and those inside it
  int specialized_ = 0;
};

// A declared type; dims without a value or name become fresh symbols ("hint_0").
Type type_of(const TypeProto& t, const std::string& hint, const std::string& where);
std::string_view plain_domain(std::string_view domain);  // "ai.onnx" is ""
Opsets opsets_of(const std::vector<OpsetImport>& imports, const std::string& file);
[[noreturn]] void throw_problems(std::vector<Problem> problems, bool unsupported_only);

}  // namespace bascule::onnx
