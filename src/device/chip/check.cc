// device/chip/check.cc — what a chip would refuse of a program, found without running it: places, shapes, ports, tile limits, waits.
#include <algorithm>
#include <functional>

#include "base/error.h"
#include "device/chip/values.h"
#include "device/chip/values_memory.h"
#include "loops/spec.h"

namespace bascule::device::chip {
namespace {

constexpr size_t kMostLines = 20;
constexpr int64_t kMostElements = int64_t{1} << 40;  // of one access: its products stay far from overflow

// Limits of one NeuronCore instruction (level `instruction`): access patterns hold 16-bit sizes and strides, 64 Ki elements of a scratchpad partition
// and 4 Ki of an accumulator's.
constexpr int64_t kMostSize = 65535, kMostStride = 32767, kMostScratchpadFree = 65536, kMostAccumulatorFree = 4096;

const char* memory_name(const Chip& chip, Role r) {
  for (const Memory& m : chip.memories)
    if (m.role == r) return m.name.c_str();
  return r == Role::main ? "main memory" : r == Role::scratchpad ? "a scratchpad" : r == Role::accumulator ? "an accumulator" : "a cache";
}

class Checker {
 public:
  Checker(const Chip& chip, const Program& program) : chip_(chip), p_(program) {}

  std::vector<std::string> run() {
    buffers();
    if (!lines_.empty()) return std::move(lines_);  // accesses mean nothing in buffers that do not
    weights();
    std::vector<int32_t> issued(p_.queues.size(), 0), totals(p_.queues.size(), 0);
    for (const Instruction& i : p_.code)
      if (i.queue >= 0 && i.queue < static_cast<int32_t>(p_.queues.size())) ++totals[static_cast<size_t>(i.queue)];
    for (size_t k = 0; k < p_.code.size() && lines_.size() < kMostLines; ++k) {
      at_ = static_cast<int64_t>(k);
      const Instruction& i = p_.code[k];
      if (i.queue < 0 || i.queue >= static_cast<int32_t>(p_.queues.size())) {
        refuse("a queue of the program", "queue " + std::to_string(i.queue));
        continue;
      }
      if (i.step >= static_cast<int32_t>(p_.steps.size())) refuse("a step of the program", "step " + std::to_string(i.step));
      waits(i, issued, totals);
      if (accesses(i) && shapes(i)) engine(i);
      ++issued[static_cast<size_t>(i.queue)];
    }
    if (lines_.empty() && std::any_of(p_.buffers.begin(), p_.buffers.end(), [](const Buffer& b) { return b.spread > 1; })) spread();
    return std::move(lines_);
  }

 private:
  void line(const std::string& at, const std::string& expected, const std::string& found) {
    if (lines_.size() < kMostLines) lines_.push_back(at + ": expected " + expected + ", found " + found);
  }
  bool refuse(const std::string& expected, const std::string& found) {
    line(where(p_, at_), expected, found);
    return false;
  }
  const Buffer& buffer(const Access& a) const { return p_.buffers[static_cast<size_t>(a.buffer)]; }
  const Memory* memory(Role r) const {
    switch (r) {
      case Role::main: return &chip_.main();
      case Role::scratchpad: return chip_.scratchpad();
      case Role::accumulator: return chip_.accumulator();
      case Role::cache: return nullptr;
    }
    return nullptr;
  }
  bool partitioned(const Buffer& b) const {
    const Memory* m = b.memory == Role::main ? nullptr : memory(b.memory);
    return m && m->partitions > 1;
  }
  static std::string quoted(const std::string& s) { return "'" + escaped(s) + "'"; }

