// cli/main.cc — the program: reads the command line, runs one verb, turns errors into exit codes.
#include <csignal>
#include <cstdio>
#include <new>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"

namespace bascule::cli {
namespace {

int run(int argc, char** argv) {
  CLI::App app("Runs trained models (ONNX, StableHLO) on any chip, and weighs what it costs there.", "bascule");
  app.set_version_flag("--version", "bascule " BASCULE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  bascule inspect model.onnx\n"
      "  bascule run model.onnx --input x.npz --output y.npz\n"
      "  bascule bench model.onnx --shape input=1x3x224x224\n"
      "  bascule compare model.onnx --on all --batch 8\n"
      "Exit codes: 0 ok, 1 mismatch, 2 usage, 3 unsupported, 4 device, 5 out of memory or time, 6 bad file, 70 a bug of ours");
  Action action;
  add_run(app, action);
  add_bench(app, action);
  add_inspect(app, action);
  add_check(app, action);
  add_compile(app, action);
  add_compare(app, action);
  add_profile(app, action);
  add_conformance(app, action);
  add_chips(app, action);
  add_completion(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return action();
}

int guarded(int argc, char** argv) {
  const bool color = colors(2);
  const auto say = [&](const char* kind, const char* text) { std::fprintf(stderr, "bascule: %s: %s\n", red(kind, color).c_str(), text); };
  try {
    return run(argc, argv);
  } catch (const Error& e) {
    std::fflush(stdout);
    say(e.kind_name(), e.what());
    return e.exit_code();
  } catch (const std::bad_alloc&) {
    say("CapacityError", "the system has no memory left. Use smaller inputs, or --memory-limit to be stopped earlier");
    return 5;
  } catch (const std::exception& e) {
    say("InternalError", e.what());
    return 70;
  }
}

}  // namespace
}  // namespace bascule::cli

int main(int argc, char** argv) {
  bascule::guard_mapped_files();
  std::signal(SIGPIPE, SIG_DFL);
  const int code = bascule::cli::guarded(argc, argv);
  return std::fflush(stdout) == 0 ? code : 4;
}
