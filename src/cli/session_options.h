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
  Limits limits;
  runtime::Options options() const;
};
void add_precision(CLI::App& verb, std::string& precision);
void add_session(CLI::App& verb, SessionOptions& o);

// Says on stderr what ran otherwise than asked, one line per operator and reason.
void note_fallbacks(const runtime::Session& session);

}  // namespace bascule::cli
