// import/stablehlo/import.h — StableHLO text (.mlir, as JAX and PyTorch export it) to a Graph: the text form's reader, with what a framework's
// files hold beside operators of ours: dynamic operators, custom calls, quantised types.
#pragma once
#include <string>
#include <string_view>

#include "graph/graph.h"

namespace bascule::stablehlo {

struct ImportOptions {
  std::string entry = "main";
  bool fold = true;  // small constants are evaluated on the way
};
// InvalidFileError, UnsupportedError with file:line:column. Arguments of the entry function become inputs.
Graph import_file(const std::string& path, const ImportOptions& options = {});
Graph import_text(std::string_view text, const std::string& file, const ImportOptions& options = {});

// Whether the bytes begin an MLIR bytecode file (.mlirbc), which is refused with the remedy.
bool is_bytecode(std::string_view head);

}  // namespace bascule::stablehlo