  void buffers() {
    for (const Buffer& b : p_.buffers) {
      const std::string at = "chip:" + p_.chip + ": buffer " + quoted(b.name);
      const Memory* m = memory(b.memory);
      if (!m) {
        line(at, "a memory that the chip has", memory_name(chip_, b.memory));
        continue;
      }
      if (is_string(b.dtype) || is_complex(b.dtype)) line(at, "real numbers", std::string(info(b.dtype).name));
      const bool parts = partitioned(b);
      if (b.rows < 0 || b.row_elements < 0 || b.address < 0 || b.rows > kMostElements || b.row_elements > kMostElements || b.elements() > kMostElements) {
        line(at, "sizes and an address that are not negative and not huge", std::to_string(b.rows) + " x " + std::to_string(b.row_elements) + " at " + std::to_string(b.address));
        continue;
      }
      if (b.memory != Role::main && (b.core < 0 || b.core >= std::max<int64_t>(p_.cores, 1)))
        line(at, "a core from 0 to " + std::to_string(p_.cores - 1), "core " + std::to_string(b.core));
      if (parts && b.rows > m->partitions) line(at, "at most " + std::to_string(m->partitions) + " partitions of " + m->name, std::to_string(b.rows));
      const int64_t capacity = parts ? m->bytes / m->partitions : b.memory == Role::main ? main_capacity(chip_, p_) : m->bytes;
      const int64_t bytes = place_bytes(b);
      if (b.spread < 1 || (b.spread > 1 && b.memory == Role::main)) line(at, "to be spread over at least one core", std::to_string(b.spread));
      if (b.address > capacity || bytes > capacity - b.address)
        line(at, std::string("a place within the ") + std::to_string(capacity) + " bytes of " + (parts ? "a partition of " : "") + m->name, "bytes " + std::to_string(b.address) + " to " + std::to_string(b.address + bytes));
      if (b.arrangement >= 0) arrangement(b, at);
      const int64_t unit = std::max(1, info(b.dtype).storage_bits / 8);
      if (b.address % unit != 0) line(at, "an address that is a multiple of " + std::to_string(unit), std::to_string(b.address));
    }
  }

  // Of the memory (of each partition), on each of the cores it is spread over.
  int64_t place_bytes(const Buffer& b) const {
    const int64_t bytes = partitioned(b) ? b.row_bytes() : storage_bytes(b.dtype, b.elements());
    const int64_t cores = std::max(b.spread, 1);
    return (bytes + cores - 1) / cores;
  }

  // Buffers that lie in the memories of several cores: who shares their place must live at another time.
  void spread() {
    std::vector<Lifetime> alive;
    for (const Lifetime& l : lifetimes(p_)) {
      const Buffer& b = p_.buffers[static_cast<size_t>(l.buffer)];
      if (b.memory == Role::main) continue;
      std::erase_if(alive, [&](const Lifetime& o) { return o.last < l.first; });
      for (const Lifetime& o : alive) {
        const Buffer& other = p_.buffers[static_cast<size_t>(o.buffer)];
        if (other.memory != b.memory || other.core != b.core || (other.spread == 1 && b.spread == 1)) continue;
        if (b.address < other.address + place_bytes(other) && other.address < b.address + place_bytes(b)) {
          at_ = l.first;
          refuse("buffer " + quoted(b.name) + " in a place of its own", "that of " + quoted(other.name) + ", which is in use until instruction " + std::to_string(o.last));
        }
      }
      alive.push_back(l);
    }
  }

  void arrangement(const Buffer& b, const std::string& at) {
    if (b.use != Buffer::weight || b.arrangement >= static_cast<int32_t>(p_.arrangements.size())) {
      line(at, "an arrangement of the program, of a weight", "number " + std::to_string(b.arrangement));
      return;
    }
    const Arrangement& a = p_.arrangements[static_cast<size_t>(b.arrangement)];
    if (a.dims.size() != a.strides.size() || element_count(a.dims) != b.elements()) line(at, "an arrangement of its " + std::to_string(b.elements()) + " elements", std::to_string(element_count(a.dims)));
  }

