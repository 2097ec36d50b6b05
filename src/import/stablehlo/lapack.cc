// import/stablehlo/lapack.cc — custom calls by which JAX asks a cpu for LAPACK: triangular factors and solves, as the operators they are.
#include "base/error.h"
#include "import/stablehlo/operations.h"

namespace bascule::stablehlo {

using mlir::AttributeSyntax;
using mlir::OperationSyntax;

namespace {

// "potrf" of "lapack_spotrf_ffi" (s, d, c or z: the element type); "" for other targets.
std::string_view routine(std::string_view target) {
  constexpr std::string_view kFront = "lapack_", kBack = "_ffi";
  if (!target.starts_with(kFront) || !target.ends_with(kBack) || target.size() < kFront.size() + kBack.size() + 2) return "";
  return target.substr(kFront.size() + 1, target.size() - kFront.size() - kBack.size() - 1);
}

// A letter that LAPACK takes, given as its code in mhlo.backend_config; one of `allowed`.
char letter(mlir::Reader& r, const OperationSyntax& op, const char* name, std::string_view allowed) {
  const AttributeSyntax* config = mlir::find(op.attributes, "mhlo.backend_config");
  const AttributeSyntax* a = config && config->kind == AttributeSyntax::Kind::dict ? mlir::find(config->entries, name) : nullptr;
  if (!a || a->kind != AttributeSyntax::Kind::integer || a->integer < 0 || a->integer > 127 ||
      allowed.find(static_cast<char>(a->integer)) == std::string_view::npos)
    r.fail(op.at, "mhlo.backend_config with " + std::string(name) + " one of '" + std::string(allowed) + "'",
           a ? std::to_string(a->integer) : "none");
  return static_cast<char>(a->integer);
}

}  // namespace

bool knows_lapack(std::string_view target) { return routine(target) == "potrf" || routine(target) == "trsm"; }

std::optional<Values> read_lapack(mlir::Reader& r, const OperationSyntax& op, std::string_view target, const Values& operands) {
  Builder& b = r.builder();
  if (routine(target) == "potrf") {  // the factor, and 0 for each matrix: one that is not positive definite gives NaN
    if (operands.size() != 1 || op.result_types.size() != 2)
      r.fail(op.at, "a matrix, to a factor and a status",
             std::to_string(operands.size()) + " operands, " + std::to_string(op.result_types.size()) + " results");
    const Type& status = op.result_types[1].type;
    if (!status.is_tensor() || status.dtype != DType::i32) r.fail(op.at, "a status of i32", status.text());
    const Value factor = b.op("cholesky", {operands[0]}, {{"lower", letter(r, op, "uplo", "LU") == 'L'}});
    return Values{factor, b.full(status.dims, DType::i32, 0)};
  }
  if (routine(target) == "trsm") {
    if (operands.size() != 2) r.fail(op.at, "2 operands", std::to_string(operands.size()));
    const char transpose = letter(r, op, "trans_x", "NTC");
    return Values{b.op("triangular_solve", {operands[0], operands[1]},
                       {{"left_side", letter(r, op, "side", "LR") == 'L'},
                        {"lower", letter(r, op, "uplo", "LU") == 'L'},
                        {"unit_diagonal", letter(r, op, "diag", "NU") == 'U'},
                        {"transpose_a", std::string(transpose == 'N'   ? "NO_TRANSPOSE"
                                                    : transpose == 'T' ? "TRANSPOSE"
                                                                       : "ADJOINT")}})};
  }
  return std::nullopt;
}

}  // namespace bascule::stablehlo
