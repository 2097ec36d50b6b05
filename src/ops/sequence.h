// ops/sequence.h — types and positions of sequence values, for the operators on them.
#pragma once
#include "ops/rules.h"

namespace bascule::ops {

// The type of any one item: sizes differ from item to item, so symbolic ones become fresh. Kind any where nothing is known.
Type item_type(const Type& sequence);
// A sequence type, or any; else an error naming the operand.
void require_sequence(const OpView& op, size_t i);
// Position in [-n, n) (with `end`: [-n, n]) made non-negative; an out-of-range one is an error.
int64_t position(const Call& call, size_t operand, int64_t n, bool end);

}  // namespace bascule::ops
