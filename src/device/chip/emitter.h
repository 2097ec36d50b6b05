// device/chip/emitter.h — writes a Program: buffers at addresses that are reused as they are released, instructions with the waits that their
// accesses need. Mappers say what to compute and where; order between engines follows from who reads and writes what.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "device/chip/program.h"

namespace bascule::device::chip {

class Emitter {
 public:
  Emitter(const Chip& chip, std::string model, int64_t cores);
  ~Emitter();

  const Chip& chip() const { return chip_; }

  // ---- queues, made when first asked for
  int32_t matrix(int32_t core = 0);
  int32_t engine(std::string_view name, int32_t core = 0);  // InternalError if the chip has none of that name
  int32_t dma(int32_t channel, int32_t core = 0);           // any number of channels; they share the core's DMA bandwidth
  int32_t collective(int32_t core = 0);
  int32_t host();

  // ---- buffers
  // In main memory: allocated once; `rows` is 1. CapacityError names the value when the memory is full.
  int32_t main(std::string name, Buffer::Use use, DType dtype, int64_t elements, Value value = kNoValue);
  // In a local memory of a core: the first free place after the last one given out, so that places are reused as late as possible (this is what lets
  // loads run ahead). -1 when nothing that large is free. A buffer no larger than an accumulator's bank does not cross one.
  // With `spread` cores working alike, `core` stands for all of them: each gives 1/spread of the bytes.
  int32_t local(Role memory, std::string name, DType dtype, int64_t rows, int64_t row_elements, int32_t core = 0, int32_t spread = 1);
  // Room at the start of a partitioned memory, before anything lies there: of local_weight() alone, so that what a weight fills was nobody's before.
  void keep_for_weights(Role memory, int64_t partition_bytes, int32_t core = 0);
  int32_t local_weight(Role memory, std::string name, DType dtype, int64_t rows, int64_t row_elements, int32_t core = 0);
  // Its place may be given out again; who takes it waits for this buffer's last users.
  void release(int32_t buffer);
  // The next local buffer is placed from the start of the memory on, as all were before the first: room for large ones stays in one piece.
  void rewind(Role memory, int32_t core = 0);
  int64_t largest_free(Role memory, int32_t core = 0) const;  // bytes (of a partition) that local() could still place in one piece
  int64_t capacity(Role memory) const;                        // bytes of a partition of a local memory; 0 if the chip has none
  const Buffer& buffer(int32_t id) const { return program_.buffers[static_cast<size_t>(id)]; }

  // ---- accesses
  // All of a buffer: [rows, row_elements]; of linear ones [elements].
  Access whole(int32_t buffer) const;
  // Rows row0 .. row0+rows and columns column0 .. column0+columns of a local buffer.
  Access box(int32_t buffer, int64_t row0, int64_t rows, int64_t column0, int64_t columns) const;
  // Any pattern; sizes and strides outermost first, at most Access::kMostDims.
  static Access strided(int32_t buffer, int64_t offset, const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides);

  // ---- code
  int32_t begin_step(StepInfo info);  // instructions belong to the step begun last
  StepInfo& step() { return program_.steps.back(); }
  int32_t emit(Instruction i);  // its number; queue, op, accesses ... set by the caller; step and waits by the emitter
  // Work of the step on the host, from whole main-memory buffers to whole ones. An instruction names three operands and two results; copies over the
  // same link tie the others to it.
  void host_work(std::vector<int32_t> in, std::vector<int32_t> out);
  void note(std::string text);  // once each

  Program& program() { return program_; }
  // Peaks, queue names; nothing may be emitted after.
  Program finish();
  // Takes over the room that a program no longer wanted has for its code.
  void reuse(Program&& old);

 private:
  struct Use {                  // a box of a buffer touched by an instruction
    int64_t low = 0, high = 0;  // linear element range, inclusive
    int64_t pitch = 0;          // > 0: rows of this many elements; the box is columns column_low .. column_high of rows row_low .. row_high
    int64_t row_low = 0, row_high = 0, column_low = 0, column_high = 0;
    int32_t queue = 0, count = 0;
    bool accumulate = false;
  };
  struct Tracked {
    std::vector<Use> writes, reads;
    std::vector<Wait> before;    // last users of the place before this buffer had it
    int64_t begin = 0, end = 0;  // the place, while it has it
  };
  struct Free {
    int64_t end = 0;
    std::vector<Wait> last;  // who used it last; neighbours that differ in this stay apart
  };
  struct Pool {
    std::map<int64_t, Free> free;     // by begin; all else is taken
    std::map<int64_t, int64_t> runs;  // of free places side by side: begin, end
    int64_t next = 0;              // where the search goes on
    int64_t used = 0, peak = 0;
    int64_t weights = 0;           // bytes at the start that only local weights take
  };
  int32_t queue(Queue::Kind kind, int32_t index, int32_t core, std::string_view name);
  Pool& pool(Role role, int32_t core);
  int32_t add(Pool& p, Buffer b, int64_t bytes, int64_t bank_bytes, bool from_next);
  static int64_t untouched(const Pool& p, int64_t start, int64_t end, int64_t bytes);
  static void take(Pool& p, Tracked& t);
  static void give_back(Pool& p, int64_t begin, int64_t end, std::vector<Wait> last);
  Use box_of(const Access& a) const;
  static bool overlap(const Use& a, const Use& b);
  static bool covers(const Use& a, const Use& b);
  void depend(int32_t buffer, const Use& mine, bool write, bool accumulate, int32_t queue);
  void record(int32_t buffer, const Use& mine, bool write);

  const Chip& chip_;
  Program program_;
  std::map<std::tuple<Queue::Kind, int32_t, int32_t>, int32_t> queues_;  // kind; engine or channel; core
  std::vector<int32_t> issued_;             // instructions of each queue so far
  std::vector<std::vector<int32_t>> seen_;  // [queue][other]: the count it has already waited for
  std::vector<Tracked> tracked_;
  std::vector<Wait> waits_;  // of the instruction being emitted
  std::map<std::pair<Role, int32_t>, Pool> pools_;
};

}  // namespace bascule::device::chip
