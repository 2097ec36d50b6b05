// import/stablehlo/quantized.cc — quantised types expand: values are stored as integers; quantize and dequantize become arithmetic; an operator
// on quantised operands is the operator on their dequantised values, quantised again, as the specification defines it.
#include <algorithm>

#include "base/error.h"
#include "import/stablehlo/operations.h"

namespace bascule::stablehlo {
namespace {

using mlir::OperationSyntax;
using mlir::Quantization;
using mlir::TypeSyntax;
using Quantized = std::shared_ptr<const Quantization>;

class Expansion {
 public:
  Expansion(mlir::Reader& r, size_t at) : r_(r), b_(r.builder()), at_(at) {}

  // x = (stored - zero_point) * scale
  Value dequantize(Value stored, const Quantized& q) {
    if (b_.dtype(stored) != q->storage) r_.fail(at_, "stored values of type " + std::string(info(q->storage).name), b_.type(stored).text());
    const Value wide = b_.convert(stored, q->expressed);
    return b_.multiply(b_.subtract(wide, parameter(wide, q, true)), parameter(wide, q, false));
  }

  // stored = clamp(round_nearest_even(x / scale) + zero_point, low, high)
  Value quantize(Value x, const Quantized& q) {
    if (b_.dtype(x) != q->expressed) r_.fail(at_, "values of type " + std::string(info(q->expressed).name), b_.type(x).text());
    const Value scaled = b_.unary("round_nearest_even", b_.divide(x, parameter(x, q, false)));
    const Value shifted = b_.add(scaled, parameter(x, q, true));
    return b_.convert(b_.clamp(static_cast<double>(q->low), shifted, static_cast<double>(q->high)), q->storage);
  }

 private:
  // Scale or zero point as a value that broadcasts against x.
  Value parameter(Value x, const Quantized& q, bool zero_point) {
    std::vector<double> v = q->scales;
    if (zero_point) v.assign(q->zero_points.begin(), q->zero_points.end());
    if (!q->axis) return b_.constant_like(v[0], q->expressed);
    const int64_t axis = *q->axis, rank = b_.rank(x);
    if (axis >= rank) r_.fail(at_, "a quantised axis below the rank " + std::to_string(rank), std::to_string(axis));
    const Dim& n = b_.dims(x)[static_cast<size_t>(axis)];
    if (!n.is(static_cast<int64_t>(v.size())))
      r_.fail(at_, "one scale for each of " + n.text() + " indices of axis " + std::to_string(axis), std::to_string(v.size()));
    return b_.broadcast_in_dim(b_.constant(Tensor::from_doubles(q->expressed, {static_cast<int64_t>(v.size())}, v)), b_.dims(x), {axis});
  }

  mlir::Reader& r_;
  Builder& b_;
  size_t at_;
};

// Operators that only move elements: one scale for all goes along with them.
bool moves_elements(std::string_view name) {
  constexpr std::string_view kMoves[] = {"reshape",
                                         "transpose",
                                         "slice",
                                         "concatenate",
                                         "gather",
                                         "reverse",
                                         "broadcast_in_dim",
                                         "dynamic_slice",
                                         "dynamic_update_slice",
                                         "select",
                                         "pad",
                                         "optimization_barrier",
                                         "while",
                                         "if",
                                         "case",
                                         "dynamic_reshape",
                                         "dynamic_broadcast_in_dim"};
  return std::find(std::begin(kMoves), std::end(kMoves), name) != std::end(kMoves);
}

TypeSyntax expressed(TypeSyntax t) {
  if (t.quantization) t.type.dtype = t.quantization->expressed;
  t.quantization = nullptr;
  return t;
}

}  // namespace

std::optional<Values> read_quantized(mlir::Reader& r, const OperationSyntax& op, const Values& operands) {
  const auto is_quantized = [](const TypeSyntax& t) { return t.quantization != nullptr; };
  if (std::none_of(op.operand_types.begin(), op.operand_types.end(), is_quantized) &&
      std::none_of(op.result_types.begin(), op.result_types.end(), is_quantized))
    return std::nullopt;
  if (op.name == "func.call" || op.name == "call" || op.name == "stablehlo.composite") return std::nullopt;  // stored values pass
  if (op.operand_types.size() != operands.size()) r.fail(op.at, "operand types of a quantised operation", "none");
  const std::string name = op.name.substr(op.name.find('.') + 1);
  Expansion e(r, op.at);
  const auto from = [&](size_t i) -> const Quantized& { return op.operand_types[i].quantization; };
  const auto to = [&](size_t i) -> const Quantized& { return op.result_types[i].quantization; };
  if (name == "uniform_quantize" || name == "uniform_dequantize") {
    if (operands.size() != 1 || op.result_types.size() != 1) r.fail(op.at, "one operand and one result", std::to_string(operands.size()));
    const Value x = from(0) ? e.dequantize(operands[0], from(0)) : operands[0];
    return Values{to(0) ? e.quantize(x, to(0)) : x};
  }
  if (name == "bitcast_convert" && operands.size() == 1 && op.result_types.size() == 1) {
    if (r.builder().dtype(operands[0]) == op.result_types[0].type.dtype) return operands;
    return std::nullopt;  // between storage types
  }
  if (name == "constant") return std::nullopt;  // stored elements
  // One scale for all operands and results: stored values may be moved as they are.
  Quantized first;
  bool same = moves_elements(name);
  const auto look = [&](const TypeSyntax& t) {
    if (!t.quantization) return;
    if (!first) first = t.quantization;
    same = same && *t.quantization == *first && !t.quantization->axis;
  };
  for (const TypeSyntax& t : op.operand_types) look(t);
  for (const TypeSyntax& t : op.result_types) look(t);
  if (same) return std::nullopt;
  if (!op.regions.empty())
    r.unsupported(op.at, "a quantised operation without regions", "'" + escaped(op.name) + "'", "Dequantise before it and quantise after it");
  OperationSyntax plain = op;
  Values values;
  for (size_t i = 0; i < operands.size(); ++i) {
    values.push_back(from(i) ? e.dequantize(operands[i], from(i)) : operands[i]);
    plain.operand_types[i] = expressed(op.operand_types[i]);
  }
  for (TypeSyntax& t : plain.result_types) t = expressed(t);
  // Hybrid forms (dot_general of floats with a quantised weight) may mix element types.
  const OpDef* def = OpRegistry::find(name);
  if (!def || def->dialect == "bascule")
    r.unsupported(op.at, "a quantised operator that Bascule has", "'" + escaped(op.name) + "'", "Dequantise before it and quantise after it");
  Values results = r.apply(*def, plain, values);
  for (size_t i = 0; i < results.size() && i < op.result_types.size(); ++i)
    if (to(i)) results[i] = e.quantize(results[i], to(i));
  return results;
}

}  // namespace bascule::stablehlo
