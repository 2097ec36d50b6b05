// import/stablehlo/convenience.cc — operations that say in one word what several of ours do: dot, CHLO's implicit broadcasting, tokens, erf of MHLO.
#include <algorithm>

#include "base/error.h"
#include "import/stablehlo/operations.h"

namespace bascule::stablehlo {
namespace {

using mlir::AttributeSyntax;
using mlir::OperationSyntax;

// Aligns x to `rank` axes by broadcast_dimensions (operand axis -> result axis), or at the trailing axes.
Value aligned(mlir::Reader& r, const OperationSyntax& op, Value x, int64_t rank) {
  Builder& b = r.builder();
  const AttributeSyntax* given = mlir::find(op.attributes, "broadcast_dimensions");
  if (!given || b.rank(x) == rank) return x;
  const Attr axes_attribute = r.attribute(AttrKind::ints, *given);
  const Ints& axes = std::get<Ints>(axes_attribute);
  if (static_cast<int64_t>(axes.size()) != b.rank(x)) r.fail(op.at, "one of broadcast_dimensions for each axis", std::to_string(axes.size()));
  Dims dims(static_cast<size_t>(rank), Dim(1));
  int64_t before = -1;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] <= before || axes[i] >= rank) r.fail(op.at, "increasing broadcast_dimensions below " + std::to_string(rank), std::to_string(axes[i]));
    before = axes[i];
    dims[static_cast<size_t>(axes[i])] = b.dims(x)[i];
  }
  return b.reshape(x, dims);
}

Values broadcast(mlir::Reader& r, const OperationSyntax& op, std::string_view name, const Values& operands) {
  Builder& b = r.builder();
  if (op.result_types.size() != 1) r.fail(op.at, "one result", std::to_string(op.result_types.size()));
  int64_t rank = 0;
  for (const Value v : operands) rank = std::max(rank, b.rank(v));
  Values x;
  Dims out;
  for (const Value v : operands) {
    x.push_back(aligned(r, op, v, rank));
    out = b.broadcast_dims(out, b.dims(x.back()));
  }
  for (Value& v : x)
    if (!(name == "clamp" && b.rank(v) == 0)) v = b.broadcast_to(v, out);
  OperationSyntax plain = op;
  std::erase_if(plain.attributes, [](const auto& e) { return e.first == "broadcast_dimensions"; });
  const OpDef* def = OpRegistry::find(name);
  if (!def) r.unsupported(op.at, "an operator that Bascule has", "'" + escaped(op.name) + "'", "Export the model without it");
  return r.apply(*def, plain, x);
}

}  // namespace

bool knows_operation(std::string_view name) {
  constexpr std::string_view kNames[] = {"call",
                                         "func.call",
                                         "func.return",
                                         "return",
                                         "stablehlo.return",
                                         "mhlo.return",
                                         "stablehlo.composite",
                                         "stablehlo.custom_call",
                                         "sdy.sharding_constraint",
                                         "stablehlo.create_token",
                                         "stablehlo.dot",
                                         "chlo.constant",
                                         "chlo.constant_like",
                                         "stablehlo.uniform_quantize",
                                         "stablehlo.uniform_dequantize",
                                         "stablehlo.dynamic_reshape",
                                         "chlo.dynamic_reshape",
                                         "stablehlo.dynamic_broadcast_in_dim",
                                         "stablehlo.dynamic_iota",
                                         "stablehlo.dynamic_pad",
                                         "stablehlo.real_dynamic_slice",
                                         "stablehlo.dynamic_gather",
                                         "stablehlo.dynamic_conv"};
  if (std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) || mlir::find_operator(name)) return true;
  return name.starts_with("chlo.broadcast_") && OpRegistry::find(name.substr(15));
}

std::optional<Values> read_convenience(mlir::Reader& r, const OperationSyntax& op, const Values& operands) {
  Builder& b = r.builder();
  const std::string_view name = op.name;
  if (name.starts_with("chlo.broadcast_")) return broadcast(r, op, name.substr(15), operands);
  if (name == "stablehlo.create_token") {
    OperationSyntax plain = op;
    plain.name = "stablehlo.after_all";
    return r.apply(OpRegistry::get("after_all"), plain, {});
  }
  if (name == "chlo.constant") {
    OperationSyntax plain = op;
    plain.name = "stablehlo.constant";
    return r.apply(OpRegistry::get("constant"), plain, {});
  }
  if (name == "chlo.constant_like" && operands.size() == 1) {
    const AttributeSyntax* value = mlir::find(op.attributes, "value");
    if (!value) r.fail(op.at, "attribute 'value'", "none");
    const Attr number = r.attribute(AttrKind::number, *value);
    return Values{b.full(b.dims(operands[0]), b.dtype(operands[0]), std::get<double>(number))};
  }
  if (name == "stablehlo.dot" && operands.size() == 2 && op.result_types.size() == 1) {
    OperationSyntax plain = op;
    plain.name = "stablehlo.dot_general";
    AttributeSyntax lhs, rhs;
    lhs.kind = rhs.kind = AttributeSyntax::Kind::ints;
    lhs.ints = {b.rank(operands[0]) - 1};
    rhs.ints = {0};
    plain.attributes.emplace_back("lhs_contracting_dimensions", lhs);
    plain.attributes.emplace_back("rhs_contracting_dimensions", rhs);
    return r.apply(OpRegistry::get("dot_general"), plain, operands);
  }
  return std::nullopt;
}

}  // namespace bascule::stablehlo
