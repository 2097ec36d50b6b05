// cli/session_options.cc — see the header.
#include "cli/session_options.h"

#include "base/error.h"

namespace bascule::cli {

runtime::Options SessionOptions::options() const {
  return {.device = device, .threads = threads, .precision = precision, .memory_limit_bytes = limits.memory_bytes(), .time_limit_s = limits.time_s()};
}

void add_session(CLI::App& verb, SessionOptions& o) {
  verb.add_option("MODEL", o.model, "An ONNX model or StableHLO text (.mlir)")->required();
  verb.add_option("--device", o.device, "Device that runs it (default: cpu)")->type_name("NAME");
  verb.add_option("--threads", o.threads, "Threads (default: all that the process may use); the answer is the same for any number")->check(CLI::Range(0, 4096))->type_name("N");
  verb.add_option("--precision", o.precision, "f32 (default), bf16 or f16: what products may be rounded to")->check(CLI::IsMember({"f32", "bf16", "f16"}));
  add_limits(verb, o.limits);
}

void note_fallbacks(const runtime::Session& session) {
  const auto list = session.fallbacks();
  constexpr size_t kMost = 10;
  for (size_t i = 0; i < std::min(list.size(), kMost); ++i) note(escaped(list[i].node) + " ran otherwise: " + list[i].reason);
  if (list.size() > kMost) note(std::to_string(list.size() - kMost) + " more nodes ran otherwise");
}

}  // namespace bascule::cli
