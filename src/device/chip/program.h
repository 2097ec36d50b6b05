// device/chip/program.h — what a modelled chip runs: one in-order instruction stream per engine and DMA queue, meeting at semaphores, over buffers
// with addresses. Made by map.h; timed by timing.h; executed on numbers by values.h; read by people as text().
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "device/chip/chip.h"
#include "graph/op_def.h"
#include "loops/op.h"

namespace bascule::device::chip {

enum class Opcode : uint8_t {
  copy,        // out = in0, cast to out's type. On a DMA queue: any memories; on an engine: scratchpad and accumulator
  gather,      // out[i, ...] = in0[clamp(in1[i]), ...]: rows of in0 (its sizes[0] rows, step strides[0]) by index
  scatter,     // out[in1[i], ...] = in0[i, ...], or (fn other than load) out[...] = fn(out[...], in0[i, ...]), for each i in order; indices outside of
               // out's sizes[0] rows are left out, rows that no index names stay as they are
  matmul,      // out[m, n...] (+)= sum_k in0[k, m] * in1[k, n...]; accumulates when `accumulate`. With `batch` and `folded`:
               // out[b..., m..., n...] (+)= sum over k... of in0[b..., k..., m...] * in1[b..., k..., n...]
  transpose,   // out[i, j] = in0[j, i]
  map,         // out = fn(in0, in1, in2), elementwise; an operand without buffer is `immediate`
  activate,    // out = fn(in0 * s + in1), s = in2 if present, else `scale`; in1 absent: + immediate; fn load: as it is. in1 and in2 repeat by strides
               // of 0. fn of two operands: out = fn(in0 * s + in1, immediate). With out2: out2[row] = sum of out over the free dimensions
  reduce,      // out[i0, 1...] = fold by fn over all dimensions of in0 but the first `kept`; accumulates into out when `accumulate`
  stats,       // out[i0, 0] = mean, out[i0, 1] = variance of in0 over the free dimensions
  scan,        // running fold by fn along the last dimension
  fill,        // out = immediate
  iota,        // out[i...] = immediate + i along dimension `kept`
  host,        // nodes that the chip cannot run: on the host, between transfers over the host link
  collective,  // among the ranks r, each with its own in0 and out. fn load: all_gather, out[i, r, j] = in0[i, j] of rank r; else all_reduce, out[...] =
               // fold by fn of in0[...] over the ranks in their order. Starts when all have come to it
};
const char* name(Opcode op);

// Elements of a buffer: element (i0, i1, ...) at offset + sum_k i[k] * strides[k], in elements of the buffer's type. In partitioned memories
// dimension 0 is the partition: its stride is the buffer's row_elements.
struct Access {
  static constexpr int kMostDims = 5;
  int32_t buffer = -1;
  int32_t rank = 0;
  int64_t offset = 0;
  std::array<int32_t, kMostDims> sizes{};
  std::array<int64_t, kMostDims> strides{};

