// ops/sequence.cc — what the sequence operators share.
#include "ops/sequence.h"

namespace bascule::ops {

Type item_type(const Type& sequence) {
  if (sequence.kind != Type::Kind::sequence || sequence.elements.empty()) return Type::any();
  return with_symbols(sequence.elements[0], {});
}

void require_sequence(const OpView& op, size_t i) {
  if (op.in(i).kind != Type::Kind::sequence && op.in(i).kind != Type::Kind::any) op.fail("operand " + std::to_string(i) + " to be a sequence", op.in(i).text());
}

int64_t position(const Call& call, size_t operand, int64_t n, bool end) {
  if (call.in(operand).elements() != 1) call.op.fail("one position", call.in(operand).type_text());
  const int64_t given = call.in(operand).integer(0), top = end ? n : n - 1;
  if (given < -n || given > top) call.op.fail("a position in [" + std::to_string(-n) + ", " + std::to_string(top) + "]", std::to_string(given));
  return given < 0 ? given + n : given;
}

}  // namespace bascule::ops
