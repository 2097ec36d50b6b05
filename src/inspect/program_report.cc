// inspect/program_report.cc — what surrounds a program: counts, transfers, memory over time.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "inspect/modelled.h"

namespace bascule::inspect {
namespace {
using device::chip::Access;
using device::chip::Buffer;
using device::chip::Instruction;
using device::chip::Memory;
using device::chip::Program;
using device::chip::Role;

const Memory* memory_of(const Modelled& m, Role role) {
  switch (role) {
    case Role::scratchpad: return m.chip->scratchpad();
    case Role::accumulator: return m.chip->accumulator();
    case Role::cache: return m.chip->cache();
    default: return &m.chip->main();
  }
}

int64_t bytes_in(const Memory& memory, const Buffer& b) { return memory.partitions > 1 ? b.row_bytes() : b.rows * b.row_bytes(); }

void add_memory(const Modelled& m, const std::vector<BufferLife>& lives, Role role, std::string& out) {
  const Memory* memory = memory_of(m, role);
  if (!memory || memory->bytes <= 0) return;
  constexpr int kSamples = 20;
  const auto used = memory_over_time(m, lives, role, 0, kSamples);
  const int64_t capacity = memory->bytes / std::max<int64_t>(1, memory->partitions);
  out += fmt::format("// {} of core 0, KiB in use{} over the run (capacity {}):", memory->name, memory->partitions > 1 ? " of a partition" : "",
                     capacity / 1024);
  for (const int64_t bytes : used) out += fmt::format(" {}", (bytes + 512) / 1024);
  out += '\n';
}

}  // namespace

std::vector<BufferLife> buffer_lives(const Modelled& m) {
  const Program& p = *m.program;
  std::vector<BufferLife> all(p.buffers.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const Memory* memory = memory_of(m, p.buffers[i].memory);
    all[i] = {static_cast<int32_t>(i), std::numeric_limits<double>::infinity(), -1, memory ? bytes_in(*memory, p.buffers[i]) : 0};
  }
  for (size_t k = 0; k < p.code.size(); ++k) {
    const Instruction& in = p.code[k];
    for (const Access* a : {&in.out, &in.in[0], &in.in[1], &in.in[2], &in.out2}) {
      if (!*a) continue;
      BufferLife& life = all[static_cast<size_t>(a->buffer)];
      life.from_ns = std::min(life.from_ns, m.timing->start_ns[k]);
      life.to_ns = std::max(life.to_ns, m.timing->end_ns[k]);
    }
  }
  std::erase_if(all, [](const BufferLife& l) { return l.to_ns < 0; });
  std::stable_sort(all.begin(), all.end(), [](const BufferLife& a, const BufferLife& b) { return a.from_ns < b.from_ns; });
  return all;
}

std::vector<int64_t> memory_over_time(const Modelled& m, const std::vector<BufferLife>& lives, Role memory, int32_t core, int samples) {
  std::vector<int64_t> out(static_cast<size_t>(samples), 0);
  const double step_ns = m.timing->total_ns / samples;
  for (const BufferLife& l : lives) {
    const Buffer& b = m.program->buffers[static_cast<size_t>(l.buffer)];
    if (b.memory != memory || (b.core >= 0 && b.core != core)) continue;
    for (int i = 0; i < samples; ++i)
      if (const double at = (i + 0.5) * step_ns; l.from_ns <= at && at <= l.to_ns) out[static_cast<size_t>(i)] += l.bytes;
  }
  return out;
}

std::string program_report(const Modelled& m) {
  const Program& p = *m.program;
  const auto& t = *m.timing;
  std::string out = fmt::format("// {} on chip:{}, {} of {} cores, {} chips, {}\n", escaped(p.model), p.chip, p.cores, m.chip->cores,
                                p.chips, info(p.precision).name);
  out += fmt::format("// modelled latency {:.3f} ms: chip {:.3f}, host {:.3f}, copies {:.3f}; limiter {}\n", t.latency_ns() * 1e-6, t.total_ns * 1e-6,
                     t.request_ns * 1e-6, t.copy_ns * 1e-6, t.limiter);
  out += "// instructions:";
  for (const EngineUse& e : m.engines) out += fmt::format(" {} {}", e.name, e.instructions);
  out += fmt::format("\n// host link: {} bytes in, {} bytes out of each request\n", p.input_bytes, p.output_bytes);
  out += fmt::format("// weights: {} bytes, loaded once in {:.3f} ms{}\n", p.weight_bytes, t.weight_load_ns * 1e-6,
                     p.weights_resident ? "; they stay on the chip" : "");
  if (!m.chip->software.static_shapes) out += "// a new shape: runs as it is\n";
  else if (m.chip->software.compile_s)
    out += fmt::format("// a new shape: another program, about {} s of the vendor's compiler\n", *m.chip->software.compile_s);
  else out += "// a new shape: another program; how long the vendor's compiler takes is not published\n";
  const std::vector<BufferLife> lives = buffer_lives(m);
  for (const Role role : {Role::scratchpad, Role::accumulator}) add_memory(m, lives, role, out);
  for (const std::string& n : m.notes) out += "// note: " + escaped(n) + "\n";
  out += "//\n// memory map: memory, core, first byte, bytes, from us, to us, buffer\n";
  for (const BufferLife& l : lives) {
    const Buffer& b = p.buffers[static_cast<size_t>(l.buffer)];
    const Memory* memory = memory_of(m, b.memory);
    out += fmt::format("//   {:<5} {:>2} {:>12} {:>12} {:>10.2f} {:>10.2f}  {}\n", memory ? memory->name : "?", b.core, b.address, l.bytes,
                       l.from_ns * 1e-3, l.to_ns * 1e-3, escaped(b.name));
  }
  return out + "\n" + p.text();
}

}  // namespace bascule::inspect
