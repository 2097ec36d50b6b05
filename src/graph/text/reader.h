// graph/text/reader.h — the tree of syntax.h to a Graph: names resolved, calls inlined, attributes given the types that OpDefs declare.
// Operations that are no operators of ours are left to a ForeignOperations (src/import/stablehlo has one).
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/builder.h"
#include "graph/text/lexer.h"
#include "graph/text/syntax.h"

namespace bascule::mlir {

class Reader;

class ForeignOperations {
 public:
  virtual ~ForeignOperations() = default;
  // The results of `op` on these operands, or nullopt when it is not for this reader. Asked before the table of operators is.
  virtual std::optional<Values> read(Reader& r, const OperationSyntax& op, const Values& operands) = 0;
};

struct ReadOptions {
  std::string file = "text";
  bool fold = false;       // see Builder::fold
  bool positions = false;  // nodes without a location get their place in the text; origins name operator and location
  ForeignOperations* foreign = nullptr;
  int64_t most_operations = 500'000;  // after inlining
};

class Reader {
 public:
  Reader(const ModuleSyntax& module, const Lines& lines, ReadOptions options);
  // One function as a graph, its arguments as inputs.
  Graph function(const FunctionSyntax& f);

  // ---- for ForeignOperations
  const ModuleSyntax& module() const { return module_; }
  Builder& builder() { return *builder_; }  // of the block being read; `where` names the operation
  std::string where(size_t offset) const;
  [[noreturn]] void fail(size_t offset, std::string expected, std::string found) const;
  [[noreturn]] void unsupported(size_t offset, std::string expected, std::string found, std::string remedy) const;
  Values call(std::string_view function, const Values& arguments, size_t at);         // inlined here
  Values apply(const OpDef& def, const OperationSyntax& op, const Values& operands);  // op as operator `def`: attributes, regions, result types
  // The attributes of op as `def` declares them; `given` first, and what only result types tell.
  Attrs attributes(const OpDef& def, const OperationSyntax& op, Attrs given = {});
  Tensor tensor(const AttributeSyntax& a) const;  // of a tensor or a resource
  Attr attribute(AttrKind kind, const AttributeSyntax& a) const;
  OpenRegion region(const RegionSyntax& r, const std::vector<Type>& argument_types);
  // Checks a result against its declared type and takes sizes from it that the type rule does not know.
  void settle(Value v, const TypeSyntax& declared, size_t at);

 private:
  struct Scope {
    Scope* parent = nullptr;     // the block around this one, in another builder; null for functions
    OpenRegion* open = nullptr;  // what captures from the parent
    std::unordered_map<std::string_view, Values> names;
  };
  class InBlock;

  Value resolve(Scope& s, const UseSyntax& u);
  Values block(const RegionSyntax& r);  // operations in the current scope; the operands of the one that ends it
  void operation(const OperationSyntax& op, const Values& operands);
  Values results_of(const OperationSyntax& op, const Values& operands);
  Values composite(const OperationSyntax& op, const Values& operands);
  void name_results(const OperationSyntax& op, const Values& results);
  Type closed(const Type& t, std::string_view hint) const;  // unknown sizes become symbols

  const ModuleSyntax& module_;
  const Lines& lines_;
  ReadOptions options_;
  std::unordered_map<std::string_view, const FunctionSyntax*> functions_;
  Builder* builder_ = nullptr;
  Scope* scope_ = nullptr;
  std::vector<const FunctionSyntax*> active_;
  int64_t operations_ = 0;
};

// The operator that an operation's name means ("stablehlo.add", "bascule.softmax"); nullptr if we have none.
const OpDef* find_operator(std::string_view name);

// Attributes of a source framework or of distribution that change no value ("mhlo.sharding", "jax.result_info").
bool changes_no_value(std::string_view attribute);

}  // namespace bascule::mlir
