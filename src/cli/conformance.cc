// cli/conformance.cc — `bascule conformance`: runs published cases in worker processes, so that a crash fails one case and not the run.
#include "runtime/conformance.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/cli.h"

namespace bascule::cli {
namespace {
using nlohmann::ordered_json;
using runtime::CaseResult;
using runtime::ConformanceCase;

struct Options {
  std::string folder, filter, skip, device = "reference";
  int jobs = 0;
  bool verbose = false;
  Format format = Format::table;
  Limits limits{.time = "120s"};
};

// --- Workers: the parent writes an index to a worker's pipe and reads back one line of JSON ------------------------------------------

struct Worker {
  pid_t pid = -1;
  int to = -1, from = -1;
  size_t index = SIZE_MAX;  // the case it works on
  std::string received;
  std::chrono::steady_clock::time_point started;
};

void write_whole(int fd, const void* data, size_t size) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    p += n;
    size -= static_cast<size_t>(n);
  }
}

[[noreturn]] void work(const std::vector<ConformanceCase>& cases, const Options& o, int in, int out) {
  size_t index = 0;
  while (::read(in, &index, sizeof index) == sizeof index && index < cases.size()) {
    ordered_json list = ordered_json::array();
    const runtime::Options options{
        .device = o.device, .threads = 1, .memory_limit_bytes = o.limits.memory_bytes(), .time_limit_s = o.limits.time_s()};
    for (const CaseResult& r : runtime::run_case(cases[index], options)) list.push_back({r.suite, r.name, r.result, r.seconds, r.message});
    const std::string line = list.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
    write_whole(out, line.data(), line.size());
  }
  ::_exit(0);
}

Worker start_worker(const std::vector<ConformanceCase>& cases, const Options& o, const std::vector<Worker>& others) {
  int to[2], from[2];
  if (::pipe(to) != 0 || ::pipe(from) != 0) fail_device("conformance", "a pipe to a worker process", std::strerror(errno), "Use fewer --jobs");
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) fail_device("conformance", "a worker process", std::strerror(errno), "Use fewer --jobs");
  if (pid == 0) {
    for (const Worker& w : others) {
      if (w.to >= 0) ::close(w.to);
      if (w.from >= 0) ::close(w.from);
    }
    ::close(to[1]);
    ::close(from[0]);
    std::signal(SIGPIPE, SIG_IGN);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    work(cases, o, to[0], from[1]);
  }
  ::close(to[0]);
  ::close(from[1]);
  Worker w;
  w.pid = pid;
  w.to = to[1];
  w.from = from[0];
  return w;
}

void assign(Worker& w, size_t index) {
  w.index = index;
  w.received.clear();
  w.started = std::chrono::steady_clock::now();
  write_whole(w.to, &index, sizeof index);
}

void end_worker(Worker& w, int& status) {
  ::close(w.to);
  ::close(w.from);
  ::waitpid(w.pid, &status, 0);
  w.to = w.from = -1;
}

std::vector<CaseResult> run_all(const std::vector<ConformanceCase>& cases, const Options& o) {
  const size_t jobs = std::min<size_t>(cases.size(), static_cast<size_t>(o.jobs > 0 ? o.jobs : std::max<long>(1, sysconf(_SC_NPROCESSORS_ONLN))));
  std::vector<std::vector<CaseResult>> results(cases.size());
  std::vector<Worker> workers(jobs);
  Progress progress("conformance");
  size_t next = 0, done = 0;
  std::signal(SIGPIPE, SIG_IGN);  // a worker that died is seen by its end of file
  for (Worker& w : workers) {
    w = start_worker(cases, o, workers);
    assign(w, next++);
  }
  const double patience_s = o.limits.time_s() > 0 ? o.limits.time_s() * 2 + 5 : 1e18;  // a worker that does not look at its deadline
  while (done < cases.size()) {
    std::vector<pollfd> waits;
    for (const Worker& w : workers) waits.push_back({w.index == SIZE_MAX ? -1 : w.from, POLLIN, 0});
    ::poll(waits.data(), waits.size(), 1000);
    for (size_t k = 0; k < workers.size(); ++k) {
      Worker& w = workers[k];
      if (w.index == SIZE_MAX) continue;
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - w.started).count();
      char buffer[65536];
      ssize_t n = -1;
      if (waits[k].revents != 0) {
        n = ::read(w.from, buffer, sizeof buffer);
        if (n > 0) w.received.append(buffer, static_cast<size_t>(n));
      }
      const bool died = waits[k].revents != 0 && n == 0;
      const bool stuck = !died && seconds > patience_s;
      if (!died && !stuck && (w.received.empty() || w.received.back() != '\n')) continue;
      const ConformanceCase& c = cases[w.index];
      if (died || stuck) {
        int status = 0;
        if (stuck) ::kill(w.pid, SIGKILL);
        end_worker(w, status);
        results[w.index] = {
            {c.suite, c.name, "fail", seconds,
             stuck ? "InternalError: did not end within " + fixed(seconds, 0) + " s"
                   : "InternalError: the process ended (" +
                         (WIFSIGNALED(status) ? std::string(strsignal(WTERMSIG(status))) : "exit " + std::to_string(WEXITSTATUS(status))) + ")"}};
      } else {
        for (const auto& r : ordered_json::parse(w.received)) results[w.index].push_back({r[0], r[1], r[2], r[3], r[4]});
      }
      w.index = SIZE_MAX;
      progress.update(static_cast<double>(++done), static_cast<double>(cases.size()), c.name);
      if (next < cases.size()) {
        if (w.to < 0) w = start_worker(cases, o, workers);
        assign(w, next++);
      }
    }
  }
  int status = 0;
  for (Worker& w : workers)
    if (w.to >= 0) end_worker(w, status);
  std::vector<CaseResult> flat;
  for (std::vector<CaseResult>& r : results) std::move(r.begin(), r.end(), std::back_inserter(flat));
  return flat;
}

