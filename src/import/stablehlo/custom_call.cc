// import/stablehlo/custom_call.cc — custom calls that frameworks emit for inference: hints that change no value, and operators older than their
// StableHLO name. Any other target is refused by name.
#include <algorithm>

#include "base/error.h"
#include "import/stablehlo/operations.h"

namespace bascule::stablehlo {

using mlir::AttributeSyntax;
using mlir::OperationSyntax;

namespace {

// Where data lies and how it is laid out: the values stay.
bool is_identity(std::string_view target) {
  constexpr std::string_view kIdentities[] = {"Sharding",
                                              "annotate_device_placement",
                                              "LayoutConstraint",
                                              "xla.sdy.FuncResultSharding",
                                              "xla.sdy.GlobalToLocalShape",
                                              "MoveToHost",
                                              "MoveToDevice",
                                              "PinToDevice",
                                              "tf.SharedCustomCall"};
  return std::find(std::begin(kIdentities), std::end(kIdentities), target) != std::end(kIdentities);
}

// "mhlo.erf" and its kind: an operator in its own right since. nullptr for others.
const OpDef* later_operator(std::string_view target) {
  for (const std::string_view prefix : {"mhlo.", "chlo.", "stablehlo.dynamic_"}) {
    if (!target.starts_with(prefix)) continue;
    const std::string_view name = target.substr(prefix.size());
    const OpDef* def = OpRegistry::find(name == "topk" ? "top_k" : name);
    if (def && def->dialect != "bascule") return def;
  }
  return nullptr;
}

// JAX's reduce_window of sizes that inputs decide: operands, init values, then window, strides, base and window dilations, padding; the region is a function.
Values dynamic_reduce_window(mlir::Reader& r, const OperationSyntax& op, const Values& operands) {
  Builder& b = r.builder();
  constexpr size_t kSizes = 5;
  const AttributeSyntax* called = mlir::find(op.attributes, "called_computations");
  const mlir::FunctionSyntax* body = called && called->items.size() == 1 ? r.module().function(called->items[0].text) : nullptr;
  if (!body) r.fail(op.at, "called_computations that names one function of the module", "none");
  if (operands.size() < kSizes + 2 || op.result_types.empty()) r.fail(op.at, "operands, init values and " + std::to_string(kSizes) + " lists of sizes", std::to_string(operands.size()) + " operands");
  const size_t kept = operands.size() - kSizes;
  const auto sizes = [&](size_t i) {
    if (auto k = b.known(operands[kept + i])) return *k;
    r.unsupported(op.at, "sizes that follow from constants and from the shapes of inputs", "a value of the run", "Export the model with static shapes");
  };
  const auto numbers = [&](size_t i) {
    if (auto c = constants(sizes(i))) return *c;
    r.unsupported(op.at, "strides and dilations that are constants", "sizes of inputs", "Export the model with static shapes");
  };
  const Dims padding = sizes(4);
  Dims low, high;
  for (size_t i = 0; i + 1 < padding.size(); i += 2) {
    low.push_back(padding[i]);
    high.push_back(padding[i + 1]);
  }
  Values results = b.ops("reduce_window", Values(operands.begin(), operands.begin() + static_cast<int64_t>(kept)),
                         {{"window_dimensions", sizes(0)}, {"window_strides", numbers(1)}, {"base_dilations", numbers(2)}, {"window_dilations", numbers(3)}, {"padding_low", low}, {"padding_high", high}},
                         {std::make_shared<const Graph>(r.function(*body))});
  if (results.size() != op.result_types.size()) r.fail(op.at, std::to_string(results.size()) + " results", std::to_string(op.result_types.size()));
  for (size_t i = 0; i < results.size(); ++i) r.settle(results[i], op.result_types[i], op.at);
  return results;
}

}  // namespace

bool knows_custom_call(std::string_view target) {
  return is_identity(target) || target == "shape_assertion" || later_operator(target) || knows_lapack(target);
}

std::optional<Values> read_custom_call(mlir::Reader& r, const OperationSyntax& op, const Values& operands) {
  if (op.name == "sdy.sharding_constraint") return operands;
  if (op.name != "stablehlo.custom_call") return std::nullopt;
  const AttributeSyntax* target_attribute = mlir::find(op.attributes, "call_target_name");
  if (!target_attribute) r.fail(op.at, "a custom_call with call_target_name", "none");
  const std::string& target = target_attribute->text;

  if (is_identity(target) && operands.size() == op.result_types.size()) {
    for (size_t i = 0; i < operands.size(); ++i)
      if (!compatible(r.builder().type(operands[i]), op.result_types[i].type))
        r.unsupported(op.at, "a custom call that keeps its operand's type", "@" + escaped(target) + " to " + op.result_types[i].type.text(),
                      "Export the model for one device");
    return operands;
  }
  if (target == "shape_assertion" && op.result_types.empty()) return Values{};  // a check of input shapes, which the runtime makes itself

  if (target == "stablehlo.dynamic_reduce_window") return dynamic_reduce_window(r, op, operands);
  if (auto solved = read_lapack(r, op, target, operands)) return solved;
  if (const OpDef* def = later_operator(target)) {
    OperationSyntax plain;
    plain.at = op.at;
    plain.name = std::string(def->name);
    plain.result_types = op.result_types;
    Values given = operands;
    if (const AttributeSyntax* a = mlir::find(op.attributes, "mhlo.attributes"); a && a->kind == AttributeSyntax::Kind::dict)
      for (const auto& [key, value] : a->entries) {
        if (key == "largest" && value.kind == AttributeSyntax::Kind::boolean) {
          if (!value.integer) r.unsupported(value.at, "@mhlo.topk with largest = true", "largest = false", "Negate the operand before exporting");
          continue;
        }
        plain.attributes.emplace_back(key, value);
      }
    if (target == "stablehlo.dynamic_top_k" && given.size() == 2) {
      const auto k = r.builder().known(given[1]);
      if (!k || k->size() != 1 || !(*k)[0].is_constant())
        r.unsupported(op.at, "a constant k", "a value of the run", "Export the model with a constant k");
      AttributeSyntax a;
      a.kind = AttributeSyntax::Kind::integer;
      a.at = op.at;
      a.integer = (*k)[0].value();
      plain.attributes.emplace_back("k", std::move(a));
      given.pop_back();
    }
    return r.apply(*def, plain, given);
  }
  r.unsupported(op.at, "a custom call that Bascule knows", "target '" + escaped(target) + "'",
                target.find("callback") != std::string::npos ? "Export the model without Python callbacks"
                                                             : "Export the model for a platform whose lowering uses StableHLO operators only");
}

}  // namespace bascule::stablehlo
