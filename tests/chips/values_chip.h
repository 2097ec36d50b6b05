// tests/chips/values_chip.h — a chip with the shape of a NeuronCore and little memory, and programs for it by hand.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/error.h"
#include "device/chip/emitter.h"
#include "device/chip/values.h"
#include "graph/builder.h"
#include "tests/chips/small_memory.h"

namespace bascule::device::chip {

// 128 partitions of 4 KiB of scratchpad, of 8 banks of 256 bytes of accumulator (64 f32).
inline Chip small_core() {
  Chip c;
  c.name = "small";
  c.level = Level::instruction;
  c.matrix.name = "tensor";
  c.matrix.rows = c.matrix.cols = 128;
  c.matrix.max_moving = 64;
  c.matrix.passes = {{DType::f32, 4}, {DType::bf16, 1}};
  for (const char* name : {"vector", "scalar"}) {
    Engine e;
    e.name = name;
    for (auto& of_class : e.rates) of_class[0] = ClassRate{1, 0};
    c.engines.push_back(e);
  }
  c.engines[1].rates[static_cast<size_t>(WorkClass::reduce)] = {};
  c.memories.push_back(memory("hbm", Role::main, 1 << 20, 1, 1));
  c.memories.push_back(memory("sbuf", Role::scratchpad, 128 * 4096, 128, 1));
  c.memories.push_back(memory("psum", Role::accumulator, 128 * 2048, 128, 8));
  c.dma.transpose_rate = 0;
  return c;
}

// A program by hand over a graph that only says what goes in and comes out: y (and more) as large as asked.
struct ByHand {
  explicit ByHand(const Chip& c) : chip(c), e(c, "by hand", 1) { e.begin_step({.name = "dot_general", .origin = make_origin({"MatMul 'q'"})}); }
  const Chip& chip;
  Emitter e;
  Builder b;
  std::vector<Tensor> inputs;
  std::vector<Value> outputs;

  // A main-memory buffer that holds `t`, as the chip's type.
  int32_t input(const Tensor& t, DType stored) {
    Dims dims;
    for (const int64_t d : t.dims()) dims.push_back(d);
    const Value v = b.input(Type::tensor(t.dtype(), dims), "x" + std::to_string(inputs.size()));
    inputs.push_back(t);
    return e.main("x", Buffer::input, stored, t.elements(), v);
  }
  // A main-memory buffer for an output of the graph.
  int32_t output(DType t, std::vector<int64_t> dims, DType stored) {
    Dims sizes;
    for (const int64_t d : dims) sizes.push_back(d);
    const Value y = b.op("absent", {}, {{"dtype", t}, {"dims", sizes}, {"reason", std::string("the program makes it")}});
    outputs.push_back(y);
    return e.main("y", Buffer::output, stored, element_count(dims), y);
  }
  int32_t sbuf(const char* name, DType t, int64_t rows, int64_t n) { return e.local(Role::scratchpad, name, t, rows, n); }
  int32_t psum(const char* name, int64_t rows, int64_t n, DType t = DType::f32) { return e.local(Role::accumulator, name, t, rows, n); }
  Access rows(int32_t buffer, int64_t r, int64_t n, int64_t offset = 0) { return Emitter::strided(buffer, offset, {r, n}, {n, 1}); }

  int32_t copy(int32_t queue, Access out, Access in) { return emit({.op = Opcode::copy, .queue = queue, .out = out, .in = {in}}); }
  int32_t emit(Instruction i) { return e.emit(i); }
  int32_t load(int32_t buffer, int32_t from) {
    const Buffer& t = e.buffer(buffer);
    return copy(e.dma(0), e.whole(buffer), rows(from, t.rows, t.row_elements));
  }
  void store(int32_t to, int32_t from) {
    const Buffer& t = e.buffer(from);
    copy(e.dma(0), rows(to, t.rows, t.row_elements), e.whole(from));
  }
  std::vector<Tensor> run() {
    const Graph g = b.finish(outputs);
    return execute(chip, e.finish(), g, inputs);
  }
  std::string error() {
    try {
      run();
    } catch (const Error& x) {
      return std::string(x.kind_name()) + ": " + x.what();
    }
    return "";
  }
};

inline Tensor numbers(DType t, std::vector<int64_t> dims, double seed = 0) {
  Tensor x(DType::f32, dims);
  for (float& v : x.as_mutable<float>()) v = static_cast<float>(std::sin(seed += 0.7));
  if (t == DType::f32) return x;
  return Tensor::from_doubles(t, dims, x.doubles());
}

}  // namespace bascule::device::chip