  // Weights stay from request to request: nothing else may lie there.
  void weights() {
    std::vector<const Buffer*> main;
    for (const Buffer& b : p_.buffers)
      if (b.memory == Role::main && b.elements() > 0) main.push_back(&b);
    std::sort(main.begin(), main.end(), [](const Buffer* a, const Buffer* b) { return a->address < b->address; });
    const Buffer *last = nullptr, *last_weight = nullptr;  // those that reach furthest
    const auto end = [](const Buffer* b) { return b ? b->address + storage_bytes(b->dtype, b->elements()) : 0; };
    for (const Buffer* b : main) {
      const bool weight = b->use == Buffer::weight;
      const Buffer* before = weight ? last : last_weight;
      if (before && end(before) > b->address) line("chip:" + p_.chip + ": buffer " + quoted(b->name), "a place of its own: weights stay", "that of " + quoted(before->name));
      if (end(b) > end(last)) last = b;
      if (weight && end(b) > end(last_weight)) last_weight = b;
    }
  }

  void waits(const Instruction& i, const std::vector<int32_t>& issued, const std::vector<int32_t>& totals) {
    if (i.wait_first < 0 || i.wait_count < 0 || static_cast<size_t>(i.wait_first) + static_cast<size_t>(i.wait_count) > p_.waits.size()) {
      refuse("waits of the program", std::to_string(i.wait_count) + " from " + std::to_string(i.wait_first));
      return;
    }
    for (int32_t k = i.wait_first; k < i.wait_first + i.wait_count; ++k) {
      const Wait& w = p_.waits[static_cast<size_t>(k)];
      if (w.queue < 0 || w.queue >= static_cast<int32_t>(p_.queues.size()) || w.count < 0) {
        refuse("a wait for a queue of the program", "queue " + std::to_string(w.queue));
        continue;
      }
      const auto q = static_cast<size_t>(w.queue);
      if (w.count > totals[q]) {
        refuse("a wait that can end", "one for instruction " + std::to_string(w.count) + " of " + p_.queues[q].name + ", which runs " + std::to_string(totals[q]));
      } else if (w.count > issued[q]) {
        refuse("a wait that can end", "one for instruction " + std::to_string(w.count) + " of " + p_.queues[q].name + ", which stands " + (w.queue == i.queue ? "behind it in its own queue" : "after it"));
      }
    }
  }

  bool accesses(const Instruction& i) {
    bool good = true;
    const auto look = [&](const Access& a, const char* what, bool write) {
      if (!a) return;
      if (!inside(a, what)) {
        good = false;
        return;
      }
      if (!write) return;
      if (buffer(a).use == Buffer::weight) good = refuse("weights that are only read", std::string(what) + " in " + quoted(buffer(a).name));
      for (int k = 0; k < a.rank; ++k)
        if (a.strides[static_cast<size_t>(k)] == 0 && a.sizes[static_cast<size_t>(k)] > 1) good = refuse("each element written once", std::string(what) + " with stride 0");
    };
    look(i.out, "out", true);
    look(i.out2, "out2", true);
    for (int k = 0; k < 3; ++k) look(i.in[k], k == 0 ? "in0" : k == 1 ? "in1" : "in2", false);
    return good;
  }

