// kernels/block.h — runs a KernelSpec of loops block by block: each operator is one vector loop over a block that stays in the first-level cache.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "kernels/table.h"
#include "loops/spec.h"

namespace bascule::kernels {

// How an element type is held; nullopt for those these loops do not know (complex, u64, 8-bit floats, packed).
std::optional<Cell> cell_of(DType t);
Hold hold_of(Cell c);

class BlockProgram {
 public:
  // nullptr, with the reason, when an operator or type has no loop.
  static std::shared_ptr<const BlockProgram> compile(const loops::KernelSpec& spec, std::string* why = nullptr);
  // pointers[k]: element 0 of operand k of the spec. Splits over threads by size alone.
  void run(std::span<std::byte* const> pointers) const;
  const loops::KernelSpec& spec() const;
  ~BlockProgram();
  struct Code;

 private:
  explicit BlockProgram(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace bascule::kernels
