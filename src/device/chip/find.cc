// device/chip/find.cc — installed chips by name, see chip.h. BASCULE_DATA is the source tree: the last resort of a program that is not installed.
#include "device/chip/find.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "device/chip/chip.h"

namespace bascule::device::chip {
namespace fs = std::filesystem;
namespace {

// PREFIX/bin/bascule or PREFIX/lib/libbascule.so -> PREFIX/share/bascule; empty if the file is not known.
fs::path share_of(const fs::path& file) { return file.empty() ? fs::path() : file.parent_path().parent_path() / "share" / "bascule"; }

fs::path beside_the_program() {
  std::error_code failed;
  const fs::path program = fs::read_symlink("/proc/self/exe", failed);
  return failed ? fs::path() : share_of(program);
}

// Of the shared library that holds this function, when another program uses Bascule.
fs::path beside_the_library() {
  Dl_info found{};
  std::error_code failed;
  if (dladdr(reinterpret_cast<const void*>(&installed_chip), &found) == 0 || !found.dli_fname) return {};
  const fs::path file = fs::canonical(found.dli_fname, failed);
  return failed ? fs::path() : share_of(file);
}

}  // namespace

std::vector<std::string> data_folders(const char* variable, const char* kind) {
  std::vector<std::string> out;
  if (const char* list = std::getenv(variable)) {
    std::string rest = list;
    while (!rest.empty()) {
      const size_t end = rest.find(':');
      if (const std::string folder = rest.substr(0, end); !folder.empty() && is_directory(folder)) out.push_back(folder);
      rest = end == std::string::npos ? "" : rest.substr(end + 1);
    }
  }
  for (const fs::path& root : {beside_the_program(), beside_the_library(), fs::path(BASCULE_DATA)})
    if (!root.empty() && is_directory((root / kind).string())) {
      out.push_back((root / kind).string());
      break;
    }
  return out;
}

std::optional<std::string> installed_chip(const std::string& chip_name) {
  if (chip_name.empty() || chip_name.find('/') != std::string::npos) return std::nullopt;
  for (const std::string& folder : data_folders("BASCULE_CHIPS", "chips"))
    if (const std::string path = (fs::path(folder) / (chip_name + ".toml")).string(); is_regular_file(path)) return path;
  return std::nullopt;
}

std::vector<std::string> chip_names() {
  std::set<std::string> names;
  for (const std::string& folder : data_folders("BASCULE_CHIPS", "chips")) {
    std::error_code failed;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, failed))
      if (entry.path().extension() == ".toml" && entry.is_regular_file(failed)) names.insert(entry.path().stem().string());
  }
  return {names.begin(), names.end()};
}

const Chip& find_chip(const std::string& chip_name) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<const Chip>> read;  // by path
  const auto path = installed_chip(chip_name);
  if (!path) {
    const std::vector<std::string> names = chip_names();
    const std::string near = nearest(chip_name, names);
    fail_usage("chip '" + escaped(chip_name) + "'", "the name of a chip file", "none of that name",
               (near.empty() ? "" : "Did you mean " + near + "? ") + std::string("`bascule chips` lists all; $BASCULE_CHIPS names further folders"));
  }
  const std::lock_guard lock(mutex);
  auto& slot = read[*path];
  if (!slot) {
    auto chip = std::make_unique<Chip>(read_chip(*path));
    if (chip->name != chip_name)
      fail_file(escaped(*path) + ": chip.name", "'" + escaped(chip_name) + "', as the file is called", "'" + escaped(chip->name) + "'",
                "Rename one of them");
    slot = std::move(chip);
  }
  return *slot;
}

}  // namespace bascule::device::chip