  bool inside(const Access& a, const std::string& what) {
    if (a.buffer >= static_cast<int32_t>(p_.buffers.size())) return refuse("a buffer of the program", what + " in buffer " + std::to_string(a.buffer));
    const Buffer& b = buffer(a);
    const std::string name = what + " of buffer " + quoted(b.name);
    if (a.rank < 0 || a.rank > Access::kMostDims) return refuse("at most " + std::to_string(Access::kMostDims) + " dimensions", std::to_string(a.rank) + " in " + name);
    __int128 low = a.offset, high = a.offset, count = 1;
    __int128 column_low = 0, column_high = 0, row_low = 0, row_high = 0;
    const bool parts = partitioned(b) && b.row_elements > 0;
    for (int k = 0; k < a.rank; ++k) {
      const auto j = static_cast<size_t>(k);
      if (a.sizes[j] < 0) return refuse("sizes that are not negative", std::to_string(a.sizes[j]) + " in " + name);
      count *= a.sizes[j];
      const __int128 reach = static_cast<__int128>(a.sizes[j] - 1) * a.strides[j];
      if (a.sizes[j] == 0) continue;
      (reach < 0 ? low : high) += reach;
      if (!parts) continue;
      const bool rows = a.strides[j] % b.row_elements == 0 && (b.row_elements > 1 || k == 0);
      const __int128 steps = rows ? reach / b.row_elements : reach;
      (rows ? (steps < 0 ? row_low : row_high) : (steps < 0 ? column_low : column_high)) += steps;
    }
    if (count == 0) return true;
    if (count > kMostElements) return refuse("at most 2^40 elements", name + " with more");
    if (low < 0 || high >= b.elements())
      return refuse("an access within the " + std::to_string(b.elements()) + " elements of " + quoted(b.name), what + " from element " + std::to_string(static_cast<int64_t>(low)) + " to " + std::to_string(static_cast<int64_t>(high)));
    if (!parts) return true;
    const int64_t column = a.offset % b.row_elements, row = a.offset / b.row_elements;
    if (column + column_low < 0 || column + column_high >= b.row_elements)
      return refuse("an access within the " + std::to_string(b.row_elements) + " elements of a row of " + quoted(b.name), what + " from column " + std::to_string(static_cast<int64_t>(column + column_low)) + " to " + std::to_string(static_cast<int64_t>(column + column_high)));
    if (row + row_low < 0 || row + row_high >= b.rows)
      return refuse("partitions 0 to " + std::to_string(b.rows - 1) + " of " + quoted(b.name), what + " of partitions " + std::to_string(static_cast<int64_t>(row + row_low)) + " to " + std::to_string(static_cast<int64_t>(row + row_high)));
    return true;
  }

  static std::string sizes(const Access& a) {
    std::string s = "[";
    for (int k = 0; k < a.rank; ++k) s += (k ? "," : "") + std::to_string(a.sizes[static_cast<size_t>(k)]);
    return s + "]";
  }
  // As values.cc reads operands: the same count, or dimensions of 1 (or missing at the end) that repeat.
  static bool repeats(const Access& a, const Access& like) {
    if (a.elements() == like.elements()) return true;
    if (a.rank > like.rank) return false;
    for (int k = 0; k < a.rank; ++k)
      if (const int32_t n = a.sizes[static_cast<size_t>(k)]; n != 1 && n != like.sizes[static_cast<size_t>(k)]) return false;
    return true;
  }

  // out[b..., m..., n...] from in0[b..., k..., m...] and in1[b..., k..., n...].
  bool product(const Instruction& i) {
    const Access &x = i.in[0], &y = i.in[1], &out = i.out;
    const int inner = i.batch + i.folded;
    if (i.batch < 0 || i.folded < 1 || inner > x.rank || inner > y.rank || i.batch > out.rank) return refuse("operands of at least " + std::to_string(inner) + " dimensions", sizes(x) + " and " + sizes(y));
    int64_t batches = 1, k = 1;
    for (int d = 0; d < inner; ++d) {
      const auto j = static_cast<size_t>(d);
      if (x.sizes[j] != y.sizes[j] || (d < i.batch && x.sizes[j] != out.sizes[j])) return refuse("one K of both operands", sizes(x) + " and " + sizes(y));
      (d < i.batch ? batches : k) *= x.sizes[j];
    }
    if (batches == 0 || k == 0) return true;
    const int64_t m = x.elements() / batches / k, n = y.elements() / batches / k;
    if (out.elements() != batches * m * n) return refuse("a result of " + std::to_string(batches * m) + " rows of " + std::to_string(n), sizes(out));
    return true;
  }

