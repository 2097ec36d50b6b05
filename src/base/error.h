// base/error.h — the one error family. Every error names where, expected, found and what to do; cli/ turns kinds into exit codes.
#pragma once
#include <exception>
#include <string>
#include <vector>

namespace bascule {

enum class ErrorKind { usage, unsupported, device, capacity, invalid_file, internal };

// The four facts a reader needs. `where` names file, node, operator and version as far as they are known.
struct Problem {
  std::string where;
  std::string expected;
  std::string found;
  std::string remedy;
  std::string text() const;  // "where: expected E, found F. R"
};

class Error : public std::exception {
 public:
  Error(ErrorKind kind, Problem problem);
  Error(ErrorKind kind, std::vector<Problem> problems);  // all problems of one stage, reported together; not empty
  ErrorKind kind() const { return kind_; }
  const std::vector<Problem>& problems() const { return problems_; }
  const char* what() const noexcept override { return text_.c_str(); }
  int exit_code() const;         // design.md 8: 2 usage, 3 unsupported, 4 device, 5 capacity, 6 bad file, 70 internal
  const char* kind_name() const;  // "UsageError", ...

 private:
  ErrorKind kind_;
  std::vector<Problem> problems_;
  std::string text_;
};

// Throwers, by whose fault it is: the caller, a gap in us, hardware, too big, the file, us.
[[noreturn]] void fail_usage(std::string where, std::string expected, std::string found, std::string remedy);
[[noreturn]] void fail_unsupported(std::string where, std::string expected, std::string found, std::string remedy);
[[noreturn]] void fail_device(std::string where, std::string expected, std::string found, std::string remedy);
[[noreturn]] void fail_capacity(std::string where, std::string expected, std::string found, std::string remedy);
[[noreturn]] void fail_file(std::string where, std::string expected, std::string found, std::string remedy);
[[noreturn]] void fail_internal(std::string where, std::string expected, std::string found);

// Control characters, quotes and invalid UTF-8 as \xNN, cut to 120 characters: names from files are hostile until escaped.
std::string escaped(std::string_view name);

}  // namespace bascule
