// device/chip/program.cc — the readable form of a program, and its memory map over time. Times nothing.
#include "device/chip/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"

namespace bascule::device::chip {
namespace {

const char* name(Role r) {
  switch (r) {
    case Role::main: return "main";
    case Role::scratchpad: return "scratchpad";
    case Role::accumulator: return "accumulator";
    case Role::cache: return "cache";
  }
  return "?";
}

const char* name(Buffer::Use u) {
  switch (u) {
    case Buffer::input: return "input";
    case Buffer::weight: return "weight";
    case Buffer::output: return "output";
    case Buffer::activation: return "activation";
    case Buffer::scratch: return "scratch";
  }
  return "?";
}

const char* fn_name(loops::Op op) {
  switch (op) {
#define X(n) \
  case loops::Op::n: return #n;
    BASCULE_SCALAR_OPS(X)
#undef X
  }
  return "?";
}

std::string bytes_text(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t u = 0;
  for (; bytes >= 1024 && u + 1 < std::size(units); ++u) bytes /= 1024;
  return u == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.2f} {}", bytes, units[u]);
}

std::string label(const Program& p, int32_t id) {
  if (id < 0 || static_cast<size_t>(id) >= p.buffers.size()) return "?";
  const Buffer& b = p.buffers[static_cast<size_t>(id)];
  return fmt::format("b{}{}{}", id, b.name.empty() ? "" : ".", b.name.empty() ? "" : escaped(b.name));
}

// "b3.wq[0:128, 64:128]": rows and columns of a buffer; any other pattern as "@offset{size*stride ...}".
std::string access_text(const Program& p, const Access& a) {
  std::string out = label(p, a.buffer);
  const Buffer& b = p.buffers[static_cast<size_t>(a.buffer)];
  const int64_t pitch = std::max<int64_t>(b.row_elements, 1), row = a.offset / pitch, column = a.offset % pitch;
  if (a.rank == 1 && b.rows == 1 && a.strides[0] == 1) return out + fmt::format("[{}:{}]", a.offset, a.offset + a.sizes[0]);
  if (a.rank == 2 && a.strides[1] == 1 && a.strides[0] == pitch && b.rows > 1)
    return out + fmt::format("[{}:{}, {}:{}]", row, row + a.sizes[0], column, column + a.sizes[1]);
  out += fmt::format("@{}{{", a.offset);
  for (int k = 0; k < a.rank; ++k) {
    const auto d = static_cast<size_t>(k);
    out += fmt::format("{}{}*{}", k ? " " : "", a.sizes[d], a.strides[d]);
  }
  return out + "}";
}

std::string operation_text(const Program& p, const Instruction& i) {
  const auto in = [&](int k) { return i.in[k] ? access_text(p, i.in[k]) : fmt::format("{:g}", i.immediate); };
  const std::string out = access_text(p, i.out);
  switch (i.op) {
    case Opcode::matmul: return fmt::format("{} {} {}^T x {}", out, i.accumulate ? "+=" : "=", in(0), in(1));
    case Opcode::copy:
    case Opcode::transpose: return fmt::format("{} = {}", out, in(0));
    case Opcode::gather: return fmt::format("{} = {}[{}]", out, in(0), in(1));
    case Opcode::scatter: return fmt::format("{}[{}] {}= {}", out, in(1), i.fn == loops::Op::load ? "" : fn_name(i.fn), in(0));
    case Opcode::map: {
      std::string args = in(0);
      const bool third = static_cast<bool>(i.in[2]), second = static_cast<bool>(i.in[1]) || third;
      if (second || i.immediate != 0) args += ", " + in(1);
      if (third) args += ", " + in(2);
      return fmt::format("{} = {}({})", out, fn_name(i.fn), args);
    }
    case Opcode::activate:
      return fmt::format("{} = {}({} * {} + {}){}", out, i.fn == loops::Op::load ? "" : fn_name(i.fn), in(0), i.in[2] ? in(2) : fmt::format("{:g}", i.scale), in(1),
                         i.out2 ? "; sum " + access_text(p, i.out2) : "");
    case Opcode::reduce:
    case Opcode::scan: return fmt::format("{} {} {} of {}", out, i.accumulate ? "+=" : "=", fn_name(i.fn), in(0));
    case Opcode::stats: return fmt::format("{} = mean, variance of {}", out, in(0));
    case Opcode::fill: return fmt::format("{} = {:g}", out, i.immediate);
    case Opcode::iota: return fmt::format("{} = {:g} + index {}", out, i.immediate, i.kept);
    case Opcode::host:
    case Opcode::collective: return fmt::format("{} = {}({})", out, i.op == Opcode::host ? "host" : i.fn == loops::Op::load ? "all_gather" : "all_reduce", in(0));
  }
  return out;
}

// What one instruction for many tiles stands for: " {132 cores, 2 waves, 3.00 MiB of main memory}".
std::string tiles_text(const Instruction& i) {
  std::string out;
  const auto add = [&](const std::string& fact) { out += (out.empty() ? "  {" : ", ") + fact; };
  if (i.cores > 1) add(fmt::format("{} cores", i.cores));
  if (i.launches > 0) add(fmt::format("{} launch{}", i.launches, i.launches == 1 ? "" : "es"));
  if (i.waves > 0) add(fmt::format("{} wave{}", i.waves, i.waves == 1 ? "" : "s"));
  if (i.flops > 0) add(fmt::format("{:.4g} FLOPs of the busiest core", i.flops));
  if (i.cache_bytes > 0) add(bytes_text(i.cache_bytes) + " of cache");
  if (i.main_bytes > 0) add(bytes_text(i.main_bytes) + " of main memory");
  return out.empty() ? out : out + "}";
}

std::string queue_name(const Program& p, size_t q) {
  const Queue& queue = p.queues[q];
  return p.cores_of_rank() > 1 ? fmt::format("core{}.{}", queue.core, queue.name) : queue.name;
}

void write_header(const Program& p, std::string& out) {
  out += fmt::format("program of '{}' for chip:{}: {} core{}, {} chip{}, products in {}\n", escaped(p.model), p.chip, p.cores, p.cores == 1 ? "" : "s", p.chips,
                     p.chips == 1 ? "" : "s", info(p.precision).name);
  if (p.ranks > 1) {
    out += fmt::format("  {} ranks run this code alike, {} on a chip, each with its part of the data; sizes are of one rank\n", p.ranks, p.ranks_of_chip());
  }
  if (!p.spread.empty()) out += "  ranks: " + p.spread + "\n";
  out += fmt::format("  {} instructions on {} queues, {} steps, {} buffers\n", p.code.size(), p.queues.size(), p.steps.size(), p.buffers.size());
  out += fmt::format("  host link: {} in, {} out; weights {}, {}\n", bytes_text(static_cast<double>(p.input_bytes)), bytes_text(static_cast<double>(p.output_bytes)),
                     bytes_text(static_cast<double>(p.weight_bytes)), p.weights_resident ? "resident on chip" : "streamed for each request");
  out += fmt::format("  peaks: main {}; of one core scratchpad {}, accumulator {}\n", bytes_text(static_cast<double>(p.main_bytes)),
                     bytes_text(static_cast<double>(p.scratchpad_bytes)), bytes_text(static_cast<double>(p.accumulator_bytes)));
  for (const std::string& n : p.notes) out += "  note: " + n + "\n";
}

void write_counts(const Program& p, std::string& out) {
  std::vector<std::map<std::string, int64_t>> counts(p.queues.size());
  for (const Instruction& i : p.code) ++counts[static_cast<size_t>(i.queue)][name(i.op)];
  out += "\ninstructions\n";
  for (size_t q = 0; q < counts.size(); ++q) {
    int64_t all = 0;
    std::string kinds;
    for (const auto& [kind, n] : counts[q]) {
      all += n;
      kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", kind, n);
    }
    out += fmt::format("  {:<12} {:>7}  {}\n", queue_name(p, q), all, kinds);
  }
}

void write_steps(const Program& p, std::string& out) {
  std::vector<int64_t> counts(p.steps.size());
  for (const Instruction& i : p.code)
    if (i.step >= 0) ++counts[static_cast<size_t>(i.step)];
  out += "\nsteps\n";
  for (size_t s = 0; s < p.steps.size(); ++s) {
    const StepInfo& step = p.steps[s];
    out += fmt::format("  {:>4} {:>6} instructions  {}", s, counts[s], step.name);
    if (const std::string source = text(step.origin); !source.empty()) out += "  of " + source;
    if (!step.choice.empty()) out += "  ; " + step.choice;
    if (!step.host.empty()) out += "  ; on the host: " + step.host;
    out += "\n";
  }
}

void write_memory(const Program& p, std::string& out) {
  out += "\nmemory over time (buffer, place, instructions that use it)\n";
  const std::vector<Lifetime> lives = lifetimes(p);
  for (const Role role : {Role::main, Role::scratchpad, Role::accumulator}) {
    bool first = true;
    for (const Lifetime& l : lives) {
      const Buffer& b = p.buffers[static_cast<size_t>(l.buffer)];
      if (b.memory != role) continue;
      if (std::exchange(first, false)) out += fmt::format("  {}\n", name(role));
      const std::string shape = b.rows > 1 ? fmt::format("{}x{}", b.rows, b.row_elements) : std::to_string(b.row_elements);
      out += fmt::format("    {} {}[{}] {}", label(p, l.buffer), info(b.dtype).name, shape, name(b.use));
      if (b.core >= 0 && p.cores_of_rank() > 1) out += fmt::format(" core{}", b.core);
      out += fmt::format(" at {}:{}, {}..{}\n", b.address, b.address + (b.memory == Role::main ? storage_bytes(b.dtype, b.elements()) : b.row_bytes()), l.first, l.last);
    }
  }
}

void write_queue(const Program& p, size_t q, const std::vector<int32_t>& code, std::string& out) {
  out += fmt::format("\nqueue {}\n", queue_name(p, q));
  int32_t count = 0, step = -1;
  for (const int32_t n : code) {
    const Instruction& i = p.code[static_cast<size_t>(n)];
    out += fmt::format("{:>7} {:<9} {}", ++count, name(i.op), operation_text(p, i) + tiles_text(i));
    for (int32_t w = 0; w < i.wait_count; ++w) {
      const Wait& wait = p.waits[static_cast<size_t>(i.wait_first + w)];
      out += fmt::format("{}{}>={}", w ? ", " : "  wait ", queue_name(p, static_cast<size_t>(wait.queue)), wait.count);
    }
    if (i.step != step && i.step >= 0) {
      const StepInfo& s = p.steps[static_cast<size_t>(i.step)];
      const std::string source = text(s.origin);
      out += fmt::format("  ; step {}: {}{}{}", i.step, s.name, source.empty() ? "" : " of ", source);
    }
    step = i.step;
    out += "\n";
  }
}

}  // namespace

