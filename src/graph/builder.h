// graph/builder.h — makes graphs: infers types, folds small constants, tracks symbolic integers, broadcasts. Importers, decompositions,
// passes and tests write graphs with it.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "graph/op_def.h"

namespace bascule {

using Values = std::vector<Value>;

// An elementwise operand: a value, or a number that takes the other operand's element type.
struct Operand {
  Value value;
  double number = 0;
  Operand(Value v) : value(v) {}      // NOLINT
  Operand(double x) : number(x) {}    // NOLINT
  Operand(int x) : number(x) {}       // NOLINT
};

// A region being built inside another graph: block arguments first, captured values as they are asked for.
class OpenRegion;

class Builder {
 public:
  explicit Builder(std::string graph_name = "main") { graph_.name = std::move(graph_name); }

  // Put on every node made from here on; `where` starts each message ("model.onnx: Conv_11 'stem/conv1'").
  std::string where;
  std::string location;
  Origin origin;
  ErrorKind blame = ErrorKind::invalid_file;
  bool fold = true;  // evaluate operators whose inputs are small constants at once

  Graph& graph() { return graph_; }
  const Graph& graph() const { return graph_; }
  Graph finish(Values outputs, std::vector<std::string> output_names = {});

  Value input(Type t, std::string input_name = "");
  Value constant(Tensor t);
  Value constant_like(double x, DType t) { return constant(Tensor::scalar(t, x)); }
  Value ints(std::span<const int64_t> values, DType t = DType::i64) { return constant(Tensor::vector_int(values, t)); }
  Value ints(std::initializer_list<int64_t> values) { return ints(std::span(values.begin(), values.size())); }
  // A rank-1 integer value with these (possibly symbolic) elements; scalar: rank 0 with one element.
  Value sizes(const Dims& d, DType t = DType::i64);
  Value size(const Dim& d, DType t = DType::i64);
  Value full(const Dims& dims, DType t, double x) { return broadcast_to(constant_like(x, t), dims); }

  const Type& type(Value v) const { return graph_.type(v); }
  DType dtype(Value v) const { return type(v).dtype; }
  const Dims& dims(Value v) const { return type(v).dims; }
  Dim dim(Value v, int64_t axis) const { return dims(v)[static_cast<size_t>(axis < 0 ? axis + rank(v) : axis)]; }
  int64_t rank(Value v) const { return static_cast<int64_t>(type(v).rank()); }
  bool is_constant(Value v) const { return graph_.constant(v) != nullptr; }
  const Tensor* constant(Value v) const { return graph_.constant(v); }
  std::optional<Dims> known(Value v) const { return graph_.known(v); }  // symbolic elements of an integer value

  // Any operator by name. `op` returns its single result.
  Values ops(std::string_view name, Values operands, Attrs attrs = {}, std::vector<std::shared_ptr<const Graph>> regions = {}, Values captures = {});
  Value op(std::string_view name, Values operands, Attrs attrs = {}) { return ops(name, std::move(operands), std::move(attrs))[0]; }
  // With regions built beside: their captured values are merged. Order of `regions` is the operator's.
  Values ops(std::string_view name, Values operands, Attrs attrs, std::vector<OpenRegion> regions);
  Values specialize(std::shared_ptr<const Specialization> s, Values operands, std::vector<Type> results);

  // Elementwise with NumPy broadcasting (extents of 1 and missing leading axes stretch); element types must agree.
  Value binary(std::string_view name, Operand a, Operand b);
  Value add(Operand a, Operand b) { return binary("add", a, b); }
  Value subtract(Operand a, Operand b) { return binary("subtract", a, b); }
  Value multiply(Operand a, Operand b) { return binary("multiply", a, b); }
  Value divide(Operand a, Operand b) { return binary("divide", a, b); }
  Value remainder(Operand a, Operand b) { return binary("remainder", a, b); }
  Value power(Operand a, Operand b) { return binary("power", a, b); }
  Value maximum(Operand a, Operand b) { return binary("maximum", a, b); }
  Value minimum(Operand a, Operand b) { return binary("minimum", a, b); }
  Value logical_and(Operand a, Operand b) { return binary("and", a, b); }
  Value logical_or(Operand a, Operand b) { return binary("or", a, b); }
  Value logical_xor(Operand a, Operand b) { return binary("xor", a, b); }
  Value compare(Operand a, Operand b, std::string_view direction);  // EQ NE LT LE GT GE; result i1
  Value select(Value predicate, Operand on_true, Operand on_false);
  Value clamp(Operand low, Value x, Operand high);

