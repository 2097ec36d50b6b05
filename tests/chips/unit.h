// tests/chips/unit.h — a chip small enough for schedules by hand: every engine takes one element (a lane and cycle) in a nanosecond.
#pragma once
#include <string>

#include "device/chip/emitter.h"
#include "device/chip/timing.h"
#include "tests/chips/small_memory.h"

namespace bascule::device::chip {

// 4 partitions everywhere. Moving [4, n] f32 takes n ns by DMA and from main memory; a map or copy of it n ns on an engine; a product of N columns N ns.
inline Chip unit_chip() {
  Chip c;
  c.name = "unit";
  c.level = Level::instruction;
  c.matrix.name = "tensor";
  c.matrix.clock_hz = 1e9;
  c.matrix.rows = c.matrix.cols = c.matrix.lanes = 4;
  c.matrix.passes = {{DType::f32, 1}, {DType::bf16, 1}};
  for (const char* name : {"vector", "scalar", "gpsimd"}) {
    Engine e;
    e.name = name;
    e.clock_hz = 1e9;
    e.lanes = 4;
    for (auto& of_class : e.rates) of_class[0] = ClassRate{1, 0};
    c.engines.push_back(e);
  }
  c.memories.push_back(memory("hbm", Role::main, 1 << 20, 1, 1));
  c.memories.back().bytes_per_s = 16e9;
  c.memories.push_back(memory("sbuf", Role::scratchpad, 4 * 4096, 4, 1));
  c.memories.push_back(memory("psum", Role::accumulator, 4 * 256, 4, 2));
  c.dma.engines = 4;
  c.dma.bytes_per_s = 4e9;
  return c;
}

// Shorthand for programs by hand.
struct Hand {
  explicit Hand(const Chip& c, int64_t cores = 1) : chip(c), e(c, "by hand", cores) { e.begin_step({.name = "only"}); }
  const Chip& chip;
  Emitter e;
  int32_t main(int64_t elements) { return e.main("m", Buffer::activation, DType::f32, elements); }
  int32_t sbuf(int64_t n, int32_t core = 0) { return e.local(Role::scratchpad, "s", DType::f32, 4, n, core); }
  int32_t psum(int64_t n, int32_t core = 0) { return e.local(Role::accumulator, "p", DType::f32, 4, n, core); }
  // Columns of a main memory buffer as [4, n].
  Access rows(int32_t buffer, int64_t n, int64_t offset = 0) { return Emitter::strided(buffer, offset, {4, n}, {n, 1}); }
  int32_t load(int32_t queue, int32_t to, int32_t from) { return copy(queue, e.whole(to), rows(from, e.buffer(to).row_elements)); }
  int32_t store(int32_t queue, int32_t to, int32_t from) { return copy(queue, rows(to, e.buffer(from).row_elements), e.whole(from)); }
  int32_t copy(int32_t queue, Access out, Access in) {
    Instruction i;
    i.queue = queue;
    i.out = out;
    i.in[0] = in;
    return e.emit(i);
  }
  int32_t map(int32_t queue, int32_t out, int32_t in) {
    Instruction i;
    i.op = Opcode::map;
    i.work = WorkClass::arith;
    i.fn = loops::Op::add;
    i.immediate = 1;
    i.queue = queue;
    i.out = e.whole(out);
    i.in[0] = e.whole(in);
    return e.emit(i);
  }
  int32_t matmul(int32_t out, int32_t stationary, int32_t moving, bool accumulate = false) {
    Instruction i;
    i.op = Opcode::matmul;
    i.work = WorkClass::matmul;
    i.accumulate = accumulate;
    i.queue = e.matrix(e.buffer(out).core);
    i.out = e.whole(out);
    i.in[0] = e.whole(stationary);
    i.in[1] = e.whole(moving);
    return e.emit(i);
  }
};

}  // namespace bascule::device::chip