  bool shapes(const Instruction& i) {
    const Access &out = i.out, &x = i.in[0], &y = i.in[1];
    const auto need = [&](const Access& a, const char* what) { return a ? true : refuse(std::string(what) + " for " + name(i.op), "none"); };
    if (i.op != Opcode::activate && i.op != Opcode::host && !need(out, "a result")) return false;
    if (i.op != Opcode::fill && i.op != Opcode::iota && i.op != Opcode::map && i.op != Opcode::host && !need(x, "in0")) return false;
    const auto same = [&](const Access& a, const Access& b, const char* what) {
      return a.elements() == b.elements() ? true : refuse(std::string(what) + " of " + std::to_string(b.elements()) + " elements", sizes(a));
    };
    switch (i.op) {
      case Opcode::copy:
      case Opcode::scan: return same(out, x, "a result");
      case Opcode::gather:
        if (!need(y, "indices")) return false;
        if (x.rank < 1 || out.rank != x.rank || out.rows() != y.elements() || out.free() != x.free()) return refuse("one row of in0 for each of " + std::to_string(y.elements()) + " indices", sizes(out) + " from " + sizes(x));
        for (int k = 1; k < x.rank; ++k)
          if (out.sizes[static_cast<size_t>(k)] != x.sizes[static_cast<size_t>(k)]) return refuse("rows of " + sizes(x), sizes(out));
        return true;
      case Opcode::scatter:
        if (!need(y, "indices")) return false;
        if (out.rank < 1 || out.rank != x.rank || x.rows() != y.elements()) return refuse("one row of in0 for each of " + std::to_string(y.elements()) + " indices", sizes(x));
        for (int k = 1; k < x.rank; ++k)
          if (out.sizes[static_cast<size_t>(k)] != x.sizes[static_cast<size_t>(k)]) return refuse("rows of " + sizes(out), sizes(x));
        return true;
      case Opcode::matmul:
        if (!need(y, "in1")) return false;
        return product(i);
      case Opcode::transpose: return same(out, x, "a result");
      case Opcode::map:
        if (loops::arity(i.fn) == 0 && i.fn != loops::Op::load) return refuse("a scalar operator", loops::name(i.fn));
        for (int k = 0; k < 3; ++k)
          if (i.in[k] && !repeats(i.in[k], out)) return refuse("operands that repeat to " + sizes(out), sizes(i.in[k]));
        return true;
      case Opcode::activate:
        if (!out && !i.out2) return refuse("a result for activate", "none");
        if (out && !same(out, x, "a result")) return false;
        if (y && !repeats(y, x)) return refuse("a bias that repeats to " + sizes(x), sizes(y));
        if (i.in[2] && !repeats(i.in[2], x)) return refuse("a scale that repeats to " + sizes(x), sizes(i.in[2]));
        return !i.out2 || i.out2.elements() == x.rows() ? true : refuse("a sum for each of " + std::to_string(x.rows()) + " rows", sizes(i.out2));
      case Opcode::reduce: {
        if (i.kept < 0 || i.kept > x.rank) return refuse("at most " + std::to_string(x.rank) + " kept dimensions", std::to_string(i.kept));
        int64_t kept = 1;
        for (int k = 0; k < i.kept; ++k) kept *= x.sizes[static_cast<size_t>(k)];
        return out.elements() == kept ? true : refuse("a result of " + std::to_string(kept) + " elements", sizes(out));
      }
      case Opcode::stats: return out.elements() == 2 * x.rows() ? true : refuse("mean and variance of " + std::to_string(x.rows()) + " rows", sizes(out));
      case Opcode::iota: return i.kept >= 0 && i.kept < out.rank ? true : refuse("a dimension of " + sizes(out), std::to_string(i.kept));
      case Opcode::collective:
        if (i.fn != loops::Op::load) return same(out, x, "a result");
        if (x.rank != 2 || out.rank != 3 || out.sizes[0] != x.sizes[0] || out.sizes[1] != p_.ranks || out.sizes[2] != x.sizes[1])
          return refuse("parts [i, j] joined as [i, " + std::to_string(p_.ranks) + ", j]", sizes(out) + " from " + sizes(x));
        return true;
      case Opcode::fill:
      case Opcode::host: return true;
    }
    return true;
  }

  // ---- which engine does it, and reaches which memory

