// base/file.h — files: mapped or read whole, written atomically, and found beside a model. Refuses what is not a regular file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bascule {

// The bytes of a regular file, for as long as the object lives. Large files are mapped (read-only, never copied), small ones read.
// UsageError: no such file, no permission. InvalidFileError: a directory, device, FIFO or socket (never opened, so never blocks).
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  // Pages of `part` that were copied elsewhere go back to the system, and come again from the file when read. No-op if not mapped.
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile() = default;
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  bool mapped_ = false;
  int slot_ = -1;  // in the table that the fault handler reads
};

// A mapped file that another process cuts short faults when its lost pages are read. guard_mapped_files() makes such a read see zeros
// instead of ending the process (it installs a SIGBUS handler that passes on every fault outside our mappings; call it once, from a
// program's main). check_mapped_files() then throws DeviceError naming the file: call it when work that read mappings ends.
void guard_mapped_files();
void check_mapped_files();

// The whole file. CapacityError when it is longer than limit_bytes.
std::string read_file(const std::string& path, int64_t limit_bytes = INT64_MAX);
// Writes beside `path` and renames, so that a reader sees the old file or the whole new one. A device or FIFO is written in place.
void write_file(const std::string& path, std::span<const std::byte> bytes);
void write_file(const std::string& path, std::string_view text);

bool is_regular_file(const std::string& path);
bool is_directory(const std::string& path);
std::string folder_of(const std::string& path);     // "a/b.onnx" -> "a", "b.onnx" -> "."
std::string extension_of(const std::string& path);  // lower case with the dot: "a/B.ONNX" -> ".onnx"; none: ""

// Path of the file that `location` (a relative path written inside the model file) names. With links resolved it must lie under the
// model's folder, as given or as resolved, so a cache of links to one blob folder works and a link that leaves both does not.
// InvalidFileError: absolute, "..", empty, outside, or no such file. `where` names the tensor in the error.
std::string resolve_beside(const std::string& model_path, std::string_view location, const std::string& where);
// The same, but nullopt when there is no such file.
std::optional<std::string> find_beside(const std::string& model_path, std::string_view location, const std::string& where);

}  // namespace bascule
