// base/file.cc — files by POSIX calls: mapping, the fault handler of mappings, atomic writes, paths beside a model.
#include "base/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "base/budget.h"
#include "base/error.h"

namespace bascule {
namespace fs = std::filesystem;
namespace {

constexpr size_t kCopyBelow_bytes = size_t{64} << 10;  // smaller files cost less read than mapped, and cannot shrink under us

// What the fault handler reads: no locks, no allocation. A slot is free while begin is 0.
struct Mapping {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> shrank{false};
};
std::array<Mapping, 4096> mappings;
std::mutex mappings_mutex;  // taken by register_mapping and the destructor, never by the handler
std::array<std::string, mappings.size()> mapping_paths;
std::atomic<bool> any_shrank{false};
std::atomic<int> mappings_high{0};
struct sigaction before_guard;

void on_bus_error(int signal_number, siginfo_t* fault, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(fault->si_addr);
  const int high = mappings_high.load();
  for (int i = 0; i < high; ++i) {
    Mapping& m = mappings[static_cast<size_t>(i)];
    const uintptr_t begin = m.begin.load();
    if (begin == 0 || address < begin || address >= m.end.load()) continue;
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    void* at = reinterpret_cast<void*>(address / page * page);
    if (mmap(at, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) break;
    m.shrank.store(true);
    any_shrank.store(true);
    return;
  }
  // Not ours: hand it to whoever was there before, or let the default end the process when the instruction faults again.
  if ((before_guard.sa_flags & SA_SIGINFO) && before_guard.sa_sigaction) before_guard.sa_sigaction(signal_number, fault, context);
  else if (before_guard.sa_handler != SIG_DFL && before_guard.sa_handler != SIG_IGN) before_guard.sa_handler(signal_number);
  else signal(SIGBUS, SIG_DFL);
}

// -1 when the table is full: the caller then reads instead of mapping.
int register_mapping(const void* data, size_t size, const std::string& path) {
  const std::lock_guard lock(mappings_mutex);
  for (size_t i = 0; i < mappings.size(); ++i) {
    Mapping& m = mappings[i];
    if (m.begin.load() != 0) continue;
    mapping_paths[i] = path;
    m.shrank.store(false);
    m.end.store(reinterpret_cast<uintptr_t>(data) + size);
    m.begin.store(reinterpret_cast<uintptr_t>(data));
    mappings_high.store(std::max(mappings_high.load(), static_cast<int>(i) + 1));
    return static_cast<int>(i);
  }
  return -1;
}

std::string error_text(int code) { return std::generic_category().message(code); }

struct Descriptor {
  int fd = -1;
  explicit Descriptor(int f) : fd(f) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

const char* kind_text(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "no regular file";
}

void require_regular(const struct stat& s, const std::string& path) {
  if (!S_ISREG(s.st_mode)) fail_file(escaped(path), "a regular file", kind_text(s.st_mode), "Name a file");
}

// Opened for reading; size_bytes is that of the opened file. The kind is asked before opening, since opening a device can act on it,
// and again after, since the name may have changed meaning in between.
int open_regular(const std::string& path, size_t& size_bytes) {
  struct stat s;
  if (path.find('\0') != std::string::npos) fail_usage(escaped(path), "a file name", "a NUL character in it", "Name a file");
  if (::stat(path.c_str(), &s) != 0) fail_usage(escaped(path), "a readable file", error_text(errno), "Check the path");
  require_regular(s, path);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) fail_usage(escaped(path), "a readable file", error_text(errno), "Check its permissions");
  if (::fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) {
    ::close(fd);
    fail_file(escaped(path), "a regular file", "another kind after opening", "Name a file");
  }
  size_bytes = static_cast<size_t>(s.st_size);
  return fd;
}

// Reads up to `size` bytes; a file that ended earlier gives fewer.
size_t read_all(int fd, char* out, size_t size, const std::string& path) {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(fd, out + done, size - done);
    if (n == 0) break;
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_device(escaped(path), "to read it whole", error_text(errno), "Check the disk");
    }
    done += static_cast<size_t>(n);
  }
  return done;
}

void write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_device(escaped(path), "to write " + std::to_string(bytes.size()) + " bytes more", error_text(errno), "Check the space on the disk");
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

// True when `path` lies under `folder` (both resolved).
bool lies_under(const fs::path& path, const fs::path& folder) {
  const auto [end, rest] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return end == folder.end() && rest != path.end();
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  size_t size = 0;
  const Descriptor file(open_regular(path, size));
  auto out = std::shared_ptr<MappedFile>(new MappedFile);
  out->path_ = path;
  if (size >= kCopyBelow_bytes) {
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (data == MAP_FAILED)
      fail_device(escaped(path), "to map " + std::to_string(size) + " bytes", error_text(errno), "Check the limit on address space");
    out->slot_ = register_mapping(data, size, path);
    if (out->slot_ >= 0) {
      out->data_ = static_cast<const std::byte*>(data);
      out->size_ = size;
      out->mapped_ = true;
      return out;
    }
    munmap(data, size);
    check_room(static_cast<int64_t>(size), "file read into memory");
  }
  char* copy = static_cast<char*>(std::malloc(size + 1));
  if (!copy) fail_capacity(escaped(path), std::to_string(size) + " bytes from the system", "none left", "Use smaller files");
  out->data_ = reinterpret_cast<const std::byte*>(copy);
  out->size_ = read_all(file.fd, copy, size, path);
  return out;
}

MappedFile::~MappedFile() {
  if (!mapped_) {
    std::free(const_cast<std::byte*>(data_));
    return;
  }
  {
    const std::lock_guard lock(mappings_mutex);
    mappings[static_cast<size_t>(slot_)].begin.store(0);
  }
  munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) const {
  if (!mapped_) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;  // edge pages may hold other data: they stay
  const uintptr_t last = (reinterpret_cast<uintptr_t>(part.data()) + part.size()) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

void guard_mapped_files() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before_guard);
  });
}

