// cli/session_options.cc — see the header.
#include "cli/session_options.h"

#include <map>

#include "base/error.h"

namespace bascule::cli {

namespace {

// The device's name, with how a modelled chip is to run a request: "chip:trainium1@cores=2".
std::string placed(const SessionOptions& o) {
  std::string how;
  const auto add = [&](const char* key, const std::string& value) { how += (how.empty() ? "@" : ",") + std::string(key) + "=" + value; };
  if (o.cores) add("cores", std::to_string(o.cores));
  if (o.chips) add("chips", std::to_string(o.chips));
  if (!o.split.empty()) add("split", o.split);
  if (!how.empty() && !o.device.starts_with("chip:"))
    fail_usage("--cores, --chips, --split", "a modelled chip, --device chip:NAME", "--device " + escaped(o.device), "Use --threads, or leave them out");
  return o.device + how;
}

}  // namespace

runtime::Options SessionOptions::options() const {
  return {.device = placed(*this), .threads = threads, .precision = precision, .memory_limit_bytes = limits.memory_bytes(), .time_limit_s = limits.time_s()};
}

void add_precision(CLI::App& verb, std::string& precision) {
  verb.add_option("--precision", precision, "f32, bf16, f16 ...: what products may be rounded to (default: f32 on cpu, on a chip its compiler's own)")
      ->check([](const std::string& text) { return dtype_from_name(text) ? "" : "'" + text + "' is no element type; f32, bf16 and f16 are"; })
      ->type_name("TYPE");
}

void add_session(CLI::App& verb, SessionOptions& o) {
  verb.add_option("MODEL", o.model, "An ONNX model or StableHLO text (.mlir)")->required();
  verb.add_option("--device", o.device, "cpu (default), reference, or a modelled chip: chip:trainium2 (see bascule chips)")->type_name("NAME");
  verb.add_option("--threads", o.threads, "Threads (default: all that the process may use); the answer is the same for any number")
      ->check(CLI::Range(0, 4096))
      ->type_name("N");
  add_precision(verb, o.precision);
  add_limits(verb, o.limits);
}

void add_ranks(CLI::App& verb, SessionOptions& o) {
  verb.add_option("--cores", o.cores, "Modelled chips: cores of each chip for the request (default: the vendor's)")->check(CLI::Range(1, 1 << 20))->type_name("N");
  verb.add_option("--chips", o.chips, "Modelled chips: chips for the request (default: one)")->check(CLI::Range(1, 1 << 20))->type_name("N");
  verb.add_option("--split", o.split, "Modelled chips: what ranks share out, batch or tensor (default: the faster by the timing model)")
      ->check(CLI::IsMember({"batch", "tensor"}))
      ->type_name("WHAT");
}

void note_fallbacks(const runtime::Session& session) {
  // Grouped by operator (the first word of the node) and reason.
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> groups;
  for (const device::Fallback& f : session.fallbacks()) groups[{f.node.substr(0, f.node.find(' ')), f.reason}].push_back(f.node);
  for (const auto& [key, nodes] : groups)
    note(std::to_string(nodes.size()) + " " + safe(key.first) + " ran on the host by reference (" + safe(key.second) +
         "), the first: " + safe(nodes[0]));
}

}  // namespace bascule::cli
