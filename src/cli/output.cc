// cli/output.cc — texts for people.
#include "cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"

namespace bascule::cli {
namespace {

// Characters on the screen: code points, without the sequences that set colours.
size_t width(std::string_view s) {
  size_t n = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\x1b') {
      while (i < s.size() && s[i] != 'm') ++i;
      continue;
    }
    n += (static_cast<unsigned char>(s[i]) & 0xC0u) != 0x80u;
  }
  return n;
}

bool is_number(std::string_view s) {
  return !s.empty() && (std::string_view("0123456789-+.").find(s[0]) != std::string_view::npos) && s.find(',') == std::string_view::npos;
}

std::string scaled(double x, double step, const std::vector<const char*>& units) {
  size_t i = 0;
  while (std::abs(x) >= step && i + 1 < units.size()) {
    x /= step;
    ++i;
  }
  return fixed(x, i == 0 ? 0 : x < 10 ? 2 : 1) + units[i];
}

struct Unit {
  std::string_view name;
  double factor;
};

double parse_quantity(const std::string& text, std::string_view option, const std::vector<Unit>& units, const std::string& example) {
  char* end = nullptr;
  const double x = std::strtod(text.c_str(), &end);
  const std::string_view rest(end);
  for (const Unit& u : units)
    if (end != text.c_str() && rest == u.name && x >= 0 && std::isfinite(x) && x * u.factor < 9e18) return x * u.factor;
  fail_usage(std::string(option), "a quantity such as " + example, "'" + escaped(text) + "'", "");
}

}  // namespace

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const auto& r : rows_) {
    widths.resize(std::max(widths.size(), r.size()), 0);
    for (size_t i = 0; i < r.size(); ++i) widths[i] = std::max(widths[i], width(r[i]));
  }
  // A column stands to the right when all its filled cells are numbers; its header follows.
  std::vector<bool> right(widths.size(), rows_.size() > 1);
  for (size_t k = 1; k < rows_.size(); ++k)
    for (size_t i = 0; i < rows_[k].size(); ++i)
      if (!rows_[k][i].empty() && !is_number(rows_[k][i])) right[i] = false;
  std::string out;
  for (const auto& r : rows_) {
    std::string line;
    for (size_t i = 0; i < r.size(); ++i) {
      const std::string space(widths[i] - width(r[i]), ' ');
      line += (i ? "  " : "") + (right[i] ? space + r[i] : r[i] + space);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }
void note(std::string_view text) {
  std::fflush(stdout);  // in one stream of both, the note stands after what was printed before it
  std::fprintf(stderr, "bascule: %.*s\n", static_cast<int>(text.size()), text.data());
}

std::string safe(std::string_view text, size_t most) {
  std::string out = escaped(text);
  for (size_t i = 0; (i = out.find("\\x27", i)) != std::string::npos; ++i) out.replace(i, 4, "'");
  if (out.size() > most) {
    while (most > 0 && (static_cast<unsigned char>(out[most]) & 0xC0u) == 0x80u) --most;  // not inside a character
    out = out.substr(0, most) + "...";
  }
  return out;
}

std::string fixed(double x, int digits) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, x);
  return buffer;
}
std::string shortest(double x) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.6g", x);
  return buffer;
}
std::string bytes_text(double bytes) { return scaled(bytes, 1024, {" B", " KiB", " MiB", " GiB", " TiB", " PiB"}); }
std::string count_text(double count) { return scaled(count, 1000, {"", " k", " M", " G", " T", " P"}); }
std::string seconds_text(double s) {
  if (s < 1e-3) return fixed(s * 1e6, 1) + " us";
  if (s < 1) return fixed(s * 1e3, 2) + " ms";
  return fixed(s, 2) + " s";
}

bool colors(int fd) {
  const char* no = std::getenv("NO_COLOR");
  return isatty(fd) && !(no && *no);
}
std::string bold(const std::string& text, bool on) { return on ? "\x1b[1m" + text + "\x1b[0m" : text; }
std::string red(const std::string& text, bool on) { return on ? "\x1b[31m" + text + "\x1b[0m" : text; }
std::string green(const std::string& text, bool on) { return on ? "\x1b[32m" + text + "\x1b[0m" : text; }

Progress::Progress(std::string label) : label_(std::move(label)), terminal_(isatty(2)), start_(std::chrono::steady_clock::now()), last_(start_) {}
Progress::~Progress() {
  if (shown_) std::fprintf(stderr, "\r\x1b[K");
}
void Progress::update(double done, double total, std::string_view what) {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - start_ < 1s || (shown_ && now - last_ < 100ms)) return;
  shown_ = true;
  last_ = now;
  constexpr int kWidth = 30;
  const double share = total > 0 ? std::clamp(done / total, 0.0, 1.0) : 0;
  const int full = static_cast<int>(share * kWidth);
  const std::string shown = escaped(what.substr(0, 40));
  std::fprintf(stderr, "\r\x1b[K%s [%s%s] %3.0f %%  %s", label_.c_str(), std::string(static_cast<size_t>(full), '#').c_str(),
               std::string(static_cast<size_t>(kWidth - full), '.').c_str(), share * 100, shown.c_str());
  std::fflush(stderr);
}

int64_t parse_bytes(const std::string& text, std::string_view option) {
  return static_cast<int64_t>(parse_quantity(text, option,
                                             {{"", 1},
                                              {"B", 1},
                                              {"KiB", 1024.0},
                                              {"MiB", 1048576.0},
                                              {"GiB", 1073741824.0},
                                              {"TiB", 1099511627776.0},
                                              {"kB", 1e3},
                                              {"KB", 1e3},
                                              {"MB", 1e6},
                                              {"GB", 1e9},
                                              {"TB", 1e12},
                                              {"K", 1024.0},
                                              {"M", 1048576.0},
                                              {"G", 1073741824.0}},
                                             "4GiB or 512MB"));
}
double parse_seconds(const std::string& text, std::string_view option) {
  return parse_quantity(text, option, {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"m", 60}, {"min", 60}, {"h", 3600}}, "30s or 500ms");
}

}  // namespace bascule::cli
