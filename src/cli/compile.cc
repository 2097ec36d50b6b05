// cli/compile.cc — `bascule compile`: the program that a device makes of a model, readable.
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/session_options.h"
#include "cli/values.h"
#include "cli/weigh.h"

namespace bascule::cli {
namespace {

using nlohmann::ordered_json;

struct Options {
  SessionOptions session;
  InputOptions inputs;
  WeighOptions weigh;
  std::string output, dump_passes;
  Format format = Format::table;
};

// The program goes into the file; what stands around it, for people or as JSON, to stdout.
int compile_chip(const Options& o, const std::string& chip) {
  const BudgetScope scope(o.session.limits.budget());
  if (!o.dump_passes.empty())
    fail_unsupported("--dump-passes", "a device that runs here", "--device chip:" + escaped(chip), "Use --device cpu; the first passes are the same");
  const inspect::Modelled m = weigh(o.session.model, chip, o.session.precision, o.inputs, o.weigh);
  const bool to_stdout = o.output.empty() || o.output == "-";
  if (!to_stdout) write_file(o.output, inspect::program_report(m));
  else if (o.format == Format::table) print(inspect::program_report(m));
  const auto& p = *m.program;
  const auto& t = *m.timing;
  const auto& software = m.chip->software;
  if (o.format == Format::json) {
    ordered_json j;
    j["model"] = o.session.model;
    j["device"] = o.session.device;
    j["precision"] = info(p.precision).name;
    j["cores"] = p.cores;
    j["chips"] = p.chips;
    j["ranks"] = p.ranks;
    j["instructions"] = ordered_json::object();
    for (const auto& e : m.engines) j["instructions"][e.name] = e.instructions;
    j["steps"] = p.steps.size();
    j["buffers"] = p.buffers.size();
    j["scratchpad_bytes"] = p.scratchpad_bytes;
    j["accumulator_bytes"] = p.accumulator_bytes;
    j["main_bytes"] = p.main_bytes;
    j["capacity_bytes"] = m.capacity_bytes;
    j["input_bytes"] = p.input_bytes;
    j["output_bytes"] = p.output_bytes;
    j["copy_ms"] = t.copy_ns * 1e-6;
    j["weight_bytes"] = p.weight_bytes;
    j["weight_load_ms"] = t.weight_load_ns * 1e-6;
    j["static_shapes"] = software.static_shapes;
    j["new_shape_s"] = software.static_shapes ? optional_json(software.compile_s) : ordered_json(0);
    j["host_steps"] = ordered_json::array();
    for (const auto& s : p.steps)
      if (!s.host.empty()) j["host_steps"].push_back({{"step", s.name}, {"source", text(s.origin)}, {"reason", s.host}});
    j["notes"] = m.notes;
    print(json_text(j));
  } else if (!to_stdout) {
    Table table({"compiled for " + o.session.device, ""});
    std::string counts;
    for (const auto& e : m.engines) counts += (counts.empty() ? "" : ", ") + e.name + " " + std::to_string(e.instructions);
    table.row({"instructions", counts});
    table.row({"steps", std::to_string(p.steps.size())});
    const auto local = [&](const device::chip::Memory* memory, int64_t used) {
      if (memory && memory->bytes > 0)
        table.row(
            {memory->name + " of a core, at most", bytes_text(static_cast<double>(used)) + " of " + bytes_text(static_cast<double>(memory->bytes))});
    };
    local(m.chip->scratchpad(), p.scratchpad_bytes);
    local(m.chip->accumulator(), p.accumulator_bytes);
    table.row({m.chip->main().name, bytes_text(m.memory_bytes) + " of " + bytes_text(m.capacity_bytes)});
    table.row({"over the host link", bytes_text(static_cast<double>(p.input_bytes)) + " in, " + bytes_text(static_cast<double>(p.output_bytes)) +
                                         " out, " + seconds_text(t.copy_ns * 1e-9)});
    table.row({"weights", bytes_text(static_cast<double>(p.weight_bytes)) + ", loaded once in " + seconds_text(t.weight_load_ns * 1e-9)});
    table.row({"a new shape", !software.static_shapes ? "runs as it is"
                              : software.compile_s    ? "another program, about " + seconds_text(*software.compile_s) + " of compiling"
                                                      : "another program; its compile time is not published"});
    print(table.text());
  }
  return 0;
}

int compile(const Options& o) {
  if (const auto chip = inspect::chip_of_device(o.session.device)) return compile_chip(o, *chip);
  refuse_weigh(o.weigh, o.session.device);
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
  add_inputs(*verb, o->inputs);
  add_weigh(*verb, o->weigh);
  verb->add_option("-o,--output", o->output, "File for the program (default: stdout)")->type_name("FILE");
  verb->add_option("--dump-passes", o->dump_passes, "Write the graph after each pass into this folder")->type_name("DIR");
  add_format(*verb, o->format);
  verb->footer(
      "Examples:\n"
      "  bascule compile model.onnx --device cpu -o program.txt\n"
      "  bascule compile model.onnx --dump-passes passes\n"
      "  bascule compile model.onnx --device chip:trainium2 --shape batch=8,seq=128 -o program.txt\n"
      "For a modelled chip the file also holds the memory map over time; counts, transfers and a new shape's cost go to stdout.");
  verb->callback([&action, o] { action = [o] { return compile(*o); }; });
}

}  // namespace bascule::cli
