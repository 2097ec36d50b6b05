// cli/compile.cc — `bascule compile`: the program that a device makes of a model, readable.
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/session_options.h"

namespace bascule::cli {
namespace {

struct Options {
  SessionOptions session;
  std::string output, dump_passes;
};

int compile(const Options& o) {
  runtime::Options options = o.session.options();
  if (!o.dump_passes.empty()) {
    std::error_code failed;
    std::filesystem::create_directories(o.dump_passes, failed);
    if (failed) fail_usage("--dump-passes '" + escaped(o.dump_passes) + "'", "a folder that can be made", failed.message(), "Name another");
    options.dump_passes = o.dump_passes;
  }
  const auto session = runtime::Session::load(o.session.model, options);
  const std::string program = session->program();
  if (o.output.empty() || o.output == "-") print(program);
  else write_file(o.output, program);
  note_fallbacks(*session);
  return 0;
}

}  // namespace

void add_compile(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("compile", "Prints or writes the program that a device makes of a model");
  auto o = std::make_shared<Options>();
  add_session(*verb, o->session);
  verb->add_option("-o,--output", o->output, "File for the program (default: stdout)")->type_name("FILE");
  verb->add_option("--dump-passes", o->dump_passes, "Write the graph after each pass into this folder")->type_name("DIR");
  verb->footer("Examples:\n  bascule compile model.onnx --device cpu -o program.txt\n  bascule compile model.onnx --dump-passes passes");
  verb->callback([&action, o] { action = [o] { return compile(*o); }; });
}

}  // namespace bascule::cli
