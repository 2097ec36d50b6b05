// cli/session_options.h — the options of verbs that run a model, and the session they make.
#pragma once
#include <memory>
#include <string>

#include "cli/cli.h"
#include "runtime/session.h"

namespace bascule::cli {

struct SessionOptions {
  std::string model, device = "cpu", precision;
  int threads = 0;
  int64_t cores = 0, chips = 0;  // of a modelled chip, for one request; 0: its default
  std::string split;
  Limits limits;
  runtime::Options options() const;
};
void add_precision(CLI::App& verb, std::string& precision);
void add_session(CLI::App& verb, SessionOptions& o);
void add_ranks(CLI::App& verb, SessionOptions& o);  // --cores, --chips, --split

// Says on stderr what ran otherwise than asked, one line per operator and reason.
void note_fallbacks(const runtime::Session& session);

}  // namespace bascule::cli
