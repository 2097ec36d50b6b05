// cli/options.cc — options that verbs share.
#include "cli/cli.h"

namespace bascule::cli {

void add_format(CLI::App& verb, Format& format) {
  verb.add_option("--format", format, "How results are printed on stdout: table or json")
      ->transform(CLI::CheckedTransformer(std::map<std::string, Format>{{"table", Format::table}, {"json", Format::json}}).description(""))
      ->type_name("FORMAT");
}

int64_t Limits::memory_bytes() const { return memory.empty() ? 0 : std::max<int64_t>(1, parse_bytes(memory, "--memory-limit")); }
double Limits::time_s() const { return time.empty() ? 0 : parse_seconds(time, "--time-limit"); }

std::shared_ptr<Budget> Limits::budget() const {
  auto b = std::make_shared<Budget>();
  b->limit_bytes = memory_bytes() ? memory_bytes() : machine_memory_bytes();
  if (time_s() > 0)
    b->deadline =
        std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(time_s()));
  return b;
}

void add_limits(CLI::App& verb, Limits& limits) {
  verb.add_option("--memory-limit", limits.memory, "Stop when more memory is needed (default: the machine's or the cgroup's)")->type_name("4GiB");
  verb.add_option("--time-limit", limits.time, "Stop when a load or a run takes longer (default: none)")->type_name("30s");
}

}  // namespace bascule::cli