  explicit operator bool() const { return buffer >= 0; }
  int64_t elements() const {
    int64_t n = 1;
    for (int k = 0; k < rank; ++k) n *= sizes[static_cast<size_t>(k)];
    return n;
  }
  int64_t rows() const { return rank > 0 ? sizes[0] : 1; }  // partitions
  int64_t free() const { return rows() > 0 ? elements() / rows() : 0; }
};

// How a weight was laid out when the model was compiled: element i of the buffer, in row-major order over `dims`, is the value's element
// offset + sum_k i[k] * strides[k], 0 where that lies beyond the value (padding to whole tiles). The product of dims is the buffer's elements.
struct Arrangement {
  std::vector<int64_t> dims, strides;
  int64_t offset = 0;
};

struct Buffer {
  enum Use : uint8_t { input, weight, output, activation, scratch };
  std::string name;
  Role memory = Role::main;
  DType dtype = DType::f32;
  Use use = scratch;
  int64_t rows = 1;          // partitions; 1 in linear memories
  int64_t row_elements = 0;  // elements of one row
  int64_t address = 0;       // bytes from the start of the memory (of each partition, in partitioned ones)
  int32_t core = -1;         // owner of local memory; -1 in main memory
  Value value = kNoValue;    // input, weight, output: the graph's value it holds, dense in row-major order unless arranged
  int32_t arrangement = -1;  // weight: into Program::arrangements; -1: dense. A weight in local memory is there before the first instruction
  int32_t spread = 1;        // local: its elements lie evenly over this many cores alike, each of which gives 1/spread of the bytes
  int64_t elements() const { return rows * row_elements; }
  int64_t row_bytes() const { return storage_bytes(dtype, row_elements); }
};

// Starts only when `queue` has finished its first `count` instructions.
struct Wait {
  int32_t queue = 0;
  int32_t count = 0;
};

struct Instruction {
  Opcode op = Opcode::copy;
  loops::Op fn = loops::Op::load;
  WorkClass work = WorkClass::copy;
  bool accumulate = false;
  int8_t kept = 1;
  int32_t queue = 0;  // index into Program::queues: an engine or DMA queue of a core
  int32_t step = -1;  // index into Program::steps: the source
  Access out, in[3], out2;
  float scale = 1, immediate = 0;
  int32_t wait_first = 0, wait_count = 0;  // in Program::waits
  int8_t batch = 0, folded = 1;            // matmul: leading dimensions that in0, in1 and out share, and dimensions of k after them
  // Tile and roofline level: one instruction may stand for many tiles, on which `cores` cores (of all chips) work side by side:
  //   interval = launches * software.operator_ns + waves * software.wave_ns + max(compute, cache, main)
  //   compute  = matmul: flops / (peak_flop_per_s(type of in0) * achieved) + fill_cycles; others: elements / cores at the class's rate; DMA: at the rate of
  //              `cores` cores' DMA
  //   cache    = cache_bytes / (the cache's read_bytes_per_cycle * matrix.clock_hz)
  //   main     = main_bytes / (main memory's bytes_per_s * achieved * chips; of the stacks that the cores in use share)
  int32_t cores = 1;
  int32_t launches = 0, waves = 0;
  double flops = 0;        // matmul: of the busiest core, padded to whole tiles; 0: 2 multiply-adds of the accesses / cores
  double cache_bytes = 0;  // of the busiest core
  double main_bytes = 0;   // of all cores together: what engines that work on main memory through a cache read and write there (DMA: from its accesses)
};

// The table that a gather or scatter reaches into by index: its size says nothing of the work. nullptr: another instruction.
inline const Access* table_of(const Instruction& i) { return i.op == Opcode::gather ? &i.in[0] : i.op == Opcode::scatter ? &i.out : nullptr; }
// The rows that move to or from the table.
inline const Access& rows_of(const Instruction& i) { return i.op == Opcode::gather ? i.out : i.in[0]; }

// An engine or DMA queue of a core.
struct Queue {
  enum Kind : uint8_t { matrix, engine, dma, collective, host };
  Kind kind = engine;
  int32_t engine_index = -1;  // kind engine: into Chip::engines
  int32_t core = 0;
  std::string name;  // "tensor", "vector", "dma0"
};

// What one part of the source model became.
struct StepInfo {
  std::string name;  // "dot_general + gelu"
  Origin origin;
  Work work;           // of its nodes
  std::string choice;  // how it was mapped, readable: "stationary=rows n=256 m=1024 weights=kept of 1024x768x3072"
  std::string host;    // reason why it runs on the host, "" if it does not
  std::vector<int32_t> nodes;  // of the mapped graph: those a `host` instruction runs, on the main-memory buffers that hold their values
};

// Code of one rank: `ranks` of them run it alike, each on cores and memories of its own and with its part of the data (passes/shard.h). Rank r lies on
// chip r / (ranks / chips); collectives join them. A program of one rank may use several cores: queues say which.
struct Program {
  std::string chip, model;
  int64_t cores = 1;  // of each chip that takes part
  int64_t chips = 1;  // that take part
  int64_t ranks = 1;
  DType precision = DType::bf16;  // of matrix inputs
  std::vector<Queue> queues;
  std::vector<Buffer> buffers;
  std::vector<Instruction> code;  // in an order in which every instruction stands after those it waits for
  std::vector<Wait> waits;
  std::vector<Arrangement> arrangements;
  std::vector<StepInfo> steps;
  int64_t input_bytes = 0, output_bytes = 0;            // over the host link of a chip
  int64_t weight_bytes = 0;                             // in main memory, of one rank
  int64_t main_bytes = 0;                               // peak of main memory, of one rank
  int64_t scratchpad_bytes = 0, accumulator_bytes = 0;  // peak of one core
  bool weights_resident = false;                        // stay on chip between requests
  std::string spread;                                   // how ranks were chosen, to be pinned: "cores=2 chips=1 split=batch"; "" where there was no choice
  std::vector<std::string> notes;                       // assumptions and estimates made while mapping

  int64_t ranks_of_chip() const { return ranks / chips; }
  int64_t cores_of_rank() const { return cores / ranks_of_chip(); }
  std::string text() const;  // the whole program, readable
};

// Main memory that one rank may fill: the chips' share of it.
int64_t main_capacity(const Chip& chip, const Program& program);

// When a buffer is in use: from the first to the last instruction (in order of `code`) that touches it.
struct Lifetime {
  int32_t buffer = 0;
  int32_t first = 0, last = 0;
};
std::vector<Lifetime> lifetimes(const Program& program);  // by first use; buffers that nothing touches are left out

}  // namespace bascule::device::chip
