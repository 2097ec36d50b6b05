// import/stablehlo/operations.h — operations of StableHLO files that are no operators of ours, as operators.
#pragma once
#include "graph/text/reader.h"

namespace bascule::stablehlo {

class Operations : public mlir::ForeignOperations {
 public:
  std::optional<Values> read(mlir::Reader& r, const mlir::OperationSyntax& op, const Values& operands) override;
};

// In files of their own; each nullopt if the operation is not its kind.
std::optional<Values> read_dynamic(mlir::Reader& r, const mlir::OperationSyntax& op, const Values& operands);  // dynamic_reshape, ...
std::optional<Values> read_custom_call(mlir::Reader& r, const mlir::OperationSyntax& op, const Values& operands);
std::optional<Values> read_lapack(mlir::Reader& r, const mlir::OperationSyntax& op, std::string_view target,
                                  const Values& operands);                                                         // a custom call
std::optional<Values> read_quantized(mlir::Reader& r, const mlir::OperationSyntax& op, const Values& operands);    // any with a quantised type
std::optional<Values> read_convenience(mlir::Reader& r, const mlir::OperationSyntax& op, const Values& operands);  // dot, chlo.broadcast_*, ...

// Whether an operation of this name, or a custom call of this target, can become operators (if its attributes and types fit).
bool knows_operation(std::string_view name);
bool knows_custom_call(std::string_view target);
bool knows_lapack(std::string_view target);

}  // namespace bascule::stablehlo