  void engine(const Instruction& i) {
    const Queue& q = p_.queues[static_cast<size_t>(i.queue)];
    const bool host = i.op == Opcode::host, collective = i.op == Opcode::collective;
    const auto only = [&](const char* what) { refuse(std::string("what ") + q.name + " does: " + what, name(i.op)); };
    switch (q.kind) {
      case Queue::host:
        if (!host && i.op != Opcode::copy) only("host, copy");
        return;
      case Queue::collective:
        if (!collective) only("collective");
        return;
      case Queue::dma:
        if (i.op == Opcode::transpose && chip_.dma.transpose_rate == 0) only("copy, gather, scatter, fill; this chip's cannot transpose");
        else if (i.op != Opcode::copy && i.op != Opcode::gather && i.op != Opcode::scatter && i.op != Opcode::fill && i.op != Opcode::transpose) only("copy, gather, scatter, fill, transpose");
        return;
      case Queue::matrix:
        if (i.op != Opcode::matmul && i.op != Opcode::transpose) only("matmul, transpose");
        else matrix(i);
        break;
      case Queue::engine:
        if (i.op == Opcode::matmul || host || collective) only("elementwise work, folds, moves");
        else if (q.engine_index < 0 || q.engine_index >= static_cast<int32_t>(chip_.engines.size())) refuse("an engine of the chip", "number " + std::to_string(q.engine_index));
        else vector(i, chip_.engines[static_cast<size_t>(q.engine_index)]);
        break;
    }
    if (chip_.level != Level::instruction) return;
    each_access(i, [&](const Access& a, const char* what, bool write) { ports(a, what, write, q, i); });
  }

  void each_access(const Instruction& i, const std::function<void(const Access&, const char*, bool)>& f) {
    if (i.out) f(i.out, "out", true);
    if (i.out2) f(i.out2, "out2", true);
    for (int k = 0; k < 3; ++k)
      if (i.in[k]) f(i.in[k], k == 0 ? "in0" : k == 1 ? "in1" : "in2", false);
  }

  void ports(const Access& a, const char* what, bool write, const Queue& q, const Instruction& i) {
    const Buffer& b = buffer(a);
    const std::string its = std::string(what) + " in " + memory_name(chip_, b.memory);
    if (b.memory == Role::main) {
      refuse(q.name + " on local memories", its);
      return;
    }
    if (b.core != q.core) refuse(q.name + " on the memories of core " + std::to_string(q.core), std::string(what) + " on core " + std::to_string(b.core));
    bool reaches = true;
    if (q.kind == Queue::matrix) reaches = write ? (b.memory == Role::accumulator || !chip_.accumulator()) : b.memory == Role::scratchpad;
    else if (b.memory == Role::accumulator) reaches = write ? chip_.engines[static_cast<size_t>(q.engine_index)].writes_accumulator : chip_.engines[static_cast<size_t>(q.engine_index)].reads_accumulator;
    if (!reaches) refuse("a memory that " + q.name + (write ? " writes" : " reads"), its);
    pattern(a, what, b);
    if (i.op == Opcode::map && a.buffer == i.in[1].buffer && what[2] == '1' && b.memory == Role::accumulator && i.in[0] && buffer(i.in[0]).memory == Role::accumulator)
      refuse("at most one of two operands in " + std::string(memory_name(chip_, Role::accumulator)), "both");
  }