// The first problem of a message; JSON holds all of them.
std::string first_line(const std::string& message) {
  const size_t end = message.find('\n');
  return end == std::string::npos ? message
                                  : message.substr(0, end) + " (+" +
                                        std::to_string(std::count(message.begin() + static_cast<ptrdiff_t>(end), message.end(), '\n')) + " more)";
}

int conformance(const Options& o) {
  const std::vector<ConformanceCase> cases = runtime::find_cases(o.folder, o.filter);
  if (cases.empty()) fail_usage("conformance", "cases whose suite/name matches the filter", "none", "Quote the pattern: --filter 'node/test_conv*'");
  const runtime::SkipList skips = o.skip.empty() ? runtime::SkipList{} : runtime::read_skip_list(o.skip);
  std::vector<CaseResult> results = run_all(cases, o);
  for (CaseResult& r : results)  // all are run: a line that is no longer needed is said
    if (const std::string* reason = skips.reason(r.suite, r.name)) {
      if (r.result == "fail") r.message = *reason;
      else if (r.result == "pass") note(escaped(r.suite) + "/" + escaped(r.name) + " stands in the skip list, but passes");
      if (r.result == "fail") r.result = "skip";
    }

  std::map<std::string, std::map<std::string, int>> counts;
  std::map<std::string, double> seconds;
  int failed = 0;
  for (const CaseResult& r : results) {
    ++counts[r.suite][r.result];
    seconds[r.suite] += r.seconds;
    failed += r.result == "fail";
  }
  if (o.format == Format::json) {
    ordered_json list = ordered_json::array();
    for (const CaseResult& r : results)
      list.push_back({{"suite", r.suite}, {"case", r.name}, {"result", r.result}, {"seconds", r.seconds}, {"message", r.message}});
    print(list.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  } else {
    const bool color = colors(1);
    for (const CaseResult& r : results)
      if (o.verbose || r.result == "fail")
        print((r.result == "fail"   ? red("fail", color)
               : r.result == "pass" ? green("pass", color)
                                    : "skip") +
              "  " + escaped(r.suite) + "/" + escaped(r.name) + (r.message.empty() ? "" : "  " + first_line(r.message)) + "\n");
    Table table({"suite", "pass", "fail", "skip", "seconds"});
    std::map<std::string, int> sums;
    double all_seconds = 0;
    for (auto& [suite, c] : counts) {
      table.row({escaped(suite), std::to_string(c["pass"]), std::to_string(c["fail"]), std::to_string(c["skip"]), fixed(seconds[suite], 1)});
      for (const auto& [result, n] : c) sums[result] += n;
      all_seconds += seconds[suite];
    }
    if (counts.size() > 1)
      table.row({"all", std::to_string(sums["pass"]), std::to_string(sums["fail"]), std::to_string(sums["skip"]), fixed(all_seconds, 1)});
    print(table.text());
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

void add_conformance(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("conformance", "Runs published test cases: ONNX backend folders, StableHLO files");
  auto o = std::make_shared<Options>();
  verb->add_option("DIR", o->folder, "Folder of unpacked cases")->required();
  verb->add_option("--filter", o->filter, "Only cases whose name or suite/name matches this shell pattern")->type_name("GLOB");
  verb->add_option("--skip", o->skip, "File of cases to leave out: suite/name and the reason on each line")->type_name("FILE");
  verb->add_option("--device", o->device, "Device that runs them (default: reference)")->type_name("NAME");
  verb->add_option("--jobs", o->jobs, "Cases at a time (default: one per core)")->type_name("N")->check(CLI::Range(0, 1024));
  verb->add_flag("--verbose", o->verbose, "Print passed and skipped cases too");
  add_format(*verb, o->format);
  add_limits(*verb, o->limits);
  verb->footer(
      "Examples:\n  bascule conformance onnx-tests --filter 'node/test_conv*'\n  bascule conformance stablehlo-tests --format json\nExits with 1 "
      "when a case fails.");
  verb->callback([&action, o] { action = [o] { return conformance(*o); }; });
}

}  // namespace bascule::cli
