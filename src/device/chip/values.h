// device/chip/values.h — runs a Program on numbers, instruction by instruction, in the chip's arithmetic: inputs rounded to their buffers' types,
// products in f32 accumulated in program order, every store rounded. It is also the checker: what hardware would refuse is an error here.
#pragma once
#include <map>
#include <vector>

#include "device/chip/program.h"
#include "graph/tensor.h"

namespace bascule::device::chip {

// What the program of `graph` (bound, as given to map()) answers to `inputs` (as graph.inputs). DeviceError, naming instruction and source node:
// an element read before it was written, an access outside its buffer, a buffer outside its memory, buffers alive together that overlap, a matmul
// tile beyond the array or across an accumulator bank, an engine on a memory it has no port to, a wait that can never end, and a wait that is missing:
// an element read or overwritten by an instruction that nothing orders after its last writer or reader.
std::vector<Tensor> execute(const Chip& chip, const Program& program, const Graph& graph, const std::vector<Tensor>& inputs);

// The checks that need no numbers. Empty if all hold; else one line each, at most 20.
std::vector<std::string> check(const Chip& chip, const Program& program);

}  // namespace bascule::device::chip
