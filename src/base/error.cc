// base/error.cc — texts and exit codes of the error family.
#include "base/error.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace bascule {
namespace {

std::string joined(const std::vector<Problem>& problems) {
  std::string text;
  for (const Problem& p : problems) {
    if (!text.empty()) text += '\n';
    text += p.text();
  }
  return text;
}

// Length of the valid UTF-8 sequence at `s` (1..4), or 0. Overlong forms, surrogates and > U+10FFFF are invalid.
int utf8_length(std::string_view s) {
  const auto at = [&](size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  const unsigned a = at(0);
  const auto continues = [&](size_t i) { return (at(i) & 0xC0u) == 0x80u; };
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF && continues(1)) return 2;
  if (a >= 0xE0 && a <= 0xEF && continues(1) && continues(2)) {
    const unsigned code = ((a & 15u) << 12) | ((at(1) & 63u) << 6) | (at(2) & 63u);
    return code >= 0x800 && (code < 0xD800 || code > 0xDFFF) ? 3 : 0;
  }
  if (a >= 0xF0 && a <= 0xF4 && continues(1) && continues(2) && continues(3)) {
    const uint32_t code = ((a & 7u) << 18) | ((at(1) & 63u) << 12) | ((at(2) & 63u) << 6) | (at(3) & 63u);
    return code >= 0x10000 && code <= 0x10FFFF ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string Problem::text() const {
  std::string t = where;
  if (!expected.empty()) t += (t.empty() ? "expected " : ": expected ") + expected;
  if (!found.empty()) t += (expected.empty() ? (t.empty() ? "" : ": ") : ", found ") + found;
  t += '.';
  if (!remedy.empty()) t += ' ' + remedy;
  return t;
}

Error::Error(ErrorKind kind, Problem problem) : Error(kind, std::vector<Problem>{std::move(problem)}) {}
Error::Error(ErrorKind kind, std::vector<Problem> problems) : kind_(kind), problems_(std::move(problems)), text_(joined(problems_)) {}

int Error::exit_code() const {
  switch (kind_) {
    case ErrorKind::usage: return 2;
    case ErrorKind::unsupported: return 3;
    case ErrorKind::device: return 4;
    case ErrorKind::capacity: return 5;
    case ErrorKind::invalid_file: return 6;
    case ErrorKind::internal: return 70;
  }
  return 70;
}

const char* Error::kind_name() const {
  switch (kind_) {
    case ErrorKind::usage: return "UsageError";
    case ErrorKind::unsupported: return "UnsupportedError";
    case ErrorKind::device: return "DeviceError";
    case ErrorKind::capacity: return "CapacityError";
    case ErrorKind::invalid_file: return "InvalidFileError";
    case ErrorKind::internal: return "InternalError";
  }
  return "InternalError";
}

void fail_usage(std::string where, std::string expected, std::string found, std::string remedy) {
  throw Error(ErrorKind::usage, Problem{std::move(where), std::move(expected), std::move(found), std::move(remedy)});
}
void fail_unsupported(std::string where, std::string expected, std::string found, std::string remedy) {
  throw Error(ErrorKind::unsupported, Problem{std::move(where), std::move(expected), std::move(found), std::move(remedy)});
}
void fail_device(std::string where, std::string expected, std::string found, std::string remedy) {
  throw Error(ErrorKind::device, Problem{std::move(where), std::move(expected), std::move(found), std::move(remedy)});
}
void fail_capacity(std::string where, std::string expected, std::string found, std::string remedy) {
  throw Error(ErrorKind::capacity, Problem{std::move(where), std::move(expected), std::move(found), std::move(remedy)});
}
void fail_file(std::string where, std::string expected, std::string found, std::string remedy) {
  throw Error(ErrorKind::invalid_file, Problem{std::move(where), std::move(expected), std::move(found), std::move(remedy)});
}
void fail_internal(std::string where, std::string expected, std::string found) {
  throw Error(ErrorKind::internal, Problem{std::move(where), std::move(expected), std::move(found), "This is a bug in Bascule: please report it with the model"});
}

std::string escaped(std::string_view name) {
  constexpr size_t kLimit = 120;
  std::string out;
  while (!name.empty()) {
    if (out.size() >= kLimit) return out + "...";
    const int length = utf8_length(name);
    const auto first = static_cast<unsigned char>(name[0]);
    const bool c1_control = length == 2 && first == 0xC2 && static_cast<unsigned char>(name[1]) < 0xA0;
    if (length == 0 || first < 0x20 || first == 0x7F || first == '\'' || first == '\\' || c1_control) {
      char hex[8];
      for (int i = 0; i < std::max(1, length); ++i) {
        std::snprintf(hex, sizeof hex, "\\x%02X", static_cast<unsigned char>(name[static_cast<size_t>(i)]));
        out += hex;
      }
    } else {
      out.append(name.substr(0, static_cast<size_t>(length)));
    }
    name.remove_prefix(static_cast<size_t>(std::max(1, length)));
  }
  return out;
}

}  // namespace bascule