  Value unary(std::string_view name, Value x) { return op(name, {x}); }
  Value negate(Value x) { return unary("negate", x); }
  Value abs(Value x) { return unary("abs", x); }
  Value exp(Value x) { return unary("exponential", x); }
  Value log(Value x) { return unary("log", x); }
  Value sqrt(Value x) { return unary("sqrt", x); }
  Value rsqrt(Value x) { return unary("rsqrt", x); }
  Value tanh(Value x) { return unary("tanh", x); }
  Value logistic(Value x) { return unary("logistic", x); }
  Value floor(Value x) { return unary("floor", x); }
  Value ceil(Value x) { return unary("ceil", x); }
  Value sine(Value x) { return unary("sine", x); }
  Value cosine(Value x) { return unary("cosine", x); }
  Value erf(Value x) { return unary("erf", x); }
  Value logical_not(Value x) { return unary("not", x); }
  Value convert(Value x, DType t);  // no node if the type is already t

  Value reshape(Value x, const Dims& dims);  // no node if the dims are equal
  Value broadcast_in_dim(Value x, const Dims& out, const Ints& axes);
  Value broadcast_to(Value x, const Dims& out);  // trailing axes aligned
  Dims broadcast_dims(const Dims& a, const Dims& b) const;
  Value transpose(Value x, const Ints& permutation);  // no node for the identity
  Value concatenate(const Values& x, int64_t axis);
  Value slice(Value x, const Dims& start, const Dims& limit, const Ints& strides);
  Value slice_axis(Value x, int64_t axis, const Dim& start, const Dim& limit, int64_t stride = 1);
  Value pad(Value x, Operand fill, const Dims& low, const Dims& high, const Ints& interior = {});
  Value reverse(Value x, const Ints& axes);
  Value iota(DType t, const Dims& dims, int64_t axis);
  Value unsqueeze(Value x, Ints axes);  // axes of the result
  Value squeeze(Value x, Ints axes);

  // y = fold of `body` ("add", "multiply", "maximum", "minimum", "and", "or") over the axes, from its neutral element. keep: extents of 1 stay.
  Value reduce(std::string_view body, Value x, Ints axes, bool keep);
  Value sum(Value x, Ints axes, bool keep) { return reduce("add", x, std::move(axes), keep); }
  Value mean(Value x, Ints axes, bool keep);
  // C[batch..., lhs free..., rhs free...]; accumulates in the result type `t` (default: the operands').
  Value dot_general(Value a, Value b, Ints a_batch, Ints b_batch, Ints a_contract, Ints b_contract, std::optional<DType> t = std::nullopt);
  // NumPy matmul of ranks >= 1 with batch broadcasting.
  Value matmul(Value a, Value b, std::optional<DType> t = std::nullopt);
  // `body` of a reduction as a region: (a, b) -> a op b on scalars.
  static std::shared_ptr<const Graph> scalar_region(std::string_view body, DType t);

  [[noreturn]] void fail(std::string expected, std::string found, std::string remedy = "Export the model again") const;
  [[noreturn]] void unsupported(std::string expected, std::string found, std::string remedy) const;

 private:
  Value as_value(const Operand& x, const Operand& other);
  std::optional<Values> folded(const Node& n, const std::vector<Type>& results);

  Graph graph_;
};

class OpenRegion {
 public:
  OpenRegion(Builder& outer, std::string name);
  Builder& builder() { return *builder_; }
  Value argument(Type t, std::string name = "") { return builder_->input(std::move(t), std::move(name)); }  // all arguments before any capture
  // The inner value for an outer one: constants are copied in, others become captured inputs (each once).
  Value capture(Value outer);
  void finish(Values outputs) { outputs_ = std::move(outputs); }

 private:
  friend class Builder;
  Builder* outer_;
  std::shared_ptr<Builder> builder_;
  std::vector<std::pair<Value, Value>> captured_;  // outer, inner
  Values outputs_;
};

// The single elementwise operator that a reduction's region applies to its two arguments ("add", ...); "" if it does anything else.
std::string_view reduction_body(const Graph& region);

}  // namespace bascule