void check_mapped_files() {
  if (!any_shrank.load()) return;
  const std::lock_guard lock(mappings_mutex);
  for (size_t i = 0; i < mappings.size(); ++i)
    if (mappings[i].begin.load() != 0 && mappings[i].shrank.load())
      fail_device(escaped(mapping_paths[i]), "the file to keep its length while in use", "that it was cut short",
                  "Restore the file and load the model again");
}

std::string read_file(const std::string& path, int64_t limit_bytes) {
  size_t size = 0;
  const Descriptor file(open_regular(path, size));
  if (static_cast<int64_t>(size) > limit_bytes)
    fail_capacity(escaped(path), "at most " + std::to_string(limit_bytes) + " bytes", std::to_string(size), "Use a smaller file");
  check_room(static_cast<int64_t>(size), "file read into memory");
  std::string text(size, '\0');
  text.resize(read_all(file.fd, text.data(), size, path));
  return text;
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  struct stat s;
  const bool exists = ::stat(path.c_str(), &s) == 0;
  if (exists && S_ISDIR(s.st_mode)) fail_usage(escaped(path), "a file to write", "a directory", "Name a file");
  if (exists && !S_ISREG(s.st_mode)) {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (file.fd < 0) fail_usage(escaped(path), "a writable file", error_text(errno), "Name another file");
    write_all(file.fd, bytes, path);
    return;
  }
  std::error_code ignored;
  const std::string target = exists ? fs::canonical(path, ignored).string() : path;  // a link stays a link
  std::string temporary = (target.empty() ? path : target) + ".XXXXXX";
  int fd = ::mkstemp(temporary.data());
  if (fd < 0) fail_usage(escaped(path), "a writable folder", error_text(errno), "Name another file");
  Descriptor file(fd);
  const mode_t mask = ::umask(0);
  ::umask(mask);
  try {
    if (::fchmod(fd, exists ? s.st_mode & 0777 : 0666 & ~mask) != 0)
      fail_device(escaped(path), "to set its mode", error_text(errno), "Name another file");
    write_all(fd, bytes, path);
    if (::rename(temporary.c_str(), target.c_str()) != 0)
      fail_device(escaped(path), "to rename the finished file", error_text(errno), "Name another file");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void write_file(const std::string& path, std::string_view text) { write_file(path, std::as_bytes(std::span(text.data(), text.size()))); }

bool is_regular_file(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}
bool is_directory(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

std::string extension_of(const std::string& path) {
  std::string e = fs::path(path).extension().string();
  std::transform(e.begin(), e.end(), e.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return e;
}

constexpr const char* kPlaceBeside = "Place the data file in the model's folder and export with that name";

std::string resolve_beside(const std::string& model_path, std::string_view location, const std::string& where) {
  if (auto found = find_beside(model_path, location, where)) return *found;
  fail_file(where, "an external data file", "'" + escaped(location) + "', which does not exist", kPlaceBeside);
}

std::optional<std::string> find_beside(const std::string& model_path, std::string_view location, const std::string& where) {
  const std::string shown = "'" + escaped(location) + "'";
  const std::string remedy = kPlaceBeside;
  const fs::path relative = std::string(location);
  const bool climbs = std::find(relative.begin(), relative.end(), fs::path("..")) != relative.end();
  if (location.empty() || location.find('\0') != std::string_view::npos || relative.is_absolute() || climbs)
    fail_file(where, "external data at a relative path without '..'", shown, remedy);

  std::error_code failed;
  const fs::path given = fs::canonical(folder_of(model_path), failed);
  if (failed) fail_file(where, "the model's folder to exist", failed.message(), remedy);
  fs::path resolved = fs::canonical(model_path, failed).parent_path();
  if (failed) resolved = given;
  for (const fs::path& folder : {given, resolved}) {
    const fs::path real = fs::canonical(folder / relative, failed);
    if (failed) continue;
    if (!lies_under(real, given) && !lies_under(real, resolved))
      fail_file(where, "external data under the model's folder", shown + ", which leads out of it", remedy);
    return real.string();
  }
  return std::nullopt;
}

}  // namespace bascule
