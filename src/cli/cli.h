// cli/cli.h — what the verbs share: each is one file that adds its subcommand, and runs after the whole line has been read.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/budget.h"
#include "cli/output.h"

namespace bascule::cli {

// What the chosen verb does; returns the exit code: 0 ok, 1 mismatch. Every other code comes from an Error.
using Action = std::function<int()>;

// Adds --format to a verb.
void add_format(CLI::App& verb, Format& format);

// Options of every verb that loads and runs a model.
struct Limits {
  std::string memory = "", time = "";      // "4GiB", "30s"; empty: the machine's memory, no limit
  int64_t memory_bytes() const;            // 0: not given
  double time_s() const;                   // 0: not given
  std::shared_ptr<Budget> budget() const;  // from now on
};
void add_limits(CLI::App& verb, Limits& limits);

void add_run(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_check(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_profile(CLI::App& app, Action& action);
void add_compile(CLI::App& app, Action& action);
void add_conformance(CLI::App& app, Action& action);
void add_chips(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);

}  // namespace bascule::cli