const char* name(Opcode op) {
  switch (op) {
    case Opcode::copy: return "copy";
    case Opcode::gather: return "gather";
    case Opcode::scatter: return "scatter";
    case Opcode::matmul: return "matmul";
    case Opcode::transpose: return "transpose";
    case Opcode::map: return "map";
    case Opcode::activate: return "activate";
    case Opcode::reduce: return "reduce";
    case Opcode::stats: return "stats";
    case Opcode::scan: return "scan";
    case Opcode::fill: return "fill";
    case Opcode::iota: return "iota";
    case Opcode::host: return "host";
    case Opcode::collective: return "collective";
  }
  return "?";
}

int64_t main_capacity(const Chip& chip, const Program& program) {
  return chip.main().bytes / program.ranks_of_chip();
}

std::vector<Lifetime> lifetimes(const Program& program) {
  std::vector<Lifetime> of(program.buffers.size(), {-1, 0, 0});
  std::vector<int32_t> order;
  for (size_t n = 0; n < program.code.size(); ++n) {
    const Instruction& i = program.code[n];
    for (const Access* a : {&i.out, &i.in[0], &i.in[1], &i.in[2], &i.out2}) {
      if (!*a) continue;
      Lifetime& l = of[static_cast<size_t>(a->buffer)];
      if (l.buffer < 0) {
        l = {a->buffer, static_cast<int32_t>(n), 0};
        order.push_back(a->buffer);
      }
      l.last = static_cast<int32_t>(n);
    }
  }
  std::vector<Lifetime> out;
  for (const int32_t b : order) out.push_back(of[static_cast<size_t>(b)]);
  return out;
}

std::string Program::text() const {
  std::string out;
  write_header(*this, out);
  write_counts(*this, out);
  write_steps(*this, out);
  write_memory(*this, out);
  std::vector<std::vector<int32_t>> lists(queues.size());
  for (size_t n = 0; n < code.size(); ++n) lists[static_cast<size_t>(code[n].queue)].push_back(static_cast<int32_t>(n));
  for (size_t q = 0; q < lists.size(); ++q) write_queue(*this, q, lists[q], out);
  return out;
}

}  // namespace bascule::device::chip