  // The patterns that an instruction of a partitioned core can hold.
  void pattern(const Access& a, const char* what, const Buffer& b) {
    const Memory* m = memory(b.memory);
    if (m->partitions <= 1 || a.rank == 0 || b.row_elements == 0) return;
    const int64_t rows = a.rows(), start = a.offset / b.row_elements, half = m->partitions / 2, quarter = m->partitions / 4;
    if (rows > 1 && a.strides[0] != b.row_elements) refuse("partitions one after the other in dimension 0", std::string(what) + " with stride " + std::to_string(a.strides[0]));
    if (quarter > 0) {
      const int64_t step = rows > half ? m->partitions : rows > quarter ? half : quarter;
      if (start % step != 0)
        refuse(std::to_string(rows) + " partitions to start at " + (step == m->partitions ? "0" : step == half ? "0 or " + std::to_string(half) : "a multiple of " + std::to_string(quarter)), std::string(what) + " at partition " + std::to_string(start));
    }
    const int64_t most = b.memory == Role::accumulator ? kMostAccumulatorFree : kMostScratchpadFree;
    if (a.free() > most) refuse("at most " + std::to_string(most) + " elements of a partition", std::string(what) + " of " + std::to_string(a.free()));
    for (int k = 1; k < a.rank; ++k) {
      const auto j = static_cast<size_t>(k);
      if (a.sizes[j] > kMostSize && most > kMostSize && a.sizes[j] != kMostScratchpadFree) refuse("sizes of 16 bits", std::string(what) + " of " + std::to_string(a.sizes[j]));
      if (a.sizes[j] > 1 && std::abs(a.strides[j]) > kMostStride) refuse("strides of 16 bits", std::string(what) + " with " + std::to_string(a.strides[j]));
    }
  }

  void matrix(const Instruction& i) {
    const MatrixEngine& e = chip_.matrix;
    if (i.op == Opcode::matmul) {
      for (int k = 0; k < 2; ++k)
        if (const DType t = buffer(i.in[k]).dtype; !e.passes.contains(t)) refuse("operands of a type of " + e.name, std::string(info(t).name));
    }
    if (chip_.level != Level::instruction) return;
    if (i.op == Opcode::matmul && (i.batch != 0 || i.folded != 1)) refuse("products of two tiles", "a batch of them");
    const int64_t k = i.in[0].rows(), m = i.in[0].free();
    if (k > e.rows) refuse("at most " + std::to_string(e.rows) + " rows of " + e.name, "K of " + std::to_string(k));
    if (m > e.cols) refuse("at most " + std::to_string(e.cols) + " columns of " + e.name, std::string(i.op == Opcode::matmul ? "M" : "rows to columns") + " of " + std::to_string(m));
    if (i.op == Opcode::matmul && e.max_moving > 0 && i.in[1].free() > e.max_moving) refuse("at most " + std::to_string(e.max_moving) + " moving columns", "N of " + std::to_string(i.in[1].free()));
    bank(i.out);
  }

  void bank(const Access& a) {
    const Buffer& b = buffer(a);
    const Memory* m = memory(b.memory);
    if (b.memory != Role::accumulator || m->banks <= 1 || b.row_elements == 0) return;
    const int64_t bank_bytes = m->bytes / std::max<int64_t>(m->partitions, 1) / m->banks;
    int64_t low = a.offset % b.row_elements, high = low;
    for (int k = 1; k < a.rank; ++k) {
      const auto j = static_cast<size_t>(k);
      const int64_t reach = (a.sizes[j] - 1) * a.strides[j];
      (reach < 0 ? low : high) += reach;
    }
    const int64_t bits = info(b.dtype).storage_bits, first = (b.address + low * bits / 8) / bank_bytes, last = (b.address + ((high + 1) * bits + 7) / 8 - 1) / bank_bytes;
    if (first != last) refuse("a product within one bank of " + m->name + " (" + std::to_string(bank_bytes) + " bytes of a partition)", "banks " + std::to_string(first) + " to " + std::to_string(last));
  }

  void vector(const Instruction& i, const Engine& e) {
    bool accumulator = false;
    int bits = 0;
    each_access(i, [&](const Access& a, const char*, bool) {
      accumulator |= buffer(a).memory == Role::accumulator;
      bits = std::max(bits, info(buffer(a).dtype).storage_bits);
    });
    const Width width = accumulator || bits > 16 ? Width::wide : bits > 8 ? Width::bits16 : Width::bits8;
    if (!e.rate(i.work, accumulator, width)) refuse("a class of work that " + e.name + " does", name(i.work));
  }

  const Chip& chip_;
  const Program& p_;
  int64_t at_ = -1;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> check(const Chip& chip, const Program& program) { return Checker(chip, program).run(); }

}  // namespace bascule::device::chip
