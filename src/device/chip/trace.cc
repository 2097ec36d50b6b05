// device/chip/trace.cc — a timing as a Chrome/Perfetto trace: a process for each core, a track for each queue, a slice for each instruction.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "device/chip/timing.h"

namespace bascule::device::chip {
namespace {

std::string quoted(const std::string& s) { return nlohmann::json(s).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace); }

double bytes_of(const Program& p, const Access& a) {
  return a ? static_cast<double>(storage_bytes(p.buffers[static_cast<size_t>(a.buffer)].dtype, a.elements())) : 0;
}

}  // namespace

std::string perfetto(const Program& program, const Timing& timing) {
  std::string out = R"({"displayTimeUnit":"ns","traceEvents":[)";
  out.reserve(200 * program.code.size() + 1000);
  auto to = std::back_inserter(out);
  int32_t core = -1;
  for (size_t q = 0; q < program.queues.size(); ++q) {
    const Queue& queue = program.queues[q];
    if (queue.core > core) {
      core = queue.core;
      fmt::format_to(to, R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":{}}}}},)" "\n", core, quoted(fmt::format("chip:{} core {}", program.chip, core)));
    }
    fmt::format_to(to, R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":{}}}}},)" "\n", queue.core, q, quoted(queue.name));
    fmt::format_to(to, R"({{"ph":"M","name":"thread_sort_index","pid":{},"tid":{},"args":{{"sort_index":{}}}}},)" "\n", queue.core, q, q);
  }
  std::vector<std::string> sources;
  for (const StepInfo& s : program.steps) sources.push_back(fmt::format(R"("step":{},"source":{})", quoted(s.name), quoted(text(s.origin))));
  std::vector<bool> critical(program.code.size());
  for (const int32_t i : timing.critical_path) critical[static_cast<size_t>(i)] = true;
  for (size_t n = 0; n < program.code.size(); ++n) {
    const Instruction& i = program.code[n];
    double bytes = bytes_of(program, i.out);
    for (const Access& a : i.in) bytes += bytes_of(program, a);
    fmt::format_to(to, R"({{"ph":"X","name":"{}","cat":"{}","pid":{},"tid":{},"ts":{:.4f},"dur":{:.4f},"args":{{"instruction":{},"bytes":{:.0f})", name(i.op),
                   name(i.work), program.queues[static_cast<size_t>(i.queue)].core, i.queue, timing.start_ns[n] * 1e-3,
                   (timing.end_ns[n] - timing.start_ns[n]) * 1e-3, n, bytes);
    if (i.op == Opcode::matmul)
      fmt::format_to(to, R"(,"flops":{:.0f})", 2.0 * static_cast<double>(i.in[0].elements()) * static_cast<double>(i.in[1].free()));
    if (critical[n]) out += R"(,"critical":true)";
    if (i.step >= 0) fmt::format_to(to, ",{}", sources[static_cast<size_t>(i.step)]);
    out += "}},\n";
  }
  fmt::format_to(to, R"({{"ph":"M","name":"process_labels","pid":0,"args":{{"labels":{}}}}}]}})" "\n", quoted(fmt::format("{}, modelled", program.model)));
  return out;
}

}  // namespace bascule::device::chip
