// cli/output.h — what a verb shows: tables, JSON, sizes in units for people, progress. Results go to stdout, everything else to stderr.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bascule::cli {

enum class Format { table, json };

// Columns as wide as their longest cell; cells that start with a digit, sign or dot are set to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.size() == 1; }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

void print(std::string_view text);  // to stdout
void note(std::string_view text);   // a line to stderr: "bascule: ..."

// Text of ours that may hold names of a file: control characters and invalid UTF-8 escaped, quotes kept, cut to `most` characters.
std::string safe(std::string_view text, size_t most = 100);
std::string bytes_text(double bytes);      // "4.0 MiB"
std::string count_text(double count);      // "25.6 M"
std::string seconds_text(double seconds);  // "1.24 ms"
std::string fixed(double x, int digits);
std::string shortest(double x);  // "%.6g"

bool colors(int fd);  // a terminal, and NO_COLOR is not set
std::string bold(const std::string& text, bool on);
std::string red(const std::string& text, bool on);
std::string green(const std::string& text, bool on);

// A bar on stderr when that is a terminal, from one second after the start on; gone when the object goes.
class Progress {
 public:
  explicit Progress(std::string label);
  ~Progress();
  void update(double done, double total, std::string_view what = "");

 private:
  std::string label_;
  bool shown_ = false, terminal_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

// "4GiB", "512MB", "1000000" -> bytes; "30s", "500ms", "2m" -> seconds. UsageError naming the option otherwise.
int64_t parse_bytes(const std::string& text, std::string_view option);
double parse_seconds(const std::string& text, std::string_view option);

}  // namespace bascule::cli
